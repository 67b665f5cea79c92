"""Short waits inside one call to a provider; a long wait is the scheduler's business."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from retract.errors import TenantUnreachable, Throttled

T = TypeVar("T")

_UNANSWERED_TRIES = 3
_OWN_PACE = wait_random_exponential(multiplier=0.25, max=8)


@dataclass(frozen=True, slots=True)
class Patience:
    """Tries again what is safe to try again, until the waits would add up to too much.

    Retried are Throttled and TenantUnreachable: a call that raises them was not carried out.
    OutcomeUnknown is never retried.
    """

    total_seconds: float
    """The longest sum of waits within one call. A provider that asks for more is told on."""
    sleep: Callable[[float], None] = time.sleep

    def call(self, attempt: Callable[[], T]) -> T:
        """The result of ``attempt``, or its last error."""
        return Retrying(
            retry=retry_if_exception_type((Throttled, TenantUnreachable)),
            wait=_wait,
            stop=self._is_over,
            sleep=self.sleep,
            reraise=True,
        )(attempt)

    def _is_over(self, state: RetryCallState) -> bool:
        if isinstance(_error(state), TenantUnreachable) and (
            state.attempt_number >= _UNANSWERED_TRIES
        ):
            return True
        return state.idle_for + state.upcoming_sleep > self.total_seconds


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


def _wait(state: RetryCallState) -> float:
    # Our own pace is the floor: some answers say "1" again and again for minutes.
    error = _error(state)
    asked = error.retry_after if isinstance(error, Throttled) else None
    return max(asked or 0.0, _OWN_PACE(state))


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
