from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.indicators.refreshing import read_all, refresh

from retract.errors import FeedError, LakeError
from retract.indicators import analysts
from retract.indicators import refresh as module
from retract.indicators.feeds import ANALYSTS, FeedsFile, Format, Source
from retract.indicators.fetching.credentials import NO_CREDENTIALS, Credentials
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.hold_back.rules import NO_HOLD_BACK, SHARED_HOST, HoldBack
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.indicators.listed import Listed
from retract.indicators.refresh import commit, commit_one, read_source
from retract.indicators.refresh_report import HELD_BACK_EXAMPLES, SourceReport
from retract.indicators.snapshot import End, Snapshot, snapshot_of
from retract.lake.source_state import SourceState
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE
from retract.model import ObservableType

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
A, B = "https://a.example/x", "https://b.example/x"


def row(frame: pl.DataFrame, value: str) -> dict[str, Any]:
    return frame.row(by_predicate=pl.col("value") == value, named=True)


def urls(count: int, host: str = "a.example") -> str:
    return "".join(f"https://{host}/{number}\n" for number in range(count))


# --- reading a source ---


def test_all_documents_of_a_source_count(source, now, tmp_path):
    (tmp_path / "a.txt").write_text(f"{A}\n{B}\nno good\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(f"{B}\nhttps://c.example/\n", encoding="utf-8")

    read = read_source(source(type="url", location=str(tmp_path / "*.txt")), now)

    assert (read.listed, read.facts.usable, read.facts.rejected) == (3, 4, 1)
    assert read.facts.marks.content


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


@pytest.mark.parametrize("may_be_empty", [False, True])
def test_more_broken_entries_than_sound_ones_are_no_such_feed(source, now, tmp_path, may_be_empty):
    own = source(type="url", location=str(tmp_path / "list"), may_be_empty=may_be_empty)
    (tmp_path / "list").write_text(f"{A}\n{B}\nno\nnone\n", encoding="utf-8")
    assert read_source(own, now).facts.rejected == 2
    (tmp_path / "list").write_text(f"{A}\nno\nnone\n", encoding="utf-8")
    with pytest.raises(FeedError, match=r"list: 2 entries are broken and only 1 are sound.*line 2"):
        read_source(own, now)


class FakeReading:
    """A reading that gives what a test says."""

    def __init__(
        self, *documents: bytes, complete: bool = True, unchanged: bool = False, cursor: str = ""
    ) -> None:
        self._documents, self.complete = documents, complete
        self._unchanged, self._marks = unchanged, Marks(cursor=cursor)

    def documents(self) -> Iterator[Document]:
        if self._unchanged:
            raise Unchanged
        for number, data in enumerate(self._documents):
            yield Document(f"page {number}", data)

    def marks(self) -> Marks:
        return self._marks


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Marks, Credentials]]:
    """What sources are asked with; ``answers`` are what they give."""
    seen: list[tuple[Marks, Credentials]] = []

    def open_source(source: Source, last: Marks, credentials: Credentials) -> FakeReading:
        seen.append((last, credentials))
        return answers.pop(0)

    answers.clear()
    monkeypatch.setattr(module, "open_source", open_source)
    return seen


answers: list[FakeReading] = []


def known(source: Source, now: datetime, **more: Any) -> SourceState:
    usual = {"source": source.name, "settings": source.digest, "read_at": now, "tried_at": now}
    return SourceState.model_validate(usual | more)


def test_a_source_is_asked_with_the_marks_of_its_last_good_reading(source, now, asked):
    own = source()
    last = known(own, now, etag='"7"', last_modified="Sat", content="abc", cursor="c")
    answers.append(FakeReading(A.encode()))

    read_source(own, now, last=last)

    assert asked == [
        (Marks(etag='"7"', last_modified="Sat", content="abc", cursor="c"), NO_CREDENTIALS)
    ]


@pytest.mark.parametrize("change", [{"confidence": 81}, {"type": "url"}, {"campaign": "Winter"}])
def test_with_other_settings_everything_is_read_anew(source, now, asked, change):
    last = known(source(), now, etag='"7"', cursor="c")
    answers.append(FakeReading(A.encode()))
    read_source(source(**change), now, last=last)
    assert asked[0][0] == Marks()


