"""When a mailbox's task is tried again: the wait is Airflow's, no task sleeps through it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

from retract.errors import (
    AuthenticationFailed,
    ClaimLost,
    ConfigurationError,
    MailboxUnavailable,
    PermissionDenied,
    RetractError,
    Throttled,
)
from retract.installation import Settings
from retract.orchestration import clock

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

PERMANENT = (AuthenticationFailed, ConfigurationError, MailboxUnavailable, PermissionDenied)
"""Waiting does not mend these: a person has to."""

_MOST_TOLD = 10
_LONGEST_SECONDS = 900.0
_LONGEST_ASKED_SECONDS = 3600.0
"""A run that waited longer would keep the runs after it from starting."""


class ShardFailed(RetractError):
    """Some mailboxes of a shard failed; the others are done. Raised after all were tried."""

    def __init__(self, failures: Mapping[str, Exception]) -> None:
        self.failures = dict(failures)
        told = [f"{mailbox}: {error}" for mailbox, error in self.failures.items()]
        super().__init__(f"{len(told)} mailbox(es) failed: {joined(told)}")

    @property
    def permanent(self) -> bool:
        """Whether no retry can help any of them."""
        return all(isinstance(error, PERMANENT) for error in self.failures.values())


def add_failure(
    failures: dict[str, Exception], address: str, connection: str, error: Exception
) -> None:
    """Add a mailbox's failure under its address. Two connections may have mailboxes of one
    address: neither hides the other."""
    name = f"{address} of {connection}" if address in failures else address
    failures[name] = error


def joined(problems: Sequence[str]) -> str:
    """Problems as one error tells them: the first few, and how many more there are."""
    more = [f"and {len(problems) - _MOST_TOLD} more"] if len(problems) > _MOST_TOLD else []
    return "; ".join([*problems[:_MOST_TOLD], *more])


def asked_seconds(error: BaseException, now: datetime) -> float | None:
    """How long to wait at least, in seconds: what a provider asked for, or until another
    worker's hold ends; None where nobody said.

    Of a shard's mailboxes the longest that is not too long to wait for: one of them that has to
    wait for hours is left to a later run, and keeps no other from being tried again.
    """
    if isinstance(error, ShardFailed):
        can_wait = [one for one in error.failures.values() if not isinstance(one, PERMANENT)]
        waits = [asked_seconds(failure, now) or 0.0 for failure in can_wait]
        bearable = [wait for wait in waits if wait <= _LONGEST_ASKED_SECONDS]
        return max(bearable or waits, default=0.0) or None
    if isinstance(error, Throttled):
        return error.retry_after
    if isinstance(error, ClaimLost) and error.until is not None:
        return max(0.0, (error.until - now).total_seconds())
    return None


def wait_seconds(base: float, try_number: int, asked: float | None, shard: int) -> float:
    """How long to wait before the next try, in seconds: ``base`` doubled with each try.

    Never less than the provider asked for. The jitter depends on the shard, so that shards
    that failed together do not come back together.
    """
    backoff = min(base * 2.0 ** (try_number - 1), _LONGEST_SECONDS)
    jitter = random.Random(f"{shard}/{try_number}").random()
    return (asked or 0.0) + backoff * (0.5 + jitter)


class MailboxRetryPolicy(RetryPolicy):
    """Fail at once what waiting cannot mend; else wait as the provider asks, with jitter."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        if isinstance(exception, PERMANENT):
            return RetryDecision.fail(str(exception))
        if isinstance(exception, ShardFailed) and exception.permanent:
            return RetryDecision.fail(str(exception))
        asked = asked_seconds(exception, clock.utc_now())
        if asked is not None and asked > _LONGEST_ASKED_SECONDS:
            return RetryDecision.fail(
                f"the provider asks for a wait of more than {_LONGEST_ASKED_SECONDS / 60:.0f} "
                f"minutes: a later run goes on from here ({exception})"
            )
        shard = context["ti"].map_index if context else -1
        seconds = wait_seconds(Settings().retry_seconds, try_number, asked, shard or 0)
        return RetryDecision.retry(
            timedelta(seconds=seconds), f"{type(exception).__name__}: tried {try_number}"
        )

    def serialize(self) -> dict[str, Any]:
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MailboxRetryPolicy:
        return cls()
