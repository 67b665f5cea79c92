"""Whatever happens to mail, indicators and runs: a run that ends has the matches of a full one.

A machine collects, lists, revokes, expires and compacts at random, and runs are started from the
newest versions or from earlier ones, beside each other, and killed between any two commits. What a
run decides on is held against the full match of its versions, and that against the definition.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from queue import Queue
from threading import Thread

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from tests.lake.rows import indicator, table
from tests.reevaluation.mail import VALUES, message, seen_in

from retract.errors import LakeError
from retract.lake import compaction, frames, upkeep
from retract.lake.coverage import Between
from retract.lake.store import Lake, LakeVersions
from retract.lake.tables import Table
from retract.model import CollectedMessage, Disposition, Window
from retract.model import ObservableType as Type
from retract.observables import lookup
from retract.policy import Policy
from retract.reevaluation import days as matching
from retract.reevaluation import late_lookups
from retract.reevaluation.decide import decide
from retract.reevaluation.held_back import held_back_hits, held_back_of
from retract.reevaluation.incremental import Mail, still_there
from retract.reevaluation.match import full_match, in_force, matches_of
from retract.reevaluation.own_domains import without_own

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 4
POLICY = Policy.model_validate({"actions": {}, "confidence_floor": 50})
RULE_TYPES = (Type.SUBJECT_PATTERN, Type.DISPLAY_NAME_PATTERN)

# --- what may happen ---

some_values = st.sampled_from([(kind, value) for kind, some in VALUES.items() for value in some])
rules_alone = st.sampled_from([(kind, value) for kind in RULE_TYPES for value in VALUES[kind]])


@st.composite
def copies(draw: st.DrawFn) -> CollectedMessage:
    """A copy's number tells its mailbox and when it came, so a later one may be older."""
    number = draw(st.integers(0, 9))
    read = message(
        f"m{number}",
        *draw(st.lists(some_values, max_size=4)),
        received_at=START + (number % DAYS) * DAY + timedelta(hours=2 * number),
        extractor_version=draw(st.sampled_from([1, 1, 2, 3])),
    )
    delivered = draw(st.sampled_from([Disposition.UNKNOWN] * 3 + [Disposition.SPAM]))
    read = replace(read, extraction=replace(read.extraction, delivered_disposition=delivered))
    if number == 9:  # an indicator that names evil.example is held back while it is there
        copy = replace(read.copy, mailbox_id="bob", mailbox="bob@evil.example")
        read = replace(read, copy=copy)
    return read


@st.composite
def opinions(draw: st.DrawFn) -> dict[str, object]:
    """One value as a source has it, without the source."""
    kind, value = draw(some_values | rules_alone)
    return indicator(
        value,
        START,
        kind,
        indicator_id=f"{kind}:{value}",
        active=draw(st.sampled_from([True, True, True, False])),
        held_back=draw(st.sampled_from([None, None, None, "shared host"])),
        expires_at=draw(st.none() | st.integers(0, 8).map(lambda half: START + half * DAY / 2)),
        first_seen=START + draw(st.integers(0, 2)) * DAY,
        disposition=draw(st.sampled_from(["malicious", "spam"])),
        confidence=draw(st.sampled_from([30, 80])),
    )


windows = st.builds(
    lambda end, days, hours: Window(
        START + end * DAY - days * DAY + timedelta(hours=hours), START + end * DAY
    ),
    st.sampled_from([DAYS, DAYS, DAYS - 1]),
    st.integers(1, DAYS),
    st.sampled_from([0, 3]),
)


# --- runs that can be stopped before each commit ---


class Killed(BaseException):
    """The worker is gone."""


class SteppedLake(Lake):
    """Asks before each commit of what a run adds; may have forgotten its earlier versions."""

    def __init__(self, url: str, turn: Callable[[], None], *, forgets: bool) -> None:
        super().__init__(url)
        self._turn, self._forgets = turn, forgets

    def _append(self, table: Table, frame: pl.DataFrame) -> None:
        if not frame.is_empty():
            self._turn()
        super()._append(table, frame)

    def messages_between(self, *arguments: object) -> Between:
        return self._unless_forgotten(super().messages_between(*arguments))

    def indicators_between(self, *arguments: object) -> Between:
        return self._unless_forgotten(super().indicators_between(*arguments))

    def _unless_forgotten(self, found: Between) -> Between:
        if self._forgets:
            raise LakeError("the files were removed")
        return found


@dataclass(frozen=True)
class Known:
    """The versions of the lake at some time, and what they hold."""

    versions: LakeVersions
    forgotten_before: date
    messages: dict[str, CollectedMessage]
    indicators: list[dict[str, object]]