def test_a_source_that_has_nothing_new_gives_no_rows(source, now, asked):
    answers.append(FakeReading(unchanged=True, cursor="next"))
    read = read_source(source(), now, last=known(source(), now, listed=500))
    assert (read.facts.unchanged, read.facts.complete) == (True, True)
    assert read.facts.marks.cursor == "next"
    assert read.rows.is_empty()


def test_no_news_from_a_service_say_nothing_of_what_it_told_before(source, now, asked):
    taxii = source(format="stix", service="taxii", location="https://taxii.example/c/")
    answers.append(FakeReading(unchanged=True))
    read = read_source(taxii, now, last=known(taxii, now))
    assert (read.facts.unchanged, read.facts.complete) == (True, False)


def test_news_may_be_none(source, now, asked):
    answers.append(FakeReading(complete=False, cursor="c2"))
    read = read_source(source(), now, last=known(source(), now, listed=500, cursor="c1"))
    assert (read.listed, read.facts.complete, read.facts.marks.cursor) == (0, False, "c2")


def test_broken_news_do_not_hold_up_the_others(source, now, asked):
    answers.append(FakeReading(f"{A}\nno\nnone\n".encode(), complete=False, cursor="c2"))
    own = source(type="url")
    read = read_source(own, now, last=known(own, now, listed=500, cursor="c1"))
    assert (read.listed, read.facts.rejected, read.facts.marks.cursor) == (1, 2, "c2")


def test_what_is_left_out_on_purpose_is_sound(source, now, tmp_path):
    def url(number: int, status: str, url: str = "http://evil.example/") -> str:
        return f'"{number}","2026-01-30 12:00:00","{url}{number}","{status}","","kit","","u","x"\n'

    # Many are offline, one is online, two are broken.
    rows = [url(n, "offline") for n in range(9)] + [url(9, "online"), url(10, "online", "no")]
    (tmp_path / "feed.csv").write_text("".join([*rows, url(11, "online", "no")]), encoding="utf-8")
    urlhaus = source(
        format="urlhaus",
        location=str(tmp_path / "feed.csv"),
        disposition_by_tag={"offline": "ignore"},
    )
    read = read_source(urlhaus, now)
    assert (read.listed, read.facts.left_out, read.facts.rejected) == (1, 9, 2)


def test_a_reading_that_breaks_in_the_middle_is_an_error(source, now, asked):
    answers.append(FakeReading(A.encode(), b"<html>\n\x1b[31m"))
    with pytest.raises(FeedError, match="list: page 1 is an HTML page") as caught:
        read_source(source(), now)
    assert str(caught.value).isprintable()


def test_what_an_error_repeats_of_a_feed_stays_on_one_short_line(source, now, monkeypatch):
    def refuse(*args: object) -> None:
        raise FeedError("says:\r\n\x1b[2J" + "x" * 100_000)

    monkeypatch.setattr(module, "open_source", refuse)
    with pytest.raises(FeedError) as caught:
        read_source(source(), now)
    assert str(caught.value).startswith("list: says:")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_100


# --- jumps ---


@pytest.mark.parametrize(
    ("before", "after", "guard", "jumps"),
    [
        (1000, 500, {}, False),
        (1000, 499, {}, True),
        (1000, 1, {}, True),
        (1000, 3000, {}, False),
        (1000, 3001, {}, True),
        (99, 1, {}, False),
        (10, 99, {}, False),
        (100, 49, {}, True),
        (10, 100, {}, True),
        (0, 5000, {}, False),
        (10, 100, {"from_size": 101}, False),
        (1000, 1, {"may_shrink_to": 0}, False),
        (1000, 899, {"may_shrink_to": 0.9}, True),
        (1000, 1101, {"may_grow_to": 1.1}, True),
        (1000, 9000, {"may_grow_to": 10}, False),
    ],
)
def test_a_jump_past_the_set_ratio_is_an_error(source, now, tmp_path, before, after, guard, jumps):
    (tmp_path / "list").write_text(urls(after), encoding="utf-8")
    own = source(location=str(tmp_path / "list"), jump_guard=guard)
    last = known(own, now, listed=before)
    if not jumps:
        assert read_source(own, now, last=last).listed == after
        return
    with pytest.raises(FeedError) as caught:
        read_source(own, now, last=last)
    said = str(caught.value)
    assert said.startswith(f"list: it went from {before:,} to {after:,} indicators")
    assert "the last good version stays" in said
    assert "accept_jumps_of: [list]" in said
    assert "jump_guard" in said
    assert read_source(own, now, last=last, accept_jump=True).listed == after


