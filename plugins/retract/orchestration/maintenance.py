"""The steps of maintain_lake: forget what is past its retention, and keep the files few."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from retract.errors import ConfigurationError
from retract.installation import Settings
from retract.orchestration import clock
from retract.policy import load_policy


def known_for(settings: Settings) -> timedelta:
    """How long after its delivery mail stays in the lake's tables."""
    from retract.lake.tables import FORGET_AHEAD

    return timedelta(days=settings.retention_days) - FORGET_AHEAD


def kept_from(settings: Settings, lookback: timedelta, now: datetime) -> datetime:
    """What was delivered since then is in the lake, or may be collected.

    All of the lookback is, also where `expire` says that this is longer than mail is known.
    """
    day = (now - max(known_for(settings), lookback)).astimezone(UTC).date()
    return datetime.combine(day, time.min, UTC)


def expire(settings: Settings) -> dict[str, int]:
    """Take mail out of the lake, so early that it has left every file by the end of its
    retention. Returns the counts.

    Raises ConfigurationError when the policy's lookback is longer than that: what a run judges
    must not be forgotten under it.
    """
    from retract.lake.store import Lake
    from retract.lake.tables import FORGET_AHEAD

    lookback = load_policy(settings.policy_file).lookback
    known = known_for(settings)
    if known < lookback:
        least = -((lookback + FORGET_AHEAD) // timedelta(days=-1))
        raise ConfigurationError(
            f"RETRACT_RETENTION_DAYS is {settings.retention_days}, and mail leaves the lake "
            f"{FORGET_AHEAD.days} days before that, so that all its files are gone in time: "
            f"too early for the policy's lookback of {lookback / timedelta(days=1):g} days; set "
            f"it to {least} or more, or shorten the lookback"
        )
    return Lake(settings.lake).expire(clock.utc_now() - known).model_dump()


def compact(settings: Settings) -> int:
    """Join the lake's small files. Returns how many fewer there are."""
    from retract.lake.store import Lake

    return Lake(settings.lake).compact()
