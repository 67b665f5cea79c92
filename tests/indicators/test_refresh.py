from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.indicators.refreshing import read_all, refresh

from retract.errors import FeedError, LakeError
from retract.indicators.feeds import FeedsFile
from retract.indicators.hold_back.rules import SHARED_HOST, HoldBack
from retract.indicators.listed import Listed, ParsedFeed, Rejected
from retract.indicators.refresh import (
    FORGET_AFTER,
    commit,
    merge,
    read_source,
)
from retract.indicators.snapshot import EXAMPLES, Snapshot, snapshot_of
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE
from retract.model import Disposition, ObservableType
from retract.observables import lookup

DAY = timedelta(days=1)


def snapshot(source, now, *values, **more):
    listed = [Listed(ObservableType.URL, value, **more) for value in values]
    return snapshot_of(ParsedFeed(listed), source, now, HoldBack())


def row(frame: pl.DataFrame, value: str) -> dict[str, object]:
    return frame.row(by_predicate=pl.col("value") == value, named=True)


A, B = "https://a.example/x", "https://b.example/x"


# --- a snapshot ---


def test_a_row_has_what_the_feed_states_and_else_what_the_source_says(source, now):
    own = source(time_to_live="P30D", campaign="Winter", reference="https://r.example")

    frame = snapshot(own, now, A).rows

    assert frame.schema == INDICATORS_TABLE.empty().schema
    found = row(frame, A)
    expected = lookup.indicator_lookup(ObservableType.URL, A)
    assert (found["lookup"], found["exact_only"]) == (expected.text, expected.exact)
    assert found["key"] == lookup.key(ObservableType.URL, expected.text)
    assert (found["disposition"], found["confidence"]) == ("malicious", 80)
    assert (found["campaign"], found["reference"]) == ("Winter", "https://r.example")
    assert found["first_seen"] == found["last_seen"] == now
    assert found["expires_at"] == now + 30 * DAY
    assert found["active"]

    stated = row(
        snapshot(
            own,
            now,
            A,
            disposition=Disposition.SPAM,
            confidence=0,
            campaign="Spring",
            reference="x",
            first_seen=now - DAY,
            expires_at=now + DAY,
        ).rows,
        A,
    )
    assert (stated["disposition"], stated["confidence"]) == ("spam", 0)
    assert (stated["campaign"], stated["reference"]) == ("Spring", "x")
    assert (stated["first_seen"], stated["expires_at"]) == (now - DAY, now + DAY)


def test_one_value_of_two_sources_is_two_indicators(source, now):
    one, other = source(name="one"), source(name="other")
    merged = merge(None, [snapshot(one, now, A), snapshot(other, now, A)], now)

    assert merged["indicator_id"].n_unique() == 2
    assert merged["source"].to_list() == ["one", "other"]
    again = snapshot(one, now + DAY, A).rows
    assert again["indicator_id"].to_list() == merged["indicator_id"].to_list()[:1]


def test_a_value_listed_twice_counts_once_by_its_gravest_statement(source, now):
    parsed = ParsedFeed(
        [
            Listed(ObservableType.URL, A, disposition=Disposition.SPAM, confidence=99),
            Listed(ObservableType.URL, A, disposition=Disposition.MALICIOUS, confidence=10),
            Listed(ObservableType.URL, A, disposition=Disposition.MALICIOUS, confidence=20),
            Listed(ObservableType.URL, A, confidence=100, revoked=True),
        ]
    )
    frame = snapshot_of(parsed, source(), now, HoldBack()).rows
    assert frame.select("disposition", "confidence", "active").rows() == [("malicious", 20, True)]


def test_what_is_revoked_or_expired_is_kept_but_not_active(source, now):
    revoked = snapshot(source(), now, A, revoked=True).rows
    expired = snapshot(source(), now, A, expires_at=now).rows
    assert revoked["active"].to_list() == expired["active"].to_list() == [False]


def test_a_shared_host_is_kept_with_the_reason(source, now):
    frame = snapshot(source(), now, "https://t.co/", "https://t.co/AbC").rows
    assert row(frame, "https://t.co/")["held_back"] == SHARED_HOST
    assert row(frame, "https://t.co/AbC")["held_back"] is None


def test_a_snapshot_survives_a_file(source, now, tmp_path):
    written = snapshot(source(), now, A, B)
    written.write(tmp_path / "snapshot.parquet")

    read = Snapshot.read(tmp_path / "snapshot.parquet")

    assert read.facts == written.facts
    assert read.rows.equals(written.rows)


def test_all_rejected_are_counted_and_some_shown(source, now, tmp_path):
    rejected = [Rejected(f"line {number}", "no") for number in range(100)]
    parsed = ParsedFeed([Listed(ObservableType.URL, A)], rejected)
    snapshot_of(parsed, source(), now, HoldBack()).write(tmp_path / "snapshot.parquet")

    facts = Snapshot.read(tmp_path / "snapshot.parquet").facts

    assert facts.rejected == 100
    assert facts.examples == tuple(rejected[:EXAMPLES])


