"""Request budgets and concurrency limits, counted per key."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta


class Budget:
    """So many units in any window of this length, for each key on its own."""

    def __init__(self, limit: int, window: timedelta, clock: Callable[[], datetime]) -> None:
        self.limit = limit
        self.window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: dict[str, deque[tuple[datetime, int]]] = {}
        self._total: Counter[str] = Counter()

    def spend(self, key: str, units: int = 1) -> timedelta | None:
        """None when the units were granted; else how long until they could be."""
        now = self._clock()
        with self._lock:
            spent = self._spent.setdefault(key, deque())
            while spent and spent[0][0] <= now - self.window:
                self._total[key] -= spent.popleft()[1]
            if self._total[key] + units > self.limit:
                oldest = spent[0][0] if spent else now
                return oldest + self.window - now
            spent.append((now, units))
            self._total[key] += units
            return None


class Slots:
    """At most so many calls under way at once, for each key on its own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, key: str) -> Iterator[bool]:
        """Yields whether there was a free slot; it is given back at the end."""
        with self._lock:
            granted = self._taken[key] < self.limit
            self._taken[key] += granted
        try:
            yield granted
        finally:
            if granted:
                with self._lock:
                    self._taken[key] -= 1
