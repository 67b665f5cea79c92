"""Calls that wait for their turn, mailbox by mailbox, so that no mailbox is asked too much."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

CALLS_AT_ONCE = 4
"""Of one application to one mailbox: learn.microsoft.com/graph/throttling-limits, Outlook."""

T = TypeVar("T")


class Lanes(Generic[T]):
    """A lane a mailbox. The lanes take turns; in a lane what came first goes first.

    The lane named "" is no mailbox's and has no limit.
    """

    def __init__(self, lane_of: Callable[[T], str], at_once: int = CALLS_AT_ONCE) -> None:
        self._lane_of = lane_of
        self._at_once = at_once
        self._waiting: dict[str, deque[T]] = {}
        self._open: deque[str] = deque()
        """The lanes that someone waits in and that may send, in the order of their turns."""
        self._is_open: set[str] = set()
        self._under_way: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    def put(self, items: Iterable[T]) -> None:
        """To the ends of their lanes."""
        for item in items:
            lane = self._lane_of(item)
            self._waiting.setdefault(lane, deque()).append(item)
            self._open_if_ready(lane)

    def put_back(self, items: Iterable[T]) -> None:
        """To the heads of their lanes: they were on their way before."""
        for item in items:
            lane = self._lane_of(item)
            self._waiting.setdefault(lane, deque()).appendleft(item)
            self._open_if_ready(lane)

    def take(self, most: int) -> list[T]:
        """The next ones, no more than ``most``; under way until they are `done`."""
        taken: list[T] = []
        while self._open and len(taken) < most:
            lane = self._open.popleft()
            self._is_open.discard(lane)
            if not self._may_send(lane):
                continue
            taken.append(self._waiting[lane].popleft())
            if not self._waiting[lane]:
                del self._waiting[lane]
            self._under_way[lane] += 1
            self._open_if_ready(lane)
        return taken

    def done(self, item: T) -> None:
        """The call is over; its place is free for the next one."""
        lane = self._lane_of(item)
        self._under_way[lane] -= 1
        if not self._under_way[lane]:
            del self._under_way[lane]
        self._open_if_ready(lane)

    def hold(self, lane: str) -> None:
        """Nobody may go from this lane until as many calls of `release`."""
        self._held[lane] += 1

    def release(self, lane: str) -> None:
        """Take back one `hold`."""
        self._held[lane] -= 1
        if not self._held[lane]:
            del self._held[lane]
        self._open_if_ready(lane)

    def clear(self, lane: str | None = None) -> list[T]:
        """Everyone who waits in the lane, or in all of them; they wait no more."""
        lanes = list(self._waiting) if lane is None else [lane]
        return [item for name in lanes for item in self._waiting.pop(name, ())]

    def _open_if_ready(self, lane: str) -> None:
        if lane not in self._is_open and self._may_send(lane):
            self._is_open.add(lane)
            self._open.append(lane)

    def _may_send(self, lane: str) -> bool:
        if lane not in self._waiting or self._held[lane]:
            return False
        return not lane or self._under_way[lane] < self._at_once
