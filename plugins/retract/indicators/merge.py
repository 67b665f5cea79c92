"""Merge: what was known of the indicators, and what the sources list now. Pure.

A row is one source's opinion of one value, so every source is merged by itself. Where nothing
would change but the moment of the last listing, the rows stay as they are for a while: else a
million of them would be written again at every refresh. See `_stamp_is_due`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from retract.indicators.changes import differing, paired
from retract.indicators.feeds import Source
from retract.indicators.hold_back.rules import NO_HOLD_BACK, HoldBack
from retract.indicators.snapshot import End, Snapshot
from retract.lake.tables import INDICATORS_TABLE
from retract.model import ObservableType

FORGET_AFTER: Final = timedelta(days=365)
"""Rows no longer in force stay this long, for their first_seen and for explanations."""

STAMP_EVERY: Final = timedelta(days=1)
STAMPS_A_LIFE: Final = 8
"""A listed row is stamped anew once its last_seen is older than a day, or than an eighth of its
time to live: while it is listed it stays in force, and its end is never much too early. What
ceases to be listed is stamped with the very moment when it last was."""

BELOW_FLOOR: Final = "its confidence of {} is below the floor of {} of its source"

_FLOOR_WORDS: Final = BELOW_FLOOR.partition("{}")[0]
_COLUMNS: Final = INDICATORS_TABLE.empty().columns
_TIME: Final = INDICATORS_TABLE.empty().schema["last_seen"]


def merge(
    current: pl.DataFrame | None,
    snapshots: Iterable[Snapshot],
    now: datetime,
    sources: Iterable[Source] = (),
    *,
    hold_back: HoldBack = NO_HOLD_BACK,
) -> pl.DataFrame:
    """All indicators after these snapshots, in the shape of the indicators table.

    Every row is judged by ``hold_back``. Sources without a snapshot keep their rows.
    """
    current = INDICATORS_TABLE.empty() if current is None else current
    read = {snapshot.source: snapshot for snapshot in snapshots}
    settings = {source.name: source for source in sources}
    names = sorted({*read, *current["source"].unique()})
    merged = [
        merge_source(
            current.filter(source=name),
            settings.get(name),
            read.get(name),
            now,
            hold_back=hold_back,
        )
        for name in names
    ]
    return pl.concat([INDICATORS_TABLE.empty(), *merged])


def merge_source(
    current: pl.DataFrame,
    source: Source | None,
    snapshot: Snapshot | None,
    now: datetime,
    *,
    last_read_at: datetime | None = None,
    hold_back: HoldBack = NO_HOLD_BACK,
    judged_before: bool = False,
) -> pl.DataFrame:
    """One source's rows after this snapshot; ``current`` itself when nothing is to change.

    ``snapshot`` is None when the source could not be read: its rows expire as they would.
    ``last_read_at`` is the good reading before this one. With ``judged_before``, the rows that
    are there were judged by the same ``hold_back``.
    """
    time_to_live = None if source is None else source.time_to_live
    gives_all = snapshot is None or snapshot.facts.complete
    if source is None or source.gives_news_only or not gives_all:
        last_read_at = None  # that reading does not say that it listed all these
    stated, revoked = _stated(current, snapshot, time_to_live, now)
    rest = current.join(stated, on="indicator_id", how="anti")
    after = pl.concat(
        [
            _listed_again(stated, current, now),
            _unlisted(rest, revoked, snapshot, last_read_at, time_to_live, now),
        ]
    )
    floor = 0 if source is None else source.confidence_floor
    after = _judged(after, current, floor, hold_back, judged_before=judged_before)
    if not _is_to_write(current, after, now):
        return current
    return after.sort("type", "value")


def is_settled(rows: pl.LazyFrame, source: Source | None, now: datetime) -> bool:
    """Whether one source's rows stay as they are when there is nothing new to merge into them.

    Only small columns are read, so a large source that has nothing new costs next to nothing.
    It may be False though nothing would change. The rows must have been judged before.
    """
    floor = 0 if source is None else source.confidence_floor
    has_floor_reason = pl.col("held_back").str.starts_with(_FLOOR_WORDS).fill_null(False)
    may_change = (
        (pl.col("active") & _has_ended(now))
        | (pl.col("listed") & ~pl.col("active"))
        | (pl.col("listed") & _stamp_is_old(now))
        | ~_is_remembered(now)
        | (pl.col("confidence") < floor)
        | has_floor_reason
    )
    return not rows.select(may_change.any()).collect().item()


def without_source(current: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The rows of a source that is no longer configured; ``current`` itself when none changes."""
    if not (current["active"].any() or current["listed"].any() or _forgotten(current, now)):
        return current
    return current.with_columns(
        listed=pl.lit(False),
        active=pl.lit(False),
        changed_at=pl.when("active").then(pl.lit(now)).otherwise("changed_at").cast(_TIME),
        inactive_because=pl.when("active")
        .then(pl.lit(End.SOURCE_REMOVED))
        .otherwise("inactive_because"),
    ).filter(_is_remembered(now))


