"""Dealing mailboxes to tasks: all of them, once, in stable numbers."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.installation import Settings
from retract.model import Mailbox, Provider
from retract.orchestration.response.providers import share_of
from retract.orchestration.response.shards import deal, deal_by_work, most_so_far, padded
from retract.orchestration.runs import Acted, MailboxEntry, RunFolder


def entry(number: int) -> MailboxEntry:
    return MailboxEntry(
        provider=Provider.MICROSOFT365,
        connection="c",
        mailbox_id=str(number),
        address=f"{number}@north.example",
    )


def test_a_mailbox_comes_through_a_file_with_all_its_addresses() -> None:
    mailbox = Mailbox(Provider.MICROSOFT365, "c", "1", "a@north.example", ("b@north.example",))
    written = MailboxEntry.of(mailbox).model_dump_json()
    assert astuple(MailboxEntry.model_validate_json(written).mailbox()) == astuple(mailbox)


@given(st.integers(0, 300), st.integers(1, 50))
def test_every_mailbox_is_dealt_once_and_evenly(count: int, cap: int) -> None:
    mailboxes = [entry(number) for number in range(count)]
    shards = deal(mailboxes, cap)
    assert sorted(m.mailbox_id for shard in shards for m in shard) == sorted(
        m.mailbox_id for m in mailboxes
    )
    assert len(shards) == min(cap, count)
    if shards:
        assert max(map(len, shards)) - min(map(len, shards)) <= 1


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 60), st.integers(1, 10))
def test_work_is_dealt_in_order_and_as_evenly_as_single_items_allow(
    work: list[int], each: int, cap: int
) -> None:
    dealt = deal_by_work(range(len(work)), work, each, cap)
    assert [item for part in dealt for item in part] == list(range(len(work)))
    assert all(dealt)
    tasks = min(cap, max(1, ceil(sum(work) / each)))
    assert len(dealt) <= tasks
    most = sum(work) / tasks + max(work, default=0)
    assert all(sum(work[item] for item in part) <= most for part in dealt)


@given(st.lists(st.lists(st.integers(), min_size=1), max_size=20), st.integers(0, 30))
def test_the_number_of_tasks_never_shrinks_and_is_never_none(
    shards: list[list[int]], before: int
) -> None:
    made = padded(shards, [], before)
    assert made[: len(shards)] == shards
    assert not any(made[len(shards) :])
    assert len(made) == max(1, before, len(shards))


def test_this_attempt_and_earlier_ones_at_the_same_run_count(tmp_path: Path) -> None:
    def attempt(run_id: str, day: int, shards: int) -> RunFolder:
        folder = RunFolder.create(tmp_path, "d", run_id, datetime(2026, 1, day, tzinfo=UTC))
        for index in range(shards):
            folder.write(f"to_act/{index:05}.json", Acted(counts={}))
        return folder

    attempt("r", 1, 4)
    again = attempt("r", 2, 2)
    assert most_so_far(again, "to_act") == 4
    now = attempt("r", 3, 9)
    attempt("r", 4, 20)
    attempt("other", 1, 30)
    assert most_so_far(now, "to_act") == 9
    assert most_so_far(now, "shards") == 0


@given(st.integers(1, 300), st.integers(1, 50))
def test_tasks_that_run_side_by_side_share_a_connection_s_rate(tasks: int, at_once: int) -> None:
    share = share_of(Settings(tasks_at_once=at_once), tasks)
    assert share * min(tasks, at_once) == pytest.approx(1)
