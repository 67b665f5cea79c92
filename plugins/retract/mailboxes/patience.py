"""Short waits inside one call to a provider; a long wait is the scheduler's business."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from retract.errors import MailboxError, TenantUnreachable, Throttled

T = TypeVar("T")

_UNANSWERED_TRIES = 3
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 8.0


@dataclass(slots=True)
class Tries:
    """How often one call was tried, and how long it waited in between."""

    made: int = 0
    unanswered: int = 0
    """How many of them met no answer."""
    waited: float = 0.0
    """Seconds in all."""

    def next_wait(self, error: MailboxError, total_seconds: float) -> float | None:
        """Seconds to wait before the call is tried again after this error; None when it is not.

        Only Throttled and TenantUnreachable are tried again: a call that met them was not
        carried out. All waits together are never longer than ``total_seconds``.
        """
        self.made += 1
        if not isinstance(error, Throttled | TenantUnreachable):
            return None
        self.unanswered += isinstance(error, TenantUnreachable)
        if self.unanswered >= _UNANSWERED_TRIES:
            return None
        # Our own pace is the floor: some answers say "1" again and again for minutes.
        asked = error.retry_after if isinstance(error, Throttled) else None
        wait = max(asked or 0.0, _own_pace(self.made))
        if self.waited + wait > total_seconds:
            return None
        self.waited += wait
        return wait


@dataclass(frozen=True, slots=True)
class Patience:
    """Tries again what is safe to try again, until the waits would add up to too much."""

    total_seconds: float
    """The longest sum of waits within one call. A provider that asks for more is told on."""
    sleep: Callable[[float], None] = time.sleep

    def call(self, attempt: Callable[[], T]) -> T:
        """The result of ``attempt``, or its last error."""
        tries = Tries()
        while True:
            try:
                return attempt()
            except MailboxError as error:
                wait = tries.next_wait(error, self.total_seconds)
                if wait is None:
                    raise
            self.sleep(wait)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header; None when it is missing or nonsense.

    Whole seconds and HTTP dates are in RFC 9110; Microsoft Graph also sends decimals.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
        except (OverflowError, ValueError):
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return max((until - now).total_seconds(), 0.0)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _own_pace(tries: int) -> float:
    """Anywhere between nothing and a bound that doubles, so that many callers spread out."""
    bound = min(_FIRST_WAIT_SECONDS * 2.0 ** min(tries, 10), _LONGEST_WAIT_SECONDS)
    return random.uniform(0, bound)  # noqa: S311  it guards nothing
