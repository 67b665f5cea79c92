from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retract.indicators.feeds import Source
from retract.indicators.fetching.document import Marks
from retract.indicators.hold_back.rules import NO_HOLD_BACK
from retract.indicators.listed import Listed
from retract.indicators.merge import (
    FORGET_AFTER,
    STAMP_EVERY,
    STAMPS_A_LIFE,
    is_settled,
    merge,
    merge_source,
    without_source,
)
from retract.indicators.snapshot import End, Snapshot, snapshot_of, unchanged
from retract.lake.tables import INDICATORS_TABLE
from retract.model import Disposition, ObservableType
from retract.reevaluation.match import in_force

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
A, B = "https://a.example/x", "https://b.example/x"


def snapshot(source: Source, now: datetime, *values: str, complete: bool = True, **more: Any):
    listed = (Listed(ObservableType.URL, value, **more) for value in values)
    return snapshot_of(listed, source, now).with_reading(complete=complete, marks=Marks())


def row(frame: pl.DataFrame, value: str) -> dict[str, Any]:
    return frame.row(by_predicate=pl.col("value") == value, named=True)


@dataclass
class Life:
    """One source from refresh to refresh, as a commit merges it."""

    source: Source
    rows: pl.DataFrame = field(default_factory=INDICATORS_TABLE.empty)
    last_read_at: datetime | None = None

    def refresh(self, now: datetime, *values: str, **more: Any) -> None:
        self.take(snapshot(self.source, now, *values, **more), now)

    def find_unchanged(self, now: datetime) -> None:
        complete = not self.source.gives_news_only
        self.take(unchanged(self.source, now, Marks(), complete=complete), now)

    def fail(self, now: datetime) -> None:
        self.take(None, now)

    def take(self, read: Snapshot | None, now: datetime, source: Source | None = None) -> None:
        source = source or self.source
        nothing_new = read is None or read.facts.unchanged
        settled = nothing_new and is_settled(self.rows.lazy(), source, now)
        before = self.rows
        self.rows = merge_source(before, source, read, now, last_read_at=self.last_read_at)
        assert self.rows is before or not settled, "what is settled does not change"
        if read is not None:
            self.last_read_at = now

    def remove(self, now: datetime) -> None:
        self.rows = without_source(self.rows, now)
        self.last_read_at = None

    def __getitem__(self, value: str) -> dict[str, Any]:
        return row(self.rows, value)


# --- what stays and what moves ---


def test_first_seen_stays_and_last_seen_moves(source, now):
    life = Life(source())
    life.refresh(now, A)
    life.refresh(now + 2 * DAY, A)

    assert life.rows.height == 1
    assert life[A]["first_seen"] == life[A]["changed_at"] == now
    assert life[A]["last_seen"] == now + 2 * DAY


def test_a_feed_may_state_an_earlier_first_seen_but_no_later_one(source, now):
    life = Life(source())
    life.refresh(now, A)
    life.refresh(now + HOUR, A, first_seen=now - DAY)
    assert life[A]["first_seen"] == now - DAY
    life.refresh(now + 2 * HOUR, A, first_seen=now)
    assert life[A]["first_seen"] == now - DAY


def test_the_latest_statement_counts(source, now):
    life = Life(source())
    life.refresh(now, A, disposition=Disposition.SPAM, sightings=1)
    life.refresh(now + HOUR, A, disposition=Disposition.SPOOF, sightings=2, campaign="Spring")
    assert (life[A]["disposition"], life[A]["sightings"], life[A]["campaign"]) == (
        "spoof",
        2,
        "Spring",
    )
    assert life[A]["changed_at"] == now, "it was in force all the time"


def test_rows_are_sorted_and_shaped_as_the_table(source, now):
    life = Life(source())
    life.refresh(now, B, A)
    life.refresh(now + DAY, "https://aa.example/", B)
    assert life.rows["value"].is_sorted()
    assert life.rows.schema == INDICATORS_TABLE.empty().schema


# --- absence ---


def test_with_a_time_to_live_an_unlisted_indicator_stays_until_it_expires(source, now):
    life = Life(source(time_to_live="P10D"))
    life.refresh(now, A, B)

    seen = []
    for days in (1, 9, 10):
        life.refresh(now + days * DAY, B)
        seen.append((life[A]["active"], life[A]["listed"]))

    assert seen == [(True, False), (True, False), (False, False)]
    assert life[A]["inactive_because"] == End.EXPIRED
    assert life[A]["changed_at"] == now + 10 * DAY
    assert life[B]["active"]


