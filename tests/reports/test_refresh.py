"""The report on a refresh: every source with what became of it, and nothing hostile but as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser
from tests.reports.test_html import ALLOWED_TAGS, HOSTILE

from retract.indicators.listed import LeftOut, Rejected
from retract.indicators.refresh_report import HeldBack, RefreshReport, SourceReport
from retract.lake.source_state import SourceState
from retract.model import ObservableType
from retract.reports.model import ReportSummary
from retract.reports.plots import indicators_by_source
from retract.reports.refresh import (
    Condition,
    RefreshFacts,
    headline,
    render_refresh_html,
    source_lines,
    summary_of,
    write_refresh_report,
)

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
RUN = RefreshFacts(
    dag_id="refresh_indicators",
    run_id="scheduled__2026-03-10T12:00:00+00:00",
    started_at=NOW,
    finished_at=NOW + timedelta(minutes=1),
)


def refreshed(*sources: SourceReport, **more: Any) -> RefreshReport:
    return RefreshReport(**{"version": 7, "sources": sources} | more)


def page_of(
    report: RefreshReport, *states: SourceState, asked: list[str] | None = None
) -> LexborHTMLParser:
    names = [source.source for source in report.sources] if asked is None else asked
    by_name = {state.source: state for state in states}
    return LexborHTMLParser(render_refresh_html(report, by_name, names, RUN))


def words(node: Any) -> str:
    return " ".join(node.text(separator=" ").split())


def test_each_source_is_told_with_what_became_of_it() -> None:
    report = refreshed(
        SourceReport(source="whole"),
        SourceReport(source="same", unchanged=True),
        SourceReport(source="narrowed"),
        SourceReport(source="broken", error="broken: no list"),
        SourceReport(source="gone", removed=3),
        SourceReport(source="analysts", in_force=2),
    )
    lines = source_lines(report, {}, ["whole", "same", "broken"])
    assert [(line.did.source, line.condition) for line in lines] == [
        ("broken", Condition.FAILED),
        ("gone", Condition.REMOVED),
        ("whole", Condition.READ),
        ("same", Condition.NOTHING_NEW),
        ("analysts", Condition.BY_HAND),
        ("narrowed", Condition.NOT_READ),
    ]


def test_what_analysts_entered_is_told_as_such_and_counted() -> None:
    page = page_of(refreshed(SourceReport(source="analysts", in_force=2)), asked=[])
    text = words(page.body)
    assert "2 indicators in force" in text
    assert "entered by hand" in text
    assert "last read well" not in text
    assert "counted as the source analysts" in text


def test_a_source_s_row_has_its_numbers_and_why_indicators_left() -> None:
    did = SourceReport(
        source="misp",
        listed=1200,
        in_force=1100,
        held_back=100,
        added=30,
        reactivated=2,
        expired=4,
        no_longer_listed=5,
        rejected=6,
        left_out=7000,
        complete=False,
    )
    row = words(page_of(refreshed(did)).css_first("[aria-labelledby=sources] tbody tr"))
    assert row == (
        "misp read only what is new 1,200 1,100 100 30 2 9 expired: 4 no longer listed: 5 6 7,000"
    )


def test_a_source_that_fails_is_told_first_with_since_when_and_why() -> None:
    state = SourceState(
        source="broken",
        read_at=NOW - timedelta(days=2),
        tried_at=NOW,
        failing_since=NOW - timedelta(days=1),
        error="broken: it is a web page",
    )
    report = refreshed(
        SourceReport(source="fine", in_force=5),
        SourceReport(source="broken", in_force=2, error="broken: it is a web page"),
    )
    page = page_of(report, state)
    banner = words(page.css_first(".banner.bad"))
    assert "broken: it is a web page" in banner
    assert "Failing since 2026-03-09 12:00:00 UTC; last read well 2026-03-08 12:00:00 UTC" in banner
    row = words(page.css_first("[aria-labelledby=sources] tbody tr"))
    assert row.startswith("broken failed last read well: 2026-03-08 12:00:00")
    assert headline(report) == "7 indicators in force from 2 sources; 1 source could not be read"


def test_a_source_that_was_never_read_well_says_so() -> None:
    state = SourceState(source="new", tried_at=NOW, failing_since=NOW, error="new: down")
    page = page_of(refreshed(SourceReport(source="new", error="new: down")), state)
    assert "never read well" in words(page.css_first(".banner.bad"))


def test_what_is_held_back_is_told_by_reason_with_examples() -> None:
    did = SourceReport(
        source="misp",
        held_back=12,
        held_back_because={"shared host": 11, "your own domain": 1},
        held_back_examples=(
            HeldBack(ObservableType.DOMAIN, "google.com", "shared host"),
            HeldBack(ObservableType.DOMAIN, "north.example", "your own domain"),
        ),
    )
    rows = page_of(refreshed(did)).css("[aria-labelledby=held-back] tbody tr")
    assert [words(row) for row in rows] == [
        "misp shared host 11 google[.]com",
        "misp your own domain 1 north[.]example",
    ]


def test_broken_entries_and_those_left_out_are_told_apart() -> None:
    did = SourceReport(
        source="misp",
        rejected=2000,
        rejected_examples=tuple(Rejected(f"line {n}", "not a valid url") for n in range(20)),
        left_out=1,
        left_out_examples=(LeftOut("attribute 3", "to_ids is false"),),
    )
    page = page_of(refreshed(did, SourceReport(source="fine")))
    (broken,) = page.css("[aria-labelledby=broken] tbody tr")
    assert words(broken).startswith("misp 2,000 not a valid url ( line 0 )")
    assert len(broken.css("li")) == 5
    (left_out,) = page.css("[aria-labelledby=left-out] tbody tr")
    assert words(left_out) == "misp 1 to_ids is false ( attribute 3 )"


def test_a_refresh_without_anything_amiss_shows_no_empty_section() -> None:
    page = page_of(refreshed(SourceReport(source="own", listed=1, in_force=1)))
    assert not page.css("#held-back, #broken, #left-out, .banner")
    assert len(page.css("figure")) == 1


def test_without_sources_there_is_a_page() -> None:
    page = page_of(refreshed(changed=False))
    assert "no source that is enabled" in page.body.text()
    assert not page.css("figure")


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (
            refreshed(SourceReport(source="a", in_force=1200), SourceReport(source="b")),
            "1,200 indicators in force from 2 sources",
        ),
        (
            refreshed(SourceReport(source="a", in_force=3), changed=False),
            "Nothing changed: 3 indicators in force from 1 source",
        ),
        (
            refreshed(SourceReport(source="a", in_force=1), SourceReport(source="b", removed=2)),
            "1 indicator in force from 1 source",
        ),
    ],
)
def test_the_headline(report: RefreshReport, said: str) -> None:
    assert headline(report) == said


@pytest.mark.parametrize("payload", HOSTILE)
def test_what_a_feed_says_is_only_text_visible_and_no_link(payload: str) -> None:
    did = SourceReport(
        source="feed",
        error=payload,
        held_back=1,
        held_back_because={payload: 1},
        held_back_examples=(HeldBack(ObservableType.DOMAIN, payload, payload),),
        rejected=1,
        rejected_examples=(Rejected(payload, payload),),
        left_out=1,
        left_out_examples=(LeftOut(payload, payload),),
    )
    page = page_of(refreshed(did))
    assert {node.tag for node in page.css("*")} <= ALLOWED_TAGS
    for node in page.css("*"):
        assert not {"href", "src", "style"} & set(node.attributes)
        assert not any(name.startswith("on") for name in node.attributes)
    text = page.body.text()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", text)
    assert not re.search(r"https?:", text, re.IGNORECASE)
    assert "evil.example" not in text.lower()


def test_the_plot_shows_small_sources_beside_large_ones() -> None:
    sources = [SourceReport(source="own", in_force=2), SourceReport(source="empty")]
    sources += [SourceReport(source=f"feed{n}", in_force=10**6, held_back=n) for n in range(3)]
    plot = indicators_by_source(sources)
    assert plot is not None
    assert plot.rows == (
        ("feed2", 1_000_000, 2),
        ("feed1", 1_000_000, 1),
        ("feed0", 1_000_000, 0),
        ("own", 2, 0),
    )
    assert "1,000,000" in plot.svg
    assert indicators_by_source([]) is None


def test_the_files_are_the_page_and_its_summary(tmp_path: Path) -> None:
    report = refreshed(
        SourceReport(source="a", in_force=9, added=3, reactivated=1, expired=2, revoked=1)
    )
    page = write_refresh_report(report, {}, ["a"], RUN, tmp_path)
    assert sorted(tmp_path.iterdir()) == [page, tmp_path / "summary.json"]
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    summary = ReportSummary.model_validate_json((tmp_path / "summary.json").read_bytes())
    assert summary == summary_of(report)
    assert (summary.failed, summary.changed) == (False, 7)