def test_the_first_reading_is_no_jump(source, now, tmp_path):
    (tmp_path / "list").write_text(urls(1000), encoding="utf-8")
    own = source(location=str(tmp_path / "list"))
    never_read = SourceState(source="list", tried_at=now, failing_since=now, error="broken")
    assert read_source(own, now, last=None).listed == 1000
    assert read_source(own, now, last=never_read).listed == 1000


def test_news_are_compared_with_all_that_is_known_and_only_upwards(source, now, asked):
    last = known(source(), now, listed=1000)
    answers.append(FakeReading(A.encode(), complete=False))
    assert read_source(source(), now, last=last).listed == 1
    answers.append(FakeReading(urls(2000).encode(), complete=False))
    assert read_source(source(), now, last=last).listed == 2000
    answers.append(FakeReading(urls(2001).encode(), complete=False))
    with pytest.raises(FeedError, match="from 1,000 to 3,001"):
        read_source(source(), now, last=last)


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


def stored(lake: Lake) -> pl.DataFrame:
    return lake.scan_indicators(lake.versions().indicators).collect()


def by_source(sources: tuple[SourceReport, ...]) -> dict[str, SourceReport]:
    return {one.source: one for one in sources}


def test_a_refresh_commits_what_all_sources_list(feeds, lake, now):
    report = refresh(feeds, lake, now)

    assert lake.versions().indicators == report.version
    assert report.changed
    assert set(stored(lake)["value"]) == {A, B, "evil.example", "t.co"}
    assert stored(lake).schema == INDICATORS_TABLE.empty().schema
    told = by_source(report.sources)
    assert set(told) == {"urls", "domains"}
    assert (told["urls"].listed, told["urls"].added, told["urls"].rejected) == (2, 2, 1)
    assert told["urls"].rejected_examples[0].where == "line 3"
    domains = told["domains"]
    assert (domains.listed, domains.held_back, domains.in_force) == (2, 1, 1)
    assert domains.held_back_because == {SHARED_HOST: 1}
    assert domains.held_back_examples == ((ObservableType.DOMAIN, "t.co", SHARED_HOST),)
    assert report.failed == ()


def test_a_second_refresh_says_what_changed(feeds, lake, now, tmp_path):
    refresh(feeds, lake, now)
    (tmp_path / "urls.txt").write_text(f"{B}\nhttps://c.example/x\n", encoding="utf-8")
    urls_ = by_source(refresh(feeds, lake, now + DAY).sources)["urls"]
    assert (urls_.listed, urls_.added, urls_.no_longer_listed, urls_.in_force) == (2, 1, 1, 2)

    (tmp_path / "urls.txt").write_text(f"{A}\n{B}\nhttps://c.example/x\n", encoding="utf-8")
    urls_ = by_source(refresh(feeds, lake, now + 2 * DAY).sources)["urls"]
    assert (urls_.added, urls_.reactivated, urls_.in_force) == (0, 1, 3)


def test_a_refresh_without_change_makes_no_version(feeds, lake, now):
    first = refresh(feeds, lake, now)
    second = refresh(feeds, lake, now + HOUR)

    assert (second.version, second.changed) == (first.version, False)
    told = by_source(second.sources)
    assert told["urls"].unchanged
    assert (told["urls"].listed, told["urls"].in_force, told["urls"].added) == (2, 2, 0)
    assert lake.source_states()["urls"].read_at == now + HOUR


def test_a_source_with_nothing_new_is_not_read_whole(feeds, lake, now, monkeypatch):
    refresh(feeds, lake, now)

    def never(*args: object, **options: object) -> None:
        raise AssertionError("merged")

    with monkeypatch.context() as patch:
        patch.setattr(module, "merge_source", never)
        told = by_source(refresh(feeds, lake, now + HOUR).sources)
    assert (told["domains"].listed, told["domains"].in_force) == (2, 1)
    assert told["domains"].held_back_because == {SHARED_HOST: 1}
    assert told["domains"].held_back_examples[0].value == "t.co"

    refresh(feeds, lake, now + 2 * DAY)
    assert row(stored(lake), "evil.example")["last_seen"] == now + 2 * DAY


