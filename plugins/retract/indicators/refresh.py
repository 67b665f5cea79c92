"""Refresh: what the sources list now becomes a new version of the indicators.

A source that cannot be read changes nothing: its indicators stay, and expire as they would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict

from retract.errors import FeedError, LakeError
from retract.indicators.changes import Change, counts
from retract.indicators.feeds import ANALYSTS, FeedsFile, Source
from retract.indicators.fetching.credentials import NO_CREDENTIALS, Credentials
from retract.indicators.fetching.document import Marks, Reading, Unchanged
from retract.indicators.fetching.open import open_source
from retract.indicators.formats.parsers import PARSERS
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.listed import Entry, LeftOut, Rejected
from retract.indicators.merge import merge_source, without_source
from retract.indicators.snapshot import Snapshot, snapshot_of, told, unchanged
from retract.lake.source_state import SourceState
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE
from retract.model import ObservableType

HELD_BACK_EXAMPLES: Final = 20
HELD_BACK_REASONS: Final = 20

_COMMIT_ATTEMPTS: Final = 5
_LONGEST_ERROR: Final = 1_000


class HeldBack(NamedTuple):
    """An indicator that is in force but for being held back."""

    type: ObservableType
    value: str
    reason: str


class SourceReport(BaseModel):
    """What a refresh did with one source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    listed: int = 0
    """Distinct indicators of the source that are listed now."""
    added: int = 0
    """Never seen before."""
    reactivated: int = 0
    """In force again."""
    expired: int = 0
    """Of those in force before: their time is over."""
    revoked: int = 0
    """… the source says that they are none any more."""
    no_longer_listed: int = 0
    """… and left with that."""
    removed: int = 0
    """… and the feeds file does not name their source any more."""
    rejected: int = 0
    """Entries that are broken."""
    examples: tuple[Rejected, ...] = ()
    left_out: int = 0
    """Entries that are sound and not used on purpose."""
    left_out_examples: tuple[LeftOut, ...] = ()
    held_back: int = 0
    """In force, but matching nothing."""
    held_back_because: dict[str, int] = {}
    """How many by reason, the most frequent first; not more than HELD_BACK_REASONS."""
    held_back_examples: tuple[HeldBack, ...] = ()
    in_force: int = 0
    """Indicators of the source that match from now on."""
    unchanged: bool = False
    """The source had nothing new."""
    complete: bool = True
    """The reading was all that the source lists, not only news."""
    error: str | None = None
    """Why the source could not be read; its last good version stays."""


