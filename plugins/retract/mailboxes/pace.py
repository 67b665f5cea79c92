"""A pace for calls to a provider that limits how many come in a stretch of time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

_WINDOW_SECONDS: Final = 1.03
"""A second, and a little: the service counts a call when it arrives, we when it leaves."""

_CREDIT_SECONDS: Final = 0.5


class Pace:
    """Evenly, and not more than so many calls in any second, and so in any longer time.

    Half a second that passed idly, between the steps of a piece of work, is made up for.
    """

    def __init__(
        self,
        per_second: float,
        sleep: Callable[[float], Awaitable[None]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._sleep = sleep
        self._now = now
        self._next = self._last = now()
        self._counted: deque[tuple[float, int]] = deque()
        """Until when so many calls count, in their order."""
        self._total = 0

    async def keep(self, calls: int) -> None:
        """Wait until so many more calls may be made.

        More than a second's calls go alone, and count for as long as they would take.
        """
        now = self._now()
        self._next = max(self._next, now - _CREDIT_SECONDS)
        turn = max(self._next, self._last, now)
        while self._counted and self._total + calls > self._per_second:
            until, some = self._counted.popleft()
            turn = max(turn, until)
            self._total -= some
        # Taken before the wait: who comes meanwhile waits for a later turn.
        takes = calls / self._per_second
        self._next += takes
        self._last = turn
        self._counted.append((turn + max(_WINDOW_SECONDS, takes), calls))
        self._total += calls
        if turn > now:
            await self._sleep(turn - now)