def _stated(
    current: pl.DataFrame, snapshot: Snapshot | None, time_to_live: timedelta | None, now: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that this reading lists, and the ids of those it revokes."""
    empty = INDICATORS_TABLE.empty()
    if snapshot is None:
        return empty, empty.select("indicator_id")
    if snapshot.facts.unchanged:
        if not snapshot.facts.complete:
            return empty, empty.select("indicator_id")
        again = current if current["listed"].all() else current.filter("listed")
        again = _stamped(again, snapshot.facts.read_at, time_to_live)
        return _in_force_by_its_end(again, now), empty.select("indicator_id")
    rows = snapshot.rows
    revoked = rows.filter(~pl.col("listed")).select("indicator_id")
    return (rows.filter("listed") if revoked.height else rows), revoked


def _stamped(rows: pl.DataFrame, seen_at: datetime, time_to_live: timedelta | None) -> pl.DataFrame:
    """The rows, last seen then; an end that follows from the time to live moves along."""
    last_seen = pl.max_horizontal("last_seen", pl.lit(seen_at).cast(_TIME))
    follows = pl.lit(False)
    if time_to_live is not None:
        follows = pl.col("expires_at") == pl.col("last_seen") + time_to_live
    expires_at = pl.col("expires_at")
    return rows.with_columns(
        last_seen=last_seen,
        expires_at=pl.when(follows)
        .then(last_seen + (time_to_live or timedelta(0)))
        .otherwise(expires_at),
    )


def _in_force_by_its_end(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    expired = _has_ended(now)
    return rows.with_columns(
        active=~expired,
        inactive_because=pl.when(expired).then(pl.lit(End.EXPIRED)).otherwise(None),
    )


def _listed_again(stated: pl.DataFrame, current: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What is listed, with what is remembered of it."""
    remembered = current.select(
        "indicator_id",
        since="first_seen",
        was_active="active",
        was_changed_at="changed_at",
        was_held_back="held_back",
    )
    # The join of the names alone, beside the rows: they are not copied.
    beside = stated.select("indicator_id").join(
        remembered, on="indicator_id", how="left", maintain_order="left"
    )
    flipped = pl.col("was_active").is_null() | (pl.col("was_active") != pl.col("active"))
    return (
        pl.concat([stated, beside.drop("indicator_id")], how="horizontal")
        .with_columns(
            first_seen=pl.min_horizontal("first_seen", "since"),
            changed_at=pl.when(flipped).then(pl.lit(now).cast(_TIME)).otherwise("was_changed_at"),
            held_back="was_held_back",
        )
        .select(_COLUMNS)
    )


def _unlisted(
    rows: pl.DataFrame,
    revoked: pl.DataFrame,
    snapshot: Snapshot | None,
    last_read_at: datetime | None,
    time_to_live: timedelta | None,
    now: datetime,
) -> pl.DataFrame:
    """What this reading does not list, or what there was when nothing could be read."""
    if last_read_at is not None:
        # Exactly how long it was listed: the stamp may be older.
        was_listed = rows.filter("listed")
        stamped = _stamped(was_listed, last_read_at, time_to_live)
        rows = pl.concat([stamped, rows.filter(~pl.col("listed"))])
    absent = snapshot is not None and snapshot.facts.complete and not snapshot.facts.unchanged
    withdrawn = pl.lit(absent and snapshot is not None and snapshot.facts.revokes_absent)
    is_revoked = pl.col("indicator_id").is_in(revoked["indicator_id"].implode())
    expired = _has_ended(now)
    ends = pl.col("active") & (is_revoked | withdrawn | expired)
    reason = (
        pl.when(is_revoked)
        .then(pl.lit(End.REVOKED))
        .when(withdrawn)
        .then(pl.lit(End.NO_LONGER_LISTED))
        .otherwise(pl.lit(End.EXPIRED))
    )
    return rows.with_columns(
        listed=pl.col("listed") & ~is_revoked & pl.lit(not absent),
        active=pl.col("active") & ~ends,
        changed_at=pl.when(ends).then(pl.lit(now).cast(_TIME)).otherwise("changed_at"),
        inactive_because=pl.when(ends).then(reason).otherwise("inactive_because"),
    ).filter(_is_remembered(now))


def _has_ended(now: datetime) -> pl.Expr:
    return (pl.col("expires_at") <= now).fill_null(False)


def _stamp_is_old(now: datetime) -> pl.Expr:
    life = pl.col("expires_at") - pl.col("last_seen")
    patience = pl.min_horizontal(pl.lit(STAMP_EVERY), life / STAMPS_A_LIFE)
    patience = pl.when(patience > timedelta(0)).then(patience).otherwise(pl.lit(STAMP_EVERY))
    return pl.lit(now).cast(_TIME) - pl.col("last_seen") > patience


def _is_remembered(now: datetime) -> pl.Expr:
    return pl.col("active") | (pl.col("last_seen") > now - FORGET_AFTER)


def _forgotten(rows: pl.DataFrame, now: datetime) -> bool:
    return not rows.select(_is_remembered(now).all()).item()


def _judged(
    rows: pl.DataFrame,
    current: pl.DataFrame,
    floor: int,
    hold_back: HoldBack,
    *,
    judged_before: bool,
) -> pl.DataFrame:
    """The rows with the reason that holds now, the floor before the lists.

    Where the lists judged a row already, that stands.
    """
    below = pl.col("confidence") < floor
    if judged_before:
        known = pl.col("indicator_id").is_in(current["indicator_id"].implode())
        had_floor_reason = pl.col("held_back").str.starts_with(_FLOOR_WORDS).fill_null(False)
        to_judge = ~below & (~known | had_floor_reason)
    else:
        to_judge = ~below
    asked = rows.select("type", "value", "confidence", "held_back", to_judge=to_judge)
    reasons = [
        hold_back.reason(ObservableType(kind), value) if ask else None
        for kind, value, ask in asked.select("type", "value", "to_judge").iter_rows()
    ]
    floor_reason = pl.format(BELOW_FLOOR, "confidence", pl.lit(floor))
    held_back = asked.with_columns(reason=pl.Series(reasons, dtype=pl.String)).select(
        held_back=pl.when(below)
        .then(floor_reason)
        .when("to_judge")
        .then("reason")
        .otherwise("held_back")
    )
    return rows.with_columns(held_back["held_back"])


def _is_to_write(current: pl.DataFrame, after: pl.DataFrame, now: datetime) -> bool:
    """Whether a row came, went or changed, or one has to be stamped anew."""
    if current.height != after.height:
        return True
    pairs = paired(current, after)
    if pairs.height != after.height:
        return True
    if differing(current, after, pairs).any():
        return True
    is_old = current.select(_stamp_is_old(now)).to_series()
    is_later = after["last_seen"][pairs["after"]] > current["last_seen"][pairs["before"]]
    return bool((is_old[pairs["before"]] & is_later).any())