class RefreshReport(BaseModel):
    """What a refresh did, and the version of the indicators it made or left."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    changed: bool = True
    """Whether it made that version; else nothing was to change."""
    sources: tuple[SourceReport, ...]

    @property
    def failed(self) -> tuple[SourceReport, ...]:
        return tuple(source for source in self.sources if source.error is not None)


# --- reading a source ---


def read_source(
    source: Source,
    now: datetime,
    *,
    last: SourceState | None = None,
    credentials: Credentials = NO_CREDENTIALS,
    accept_jump: bool = False,
) -> Snapshot:
    """What the source lists now, or what is new since ``last``.

    Raises FeedError when it cannot be read, is no such feed, or lists so many more or fewer than
    last time that it looks broken; ``accept_jump`` lets it.
    """
    marks = Marks()
    if last is not None and last.settings == source.digest:
        marks = _marks(last)
    try:
        reading = open_source(source, marks, credentials)
        try:
            snapshot = snapshot_of(_entries(reading, source), source, now)
        except Unchanged:
            # Of a service that gives only news, no news says nothing of what it told before.
            complete = not source.gives_news_only
            return unchanged(source, now, reading.marks(), complete=complete)
        snapshot = snapshot.with_reading(complete=reading.complete, marks=reading.marks())
        _require_usable(source, snapshot)
        if last is not None and last.read_at is not None and not accept_jump:
            _require_no_jump(source, snapshot, last.listed)
    except FeedError as error:
        raise FeedError(f"{source.name}: {told(str(error), _LONGEST_ERROR)}") from error
    return snapshot


def _marks(state: SourceState) -> Marks:
    return Marks(
        etag=state.etag,
        last_modified=state.last_modified,
        content=state.content,
        cursor=state.cursor,
    )


def _entries(reading: Reading, source: Source) -> Iterator[Entry]:
    parse = PARSERS[source.format]
    for name, data in reading.documents():
        try:
            yield from parse(data, source)
        except FeedError as error:
            raise FeedError(f"{name} {error}") from error


def _require_usable(source: Source, snapshot: Snapshot) -> None:
    facts = snapshot.facts
    reasons = [*facts.examples[:3], *facts.left_out_examples[:3]][:3]
    first = "; ".join(f"{where}: {reason}" for where, reason in reasons)
    if facts.rejected > facts.usable:
        raise FeedError(
            f"{facts.rejected:,} entries are broken and only {facts.usable:,} are sound, so this "
            f"is no such feed: check format and type; {first}"
        )
    if facts.usable or source.may_be_empty or not facts.complete:
        return
    if facts.left_out:
        raise FeedError(
            f"it lists nothing that is used: all {facts.left_out:,} entries are left out; {first}"
        )
    raise FeedError(
        "it lists nothing, and an empty feed counts as broken; if it is an own list that may be "
        "empty, set may_be_empty: true"
    )


def _require_no_jump(source: Source, snapshot: Snapshot, before: int) -> None:
    guard, complete = source.jump_guard, snapshot.facts.complete
    after = snapshot.listed if complete else before + snapshot.listed
    if before == 0 or max(before, after) < guard.from_size:
        return
    if complete and after < before * guard.may_shrink_to:
        limit = f"less than {guard.may_shrink_to:g} times as many (jump_guard.may_shrink_to)"
    elif after > before * guard.may_grow_to:
        limit = f"more than {guard.may_grow_to:g} times as many (jump_guard.may_grow_to)"
    else:
        return
    raise FeedError(
        f"it went from {before:,} to {after:,} indicators, {limit}, which looks broken: the last "
        "good version stays. If it is right, run refresh_indicators with accept_jumps_of: "
        f"[{source.name}], or set jump_guard in the feeds file"
    )


# --- committing what was read ---


@dataclass(frozen=True, slots=True)
class _Known:
    """What this refresh knows of one source."""

    source: Source | None = None
    snapshot: Snapshot | None = None
    error: str | None = None
    removed: bool = False


def commit(
    feeds: FeedsFile,
    lake: Lake,
    snapshots: Iterable[Snapshot],
    errors: Mapping[str, str],
    now: datetime,
    hold_back: HoldBack,
) -> RefreshReport:
    """Merge the snapshots into the lake's indicators as one new version.

    When nothing changes, the version stays. Sources with neither snapshot nor error were not
    asked: they keep their rows. Raises LakeError when other refreshes keep coming first.
    """
    read = {snapshot.source: snapshot for snapshot in snapshots}
    known = {
        source.name: _Known(source, read.get(source.name), errors.get(source.name))
        for source in feeds.enabled
    }
    known[ANALYSTS] = _Known()
    return _commit(lake, known, now, hold_back, removes=True)


def commit_one(
    lake: Lake, source: Source, snapshot: Snapshot, now: datetime, hold_back: HoldBack
) -> RefreshReport:
    """Merge one source's snapshot; the rows of all others stay as they are.

    Raises LakeError when refreshes keep coming first.
    """
    return _commit(lake, {source.name: _Known(source, snapshot)}, now, hold_back, removes=False)


def _commit(
    lake: Lake, known: Mapping[str, _Known], now: datetime, hold_back: HoldBack, *, removes: bool
) -> RefreshReport:
    for attempt in range(1, _COMMIT_ATTEMPTS + 1):
        base = lake.versions().indicators
        states = lake.source_states()
        merging = _Merging(lake, base, states, now, hold_back)
        for name, facts in known.items():
            merging.add(name, facts)
        if removes:
            for name in sorted(merging.stored - set(known)):
                merging.add(name, _Known(removed=True))
        if base is not None and not merging.changed:
            version = base
            break
        try:
            version = lake.replace_indicators(
                pl.concat([INDICATORS_TABLE.empty(), *merging.changed.values()]),
                sources=merging.changed,
                expected_version=base,
            )
        except LakeError:
            if attempt == _COMMIT_ATTEMPTS or lake.versions().indicators == base:
                raise
        else:
            break
    # After the indicators: whoever dies in between reads the sources once more, no harm done.
    forgotten = set(states) - set(known) if removes else ()
    lake.write_source_states(merging.states, forget=forgotten)
    return RefreshReport(version=version, changed=version != base, sources=tuple(merging.reports))


class _Merging:
    """One try at merging all sources, one by one: only what changes stays in memory."""

    def __init__(
        self,
        lake: Lake,
        base: int | None,
        states: Mapping[str, SourceState],
        now: datetime,
        hold_back: HoldBack,
    ) -> None:
        self._rows = lake.scan_indicators(base)
        self._before = states
        self._now = now
        self._hold_back = hold_back
        self.stored = set(self._rows.select(pl.col("source").unique()).collect()["source"])
        self.changed: dict[str, pl.DataFrame] = {}
        self.states: list[SourceState] = []
        self.reports: list[SourceReport] = []

    def add(self, name: str, known: _Known) -> None:
        """Merge one source."""
        before = self._current(name)
        last = self._before.get(name)
        # An analyst's entry says nothing of the earlier ones: it must not prolong their lives.
        last_read_at = None if last is None or name == ANALYSTS else last.read_at
        if known.removed:
            after = without_source(before, self._now)
        else:
            after = merge_source(
                before,
                known.source,
                known.snapshot,
                self._now,
                last_read_at=last_read_at,
                hold_back=self._hold_back,
                judged_before=last is not None and last.hold_back == self._hold_back.digest,
            )
            state = self._state(name, known, last, int(after["listed"].sum()))
            if state is not None:
                self.states.append(state)
        if after is not before:
            self.changed[name] = after
        report = _report(name, known, before, after)
        if known.source is not None or after is not before or after["active"].any():
            self.reports.append(report)

    def _current(self, name: str) -> pl.DataFrame:
        if name not in self.stored:
            return INDICATORS_TABLE.empty()
        return self._rows.filter(source=name).collect()

    def _state(
        self, name: str, known: _Known, last: SourceState | None, listed: int
    ) -> SourceState | None:
        if known.snapshot is not None:
            facts = known.snapshot.facts
            state = SourceState(
                source=name,
                settings=facts.settings,
                read_at=facts.read_at,
                tried_at=facts.read_at,
                **facts.marks.model_dump(),
            )
        elif known.error is not None:
            last = last or SourceState(source=name, tried_at=self._now)
            state = last.model_copy(
                update={
                    "tried_at": self._now,
                    "failing_since": last.failing_since or self._now,
                    "error": known.error,
                }
            )
        elif last is not None:
            state = last
        else:
            return None
        judged = {"listed": listed, "hold_back": self._hold_back.digest}
        return state.model_copy(update=judged)


def _report(name: str, known: _Known, before: pl.DataFrame, after: pl.DataFrame) -> SourceReport:
    changed = {} if after is before else counts(before, after)
    in_force = after.filter("active")
    held = in_force.filter(pl.col("held_back").is_not_null())
    reasons = held["held_back"].value_counts(sort=True).head(HELD_BACK_REASONS)
    facts = known.snapshot.facts if known.snapshot is not None else None
    return SourceReport(
        source=name,
        listed=int(after["listed"].sum()),
        added=changed.get(Change.ADDED, 0),
        reactivated=changed.get(Change.REACTIVATED, 0),
        expired=changed.get(Change.EXPIRED, 0),
        revoked=changed.get(Change.REVOKED, 0),
        no_longer_listed=changed.get(Change.NO_LONGER_LISTED, 0),
        removed=changed.get(Change.SOURCE_REMOVED, 0),
        rejected=facts.rejected if facts else 0,
        examples=facts.examples if facts else (),
        left_out=facts.left_out if facts else 0,
        left_out_examples=facts.left_out_examples if facts else (),
        held_back=held.height,
        held_back_because=dict(reasons.iter_rows()),
        held_back_examples=tuple(
            HeldBack(ObservableType(kind), value, reason)
            for kind, value, reason in held.select("type", "value", "held_back")
            .head(HELD_BACK_EXAMPLES)
            .iter_rows()
        ),
        in_force=in_force.height - held.height,
        unchanged=facts.unchanged if facts else False,
        complete=facts.complete if facts else True,
        error=known.error,
    )