class Run:
    """A run's matching, in a thread that waits before each commit."""

    def __init__(self, url: str, known: Known, window: Window, now: datetime) -> None:
        self.known, self.window, self.now = known, window, now
        self.pin, self.days = _pinned(url, known.versions, window)
        self._url = url
        self.start(forgets=False)

    def start(self, *, forgets: bool) -> None:
        self._orders: Queue[bool] = Queue()
        self._words: Queue[BaseException | bool] = Queue()
        self.lake = SteppedLake(self._url, self._turn, forgets=forgets)
        self._thread = Thread(target=self._work, daemon=True)
        self.has_ended = False

    def step(self, *, go_on: bool = True) -> None:
        """Up to the next commit, or to the end."""
        if self._thread.ident is None:
            self._thread.start()
        self._orders.put(go_on)
        said = self._words.get(timeout=60)
        self.has_ended = said is not False
        if isinstance(said, Exception):
            raise said

    def kill(self) -> None:
        if self._thread.ident is not None and not self.has_ended:
            self.step(go_on=False)

    def _turn(self) -> None:
        self._words.put(False)
        if not self._orders.get(timeout=600):
            raise Killed

    def _work(self) -> None:
        end: BaseException | bool = True
        try:
            self._orders.get(timeout=60)
            for _ in matching.Matching(self.lake, self.pin, self.now).run(self.days, 1):
                pass
        except BaseException as error:  # noqa: BLE001 - also what pytest raises
            end = error
        self._words.put(end)


def _pinned(
    url: str, versions: LakeVersions, window: Window
) -> tuple[matching.Pin, list[matching.DayToMatch]]:
    class Pinned(Lake):
        def versions(self) -> LakeVersions:
            return versions

    return matching.pin(Pinned(url), window)


# --- the definition ---


def naive_matches(
    known: Known, own_domains: tuple[str, ...], window: Window, now: datetime
) -> set[tuple[str, str]]:
    listed = without_own(table(*known.indicators).lazy(), own_domains).collect()
    in_use = [
        row
        for row in sorted(
            listed.iter_rows(named=True), key=lambda row: (row["first_seen"], row["indicator_id"])
        )
        if row["active"]
        and row["held_back"] is None
        and (row["expires_at"] is None or row["expires_at"] > now)
    ]
    rules_of: dict[str, int] = {}
    for row in list(in_use):
        if row["type"] in RULE_TYPES:
            rules_of[row["source"]] = rules_of.get(row["source"], 0) + 1
            if rules_of[row["source"]] > late_lookups.MAX_RULES:
                in_use.remove(row)
    return {
        (copy_id, row["indicator_id"])
        for copy_id, one in known.messages.items()
        if window.start <= one.received_at < window.end
        for row in in_use
        if any(
            lookup.matches(Type(row["type"]), seen, row["value"])
            for seen in seen_in(one, Type(row["type"]))
        )
    }


# --- the machine ---


