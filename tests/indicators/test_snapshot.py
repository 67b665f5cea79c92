from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import pytest

from retract.errors import FeedError
from retract.indicators import snapshot as snapshots
from retract.indicators.fetching.document import Marks
from retract.indicators.listed import LeftOut, Listed, Rejected
from retract.indicators.snapshot import (
    EXAMPLES,
    LONGEST_EXAMPLE,
    End,
    Snapshot,
    snapshot_of,
    unchanged,
)
from retract.lake.tables import INDICATORS_TABLE
from retract.model import Disposition, ObservableType
from retract.observables import lookup

DAY = timedelta(days=1)
A, B = "https://a.example/x", "https://b.example/x"


def listed(value: str = A, **more: object) -> Listed:
    return Listed(ObservableType.URL, value, **more)


def row(frame: pl.DataFrame, value: str = A) -> dict[str, object]:
    return frame.row(by_predicate=pl.col("value") == value, named=True)


# --- a row ---


def test_a_row_has_what_the_source_says_where_the_feed_says_nothing(source, now):
    own = source(time_to_live="P30D", campaign="Winter", reference="https://r.example")

    snapshot = snapshot_of([listed()], own, now)

    assert snapshot.rows.schema == INDICATORS_TABLE.empty().schema
    found = row(snapshot.rows)
    expected = lookup.indicator_lookup(ObservableType.URL, A)
    assert (found["lookup"], found["exact_only"]) == (expected.text, expected.exact)
    assert found["key"] == lookup.key(ObservableType.URL, expected.text)
    assert (found["disposition"], found["confidence"]) == ("malicious", 80)
    assert (found["campaign"], found["reference"]) == ("Winter", "https://r.example")
    assert found["first_seen"] == found["last_seen"] == found["changed_at"] == now
    assert found["expires_at"] == now + 30 * DAY
    assert (found["tags"], found["sightings"]) == ([], 0)
    assert (found["listed"], found["active"], found["inactive_because"]) == (True, True, None)
    assert found["held_back"] is None
    assert (snapshot.source, snapshot.listed) == ("list", 1)


def test_what_the_feed_states_counts_before_the_source(source, now):
    own = source(time_to_live="P30D", campaign="Winter", reference="https://r.example")
    stated = listed(
        disposition=Disposition.SPAM,
        confidence=0,
        campaign="Spring",
        reference="x",
        first_seen=now - DAY,
        expires_at=now + DAY,
        sightings=7,
        tags=("phishing", "TLP:CLEAR"),
    )

    found = row(snapshot_of([stated], own, now).rows)

    assert (found["disposition"], found["confidence"]) == ("spam", 0)
    assert (found["campaign"], found["reference"]) == ("Spring", "x")
    assert (found["first_seen"], found["expires_at"]) == (now - DAY, now + DAY)
    assert (found["sightings"], found["tags"]) == (7, ["phishing", "TLP:CLEAR"])


def test_nothing_was_first_seen_in_the_future(source, now):
    frame = snapshot_of([listed(first_seen=now + DAY)], source(), now).rows
    assert row(frame)["first_seen"] == now


@pytest.mark.parametrize(
    ("more", "end", "is_listed"),
    [
        ({"revoked": True}, End.REVOKED, False),
        ({"expires_at": "now"}, End.EXPIRED, True),
        ({"revoked": True, "expires_at": "now"}, End.REVOKED, False),
    ],
)
def test_what_is_revoked_or_expired_is_not_in_force(source, now, more, end, is_listed):
    more = more | ({"expires_at": now} if "expires_at" in more else {})

    snapshot = snapshot_of([listed(**more)], source(), now)

    found = row(snapshot.rows)
    assert (found["active"], found["inactive_because"]) == (False, end)
    assert found["listed"] is is_listed
    assert snapshot.listed == is_listed
    assert snapshot.facts.usable == 1


def test_an_end_in_a_millisecond_is_still_in_force(source, now):
    soon = now + timedelta(milliseconds=1)
    assert row(snapshot_of([listed(expires_at=soon)], source(), now).rows)["active"]