def test_another_file_is_no_snapshot(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("hello", encoding="utf-8")
    for name in ("other", "text", "none"):
        with pytest.raises(FeedError, match="is no snapshot"):
            Snapshot.read(tmp_path / f"{name}.parquet")


# --- reading a source ---


def test_all_documents_of_a_source_count(source, now, tmp_path):
    (tmp_path / "a.txt").write_text(f"{A}\n{B}\nno good\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(f"{B}\nhttps://c.example/\n", encoding="utf-8")

    read = read_source(source(type="url", location=str(tmp_path / "*.txt")), now)

    assert (read.listed, read.facts.rejected, read.held_back) == (3, 1, 0)


@pytest.mark.parametrize(
    ("format_", "data", "problem"),
    [
        ("plain_list", b"", "list: it lists nothing.*may_be_empty"),
        ("plain_list", b"# only a comment\n", "lists nothing"),
        ("plain_list", b"<html>", "list: feed is an HTML page"),
        ("csv", b"value\n", "lists nothing"),
        ("csv", b"other\nx\n", "list: feed has no column"),
        ("stix", b'{"objects": [', "list: feed is no readable JSON"),
        ("stix", b'{"objects": []}', "lists nothing"),
    ],
)
def test_a_broken_feed_is_an_error_with_source_and_document(
    source, now, tmp_path, format_, data, problem
):
    (tmp_path / "feed").write_bytes(data)
    columns = {"columns": {"value": "value"}} if format_ == "csv" else {}
    broken = source(format=format_, location=str(tmp_path / "feed"), **columns)
    with pytest.raises(FeedError, match=problem):
        read_source(broken, now)


def test_one_broken_document_breaks_the_source(source, now, tmp_path):
    (tmp_path / "a.txt").write_text(A, encoding="utf-8")
    (tmp_path / "b.txt").write_text("<html>", encoding="utf-8")
    with pytest.raises(FeedError, match=r"b\.txt is an HTML page"):
        read_source(source(location=str(tmp_path / "*.txt")), now)


def test_an_own_list_may_be_empty_but_not_missing(source, now, tmp_path):
    own = source(location=str(tmp_path / "own.txt"), may_be_empty=True)
    with pytest.raises(FeedError, match="there is no file"):
        read_source(own, now)
    (tmp_path / "own.txt").write_text("# nothing yet\n", encoding="utf-8")
    assert read_source(own, now).listed == 0


# --- merging ---


def test_first_seen_stays_and_last_seen_moves(source, now):
    first = merge(None, [snapshot(source(), now, A)], now)
    second = merge(first, [snapshot(source(), now + DAY, A)], now + DAY)

    assert second.height == 1
    assert row(second, A)["first_seen"] == now
    assert row(second, A)["last_seen"] == now + DAY


def test_with_a_time_to_live_an_unlisted_indicator_stays_until_it_expires(source, now):
    rolling = source(time_to_live="P10D")
    current = merge(None, [snapshot(rolling, now, A, B)], now)

    active = []
    for days in (1, 9, 10):
        later = now + days * DAY
        current = merge(current, [snapshot(rolling, later, B)], later)
        active.append(row(current, A)["active"])

    assert active == [True, True, False]
    assert row(current, B)["active"]


def test_without_one_it_leaves_when_it_is_no_longer_listed(source, now):
    own = source()
    current = merge(None, [snapshot(own, now, A, B)], now)
    current = merge(current, [snapshot(own, now + DAY, B)], now + DAY)
    assert not row(current, A)["active"]

    current = merge(current, [snapshot(own, now + 2 * DAY, A, B)], now + 2 * DAY)
    assert row(current, A)["active"]
    assert row(current, A)["first_seen"] == now


def test_a_stated_expiry_does_not_outlast_an_own_list(source, now):
    own = source()
    current = merge(None, [snapshot(own, now, A, expires_at=now + 90 * DAY)], now)
    current = merge(current, [snapshot(own, now + DAY)], now + DAY)
    assert not row(current, A)["active"]


def test_a_revoked_indicator_leaves(source, now):
    feed = source(time_to_live="P30D")
    current = merge(None, [snapshot(feed, now, A)], now)
    current = merge(current, [snapshot(feed, now + DAY, A, revoked=True)], now + DAY)
    assert row(current, A)["active"] is False


def test_a_source_without_a_snapshot_keeps_its_rows_until_they_expire(source, now):
    own, rolling = source(name="own"), source(name="rolling", time_to_live="P10D")
    current = merge(None, [snapshot(own, now, A), snapshot(rolling, now, B)], now)

    nothing_read = merge(current, [], now + DAY)
    assert nothing_read.equals(current)

    later = merge(current, [], now + 11 * DAY)
    assert row(later, A)["active"]
    assert not row(later, B)["active"]


def test_a_source_no_longer_configured_leaves(source, now):
    one, other = source(name="one"), source(name="other", time_to_live="P30D")
    current = merge(None, [snapshot(one, now, A), snapshot(other, now, B)], now)

    for feeds in (
        FeedsFile(sources=(one,)),
        FeedsFile(sources=(one, other.model_copy(update={"enabled": False}))),
    ):
        merged = merge(current, [], now + DAY, feeds)
        assert (row(merged, A)["active"], row(merged, B)["active"]) == (True, False)


def test_what_is_held_back_now_is_held_back_in_a_broken_source_too(source, now):
    feed = source(time_to_live="P30D")
    listed = [Listed(ObservableType.DOMAIN, "partner.example")]
    current = merge(None, [snapshot_of(ParsedFeed(listed), feed, now, HoldBack())], now)
    held = FeedsFile(sources=(feed,), hold_back=HoldBack(domains=("partner.example",)))
    free = FeedsFile(sources=(feed,))

    merged = merge(current, [], now, held)
    assert merged["held_back"].to_list() == [SHARED_HOST]
    assert merge(merged, [], now, free)["held_back"].to_list() == [None]


def test_what_is_long_out_of_force_is_forgotten(source, now):
    own = source()
    current = merge(None, [snapshot(own, now, A)], now)
    current = merge(current, [snapshot(own, now + DAY)], now + DAY)
    assert merge(current, [], now + FORGET_AFTER - DAY).height == 1
    assert merge(current, [], now + FORGET_AFTER + DAY).is_empty()


# --- the whole refresh ---


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def feeds(source, tmp_path: Path) -> FeedsFile:
    (tmp_path / "urls.txt").write_text(f"{A}\n{B}\nno good\n", encoding="utf-8")
    (tmp_path / "domains.txt").write_text("evil.example\nt.co\n", encoding="utf-8")
    return FeedsFile(
        sources=(
            source(name="urls", type="url", location=str(tmp_path / "urls.txt")),
            source(
                name="domains",
                type="domain",
                location=str(tmp_path / "domains.txt"),
                time_to_live="P30D",
            ),
            source(name="off", location=str(tmp_path / "none.txt"), enabled=False),
        )
    )


def test_a_refresh_commits_what_all_sources_list(feeds, lake, now):
    report = refresh(feeds, lake, now)

    assert lake.versions().indicators == report.version
    stored = lake.scan_indicators(report.version).collect()
    assert set(stored["value"]) == {A, B, "evil.example", "t.co"}
    domains, urls = report.sources
    assert (urls.source, urls.listed, urls.added, urls.rejected) == ("urls", 2, 2, 1)
    assert urls.examples[0].where == "line 3"
    assert (domains.listed, domains.held_back, domains.in_force) == (2, 1, 1)
    assert report.failed == ()


def test_a_second_refresh_says_what_changed(feeds, lake, now, tmp_path):
    refresh(feeds, lake, now)
    (tmp_path / "urls.txt").write_text(f"{B}\nhttps://c.example/x\n", encoding="utf-8")

    urls = refresh(feeds, lake, now + DAY).sources[1]

    assert (urls.listed, urls.added, urls.expired, urls.in_force) == (2, 1, 1, 2)


def test_a_broken_source_keeps_its_last_good_version_and_stops_no_other(feeds, lake, now, tmp_path):
    refresh(feeds, lake, now)
    (tmp_path / "urls.txt").write_text("<html>moved</html>", encoding="utf-8")
    (tmp_path / "domains.txt").write_text("new.example\n", encoding="utf-8")

    report = refresh(feeds, lake, now + DAY)

    (failed,) = report.failed
    assert failed.source == "urls"
    assert "HTML page" in str(failed.error)
    assert (failed.in_force, failed.expired) == (2, 0)
    stored = lake.scan_indicators(report.version).filter("active").collect()
    assert {A, B, "new.example"} <= set(stored["value"])


def test_a_commit_that_meets_another_one_merges_again(feeds, lake, now, source, monkeypatch):
    snapshots, errors = read_all(feeds, now)
    late = source(name="late", time_to_live="P30D")
    both = feeds.model_copy(update={"sources": (*feeds.sources, late)})
    lake.replace_indicators(INDICATORS_TABLE.empty())
    replace = Lake.replace_indicators
    interruptions = [snapshot(late, now, "https://late.example/x").rows]

    def interrupted(self, frame, **options):
        if interruptions:
            replace(self, interruptions.pop())
        return replace(self, frame, **options)

    monkeypatch.setattr(Lake, "replace_indicators", interrupted)
    report = commit(both, lake, snapshots, errors, now)

    stored = lake.scan_indicators(report.version).collect()
    assert {A, B, "https://late.example/x"} <= set(stored["value"])


def test_a_lake_that_refuses_is_not_asked_for_ever(feeds, lake, now, monkeypatch):
    def refuse(self, frame, **options):
        raise LakeError("disk full")

    monkeypatch.setattr(Lake, "replace_indicators", refuse)
    with pytest.raises(LakeError, match="disk full"):
        commit(feeds, lake, [], {}, now)


def test_a_preview_needs_no_lake(feeds, listed_now, now: datetime, tmp_path):
    frame = listed_now(feeds, now)
    assert frame.schema == INDICATORS_TABLE.empty().schema
    assert set(frame["value"]) == {A, B, "evil.example", "t.co"}

    (tmp_path / "urls.txt").unlink()
    with pytest.raises(FeedError, match="urls: there is no file"):
        listed_now(feeds, now)