def test_only_the_sources_that_changed_are_written(feeds, lake, now, tmp_path):
    refresh(feeds, lake, now)

    def files(source: str) -> set[str]:
        return {file.name for file in (tmp_path / "lake").glob(f"*/source={source}/*.parquet")}

    before = {name: files(name) for name in ("urls", "domains")}
    (tmp_path / "urls.txt").write_text(f"{A}\n{B}\nhttps://c.example/x\n", encoding="utf-8")

    refresh(feeds, lake, now + HOUR)

    assert files("domains") == before["domains"]
    assert files("urls") > before["urls"], "the old one stays for pinned readers"
    assert stored(lake).height == 5


def test_the_first_refresh_of_nothing_makes_the_table(lake, now):
    report = refresh(FeedsFile(), lake, now)
    assert lake.scan_indicators(report.version).collect().is_empty()
    assert refresh(FeedsFile(), lake, now + HOUR).version == report.version


def test_a_broken_source_keeps_its_last_good_version_and_stops_no_other(feeds, lake, now, tmp_path):
    refresh(feeds, lake, now)
    (tmp_path / "urls.txt").write_text("<html>moved</html>", encoding="utf-8")
    (tmp_path / "domains.txt").write_text("new.example\n", encoding="utf-8")

    report = refresh(feeds, lake, now + DAY)

    (failed,) = report.failed
    assert failed.source == "urls"
    assert "HTML page" in str(failed.error)
    assert (failed.in_force, failed.expired) == (2, 0)
    assert {A, B, "new.example"} <= set(stored(lake).filter("active")["value"])


def test_a_source_no_longer_configured_or_switched_off_leaves(feeds, lake, now):
    refresh(feeds, lake, now)
    urls_, domains, _ = feeds.sources
    for sources in ((urls_,), (urls_, domains.model_copy(update={"enabled": False}))):
        report = refresh(FeedsFile(sources=sources), lake, now + HOUR)
        told = by_source(report.sources)
        if "domains" in told:
            assert (told["domains"].removed, told["domains"].in_force) == (2, 0)
        rows = stored(lake)
        assert row(rows, "evil.example")["inactive_because"] == End.SOURCE_REMOVED
        assert row(rows, A)["active"]
        assert set(lake.source_states()) == {"urls"}

    refresh(feeds, lake, now + 2 * HOUR)
    assert row(stored(lake), "evil.example")["active"], "read in full, as if for the first time"
    assert row(stored(lake), "evil.example")["first_seen"] == now


def test_a_source_that_was_not_asked_keeps_its_rows_and_its_state(feeds, lake, now):
    refresh(feeds, lake, now)
    before = lake.source_states()
    snapshots, _ = read_all(FeedsFile(sources=feeds.sources[:1]), now + HOUR)

    report = commit(feeds, lake, snapshots, {}, now + HOUR, HoldBack.of(feeds.hold_back))

    assert row(stored(lake), "evil.example")["active"]
    assert lake.source_states()["domains"] == before["domains"]
    assert by_source(report.sources)["domains"].error is None


def test_what_expires_in_a_source_that_was_not_asked_leaves_its_state_as_it_was(feeds, lake, now):
    refresh(feeds, lake, now)
    before = lake.source_states()

    report = commit(feeds, lake, [], {}, now + 30 * DAY, HoldBack.of(feeds.hold_back))

    assert by_source(report.sources)["domains"].expired == 2
    assert lake.source_states() == before


# --- states ---


