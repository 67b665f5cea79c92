from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lake import rows
from tests.lake.rows import table

from retract.indicators.changes import Change, changes, counts
from retract.indicators.fetching.document import Marks
from retract.indicators.listed import Listed
from retract.indicators.merge import merge_source, without_source
from retract.indicators.snapshot import End, indicator_id, snapshot_of, unchanged
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE
from retract.model import Disposition, ObservableType

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
A, B = "https://a.example/x", "https://b.example/x"


def indicator(value: str = A, source: str = "list", **more: Any) -> dict[str, Any]:
    name = indicator_id(ObservableType.URL, value, source)
    return rows.indicator(value, NOW, indicator_id=name, source=source, **more)


def ended(because: End) -> dict[str, Any]:
    return {"active": False, "inactive_because": because.value}


# --- what is what ---


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({}, ended(End.EXPIRED), Change.EXPIRED),
        ({}, ended(End.REVOKED), Change.REVOKED),
        ({}, ended(End.NO_LONGER_LISTED), Change.NO_LONGER_LISTED),
        ({}, ended(End.SOURCE_REMOVED), Change.SOURCE_REMOVED),
        (ended(End.EXPIRED), {}, Change.REACTIVATED),
        ({}, {"held_back": "shared host"}, Change.HELD_BACK),
        ({"held_back": "shared host"}, {}, Change.RELEASED),
        ({"held_back": "shared host"}, {"held_back": "public suffix"}, Change.RESTATED),
        ({}, {"disposition": "spam"}, Change.RESTATED),
        ({}, {"confidence": 81}, Change.RESTATED),
        ({}, {"campaign": "Winter"}, Change.RESTATED),
        ({}, {"reference": "https://r.example"}, Change.RESTATED),
        ({}, {"tags": ["a"]}, Change.RESTATED),
        ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, Change.RESTATED),
        ({}, {"sightings": 3}, Change.RESTATED),
        ({}, {"first_seen": NOW - DAY}, Change.RESTATED),
        ({}, {"listed": False}, Change.RESTATED),
        ({}, {"expires_at": NOW + DAY}, Change.RESTATED),
        ({"expires_at": NOW + DAY}, {}, Change.RESTATED),
        ({"expires_at": NOW + DAY}, {"expires_at": NOW + 2 * DAY}, Change.RESTATED),
        # The weightiest counts where several things happened.
        (ended(End.EXPIRED), {"held_back": "shared host", "confidence": 1}, Change.REACTIVATED),
        ({"held_back": "shared host"}, ended(End.REVOKED), Change.REVOKED),
    ],
)
def test_every_change_has_its_name_and_shows_both_sides(before, after, change):
    was, now = indicator(**before), indicator(**after)

    found = changes(table(was, indicator(B)), table(now, indicator(B)))

    (row,) = found.rows(named=True)
    assert (row["value"], row["type"], row["source"]) == (A, "url", "list")
    assert row["change"] == change
    for name in ("disposition", "held_back", "active", "tags", "expires_at", "first_seen"):
        assert row[f"before_{name}"] == was[name]
        assert row[f"after_{name}"] == now[name]
    assert counts(table(was), table(now)) == {change: 1}


def test_what_comes_and_goes_has_only_one_side():
    new, gone = indicator(A, **ended(End.EXPIRED)), indicator(B, confidence=7)

    found = changes(table(gone), table(new))

    assert found.select("value", "change").rows() == [(A, Change.ADDED), (B, Change.FORGOTTEN)]
    added, forgotten = found.rows(named=True)
    assert (added["before_active"], added["after_active"]) == (None, False)
    assert (forgotten["before_confidence"], forgotten["after_confidence"]) == (7, None)


@pytest.mark.parametrize("life", [None, 30 * DAY])
def test_being_listed_again_is_no_change(life):
    def at(moment: datetime) -> pl.DataFrame:
        return table(indicator(last_seen=moment, expires_at=life and moment + life))

    assert changes(at(NOW), at(NOW + DAY)).is_empty()


def test_changes_are_ordered_by_source_type_and_value():
    rows = [indicator(value, source) for source in ("b", "a") for value in (B, A)]
    found = changes(table(), table(*rows))
    assert found.select("source", "value").rows() == [("a", A), ("a", B), ("b", A), ("b", B)]


def test_one_value_of_two_sources_is_two_opinions():
    before = table(indicator(A, "one"), indicator(A, "two"))
    after = table(indicator(A, "one"), indicator(A, "two", confidence=1))
    assert changes(before, after).select("source", "change").rows() == [("two", "restated")]


def test_no_changes_have_the_shape_of_some():
    some, none = changes(table(), table(indicator())), changes(table(), table())
    assert none.is_empty()
    assert none.schema == some.schema


