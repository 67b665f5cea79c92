"""Gmail's quota: what a call costs, and when there is room for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

# Units in force since 1 May 2026: https://developers.google.com/workspace/gmail/api/reference/quota
GET_PROFILE = 1
LIST_LABELS = 1
LIST_HISTORY = 2
LIST_MESSAGES = 5
MODIFY_MESSAGE = 5
UNTRASH_MESSAGE = 5
DELETE_MESSAGE = 10  # messages.get: a setting
BATCH_MODIFY = 50
BATCH_DELETE = 50

_WINDOW_SECONDS = 61.0
"""A minute, and a little: the service counts a call when it arrives, we when it leaves."""
_BUCKET_SECONDS = 1.0
_MOST_USERS = 1_000


class Spending:
    """Units spent in any minute. Kept by the second, so its size is bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def wait(self, units: int, now: float) -> float:
        """Seconds until there is room for them; 0 when there is now.

        More than the limit itself passes alone: the service may know better.
        """
        total = self._total
        wait = 0.0
        for moment, spent in self._spent:
            free_in = moment + _WINDOW_SECONDS - now
            if free_in > wait:
                if total + units <= self._limit:
                    break
                wait = free_in
            total -= spent
        return wait

    def spend(self, units: int, now: float) -> None:
        """Count them."""
        while self._spent and self._spent[0][0] + _WINDOW_SECONDS <= now:
            self._total -= self._spent.popleft()[1]
        if self._spent and now < self._spent[-1][0]:
            moment, spent = self._spent.pop()
            self._spent.append((moment, spent + units))
        else:  # a bucket's moment is its end: nothing in it is free too early
            self._spent.append((now + _BUCKET_SECONDS, units))
        self._total += units

    def is_idle(self, now: float) -> bool:
        """Whether nothing that was spent counts any more."""
        return not self._spent or self._spent[-1][0] + _WINDOW_SECONDS <= now


class Quota:
    """What the users and the whole project have spent. Safe to share between threads."""

    def __init__(self, per_user: int, per_project: int, seconds: Callable[[], float]) -> None:
        self._per_user = per_user
        self._seconds = seconds
        self._lock = threading.Lock()
        self._users: dict[str, Spending] = {}
        self._project = Spending(per_project)

    def take(self, user: str, units: int) -> float:
        """0 when the units were there, and are spent now; else in how many seconds to ask again."""
        with self._lock:
            now = self._seconds()
            own = self._users.get(user)
            if own is None:
                if len(self._users) >= _MOST_USERS:
                    self._users = {u: s for u, s in self._users.items() if not s.is_idle(now)}
                own = self._users[user] = Spending(self._per_user)
            wait = max(own.wait(units, now), self._project.wait(units, now))
            if not wait:
                own.spend(units, now)
                self._project.spend(units, now)
            return wait
