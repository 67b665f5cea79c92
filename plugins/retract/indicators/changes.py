"""What changed between two versions of the indicators. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import polars as pl

from retract.indicators.snapshot import End


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
    """Something else is said of it: its end, why it is held back, that it is listed no more …"""


_CHANGE_OF_END: Final = {
    End.EXPIRED.value: Change.EXPIRED.value,
    End.REVOKED.value: Change.REVOKED.value,
    End.NO_LONGER_LISTED.value: Change.NO_LONGER_LISTED.value,
    End.SOURCE_REMOVED.value: Change.SOURCE_REMOVED.value,
}
_IDENTITY: Final = ("indicator_id", "type", "value", "source")
_COMPARED: Final = (
    "lookup",
    "exact_only",
    "disposition",
    "confidence",
    "campaign",
    "reference",
    "tags",
    "sightings",
    "first_seen",
    "listed",
    "held_back",
    "active",
    "inactive_because",
)
"""A row that differs in one of these, or in its end, has changed."""
_SHOWN: Final = (*_COMPARED, "last_seen", "expires_at", "changed_at")


def changes(
    before: pl.DataFrame | pl.LazyFrame, after: pl.DataFrame | pl.LazyFrame
) -> pl.DataFrame:
    """One row for each indicator that is not as it was, by source, type and value.

    Both frames have the shape of the indicators table. Columns: indicator_id, type, value,
    source, change (a `Change`), and what the row says as before_… and after_…, null on the side
    where it is not there. A later last_seen, with an end that moves along, is no change.
    """
    was, now = before.lazy(), after.lazy()
    names = pl.concat([one.select(pl.col("source").unique()).collect() for one in (was, now)])
    # Source by source, which are partitions: all at once would be twice the table in memory.
    parts = [_changes(_of(was, name), _of(now, name)) for name in sorted(set(names["source"]))]
    empty = pl.DataFrame(schema=before.lazy().collect_schema())
    return pl.concat([_changes(empty, empty), *parts])


def counts(before: pl.DataFrame, after: pl.DataFrame) -> dict[Change, int]:
    """How many changes there are of each kind."""
    found = _kinds(before, after)["change"].value_counts()
    return {Change(change): count for change, count in found.iter_rows()}


def paired(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """(indicator_id, before, after): where each indicator's row is; null where there is none."""
    return (
        before.select("indicator_id")
        .with_row_index("before")
        .join(
            after.select("indicator_id").with_row_index("after"),
            on="indicator_id",
            how="full",
            coalesce=True,
        )
    )


def differing(before: pl.DataFrame, after: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
    """For each of these `paired` rows, whether it says something else than before."""
    at, now_at = pairs["before"], pairs["after"]
    was, now = before["expires_at"][at], after["expires_at"][now_at]
    lived, lives = was - before["last_seen"][at], now - after["last_seen"][now_at]
    same_end = was.eq_missing(now) | (lived == lives).fill_null(False)
    different = ~same_end
    # One column at a time: all columns of all pairs would be as large as the table itself.
    for name in _COMPARED:
        different |= before[name][at].ne_missing(after[name][now_at])
    return different


def _of(rows: pl.LazyFrame, source: str) -> pl.DataFrame:
    return rows.filter(pl.col("source") == source).collect()


def _changes(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The changes of one source."""
    found = _kinds(before, after)
    sides = [
        frame.join(found, on="indicator_id", how="semi").select(
            *_IDENTITY, *(pl.col(name).name.prefix(prefix) for name in _SHOWN)
        )
        for frame, prefix in ((before, "before_"), (after, "after_"))
    ]
    both = sides[0].join(sides[1], on=_IDENTITY, how="full", coalesce=True)
    columns = [*_IDENTITY, "change", *sides[0].columns[4:], *sides[1].columns[4:]]
    return both.join(found, on="indicator_id").select(columns).sort(_IDENTITY[1:])


def _kinds(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """(indicator_id, change) of each indicator that is not as it was."""
    rows = paired(before, after)
    stayed = rows.drop_nulls()
    stayed = stayed.filter(differing(before, after, stayed))
    facts = ("active", "held_back", "inactive_because")
    sides = (
        frame.select(pl.col(name).name.prefix(f"{side}_") for name in facts)[stayed[side]]
        for frame, side in ((before, "before"), (after, "after"))
    )
    changed = pl.concat([stayed.select("indicator_id"), *sides], how="horizontal")
    gone = rows.filter(pl.col("after").is_null())
    new = rows.filter(pl.col("before").is_null())
    return pl.concat(
        [
            new.select("indicator_id", change=pl.lit(Change.ADDED)),
            gone.select("indicator_id", change=pl.lit(Change.FORGOTTEN)),
            changed.select("indicator_id", change=_kind()),
        ]
    )


def _kind() -> pl.Expr:
    """Of a row that is there before and after, and differs."""
    was_active, is_active = pl.col("before_active"), pl.col("after_active")
    was_held = pl.col("before_held_back").is_not_null()
    is_held = pl.col("after_held_back").is_not_null()
    return (
        pl.when(is_active & ~was_active)
        .then(pl.lit(Change.REACTIVATED))
        .when(was_active & ~is_active)
        .then(pl.col("after_inactive_because").replace_strict(_CHANGE_OF_END))
        .when(is_held & ~was_held)
        .then(pl.lit(Change.HELD_BACK))
        .when(was_held & ~is_held)
        .then(pl.lit(Change.RELEASED))
        .otherwise(pl.lit(Change.RESTATED))
    )