def test_without_one_it_leaves_when_it_is_no_longer_listed(source, now):
    life = Life(source())
    life.refresh(now, A, B)
    life.refresh(now + DAY, B)
    assert (life[A]["active"], life[A]["inactive_because"]) == (False, End.NO_LONGER_LISTED)
    assert life[A]["changed_at"] == now + DAY

    life.refresh(now + 2 * DAY, A, B)
    assert (life[A]["active"], life[A]["inactive_because"]) == (True, None)
    assert (life[A]["first_seen"], life[A]["changed_at"]) == (now, now + 2 * DAY)


def test_absence_may_be_said_to_revoke_in_spite_of_a_time_to_live(source, now):
    life = Life(source(time_to_live="P10D", absence_revokes=True))
    life.refresh(now, A)
    life.refresh(now + DAY)
    assert life[A]["inactive_because"] == End.NO_LONGER_LISTED


def test_absence_may_be_said_to_mean_nothing_at_all(source, now):
    life = Life(source(absence_revokes=False))
    life.refresh(now, A)
    for days in (1, 1000):
        life.refresh(now + days * DAY)
        assert (life[A]["active"], life[A]["listed"]) == (True, False)


def test_a_stated_end_does_not_outlast_an_own_list(source, now):
    life = Life(source())
    life.refresh(now, A, expires_at=now + 90 * DAY)
    life.refresh(now + DAY)
    assert not life[A]["active"]


def test_absence_from_news_says_nothing(source, now):
    taxii = source(format="stix", service="taxii", location="https://taxii.example/c/")
    life = Life(taxii)
    life.refresh(now, A, B)
    life.refresh(now + DAY, B, complete=False)
    assert (life[A]["active"], life[A]["listed"]) == (True, True)
    life.refresh(now + 2 * DAY, B)
    assert (life[A]["active"], life[A]["listed"]) == (True, False), "everything was read anew"


def test_no_news_do_not_prolong_a_life(source, now):
    settings = {"format": "stix", "service": "taxii", "location": "https://taxii.example/c/"}
    life = Life(source(time_to_live="P10D", **settings))
    life.refresh(now, A)
    life.refresh(now + 4 * DAY, B, complete=False)
    for days in range(5, 10):
        life.find_unchanged(now + days * DAY)
        assert life[A]["active"]
    life.fail(now + 10 * DAY)
    assert (life[A]["active"], life[B]["active"]) == (False, True)


# --- ends ---


def test_a_revoked_indicator_leaves(source, now):
    life = Life(source(time_to_live="P30D"))
    life.refresh(now, A)
    life.refresh(now + DAY, A, revoked=True)
    assert (life[A]["active"], life[A]["listed"]) == (False, False)
    assert (life[A]["inactive_because"], life[A]["last_seen"]) == (End.REVOKED, now)

    before = life.rows
    life.refresh(now + 2 * DAY, A, revoked=True)
    assert life.rows is before, "said again, it changes nothing"

    life.refresh(now + 3 * DAY, A)
    assert (life[A]["active"], life[A]["first_seen"]) == (True, now)


def test_an_indicator_that_is_to_be_ignored_by_its_tags_from_now_on_leaves(source, now):
    life = Life(source(time_to_live="P30D", disposition_by_tag={"false-positive": "ignore"}))
    life.refresh(now, A, B)
    life.refresh(now + DAY, A, tags=("false-positive",), complete=False)
    assert (life[A]["active"], life[A]["inactive_because"]) == (False, End.REVOKED)
    assert life[B]["active"]

    life.refresh(now + 2 * DAY, A, complete=False)
    assert (life[A]["active"], life[A]["first_seen"]) == (True, now)


def test_what_is_revoked_and_was_never_known_is_dropped(source, now):
    life = Life(source())
    life.refresh(now, A, revoked=True)
    assert life.rows.is_empty()


def test_what_had_expired_before_it_was_known_is_kept_with_the_reason(source, now):
    life = Life(source())
    life.refresh(now, A, expires_at=now - DAY)
    assert (life[A]["active"], life[A]["inactive_because"]) == (False, End.EXPIRED)