def test_a_state_remembers_the_last_good_reading_and_how_the_last_try_went(
    feeds, lake, now, tmp_path
):
    refresh(feeds, lake, now)
    good = lake.source_states()["urls"]
    urls_ = feeds.source("urls")
    assert good.settings == urls_.digest
    assert (good.read_at, good.tried_at, good.listed) == (now, now, 2)
    assert good.content
    assert (good.error, good.failing_since) == (None, None)

    (tmp_path / "urls.txt").write_text("<html>", encoding="utf-8")
    for hours in (1, 2):
        refresh(feeds, lake, now + hours * HOUR)
    bad = lake.source_states()["urls"]
    assert (bad.read_at, bad.listed, bad.content) == (good.read_at, good.listed, good.content)
    assert (bad.tried_at, bad.failing_since) == (now + 2 * HOUR, now + HOUR)
    assert "HTML page" in str(bad.error)

    (tmp_path / "urls.txt").write_text(f"{A}\n", encoding="utf-8")
    refresh(feeds, lake, now + 3 * HOUR)
    mended = lake.source_states()["urls"]
    assert (mended.error, mended.failing_since, mended.listed) == (None, None, 1)


def test_a_source_that_never_could_be_read_has_a_state_too(source, lake, now):
    feeds = FeedsFile(sources=(source(name="gone", location="/nowhere/at/all"),))
    refresh(feeds, lake, now)
    state = lake.source_states()["gone"]
    assert (state.read_at, state.settings, state.failing_since) == (None, "", now)


def test_a_process_that_dies_between_indicators_and_states_costs_one_more_reading(
    feeds, lake, now, monkeypatch
):
    refresh_dying_before_the_states(feeds, lake, now, monkeypatch)
    version = lake.versions().indicators
    assert lake.source_states() == {}

    report = refresh(feeds, lake, now + HOUR)

    assert (report.version, report.changed) == (version, False)
    assert set(lake.source_states()) == {"urls", "domains"}


def test_a_source_that_is_again_as_it_was_before_a_process_died_is_read_anew(
    feeds, lake, now, tmp_path, monkeypatch
):
    domains = tmp_path / "domains.txt"
    as_it_was = domains.read_text(encoding="utf-8")
    refresh(feeds, lake, now)
    domains.write_text("typo.example\n", encoding="utf-8")
    refresh_dying_before_the_states(feeds, lake, now + HOUR, monkeypatch)
    assert row(stored(lake), "typo.example")["listed"]

    domains.write_text(as_it_was, encoding="utf-8")
    refresh(feeds, lake, now + 2 * HOUR)

    assert not row(stored(lake), "typo.example")["listed"]
    assert row(stored(lake), "evil.example")["listed"]


def test_rules_that_are_again_as_they_were_before_a_process_died_judge_anew(
    feeds, lake, now, monkeypatch
):
    held = feeds.model_copy(update={"hold_back": HoldBackSettings(domains=("evil.example",))})
    refresh(held, lake, now)
    refresh_dying_before_the_states(feeds, lake, now + HOUR, monkeypatch)
    assert row(stored(lake), "evil.example")["held_back"] is None

    refresh(held, lake, now + 2 * HOUR)

    assert row(stored(lake), "evil.example")["held_back"]


def refresh_dying_before_the_states(feeds, lake, now, monkeypatch):
    """A refresh whose process dies once the indicators are committed."""
    version, write = lake.versions().indicators, Lake.write_source_states

    def die(self: Lake, states: Any, **options: Any) -> None:
        if self.versions().indicators != version:
            raise KeyboardInterrupt
        write(self, states, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "write_source_states", die)
        with pytest.raises(KeyboardInterrupt):
            refresh(feeds, lake, now)


def test_an_old_reading_does_not_undo_a_later_one(feeds, lake, now, tmp_path):
    old, errors = read_all(feeds, now)
    (tmp_path / "urls.txt").write_text(f"{B}\nhttps://c.example/\n", encoding="utf-8")
    refresh(feeds, lake, now + HOUR)
    before, states = stored(lake), lake.source_states()

    report = commit(feeds, lake, old, errors, now + 2 * HOUR, HoldBack.of(feeds.hold_back))

    assert not report.changed
    assert stored(lake).equals(before)
    assert lake.source_states() == states


