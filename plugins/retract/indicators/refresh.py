"""Refresh: what the sources list now becomes a new version of the indicators.

A source that cannot be read changes nothing: its indicators stay, and expire as they would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from retract.errors import FeedError, LakeError
from retract.indicators.changes import counts
from retract.indicators.feeds import ANALYSTS, FeedsFile, Source
from retract.indicators.fetching.credentials import NO_CREDENTIALS, Credentials
from retract.indicators.fetching.document import Marks, Reading, Unchanged
from retract.indicators.fetching.open import open_source
from retract.indicators.formats.parsers import PARSERS
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.listed import Entry
from retract.indicators.merge import is_settled, merge_source, without_source
from retract.indicators.refresh_report import RefreshReport, SourceReport, report_of
from retract.indicators.snapshot import Facts, Snapshot, snapshot_of, unchanged
from retract.indicators.wording import quoted
from retract.lake.source_state import SourceState
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE

_COMMIT_ATTEMPTS: Final = 5
_LONGEST_ERROR: Final = 1_000
_EMPTY: Final = INDICATORS_TABLE.empty().lazy()


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
        raise FeedError(f"{source.name}: {quoted(str(error), _LONGEST_ERROR)}") from error
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
    reasons = [*facts.rejected_examples[:3], *facts.left_out_examples[:3]][:3]
    first = "; ".join(f"{where}: {reason}" for where, reason in reasons)
    sound = facts.usable + facts.left_out
    # News may be a single entry, and to refuse it would hold up all that come after it.
    if facts.complete and facts.rejected > sound:
        raise FeedError(
            f"{facts.rejected:,} entries are broken and only {sound:,} are sound, so this is no "
            f"such feed: check format and type; {first}"
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

    @property
    def facts(self) -> Facts | None:
        return None if self.snapshot is None else self.snapshot.facts


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
            lake.write_source_states(merging.in_doubt)
            version = lake.replace_indicators(
                pl.concat([INDICATORS_TABLE.empty(), *merging.changed.values()]),
                sources=merging.changed,
                # A table that is not there begins with version 0: nobody's entry is lost.
                expected_version=base or 0,
            )
        except LakeError:
            if attempt == _COMMIT_ATTEMPTS or lake.versions().indicators == base:
                raise
        else:
            break
    # After the indicators: when it dies in between, the sources are read whole once more.
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

    @property
    def in_doubt(self) -> list[SourceState]:
        """What to know of the changed sources until their new states are written.

        By the old ones, a source that is again as it was would have nothing new, and its rows
        would pass for judged by rules that are in force again.
        """
        changed = (self._before[name] for name in self.changed if name in self._before)
        return [state.model_copy(update={"settings": "", "hold_back": ""}) for state in changed]

    def add(self, name: str, known: _Known) -> None:
        """Merge one source."""
        last = self._before.get(name)
        if known.facts is not None and last is not None and _is_outdated(known.facts, last):
            known = _Known(known.source)
        judged_before = last is not None and last.hold_back == self._hold_back.digest
        stored = self._rows.filter(source=name) if name in self.stored else _EMPTY
        nothing_new = known.snapshot is None or known.snapshot.facts.unchanged
        if (
            nothing_new
            and (judged_before or name not in self.stored)
            and not known.removed
            and is_settled(stored, known.source, self._now)
        ):
            rows, changed = stored, None
        else:
            before = stored.collect()
            after = self._merged(before, known, last, judged_before=judged_before)
            changed = None if after is before else counts(before, after)
            if changed is not None:
                self.changed[name] = after
            rows = after.lazy()
        report = report_of(name, rows, changed or {}, known.facts, known.error)
        if not known.removed:
            state = self._state(name, known, last, report.listed)
            # Of a source that changed, also the same again: in between it is in doubt.
            if state is not None and (state != last or changed is not None):
                self.states.append(state)
        if known.source is not None or changed is not None or report.in_force:
            self.reports.append(report)

    def _merged(
        self, before: pl.DataFrame, known: _Known, last: SourceState | None, *, judged_before: bool
    ) -> pl.DataFrame:
        if known.removed:
            return without_source(before, self._now)
        return merge_source(
            before,
            known.source,
            known.snapshot,
            self._now,
            last_read_at=None if last is None else last.read_at,
            hold_back=self._hold_back,
            judged_before=judged_before,
        )

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


def _is_outdated(facts: Facts, last: SourceState) -> bool:
    """Whether a later reading is known, as when a person clears an old commit that failed.

    It began where this one did, and so has all its news, and what was withdrawn since. What
    analysts enter is taken in whatever order: it tells nothing of other entries.
    """
    if facts.source == ANALYSTS or last.read_at is None:
        return False
    return facts.read_at < last.read_at