def test_a_stated_end_comes_though_the_feed_goes_on_listing_it(source, now):
    life = Life(source())
    end = now + 2 * DAY
    life.refresh(now, A, expires_at=end)
    life.refresh(now + DAY, A, expires_at=end)
    life.find_unchanged(end - timedelta(microseconds=1))
    assert life[A]["active"]
    life.find_unchanged(end)
    assert (life[A]["active"], life[A]["inactive_because"]) == (False, End.EXPIRED)
    life.refresh(end + DAY, A, expires_at=end + 9 * DAY)
    assert (life[A]["active"], life[A]["changed_at"]) == (True, end + DAY)


def test_what_is_long_out_of_force_is_forgotten(source, now):
    life = Life(source())
    life.refresh(now, A)
    life.refresh(now + DAY)
    life.fail(now + FORGET_AFTER - DAY)
    assert life.rows.height == 1
    life.fail(now + FORGET_AFTER + DAY)
    assert life.rows.is_empty()


def test_what_is_in_force_is_never_forgotten(source, now):
    life = Life(source())
    life.refresh(now, A)
    life.fail(now + 3 * FORGET_AFTER)
    assert life[A]["active"]


# --- failing, and nothing new ---


def test_a_source_that_fails_keeps_its_rows_until_they_expire(source, now):
    own, rolling = Life(source()), Life(source(time_to_live="P10D"))
    for life in (own, rolling):
        life.refresh(now, A)
        before = life.rows
        life.fail(now + DAY)
        assert life.rows is before
        life.fail(now + 11 * DAY)
    assert own[A]["active"]
    assert (rolling[A]["active"], rolling[A]["inactive_because"]) == (False, End.EXPIRED)


def test_an_unchanged_source_lists_again_what_it_listed(source, now):
    life = Life(source(time_to_live="P10D"))
    life.refresh(now, A, B)
    life.refresh(now + HOUR, B)
    for hours in range(2, 20 * 24, 6):
        life.find_unchanged(now + hours * HOUR)
        assert life[B]["active"]
    assert life[A]["inactive_because"] == End.EXPIRED


def test_what_expired_while_the_source_failed_is_in_force_again_once_it_answers(source, now):
    life = Life(source(time_to_live="P10D"))
    life.refresh(now, A)
    life.refresh(now + DAY, B, expires_at=now + 5 * DAY)
    life.refresh(now + 2 * DAY, A)
    life.fail(now + 20 * DAY)
    assert not life[A]["active"]
    life.find_unchanged(now + 21 * DAY)
    assert (life[A]["active"], life[A]["changed_at"]) == (True, now + 21 * DAY)
    assert not life[B]["active"], "its own end is over"


# --- sources that go and come ---


def test_a_source_that_is_removed_leaves_and_may_come_back(source, now):
    life = Life(source(time_to_live="P30D"))
    life.refresh(now, A)
    life.refresh(now + HOUR, A, B)
    life.refresh(now + 2 * HOUR, A)
    life.refresh(now + 3 * HOUR, A, B, revoked=True)
    life.refresh(now + 4 * HOUR, A)
    life.remove(now + DAY)
    assert (life[A]["active"], life[A]["listed"]) == (False, False)
    assert (life[A]["inactive_because"], life[A]["changed_at"]) == (
        End.SOURCE_REMOVED,
        now + DAY,
    )
    assert life[B]["inactive_because"] == End.REVOKED, "it was out of force before"

    before = life.rows
    life.remove(now + 2 * DAY)
    assert life.rows is before
    life.fail(now + 3 * DAY)
    assert not life[A]["active"]
    life.refresh(now + 4 * DAY, A)
    assert (life[A]["active"], life[A]["first_seen"]) == (True, now)
    life.remove(now + 4 * DAY + FORGET_AFTER)
    assert life.rows.is_empty()


# --- nothing is written without a need ---


