"""Refresh: what the sources list now becomes a new version of the indicators.

A source that cannot be read changes nothing: its indicators stay, and expire as they would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict

from retract.errors import FeedError, LakeError
from retract.indicators import csv_table, plain_list, stix_bundle
from retract.indicators.feeds import FeedsFile, Format, Source
from retract.indicators.fetching.fetch import documents
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.listed import ParsedFeed, Rejected
from retract.indicators.snapshot import Snapshot, snapshot_of
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE
from retract.model import ObservableType

FORGET_AFTER: Final = timedelta(days=365)
"""Rows no longer in force stay this long, for their first_seen and for explanations."""

_COMMIT_ATTEMPTS: Final = 5
_PARSERS: Final[dict[Format, Callable[[bytes, Source], ParsedFeed]]] = {
    Format.PLAIN_LIST: plain_list.parse,
    Format.CSV: csv_table.parse,
    Format.STIX: stix_bundle.parse,
}


class SourceReport(BaseModel):
    """What a refresh did with one source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    listed: int = 0
    """Distinct indicators in the snapshot."""
    added: int = 0
    """New ones, and ones in force again."""
    expired: int = 0
    """In force before, and not any more: expired, withdrawn or revoked."""
    rejected: int = 0
    """Entries that are no usable indicators."""
    examples: tuple[Rejected, ...] = ()
    held_back: int = 0
    """Of those listed: kept with the reason, but matching nothing."""
    in_force: int = 0
    """Indicators of the source that match from now on."""
    error: str | None = None
    """Why the source could not be read; its last good version stays."""


class RefreshReport(BaseModel):
    """What a refresh did, and the version of the indicators it made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    sources: tuple[SourceReport, ...]

    @property
    def failed(self) -> tuple[SourceReport, ...]:
        return tuple(source for source in self.sources if source.error is not None)


def read_source(source: Source, now: datetime, hold_back: HoldBack | None = None) -> Snapshot:
    """What the source lists now. Raises FeedError when it cannot be read, or is no such feed."""
    whole = ParsedFeed()
    try:
        for name, data in documents(source):
            part = _parse(name, data, source)
            whole.indicators += part.indicators
            whole.rejected += part.rejected
    except FeedError as error:
        raise FeedError(f"{source.name}: {error}") from error
    if not whole.indicators and not source.may_be_empty:
        raise FeedError(
            f"{source.name}: it lists nothing, and an empty feed counts as broken; if it is an own "
            "list that may be empty, set may_be_empty: true"
        )
    return snapshot_of(whole, source, now, hold_back or HoldBack())


def merge(
    current: pl.DataFrame | None,
    snapshots: Iterable[Snapshot],
    now: datetime,
    feeds: FeedsFile | None = None,
) -> pl.DataFrame:
    """The indicators after these snapshots, in the shape of the indicators table.

    A row listed again keeps its first_seen. One no longer listed stays in force until it
    expires, or leaves at once when its source has no time to live. Sources without a snapshot
    keep their rows. With ``feeds``, rows of sources no longer configured leave, and what its
    hold_back names is held back in the rows of every source.
    """
    snapshots = list(snapshots)
    empty = INDICATORS_TABLE.empty()
    current = empty if current is None else current
    listed = pl.concat([empty, *(snapshot.rows for snapshot in snapshots)])
    earlier = current.select("indicator_id", earlier="first_seen")
    listed = (
        listed.join(earlier, on="indicator_id", how="left")
        .with_columns(first_seen=pl.min_horizontal("first_seen", "earlier"))
        .drop("earlier")
    )
    strict = [one.source for one in snapshots if one.facts.while_listed]
    withdrawn = pl.col("source").is_in(strict)
    if feeds is not None:
        withdrawn |= ~pl.col("source").is_in([source.name for source in feeds.enabled])
    expired = pl.col("expires_at").is_not_null() & (pl.col("expires_at") <= now)
    unlisted = (
        current.join(listed, on="indicator_id", how="anti")
        .with_columns(active=pl.col("active") & ~withdrawn & ~expired)
        .filter(pl.col("active") | (pl.col("last_seen") > now - FORGET_AFTER))
    )
    if feeds is not None:
        unlisted = _held_back(unlisted, feeds.hold_back)
    columns = empty.columns
    return pl.concat([listed.select(columns), unlisted.select(columns)]).sort(
        "source", "type", "value"
    )


def commit(
    feeds: FeedsFile,
    lake: Lake,
    snapshots: Iterable[Snapshot],
    errors: Mapping[str, str],
    now: datetime,
) -> RefreshReport:
    """Merge the snapshots into the lake's indicators as one new version.

    Raises LakeError when other refreshes keep coming first.
    """
    snapshots = list(snapshots)
    for attempt in range(1, _COMMIT_ATTEMPTS + 1):
        base = lake.versions().indicators
        current = lake.scan_indicators(base).collect()
        merged = merge(current, snapshots, now, feeds)
        try:
            version = lake.replace_indicators(merged, expected_version=base)
        except LakeError:
            if attempt == _COMMIT_ATTEMPTS or lake.versions().indicators == base:
                raise
        else:
            break
    return RefreshReport(version=version, sources=_reports(current, merged, snapshots, errors))


def _parse(name: str, data: bytes, source: Source) -> ParsedFeed:
    try:
        return _PARSERS[source.format](data, source)
    except FeedError as error:
        raise FeedError(f"{name} {error}") from error


def _held_back(rows: pl.DataFrame, hold_back: HoldBack) -> pl.DataFrame:
    """The rows with the reason that holds now: the list may have changed since they were read."""
    reasons = [
        hold_back.reason(ObservableType(kind), value)
        for kind, value in rows.select("type", "value").iter_rows()
    ]
    return rows.with_columns(held_back=pl.Series(reasons, dtype=pl.String))


def _reports(
    before: pl.DataFrame,
    after: pl.DataFrame,
    snapshots: Iterable[Snapshot],
    errors: Mapping[str, str],
) -> tuple[SourceReport, ...]:
    was, now_in_force = before.filter("active"), after.filter("active")
    added = _counts(now_in_force.join(was, on="indicator_id", how="anti"))
    gone = _counts(was.join(now_in_force, on="indicator_id", how="anti"))
    live = _counts(now_in_force.filter(pl.col("held_back").is_null()))
    read = {snapshot.source: snapshot for snapshot in snapshots}
    return tuple(
        SourceReport(
            source=name,
            listed=read[name].listed if name in read else 0,
            added=added.get(name, 0),
            expired=gone.get(name, 0),
            rejected=read[name].facts.rejected if name in read else 0,
            examples=read[name].facts.examples if name in read else (),
            held_back=read[name].held_back if name in read else 0,
            in_force=live.get(name, 0),
            error=errors.get(name),
        )
        for name in sorted({*read, *errors, *gone})
    )


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("source").len().iter_rows())
