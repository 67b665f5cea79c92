"""How much is dealt with at once: waves of copies, as large as their steps' time allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from retract.retraction.plan import PlannedRetraction

FIRST_WAVE: Final = 24
"""Copies before anything is known of the service's speed: one round trip of a few batches."""

_STEP: Final = 0.25
"""The part of a lease that a step of a wave may take: a step that takes four times as long as
the ones before is still within the lease."""

_GROWTH: Final = 4


@dataclass(frozen=True, slots=True)
class Part:
    """As much of a mailbox as goes into one wave."""

    key: str
    retractions: Sequence[PlannedRetraction]

    def without(self, copy_ids: Collection[str]) -> Part:
        """The others of it."""
        return Part(self.key, [each for each in self.retractions if each.copy_id not in copy_ids])


def next_size(
    size: int, copies: int, longest_step: timedelta, lease: timedelta, most: int = 400
) -> int:
    """How many copies the next wave may have, after one of ``copies`` that might have had
    ``size``, and whose longest step without a renewal of the lease took so long."""
    allowed = lease * _STEP
    if longest_step > allowed:
        return max(1, min(size, int(copies * (allowed / longest_step))))
    fitting = int(copies * (allowed / longest_step)) if longest_step else most
    return min(most, max(size, min(fitting, copies * _GROWTH)))


@dataclass(slots=True)
class Waves:
    """Mailboxes' copies that wait for their turn."""

    waiting: deque[Part] = field(default_factory=deque)

    @classmethod
    def of(cls, to_do: Mapping[str, Sequence[PlannedRetraction]]) -> Waves:
        """Of mailboxes by their keys, each whole."""
        return cls(deque(Part(key, some) for key, some in to_do.items() if some))

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def take(self, size: int) -> list[Part]:
        """The next ones in their order, ``size`` copies at most; mailboxes whole where they fit."""
        wave: list[Part] = []
        left = size
        while self.waiting and left:
            part = self.waiting[0]
            if len(part.retractions) > left:
                if not wave:
                    wave.append(Part(part.key, part.retractions[:left]))
                    self.waiting[0] = Part(part.key, part.retractions[left:])
                break
            wave.append(self.waiting.popleft())
            left -= len(part.retractions)
        return wave

    def put_back(self, retractions: Iterable[PlannedRetraction]) -> None:
        """There was no time for these: they are next."""
        self.waiting.extendleft(reversed(list(parts_of(retractions))))


def parts_of(retractions: Iterable[PlannedRetraction]) -> Iterator[Part]:
    """The retractions by mailbox."""
    by_key: dict[str, list[PlannedRetraction]] = {}
    for each in retractions:
        by_key.setdefault(each.mailbox_key, []).append(each)
    return (Part(key, some) for key, some in by_key.items())