@pytest.mark.parametrize("how", ["read", "unchanged"])
@pytest.mark.parametrize("time_to_live", [None, "P30D", "PT12H"])
def test_rows_are_stamped_anew_only_now_and_then(source, now, how, time_to_live):
    life = Life(source(time_to_live=time_to_live))
    life.refresh(now, A, B)
    patience = STAMP_EVERY
    if life.source.time_to_live is not None:
        patience = min(STAMP_EVERY, life.source.time_to_live / STAMPS_A_LIFE)

    def again(at: datetime) -> None:
        if how == "read":
            life.refresh(at, A, B)
        else:
            life.find_unchanged(at)

    before = life.rows
    for part in (0.1, 0.5, 1.0):
        again(now + part * patience)
        assert life.rows is before
    late = now + patience + timedelta(seconds=1)
    again(late)
    assert life[A]["last_seen"] == life[B]["last_seen"] == late
    if life.source.time_to_live is not None:
        assert life[A]["expires_at"] == late + life.source.time_to_live


def test_a_source_with_nothing_new_is_settled_until_something_is_due(source, now):
    feed = source(time_to_live="P30D", confidence_floor=50)
    life = Life(feed)
    life.refresh(now, A, B)

    def settled(later: timedelta, by: Source = feed) -> bool:
        return is_settled(life.rows.lazy(), by, now + later)

    assert settled(timedelta(0))
    assert settled(DAY)
    assert not settled(DAY + HOUR), "to be stamped"
    assert not settled(HOUR, source(time_to_live="P30D", confidence_floor=90))
    life.refresh(now + HOUR, A, expires_at=now + 2 * HOUR)
    assert settled(HOUR)
    assert not settled(2 * HOUR), "one ends"
    life.remove(now + 3 * HOUR)
    assert settled(100 * DAY)
    assert not settled(2 * FORGET_AFTER), "to be forgotten"
    assert is_settled(INDICATORS_TABLE.empty().lazy(), feed, now)


def test_what_is_written_anyway_is_stamped_on_the_way(source, now):
    life = Life(source(time_to_live="P30D"))
    life.refresh(now, A)
    life.refresh(now + HOUR, A, B)
    assert life[A]["last_seen"] == now + HOUR


def test_what_leaves_the_list_lives_exactly_as_long_as_said_from_when_it_was_last_on_it(
    source, now
):
    life = Life(source(time_to_live="P10D"))
    life.refresh(now, A, B)
    life.refresh(now + 23 * HOUR, A, B)
    assert life[A]["last_seen"] == now, "not written since"
    life.refresh(now + 24 * HOUR, B)
    assert life[A]["last_seen"] == now + 23 * HOUR
    assert life[A]["expires_at"] == now + 23 * HOUR + 10 * DAY


def test_a_source_that_fails_for_long_loses_nothing_by_old_stamps(source, now):
    life = Life(source(time_to_live="P10D"))
    life.refresh(now, A)
    life.refresh(now + 23 * HOUR, A)
    end = now + 23 * HOUR + 10 * DAY
    life.fail(now + 2 * DAY)
    assert life[A]["expires_at"] == end
    life.fail(end - HOUR)
    assert life[A]["active"]
    life.fail(end)
    assert not life[A]["active"]


# --- what is held back ---


class Asked:
    """A hold-back of what contains a word; counts what it is asked."""

    def __init__(self, word: str, digest: str = "1") -> None:
        self.word, self.digest = word, digest
        self.values: list[str] = []

    def reason(self, kind: ObservableType, value: str) -> str | None:
        assert kind is ObservableType.URL
        self.values.append(value)
        return f"{self.word} is everybody's" if self.word in value else None


def test_only_what_is_new_is_judged_where_the_rest_was_judged_alike(source, now):
    hold_back = Asked("b.example")
    rows = merge_source(
        INDICATORS_TABLE.empty(), source(), snapshot(source(), now, A, B), now, hold_back=hold_back
    )
    assert hold_back.values == [A, B]
    assert [row(rows, value)["held_back"] for value in (A, B)] == [None, "b.example is everybody's"]

    new = "https://c.example/"
    again = Asked("nothing")
    later = now + HOUR
    rows = merge_source(
        rows,
        source(),
        snapshot(source(), later, A, B, new),
        later,
        hold_back=again,
        judged_before=True,
    )
    assert again.values == [new]
    assert row(rows, B)["held_back"] == "b.example is everybody's"

    other = Asked("a.example")
    rows = merge_source(rows, source(), None, later, hold_back=other)
    assert sorted(other.values) == [A, B, new]
    assert row(rows, A)["held_back"] == "a.example is everybody's"
    assert row(rows, B)["held_back"] is None


