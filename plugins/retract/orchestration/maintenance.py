"""The steps of maintain_lake: forget what is past its retention, and keep the files few."""

from __future__ import annotations

from datetime import timedelta

from retract.errors import ConfigurationError
from retract.installation import Settings
from retract.orchestration.clock import utc_now
from retract.policy import load_policy


def expire(settings: Settings) -> dict[str, int]:
    """Take mail delivered longer ago than the retention out of the lake. Returns the counts.

    Raises ConfigurationError when the retention is shorter than the policy's lookback: what a
    run judges must not be forgotten under it.
    """
    from retract.lake.store import Lake

    retention = timedelta(days=settings.retention_days)
    lookback = load_policy(settings.policy_file).lookback
    if retention < lookback:
        raise ConfigurationError(
            f"RETRACT_RETENTION_DAYS is {settings.retention_days}, shorter than the policy's "
            f"lookback of {lookback.days} days: raise the one or shorten the other"
        )
    return Lake(settings.lake).expire(utc_now() - retention).model_dump()


def compact(settings: Settings) -> int:
    """Join the lake's small files. Returns how many fewer there are."""
    from retract.lake.store import Lake

    return Lake(settings.lake).compact()
