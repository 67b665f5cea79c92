"""Days of mail brought up to the versions that a run is pinned to: what is new alone is matched.

Facts are committed first, and the claim that they are complete last, a stretch of days at a time:
a try that ends midway is gone on with where it ended, and what is done twice counts once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict

from retract.errors import LakeError
from retract.lake.coverage import Between, Covered
from retract.lake.store import Lake, LakeVersions
from retract.lake.tables import INDICATORS_TABLE
from retract.model import Window
from retract.reevaluation.held_back import counted
from retract.reevaluation.incremental import (
    Mail,
    held,
    increment,
    new_readings,
    newly,
    newly_in_force,
)
from retract.reevaluation.match import LISTED, in_force
from retract.reevaluation.own_domains import without_own

log = logging.getLogger(__name__)

_NO_INDICATORS: Final = INDICATORS_TABLE.empty()
_NOTHING_LISTED: Final = _NO_INDICATORS.select(LISTED)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pin(_Record):
    """What a run is computed from."""

    versions: LakeVersions
    own_domains: tuple[str, ...] = ()
    """The domains of the mailboxes, sorted."""
    tables: dict[str, str] = {}
    """The ids of the lake's tables: of others these versions, and what was matched, say nothing."""

    @property
    def messages(self) -> int:
        """The version of the messages; before the first one, one that is earlier than any."""
        return -1 if self.versions.messages is None else self.versions.messages


class DayToMatch(_Record):
    """One day of mail, as it was when the run was pinned."""

    day: date
    covered: Covered | None
    """How far it had been matched: never with messages later than the pinned ones, as a run does
    not see the suspects among them."""
    rows: int
    """Of its lookups."""


class DaysToMatch(_Record):
    """The days that one matching task takes."""

    days: tuple[DayToMatch, ...] = ()


class Progress(NamedTuple):
    """How far the days have come."""

    days: int = 0
    rows: int = 0
    """Rows of lookups that were looked at."""
    hits: int = 0
    """Hits that were added."""


class _Group(NamedTuple):
    """Days that were matched equally far, and what is new since then."""

    work: Mapping[date, int]
    """How many rows of each day's lookups are to be looked at."""
    covered: Covered | None
    readings: Between | None = None
    """None: all of the days' mail is new."""
    reread: frozenset[date] = frozenset()
    """The days with new readings."""
    listed: pl.DataFrame = _NOTHING_LISTED
    """What the other readings were not matched with."""
    newly_held: pl.DataFrame = _NO_INDICATORS
    """The indicators that were not counted on the other days."""


def pin(lake: Lake, window: Window) -> tuple[Pin, list[DayToMatch]]:
    """The lake as it is now, and the window's days that have mail."""
    versions = lake.versions()
    if versions.messages is None:
        return Pin(versions=versions), []
    tables = lake.open_findings()
    rows = lake.rows_by_day(versions, window)
    kept_since = lake.kept_since()
    days_kept = [day for day in rows if day >= kept_since]
    coverage = lake.coverage(days_kept, versions.messages)
    known = lake.known_domains(versions.messages)
    own_domains = lake.mailbox_domains(versions.messages, known)
    made = Pin(versions=versions, own_domains=tuple(sorted(own_domains)), tables=tables)
    days = [
        DayToMatch(day=day, covered=coverage.get(day), rows=count)
        for day, count in sorted(rows.items())
    ]
    return made, days


