"""What changed between two versions of the indicators. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import polars as pl

from retract.indicators.merge import COMPARED, NO_LONGER_LISTED, SOURCE_REMOVED, same_end
from retract.indicators.snapshot import REVOKED


class Change(StrEnum):
    """What happened to an indicator, the weightiest first where several things did."""

    ADDED = "added"
    FORGOTTEN = "forgotten"
    """Long out of force, and no longer kept."""
    REACTIVATED = "reactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"
    NO_LONGER_LISTED = "no_longer_listed"
    """And out of force with that."""
    SOURCE_REMOVED = "source_removed"
    HELD_BACK = "held_back"
    RELEASED = "released"
    """No longer held back."""
    RESTATED = "restated"
    """The source says something else of it, as its end, or that it lists it no more."""


_IDENTITY: Final = ("indicator_id", "type", "value", "source")
_SHOWN: Final = (*COMPARED, "expires_at", "last_seen")


def changes(
    before: pl.DataFrame | pl.LazyFrame, after: pl.DataFrame | pl.LazyFrame
) -> pl.DataFrame:
    """One row for each indicator that is not as it was, by source, type and value.

    Both frames have the shape of the indicators table. Columns: indicator_id, type, value,
    source, change (a `Change`), and what the row says as before_… and after_…, null on the side
    where it is not there. A later last_seen, with the end that moves along, is no change.
    """
    return _changes(before.lazy(), after.lazy()).sort("source", "type", "value").collect()


def counts(before: pl.DataFrame, after: pl.DataFrame) -> dict[Change, int]:
    """How many changes there are of each kind."""
    found = _changes(before.lazy(), after.lazy()).group_by("change").len().collect()
    return {Change(change): count for change, count in found.iter_rows()}


def _changes(before: pl.LazyFrame, after: pl.LazyFrame) -> pl.LazyFrame:
    was = before.select(*_IDENTITY, *(pl.col(name).alias(f"before_{name}") for name in _SHOWN))
    now = after.select(*_IDENTITY, *(pl.col(name).alias(f"after_{name}") for name in _SHOWN))
    both = was.join(now, on=_IDENTITY, how="full", coalesce=True)
    return both.with_columns(change=_change()).filter(pl.col("change").is_not_null())


def _change() -> pl.Expr:
    was_active, is_active = pl.col("before_active"), pl.col("after_active")
    was_held = pl.col("before_held_back").is_not_null()
    is_held = pl.col("after_held_back").is_not_null()
    reason = pl.col("after_inactive_because")
    ended = (
        pl.when(reason == REVOKED)
        .then(pl.lit(Change.REVOKED))
        .when(reason == NO_LONGER_LISTED)
        .then(pl.lit(Change.NO_LONGER_LISTED))
        .when(reason == SOURCE_REMOVED)
        .then(pl.lit(Change.SOURCE_REMOVED))
        .otherwise(pl.lit(Change.EXPIRED))
    )
    differs = pl.any_horizontal(
        ~same_end("before_", "after_"),
        *(pl.col(f"before_{name}").ne_missing(f"after_{name}") for name in COMPARED),
    )
    return (
        pl.when(was_active.is_null())
        .then(pl.lit(Change.ADDED))
        .when(is_active.is_null())
        .then(pl.lit(Change.FORGOTTEN))
        .when(~was_active & is_active)
        .then(pl.lit(Change.REACTIVATED))
        .when(was_active & ~is_active)
        .then(ended)
        .when(~was_held & is_held)
        .then(pl.lit(Change.HELD_BACK))
        .when(was_held & ~is_held)
        .then(pl.lit(Change.RELEASED))
        .when(differs)
        .then(pl.lit(Change.RESTATED))
        .otherwise(None)
    )