def test_old_news_do_not_bring_back_what_was_revoked_since(source, lake, now):
    def news(at: datetime, *, revoked: bool) -> Snapshot:
        said = Listed(ObservableType.DOMAIN, "good.example", revoked=revoked)
        return snapshot_of([said], taxii, at).with_reading(complete=False, marks=Marks())

    location = "https://t.example/api/collections/1/"
    taxii = source(name="t", service="taxii", format="stix", location=location)
    feeds = FeedsFile(sources=(taxii,))
    old = news(now, revoked=False)
    commit(feeds, lake, [news(now + HOUR, revoked=True)], {}, now + HOUR, NO_HOLD_BACK)

    commit(feeds, lake, [old], {}, now + 2 * HOUR, NO_HOLD_BACK)

    assert not stored(lake)["active"].any()
    assert lake.source_states()["t"].read_at == now + HOUR


def test_news_add_to_what_is_known(source, lake, now, asked):
    taxii = source(name="t", service="misp_feed", format="misp", location="https://m.example/")
    # The parser is of no concern here: a plain list is easier to read.
    taxii = taxii.model_copy(update={"format": Format.PLAIN_LIST})
    feeds = FeedsFile.model_construct(sources=(taxii,), hold_back=HoldBackSettings())
    answers.append(FakeReading(urls(3).encode(), cursor="c1"))
    answers.append(FakeReading(urls(2, "b.example").encode(), complete=False, cursor="c2"))
    answers.append(FakeReading(unchanged=True, cursor="c2"))

    told = [refresh(feeds, lake, now + hours * HOUR).sources[0] for hours in (0, 1, 2)]

    assert [(one.listed, one.added, one.complete) for one in told] == [
        (3, 3, True),
        (5, 2, False),
        (5, 0, False),
    ]
    assert [marks.cursor for marks, _ in asked] == ["", "c1", "c2"]
    assert lake.source_states()["t"].listed == 5


# --- hold-back ---


def test_what_is_held_back_now_is_held_back_in_a_broken_source_too(feeds, lake, now, tmp_path):
    refresh(feeds, lake, now)
    (tmp_path / "domains.txt").unlink()
    held = feeds.model_copy(update={"hold_back": HoldBackSettings(domains=("evil.example",))})

    told = by_source(refresh(held, lake, now + HOUR).sources)["domains"]
    assert told.error
    assert (told.held_back, told.in_force) == (2, 0)

    refresh(feeds, lake, now + 2 * HOUR)
    assert row(stored(lake), "evil.example")["held_back"] is None


class Counting(HoldBack):
    """A hold-back that counts what it is asked."""

    def __init__(self, digest: str) -> None:
        super().__init__(None)
        self.digest = digest
        self.asked: list[str] = []

    def reason(self, kind: ObservableType, value: str) -> str | None:
        self.asked.append(value)
        return None


def test_rows_are_judged_again_only_when_the_rules_changed(feeds, lake, now, tmp_path):
    first = Counting("1")
    refresh(feeds, lake, now, hold_back=first)
    assert len(first.asked) == 4

    same = Counting("1")
    (tmp_path / "urls.txt").write_text(f"{A}\n{B}\nhttps://c.example/\n", encoding="utf-8")
    refresh(feeds, lake, now + HOUR, hold_back=same)
    assert same.asked == ["https://c.example/"]

    other = Counting("2")
    refresh(feeds, lake, now + 2 * HOUR, hold_back=other)
    assert len(other.asked) == 5
    refresh(feeds, lake, now + 3 * HOUR, hold_back=other)
    assert len(other.asked) == 5


def test_examples_of_what_is_held_back_are_some_and_all_are_counted(source, lake, now, tmp_path):
    names = "".join(f"host{number}.t.co\n" for number in range(50))
    (tmp_path / "list").write_text("t.co\nbit.ly\n" + names, encoding="utf-8")
    settings = HoldBackSettings(domains=("*.t.co",))
    own = source(type="domain", location=str(tmp_path / "list"))
    feeds = FeedsFile(sources=(own,), hold_back=settings)

    (told,) = refresh(feeds, lake, now).sources

    assert told.held_back == 52
    assert sum(told.held_back_because.values()) == 52
    assert len(told.held_back_examples) == HELD_BACK_EXAMPLES


# --- what people add by hand ---