def test_what_is_below_the_floor_is_held_back_with_the_numbers(source, now):
    feed = source(confidence_floor=50)
    hold_back = Asked("a.example")
    rows = merge_source(
        INDICATORS_TABLE.empty(),
        feed,
        snapshot(feed, now, A, B, confidence=30),
        now,
        hold_back=hold_back,
    )
    reason = "its confidence of 30 is below the floor of 50 of its source"
    assert rows["held_back"].to_list() == [reason, reason], "before the lists"
    assert in_force(rows.lazy(), now).collect().is_empty()

    for judged_before in (True, False):
        raised = merge_source(
            rows,
            feed,
            snapshot(feed, now, A, B, confidence=50),
            now,
            hold_back=hold_back,
            judged_before=judged_before,
        )
        assert raised["held_back"].to_list() == ["a.example is everybody's", None]


def test_a_floor_that_is_lowered_frees_though_the_source_fails(source, now):
    life = Life(source(confidence_floor=90))
    life.refresh(now, A)
    assert life[A]["held_back"]
    life.take(None, now + HOUR, source(confidence_floor=10))
    assert life[A]["held_back"] is None


# --- several sources ---


def test_sources_keep_opinions_of_their_own(source, now):
    one, other = source(name="one"), source(name="other", disposition="spam", confidence=10)
    frame = merge(None, [snapshot(one, now, A), snapshot(other, now, A, B)], now, [one, other])
    said = frame.select("source", "value", "disposition", "confidence").rows()
    assert said == [
        ("one", A, "malicious", 80),
        ("other", A, "spam", 10),
        ("other", B, "spam", 10),
    ]

    later = merge(frame, [snapshot(one, now + DAY)], now + DAY, [one, other])
    active = later.filter("active").select("source", "value").rows()
    assert active == [("other", A), ("other", B)]


def test_merging_nothing_gives_an_empty_table(now):
    assert merge(None, [], now).schema == INDICATORS_TABLE.empty().schema


# --- held to a model ---

START = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = [f"https://{name}.example/" for name in "abcd"]


@dataclass
class Known:
    """What the model knows of one value."""

    first_seen: datetime
    listed_at: datetime
    stated_end: datetime | None
    listed: bool = True
    removed: bool = False
    """It was still listed when its source was taken out."""
    active: bool = True
    because: End | None = None
    changed_at: datetime | None = None


class Model:
    """The same rules, said for one value after the other, without any laziness."""

    def __init__(self, time_to_live: timedelta | None, *, revokes: bool, news_only: bool) -> None:
        self.time_to_live = time_to_live
        self.revokes, self.news_only = revokes, news_only
        self.known: dict[str, Known] = {}
        self.read = False

    def end(self, one: Known) -> datetime | None:
        if one.stated_end is not None:
            return one.stated_end
        return None if self.time_to_live is None else one.listed_at + self.time_to_live

    def reading(
        self, now: datetime, entries: dict[str, tuple[datetime | None, bool]], complete: bool
    ) -> None:
        for value, (stated_end, revoked) in entries.items():
            one = self.known.get(value)
            if revoked:
                if one is not None:
                    one.listed = False
                    self._turn(one, now, End.REVOKED)
            elif one is None:
                self.known[value] = one = Known(now, now, stated_end, changed_at=now)
                self._expire(one, now)
            else:
                one.listed, one.listed_at, one.stated_end = True, now, stated_end
                one.removed = False
                self._list_again(one, now)
        for value, one in self.known.items():
            if value not in entries and complete:
                one.listed = False
                if self.revokes:
                    self._turn(one, now, End.NO_LONGER_LISTED)
        self.read = True
        self.time_passes(now)

    def unchanged(self, now: datetime) -> None:
        if not self.news_only:
            for one in self.known.values():
                if one.listed:
                    one.listed_at = now
                    self._list_again(one, now)
        self.time_passes(now)

    def remove(self, now: datetime) -> None:
        for one in self.known.values():
            one.removed = one.removed or one.listed
            one.listed = False
            self._turn(one, now, End.SOURCE_REMOVED)
        self.read = False

    def time_passes(self, now: datetime) -> None:
        for one in self.known.values():
            self._expire(one, now)

    def _expire(self, one: Known, now: datetime) -> None:
        end = self.end(one)
        if end is not None and end <= now:
            self._turn(one, now, End.EXPIRED)

    def _list_again(self, one: Known, now: datetime) -> None:
        end = self.end(one)
        in_time = end is None or end > now
        if in_time != one.active:
            one.changed_at = now
        one.active, one.because = in_time, None if in_time else End.EXPIRED

    def _turn(self, one: Known, now: datetime, because: End) -> None:
        if one.active:
            one.active, one.because, one.changed_at = False, because, now