class Matching:
    """Matches days with the pinned indicators that are in force at ``now``, where they were not."""

    def __init__(self, lake: Lake, pin: Pin, now: datetime) -> None:
        self._lake, self._pin, self._now = lake, pin, now
        indicators = without_own(lake.scan_indicators(pin.versions.indicators), pin.own_domains)
        self._listed = in_force(indicators, now)
        self._held = held(indicators, now)
        self._changes: dict[Covered, tuple[pl.DataFrame, pl.DataFrame]] = {}

    def work(self, days: Sequence[DayToMatch]) -> dict[date, int]:
        """How many rows of each day's lookups are to be looked at: none where nothing is new."""
        return {day: rows for group in self._groups(days) for day, rows in group.work.items()}

    def run(self, days: Sequence[DayToMatch], rows_at_once: int) -> Iterator[Progress]:
        """Commit what is new, in stretches of about so many rows of lookups. Yields after each.

        Where another try, or another run, was meanwhile, it goes on from there. Where nothing is
        new, no mail is read and nothing is committed. Raises LakeError when a table was replaced
        since the run was pinned.
        """
        self._lake.require_tables(self._pin.tables)
        done = Progress()
        for group in self._groups(self._as_of_now(days)):
            for stretch in _stretches(group.work, rows_at_once):
                hits = self._match(group, stretch) if self._is_new(group) else 0
                rows = sum(group.work[day] for day in stretch)
                done = Progress(done.days + len(stretch), done.rows + rows, done.hits + hits)
                yield done

    def _as_of_now(self, days: Sequence[DayToMatch]) -> list[DayToMatch]:
        kept_since = self._lake.kept_since()
        coverage = self._lake.coverage([one.day for one in days], self._pin.messages)
        covered = {
            # What was found of a day that is forgotten may be gone, though a run says that it
            # is there which did not know. Its mail is little: what came late.
            one.day: max(one.covered, coverage.get(one.day), key=_extent)
            for one in days
            if one.day >= kept_since
        }
        return [one.model_copy(update={"covered": covered.get(one.day)}) for one in days]

    # --- what is new ---

    def _groups(self, days: Sequence[DayToMatch]) -> list[_Group]:
        rows = {one.day: one.rows for one in days}
        in_full = [one.day for one in days if one.covered is None]
        alike: dict[Covered, list[date]] = {}
        for one in days:
            if one.covered is not None:
                alike.setdefault(one.covered, []).append(one.day)
        groups = []
        for covered, those in alike.items():
            found = self._groups_since(covered, {day: rows[day] for day in those})
            groups += found
            in_full += [day for day in those if not any(day in group.work for group in found)]
        if in_full:
            work = {day: rows[day] for day in sorted(in_full)}
            groups.append(_Group(work, covered=None, reread=frozenset(work)))
        return groups

    def _groups_since(self, covered: Covered, rows: Mapping[date, int]) -> list[_Group]:
        """Without the days of which it can no longer be told what is new."""
        try:
            return [self._group_since(covered, rows)]
        except LakeError as error:
            if len(rows) == 1:
                log.warning("%s is matched in full: %s", *rows, error)
                return []
        return [group for day, n in rows.items() for group in self._groups_since(covered, {day: n})]

    def _group_since(self, covered: Covered, rows: Mapping[date, int]) -> _Group:
        readings = self._lake.messages_between(covered.messages, self._pin.messages, list(rows))
        new = new_readings(readings).select("delivery_date").unique()
        reread = frozenset(new.collect(engine="streaming")["delivery_date"])
        listed, newly_held = self._new_indicators(covered)
        every = not (listed.is_empty() and newly_held.is_empty())
        work = {day: n if every or day in reread else 0 for day, n in rows.items()}
        return _Group(work, covered, readings, reread, listed, newly_held)

    def _new_indicators(self, covered: Covered) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What is in force now and was not then, as LISTED; and which indicators are held back now
        and were not then."""
        if covered not in self._changes:
            now, before = self._now, covered.as_of
            earlier, later = (
                self._lake.scan_indicators(version)
                for version in (covered.indicators, self._pin.versions.indicators)
            )
            between = self._indicators_since(covered)
            self._changes[covered] = (
                newly_in_force(between, earlier, later, now, before),
                newly(between, held, now, before).collect(),
            )
        return self._changes[covered]

    def _indicators_since(self, covered: Covered) -> Between:
        """What changed, the organisation's own domains held back as they were, and as they are."""
        earlier, later = covered.indicators, self._pin.versions.indicators
        kept, added, removed = self._lake.indicators_between(earlier, later)
        before, now = covered.own_domains, self._pin.own_domains
        if before != now:
            # Any row may have another state then.
            added, removed = pl.concat([kept, added]), pl.concat([kept, removed])
            kept = _NO_INDICATORS.lazy()
        return Between(
            without_own(kept, now), without_own(added, now), without_own(removed, before)
        )

    def _is_new(self, group: _Group) -> bool:
        return (
            group.covered is None
            or not (group.listed.is_empty() and group.newly_held.is_empty())
            or (group.covered.messages, group.covered.indicators)
            != (self._pin.versions.messages, self._pin.versions.indicators)
            or group.covered.own_domains != self._pin.own_domains
        )

    # --- matching it ---

    def _match(self, group: _Group, days: Sequence[date]) -> int:
        """Add what these days lack, and then that they lack nothing. Returns the hits added."""
        versions, messages = self._pin.versions, self._pin.messages
        hits = 0
        looked_at = [day for day in days if day in group.reread or not group.listed.is_empty()]
        if looked_at:
            mail = Mail(*self._lake.mail_of(versions, looked_at))
            new = mail.messages
            if group.readings is not None:
                new = new_readings(group.readings).filter(pl.col("delivery_date").is_in(looked_at))
            known = self._lake.suspects(looked_at, messages)
            found = increment(mail, new, known, self._listed, group.listed)
            self._lake.add_findings(found.hits, found.suspects, messages)
            hits = found.hits.height
        self._count_held_back(group, days)
        covered = Covered(
            messages=messages,
            indicators=versions.indicators,
            as_of=self._now,
            own_domains=self._pin.own_domains,
        )
        self._lake.add_coverage(dict.fromkeys(days, covered), self._pin.tables)
        return hits

    def _count_held_back(self, group: _Group, days: Sequence[date]) -> None:
        """What changed in a day is counted anew; elsewhere only what was not held back before."""
        versions, messages = self._pin.versions, self._pin.messages
        if anew := [day for day in days if day in group.reread]:
            mail = Mail(*self._lake.mail_of(versions, anew))
            self._lake.replace_held_back_counts(anew, counted(mail, self._held), messages)
        others = [day for day in days if day not in group.reread]
        if others and not group.newly_held.is_empty():
            mail = Mail(*self._lake.mail_of(versions, others))
            counts = counted(mail, group.newly_held.lazy())
            self._lake.add_held_back_counts(counts, messages)


def _extent(covered: Covered | None) -> tuple[int, int, float]:
    if covered is None:
        return (-1, -1, 0.0)
    indicators = -1 if covered.indicators is None else covered.indicators
    return (covered.messages, indicators, covered.as_of.timestamp())


def _stretches(work: Mapping[date, int], most: int) -> Iterator[list[date]]:
    """The days in turn, as many at a time as make no more than this together: at least one."""
    stretch: list[date] = []
    rows = 0
    for day, count in work.items():
        if stretch and rows + count > most:
            yield stretch
            stretch, rows = [], 0
        stretch.append(day)
        rows += count
    if stretch:
        yield stretch