# --- properties ---

moment = st.integers(0, 3).map(lambda days: NOW + days * DAY)
state = st.fixed_dictionaries(
    {
        "confidence": st.sampled_from([10, 80]),
        "disposition": st.sampled_from(["malicious", "spam"]),
        "campaign": st.sampled_from(["", "Winter"]),
        "tags": st.sampled_from([[], ["a"], ["a", "b"]]),
        "listed": st.booleans(),
        "held_back": st.sampled_from([None, "shared host", "public suffix"]),
        "inactive_because": st.sampled_from([None, None, *(end.value for end in End)]),
        "last_seen": moment,
        "expires_at": st.none() | moment,
        "first_seen": moment,
    }
)
version = st.dictionaries(
    st.tuples(st.sampled_from([A, B, "https://c.example/"]), st.sampled_from(["one", "two"])),
    state,
).map(
    lambda rows: table(
        *(
            indicator(value, source, active=said["inactive_because"] is None, **said)
            for (value, source), said in rows.items()
        )
    )
)
SAID = (
    "lookup",
    "disposition",
    "confidence",
    "campaign",
    "tags",
    "first_seen",
    "listed",
    "held_back",
    "active",
    "inactive_because",
    "expires_at",
    "last_seen",
)


def by_id(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["indicator_id"]: row for row in frame.iter_rows(named=True)}


@settings(max_examples=200, deadline=None)
@given(version, version)
def test_the_changes_explain_every_difference(before, after):
    was, now = by_id(before), by_id(after)
    found = by_id(changes(before.lazy(), after.lazy()))

    applied = {
        name: {key: row[key] for key in SAID} for name, row in was.items() if name not in found
    }
    for name, change in found.items():
        if change["change"] != Change.FORGOTTEN:
            applied[name] = {key: change[f"after_{key}"] for key in SAID}
        if change["change"] != Change.ADDED:
            assert {key: change[f"before_{key}"] for key in SAID} == {
                key: was[name][key] for key in SAID
            }
    assert set(applied) == set(now)
    for name, row in applied.items():
        said = {key: now[name][key] for key in SAID}
        if name not in found:  # listed again: the time, and the end that follows from it
            moved = said["last_seen"] - row["last_seen"]
            if row["expires_at"] != said["expires_at"]:
                assert said["expires_at"] - row["expires_at"] == moved
            row = row | {key: said[key] for key in ("last_seen", "expires_at")}
        assert row == said
    kinds = [change["change"] for change in found.values()]
    for source in ("one", "two"):
        part = counts(before.filter(source=source), after.filter(source=source))
        assert sum(part.values()) == sum(row["source"] == source for row in found.values())
    assert {Change(kind) for kind in kinds} <= set(Change)


@settings(max_examples=50, deadline=None)
@given(version)
def test_a_version_has_no_changes_to_itself(frame):
    assert changes(frame, frame).is_empty()
    assert counts(frame, frame.reverse()) == {}


# --- between two versions of the lake ---


def test_what_changed_between_two_versions_is_one_call(source, now, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    feed = source(time_to_live="P30D", confidence_floor=20)

    def entry(value: str, **more: Any) -> Listed:
        return Listed(ObservableType.URL, value, **more)

    first = snapshot_of([entry(A), entry(B), entry("https://c.example/")], feed, now)
    rows = merge_source(INDICATORS_TABLE.empty(), feed, first, now)
    versions = [lake.replace_indicators(rows)]

    later = now + HOUR
    second = snapshot_of(
        [
            entry(A, disposition=Disposition.SPAM),
            entry(B, revoked=True),
            entry("https://d.example/"),
        ],
        feed,
        later,
    )
    rows = merge_source(rows, feed, second, later, last_read_at=now)
    versions.append(lake.replace_indicators(rows, sources=["list"]))
    rows = merge_source(rows, feed, unchanged(feed, later + 2 * DAY, Marks()), later + 2 * DAY)
    versions.append(lake.replace_indicators(rows, sources=["list"]))
    rows = without_source(rows, later + 3 * DAY)
    versions.append(lake.replace_indicators(rows, sources=["list"]))

    def between(one: int, other: int) -> dict[str, str]:
        found = changes(lake.scan_indicators(versions[one]), lake.scan_indicators(versions[other]))
        return dict(found.select("value", "change").iter_rows())

    assert between(0, 1) == {
        A: "restated",
        B: "revoked",
        "https://c.example/": "restated",
        "https://d.example/": "added",
    }
    assert between(1, 2) == {}, "listed again"
    assert between(2, 3) == {
        A: "source_removed",
        "https://c.example/": "source_removed",
        "https://d.example/": "source_removed",
    }
    assert between(1, 0)[B] == "reactivated", "and backwards"