# --- listed twice ---


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "counts"),
    [
        ({"confidence": 10}, {"confidence": 90}, ("malicious", 90)),
        (
            {"disposition": Disposition.SPAM, "confidence": 99},
            {"disposition": Disposition.SUSPICIOUS, "confidence": 1},
            ("suspicious", 1),
        ),
        (
            {"disposition": Disposition.MALICIOUS, "revoked": True},
            {"disposition": Disposition.BULK, "confidence": 5},
            ("bulk", 5),
        ),
    ],
)
def test_listed_twice_what_is_in_force_counts_then_the_graver_then_the_surer(
    source, now, one, other, counts, turned
):
    entries = [listed(**one), listed(B), listed(**other)]
    snapshot = snapshot_of(reversed(entries) if turned else entries, source(), now)
    found = row(snapshot.rows)
    assert (found["disposition"], found["confidence"]) == counts
    assert (snapshot.listed, snapshot.facts.usable) == (2, 3)


# --- tags ---

BY_TAG = {
    "phish*": "suspicious",
    "type:OSINT": "spam",
    "c2": "malicious",
    "false-positive": "ignore",
}


@pytest.mark.parametrize(
    ("tags", "disposition"),
    [
        ((), "bulk"),
        (("other",), "bulk"),
        (("Phishing",), "suspicious"),
        ((" phish ",), "suspicious"),
        (("spearphish",), "bulk"),
        (("type:osint",), "spam"),
        (("TYPE:OSINT", "phishing-kit"), "suspicious"),
        (("phishing", "C2"), "malicious"),
    ],
)
def test_the_gravest_disposition_that_fits_the_tags_counts_before_all_else(
    source, now, tags, disposition
):
    tagged = source(disposition_by_tag=BY_TAG)
    entry = listed(tags=tags, disposition=Disposition.BULK)
    assert row(snapshot_of([entry], tagged, now).rows)["disposition"] == disposition


def test_what_a_tag_says_to_ignore_is_left_out_whatever_else_fits(source, now):
    entries = [listed(tags=("c2", "False-Positive")), listed(B, tags=("c2",))]

    snapshot = snapshot_of(entries, source(disposition_by_tag=BY_TAG), now)

    assert snapshot.rows.filter("listed")["value"].to_list() == [B]
    assert (snapshot.facts.left_out, snapshot.facts.rejected) == (1, 0)
    assert (snapshot.facts.listed, snapshot.facts.usable) == (1, 1)
    (example,) = snapshot.facts.left_out_examples
    assert example.where == A
    assert "False-Positive" in example.reason


def test_only_a_star_stands_for_something_in_a_tag_pattern(source, now):
    actor = 'misp-galaxy:threat-actor="Sandworm [APT]?"'
    entry = listed(tags=(actor,), disposition=Disposition.SPAM)
    for pattern, fits in (
        (actor, True),
        ('misp-galaxy:*[apt]?"', True),
        ("misp-galaxy:*[a]*", False),
        ("misp-galaxy:*[apt]??", False),
    ):
        tagged = source(disposition_by_tag={pattern: "malicious"})
        found = row(snapshot_of([entry], tagged, now).rows)
        assert found["disposition"] == ("malicious" if fits else "spam"), pattern


# --- campaign rules ---

PATTERN = Listed(ObservableType.SUBJECT_PATTERN, "invoice * overdue")


@pytest.mark.parametrize(
    ("settings", "more", "problem"),
    [
        ({}, {}, "named campaign"),
        ({"time_to_live": "P30D"}, {}, "named campaign"),
        ({"campaign": "Winter"}, {}, "only for a time"),
        ({"campaign": "Winter"}, {"expires_at": 1}, ""),
        ({"campaign": "Winter", "time_to_live": "P30D"}, {}, ""),
        ({"time_to_live": "P30D"}, {"campaign": "Winter"}, ""),
        ({}, {"campaign": "Winter", "expires_at": 1}, ""),
    ],
)
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ObservableType.SUBJECT_PATTERN, "invoice * overdue"),
        (ObservableType.DISPLAY_NAME_PATTERN, "ceo *"),
    ],
)
def test_a_pattern_counts_only_for_a_campaign_and_a_time(
    source, now, kind, text, settings, more, problem
):
    if "expires_at" in more:
        more = more | {"expires_at": now + DAY}
    # A table says by its columns what its rows are: only their cells can tell.
    own = source(format="csv", columns={"value": "v", "type": "t"}, **settings)

    snapshot = snapshot_of([Listed(kind, text, **more)], own, now)

    assert snapshot.rows.height == (not problem)
    assert snapshot.facts.rejected == bool(problem)
    if problem:
        (example,) = snapshot.facts.rejected_examples
        assert example.where == text
        assert problem in example.reason


# --- entries that are none ---