class Evaluations(RuleBasedStateMachine):
    keys: Callable[[int], int] = staticmethod(lambda key: key)
    """Makes of a key the one that is used."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(late_lookups, "MAX_RULES", 2)
        self.patches.setattr(upkeep, "AT_NIGHT", 2)
        self.patches.setattr(compaction, "COMPACT_FROM", 4)
        key = lookup.key
        self.patches.setattr(lookup, "key", lambda kind, text: self.keys(key(kind, text)))
        frames._keys.cache_clear()
        self.url = tempfile.mkdtemp(prefix="retract-lake-")
        self.lake = Lake(self.url)
        self.now = START + 2 * DAY
        self.newest_extractor = 1
        self.newest_pin = -1
        self.readings: dict[tuple[str, int], CollectedMessage] = {}
        self.messages: dict[str, CollectedMessage] = {}
        self.indicators: dict[str, dict[str, dict[str, object]]] = {"a": {}, "b": {}}
        self.pins: list[Known] = []
        self.runs: list[Run] = []
        self.killed: list[Run] = []

    def teardown(self) -> None:
        try:
            for run in self.runs:
                self.to_the_end(run)
            self.runs = []
            run = self.started(self.known(), Window(START, START + DAYS * DAY), self.now)
            self.to_the_end(run)
        finally:
            for run in self.runs:
                run.kill()
            self.patches.undo()
            frames._keys.cache_clear()
            shutil.rmtree(self.url)

    # --- mail ---

    @rule(read=st.lists(copies(), min_size=1, max_size=5, unique_by=lambda one: one.copy.copy_id))
    def collect(self, read: list[CollectedMessage]) -> None:
        """An extractor reads the same in a copy whenever it does."""
        read = [
            self.readings.setdefault((one.copy.copy_id, one.extractor_version), one) for one in read
        ]
        self.lake.add_messages(read, self.now)
        for one in read:
            known = self.messages.get(one.copy.copy_id)
            if known is None or known.extractor_version < one.extractor_version:
                self.messages[one.copy.copy_id] = one
            self.newest_extractor = max(self.newest_extractor, one.extractor_version)

    @rule(days=st.integers(1, 2))
    def expire(self, days: int) -> None:
        before = START + days * DAY
        self.lake.expire(before)
        self.messages = {
            copy_id: one for copy_id, one in self.messages.items() if one.received_at >= before
        }

    @rule()
    def compact(self) -> None:
        self.lake.compact()

    # --- indicators ---

    @rule(source=st.sampled_from("ab"), rows=st.lists(opinions(), min_size=1, max_size=4))
    def list_indicators(self, source: str, rows: list[dict[str, object]]) -> None:
        """New ones, or others in the place of what was: revoked, held back, in force again."""
        for row in rows:
            name = f"{source}:{row['indicator_id']}"
            self.indicators[source][name] = row | {"indicator_id": name, "source": source}
        self.commit(source)

    @rule(source=st.sampled_from("ab"), left=st.integers(0, 3))
    def drop_indicators(self, source: str, left: int) -> None:
        self.indicators[source] = dict(list(self.indicators[source].items())[:left])
        self.commit(source)

    @rule(half_days=st.integers(1, 3))
    def wait(self, half_days: int) -> None:
        self.now += half_days * DAY / 2

    # --- runs ---

    @precondition(lambda self: len(self.runs) < 2)
    @rule(window=windows, earlier=st.sampled_from([0, 0, 0, 1]), ends=st.booleans())
    def run(self, window: Window, earlier: int, ends: bool) -> None:
        run = self.started(self.known(), window, self.now - earlier * DAY)
        if ends:
            self.to_the_end(run)
        else:
            self.runs.append(run)

    @precondition(lambda self: len(self.runs) < 2 and self.pins)
    @rule(data=st.data(), window=windows, ends=st.booleans())
    def run_from_an_earlier_pin(self, data: st.DataObject, window: Window, ends: bool) -> None:
        run = self.started(data.draw(st.sampled_from(self.pins[-6:])), window, self.now)
        if ends:
            self.to_the_end(run)
        else:
            self.runs.append(run)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), steps=st.integers(1, 4))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        run = data.draw(st.sampled_from(self.runs))
        for _ in range(steps):
            if not run.has_ended:
                run.step()
        if run.has_ended:
            self.runs.remove(run)
            self.check(run)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        run.kill()
        self.runs.remove(run)
        self.killed.append(run)

    @precondition(lambda self: self.killed and len(self.runs) < 2)
    @rule(data=st.data(), forgets=st.booleans())
    def try_again(self, data: st.DataObject, forgets: bool) -> None:
        run = data.draw(st.sampled_from(self.killed))
        self.killed.remove(run)
        run.start(forgets=forgets)
        self.runs.append(run)

    # --- what is done in several of them ---

    def commit(self, source: str) -> None:
        rows = table(*self.indicators[source].values())
        self.lake.replace_indicators(rows, sources=[source])

    def known(self) -> Known:
        rows = [row for of_source in self.indicators.values() for row in of_source.values()]
        known = Known(self.lake.versions(), self.lake.kept_since(), dict(self.messages), rows)
        self.pins.append(known)
        return known

    def started(self, known: Known, window: Window, now: datetime) -> Run:
        run = Run(self.url, known, window, now)
        self.newest_pin = max(self.newest_pin, run.pin.messages)
        return run

    def to_the_end(self, run: Run) -> None:
        while not run.has_ended:
            run.step()
        self.check(run)

    def check(self, run: Run) -> None:
        """Judged by its suspects and the hits, as by everything that is not forgotten since."""
        lake, versions, window = self.lake, run.pin.versions, run.window
        kept_since = lake.kept_since()
        if run.known.forgotten_before < kept_since:
            start = datetime.combine(kept_since, datetime.min.time(), UTC)
            window = Window(min(max(window.start, start), window.end), window.end)
        days = [one.day for one in run.days]
        indicators = without_own(lake.scan_indicators(versions.indicators), run.pin.own_domains)
        messages = lake.scan_messages(versions.messages, window)
        suspects = still_there(
            lake.suspects(days, run.pin.messages), messages, self.newest_extractor, kept_since
        )
        received_at = pl.col("received_at")
        suspects = suspects.filter(received_at >= window.start, received_at < window.end).collect()
        matches = matches_of(suspects.lazy(), lake.scan_hits(days), in_force(indicators, run.now))

        full = full_match(
            messages,
            lake.scan_observables(versions.observables, window),
            lake.scan_lookups(versions.lookups, window),
            indicators,
            window,
            run.now,
        )
        assert matches.rows() == full.rows()
        assert set(full.select("copy_id", "indicator_id").rows()) == naive_matches(
            run.known, run.pin.own_domains, window, run.now
        )
        assert decide(suspects, matches, POLICY, run.now) == decide(
            messages.collect(), full, POLICY, run.now
        )
        if self.counts_are_exact and run.pin.messages == self.newest_pin and window == run.window:
            mail = Mail(*lake.mail_of(versions, days))
            counts = lake.scan_held_back_counts(days)
            assert held_back_hits(counts, indicators, run.now) == held_back_of(
                mail, indicators, run.now
            )

    counts_are_exact = True


class WithCollisions(Evaluations):
    """Nearly every key is that of several lookups, and of several values."""

    keys = staticmethod(lambda key: key % 23)
    counts_are_exact = False


often = settings(max_examples=10, stateful_step_count=25, deadline=None)

TestEvaluations = Evaluations.TestCase
TestEvaluations.settings = often
TestWithCollisions = WithCollisions.TestCase
TestWithCollisions.settings = often
