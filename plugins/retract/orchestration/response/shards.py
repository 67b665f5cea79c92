"""Dealing work to mapped tasks, in numbers that Airflow can live with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Any, TypeVar

from retract.orchestration.runs import RunFolder

T = TypeVar("T")

Shard = dict[str, Any]
"""What a mapped task is given: the ``index`` of its file, a ``label`` for the UI, and ``tasks``,
how many there are beside it that have something to do, itself included."""


def shards_of(labels: Sequence[str], tasks: int) -> list[Shard]:
    """What the tasks with these labels are given."""
    return [{"index": i, "label": label, "tasks": tasks} for i, label in enumerate(labels)]


def label_of(addresses: Sequence[str]) -> str:
    """What the UI shows of a task that takes these mailboxes."""
    if not addresses:
        return "nothing to do"
    return addresses[0] + (f" and {len(addresses) - 1} more" if len(addresses) > 1 else "")


def deal(items: Sequence[T], cap: int) -> list[Sequence[T]]:
    """At most ``cap`` slices of nearly equal size, in the given order."""
    count = min(cap, len(items))
    cuts = [len(items) * number // count for number in range(count + 1)] if count else [0]
    return [items[start:end] for start, end in pairwise(cuts)]


def deal_by_work(items: Sequence[T], work: Sequence[int], each: int, cap: int) -> list[list[T]]:
    """At most ``cap`` slices in the given order, one for every ``each`` of all their work.

    Their work is nearly equal, as far as single items allow.
    """
    whole = sum(work)
    count = min(cap, max(1, ceil(whole / each)))
    slices: list[list[T]] = [[] for _ in range(count)]
    before = 0
    for item, its in zip(items, work, strict=True):
        middle = before + its / 2
        slices[min(count - 1, int(middle * count / whole)) if whole else 0].append(item)
        before += its
    return [one for one in slices if one]


def padded(shards: Sequence[T], empty: T, length: int) -> list[T]:
    """The shards and then empty ones: at least one, and no fewer than ``length``.

    Airflow marks the mapped tasks that a cleared run no longer needs as removed, counts those
    as done (so that what follows starts too early), and never revives them when the next
    clearing needs them again. So an attempt maps over no fewer shards than the one before.
    """
    return [*shards, *(empty for _ in range(max(1, length) - len(shards)))]


def most_so_far(folder: RunFolder, kind: str) -> int:
    """The most files that this or an earlier attempt at the run has in a sub-folder."""
    attempts = (one for one in folder.path.parent.iterdir() if one.name <= folder.path.name)
    return max(len(list((one / kind).glob("*.json"))) for one in attempts)
