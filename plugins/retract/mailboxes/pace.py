"""An even pace for calls to a provider that limits how many come in a second."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable


class Pace:
    """So many calls a second on average; a handful at once take the time of as many."""

    def __init__(
        self,
        per_second: float,
        sleep: Callable[[float], Awaitable[None]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds_each = 1 / per_second
        self._sleep = sleep
        self._now = now
        self._next = now()

    async def keep(self, calls: int) -> None:
        """Wait until so many more calls may be made."""
        now = self._now()
        turn = max(self._next, now)
        # Taken before the wait: who comes meanwhile waits for a later turn.
        self._next = turn + calls * self._seconds_each
        if turn > now:
            await self._sleep(turn - now)