def test_all_that_is_rejected_or_left_out_is_counted_and_some_is_shown(source, now, tmp_path):
    rejected = [Rejected(f"line {number}", "no") for number in range(100)]
    left_out = [LeftOut(f"attribute {number}", "to_ids is false") for number in range(50)]
    snapshot_of([*rejected, listed(), *left_out], source(), now).write(tmp_path / "s.parquet")

    facts = Snapshot.read(tmp_path / "s.parquet").facts

    assert (facts.usable, facts.rejected, facts.left_out) == (1, 100, 50)
    assert facts.rejected_examples == tuple(rejected[:EXAMPLES])
    assert facts.left_out_examples == tuple(left_out[:EXAMPLES])


def test_what_a_feed_says_is_told_in_one_short_line(source, now):
    nasty = Rejected("line\n1\x1b[31m", "bad\u2028value\r\n" + "x" * 10_000)

    (example,) = snapshot_of([nasty], source(), now).facts.rejected_examples

    assert example.where == "line 1 [31m"
    assert example.reason.startswith("bad value")
    assert example.reason.isprintable()
    assert len(example.reason) == LONGEST_EXAMPLE


def test_text_of_a_feed_that_no_table_can_store_does_not_stop_it(source, now):
    entry = listed(
        campaign="Win\ud800ter\n" + "x" * 999,
        reference="https://r.example/\udcff",
        tags=("\ud83d", *(f"tag{number}" for number in range(1000))),
        sightings=2**40,
    )

    found = row(snapshot_of([entry, listed(B, sightings=-5)], source(), now).rows)

    assert str(found["campaign"]).startswith("Win ter xxx")
    assert len(str(found["campaign"])) == snapshots.LONGEST_CAMPAIGN
    assert found["reference"] == "https://r.example/ "
    assert len(found["tags"]) == snapshots.MOST_TAGS
    assert found["sightings"] == snapshots.MOST_SIGHTINGS


# --- large ones ---


def test_chunks_make_no_difference(source, now, monkeypatch):
    values = [f"https://{number % 70}.example/{number % 90}" for number in range(1000)]
    entries = [listed(value, confidence=number % 100) for number, value in enumerate(values)]
    whole = snapshot_of(entries, source(), now)

    for chunk in (1, 7, 999, 1000):
        monkeypatch.setattr(snapshots, "CHUNK", chunk)
        in_chunks = snapshot_of(iter(entries), source(), now)
        assert in_chunks.facts == whole.facts
        assert in_chunks.rows.equals(whole.rows)
    assert whole.listed == len(set(values))


def test_entries_are_not_all_held_at_once(source, now, monkeypatch):
    monkeypatch.setattr(snapshots, "CHUNK", 10)
    alive = 0
    most = 0

    class Counted(Listed):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def entries() -> Iterator[Listed]:
        nonlocal alive, most
        for number in range(200):
            alive += 1
            most = max(most, alive)
            yield Counted(ObservableType.URL, f"https://a.example/{number}")

    assert snapshot_of(entries(), source(), now).listed == 200
    assert most < 50


# --- files, and readings without news ---


def test_a_snapshot_survives_a_file(source, now, tmp_path):
    marks = Marks(etag='"1"', cursor="2026-01-31T12:00:00Z")
    tagged = listed(tags=("a", "b"), expires_at=now + DAY)
    written = snapshot_of([tagged, listed(B)], source(), now)
    written = written.with_reading(complete=False, marks=marks)
    written.write(tmp_path / "snapshot.parquet")

    read = Snapshot.read(tmp_path / "snapshot.parquet")

    assert read.facts == written.facts
    assert (read.facts.complete, read.facts.marks) == (False, marks)
    assert read.rows.equals(written.rows)
    assert read.rows.schema == INDICATORS_TABLE.empty().schema


def test_a_reading_without_news_has_no_rows(source, now, tmp_path):
    unchanged(source(), now, Marks(etag='"1"')).write(tmp_path / "snapshot.parquet")

    read = Snapshot.read(tmp_path / "snapshot.parquet")

    assert read.facts.unchanged
    assert read.facts.settings == source().digest
    assert read.facts.marks.etag == '"1"'
    assert read.rows.is_empty()


def test_another_file_is_no_snapshot(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("hello", encoding="utf-8")
    for name in ("other", "text", "none"):
        with pytest.raises(FeedError, match="is no snapshot"):
            Snapshot.read(tmp_path / f"{name}.parquet")