def test_the_analysts_own_source_is_nobodys_to_remove(feeds, source, lake, now):
    analysts = source(name=ANALYSTS, time_to_live="P10D", absence_revokes=False)
    entered = snapshot_of([Listed(ObservableType.URL, "https://campaign.example/x")], analysts, now)
    entered = entered.with_reading(complete=False, marks=Marks())
    report = commit_one(lake, analysts, entered, now, NO_HOLD_BACK)
    assert [(one.source, one.added) for one in report.sources] == [(ANALYSTS, 1)]

    report = refresh(feeds, lake, now + HOUR)
    assert row(stored(lake), "https://campaign.example/x")["active"]
    assert by_source(report.sources)[ANALYSTS].in_force == 1
    assert ANALYSTS in lake.source_states()

    again = snapshot_of([Listed(ObservableType.URL, A)], analysts, now + 9 * DAY)
    again = again.with_reading(complete=False, marks=Marks())
    commit_one(lake, analysts, again, now + 9 * DAY, NO_HOLD_BACK)
    assert row(stored(lake).filter(source="urls"), A)["active"], "others are left alone"
    refresh(feeds, lake, now + 10 * DAY)
    ended = row(stored(lake), "https://campaign.example/x")
    assert (ended["active"], ended["inactive_because"]) == (False, End.EXPIRED)
    assert row(stored(lake).filter(source=ANALYSTS), A)["active"]


# --- side by side ---


def test_a_commit_that_meets_another_one_merges_again(feeds, lake, now, source, monkeypatch):
    snapshots, errors = read_all(feeds, now)
    late = source(name="late", time_to_live="P30D")
    both = feeds.model_copy(update={"sources": (*feeds.sources, late)})
    lake.replace_indicators(INDICATORS_TABLE.empty())
    replace = Lake.replace_indicators
    interruptions = [
        snapshot_of([Listed(ObservableType.URL, "https://late.example/x")], late, now).rows
    ]

    def interrupted(self, frame, **options):
        if interruptions:
            replace(self, interruptions.pop())
        return replace(self, frame, **options)

    monkeypatch.setattr(Lake, "replace_indicators", interrupted)
    report = commit(both, lake, snapshots, errors, now, NO_HOLD_BACK)

    rows = lake.scan_indicators(report.version).collect()
    assert {A, B, "https://late.example/x"} <= set(rows["value"])


def test_of_two_first_entries_at_the_same_time_none_is_lost(lake, now, monkeypatch):
    replace = Lake.replace_indicators
    others = ["b.example"]

    def enter(value: str) -> None:
        opinion = analysts.Opinion(campaign="one", by="ann")
        entered = analysts.entered([(ObservableType.DOMAIN, value)], opinion, now)
        analysts.write(lake, entered, now, NO_HOLD_BACK)

    def interrupted(self, frame, **options):
        if others:
            enter(others.pop())
        return replace(self, frame, **options)

    monkeypatch.setattr(Lake, "replace_indicators", interrupted)
    enter("a.example")
    assert set(stored(lake)["value"]) == {"a.example", "b.example"}


def test_a_lake_that_refuses_is_not_asked_for_ever(feeds, lake, now, monkeypatch):
    def refuse(self, frame, **options):
        raise LakeError("disk full")

    monkeypatch.setattr(Lake, "replace_indicators", refuse)
    with pytest.raises(LakeError, match="disk full"):
        commit(feeds, lake, [], {}, now, NO_HOLD_BACK)


def test_a_preview_needs_no_lake(feeds, listed_now, now: datetime, tmp_path):
    frame = listed_now(feeds, now)
    assert frame.schema == INDICATORS_TABLE.empty().schema
    assert set(frame["value"]) == {A, B, "evil.example", "t.co"}

    (tmp_path / "urls.txt").unlink()
    with pytest.raises(FeedError, match="urls: there is no file"):
        listed_now(feeds, now)


def test_snapshots_are_committed_from_files_too(feeds, lake, now, tmp_path):
    snapshots, errors = read_all(feeds, now)
    for one in snapshots:
        one.write(tmp_path / f"{one.source}.parquet")
    read = [Snapshot.read(tmp_path / f"{one.source}.parquet") for one in snapshots]
    commit(feeds, lake, read, errors, now, NO_HOLD_BACK)
    assert set(stored(lake)["value"]) == {A, B, "evil.example", "t.co"}