# An odd minute: an end that a feed states is not by chance the one a time to live makes.
entry = st.tuples(
    st.none() | st.integers(-2, 20).map(lambda days: days * DAY + timedelta(minutes=7)),
    st.sampled_from([False, False, False, True]),
)
step = st.tuples(
    st.sampled_from(["reading", "reading", "reading", "unchanged", "unchanged", "fail", "remove"]),
    st.dictionaries(st.sampled_from(VALUES), entry),
    st.booleans(),
    st.integers(1, 60),
)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(step, min_size=1, max_size=14),
    days=st.sampled_from([None, 2, 10]),
    absence_revokes=st.sampled_from([None, False, True]),
    service=st.booleans(),
)
def test_merging_is_what_the_model_says(steps, days, absence_revokes, service):
    source = Source.model_validate(
        {
            "name": "model",
            "format": "stix" if service else "plain_list",
            "service": "taxii" if service else None,
            "location": "https://feeds.example/",
            "disposition": "malicious",
            "confidence": 80,
            "time_to_live": None if days is None else f"P{days}D",
            "absence_revokes": absence_revokes,
        }
    )
    life = Life(source)
    model = Model(
        source.time_to_live, revokes=source.revokes_absent, news_only=source.gives_news_only
    )
    now = START
    for kind, stated, complete, hours in steps:
        now += hours * HOUR
        entries = {
            value: (None if end is None else now + end, revoked)
            for value, (end, revoked) in stated.items()
        }
        complete = complete or not source.gives_news_only
        again = _play(kind, life, model, now, entries, complete)
        _compare(life.rows, model, now)
        before = life.rows
        again()
        assert life.rows is before, "the same again changes nothing"


def _play(
    kind: str,
    life: Life,
    model: Model,
    now: datetime,
    entries: dict[str, tuple[datetime | None, bool]],
    complete: bool,
) -> Callable[[], None]:
    """One step, in both; returns how to do the last thing again."""
    if kind == "remove":
        model.remove(now)
        life.remove(now)
        return lambda: life.remove(now)
    if kind == "unchanged" and model.read:
        model.unchanged(now)
        life.find_unchanged(now)
        return lambda: life.find_unchanged(now)
    if kind == "reading":
        listed = [
            Listed(ObservableType.URL, value, expires_at=end, revoked=revoked)
            for value, (end, revoked) in entries.items()
        ]
        read = snapshot_of(listed, life.source, now)
        read = read.with_reading(complete=complete, marks=Marks())
        model.reading(now, entries, complete)
        life.take(read, now)
        return lambda: life.take(read, now)
    model.time_passes(now)
    life.fail(now)
    return lambda: life.fail(now)


def _compare(rows: pl.DataFrame, model: Model, now: datetime) -> None:
    assert set(rows["value"]) == set(model.known)
    matching = set(in_force(rows.lazy(), now).collect()["value"])
    assert matching == {value for value, one in model.known.items() if one.active}
    for found in rows.iter_rows(named=True):
        one = model.known[found["value"]]
        assert found["active"] == one.active
        assert found["inactive_because"] == one.because
        assert found["listed"] == one.listed
        assert found["first_seen"] == one.first_seen
        assert found["changed_at"] == one.changed_at
        late = one.listed_at - found["last_seen"]
        assert timedelta(0) <= late <= STAMP_EVERY
        if not one.listed and not one.removed and one.because is not End.REVOKED:
            assert late == timedelta(0), "what is no longer listed has the exact time"


def test_held_back_or_not_a_preview_needs_no_lake(source, now):
    own = source(confidence_floor=90)
    frame = merge(None, [snapshot(own, now, A)], now, [own], hold_back=NO_HOLD_BACK)
    assert "below the floor" in row(frame, A)["held_back"]
