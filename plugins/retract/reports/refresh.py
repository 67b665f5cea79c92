"""The report on a refresh: what each source lists now, what changed, and what is not used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

from retract.indicators.feeds import ANALYSTS
from retract.indicators.refresh_report import HeldBack, RefreshReport, SourceReport
from retract.lake.source_state import SourceState
from retract.reports.build import program_version
from retract.reports.json_text import json_text
from retract.reports.model import ReportSummary
from retract.reports.page import render_page
from retract.reports.plots import indicators_by_source
from retract.whole_file import write_text_whole

MAX_EXAMPLES: Final = 5
"""Entries or indicators shown of one source, for one reason."""


class Condition(StrEnum):
    """What became of a source in a refresh; what needs a person comes first."""

    FAILED = "failed"
    """It could not be read; its last good version stays."""
    REMOVED = "taken_out"
    """The feeds file does not name it any more."""
    READ = "read"
    NOTHING_NEW = "nothing_new"
    BY_HAND = "entered_by_hand"
    """Nothing is read: it is what analysts enter."""
    NOT_READ = "not_read"
    """The run was narrowed to others."""


_RANK: Final = {condition: rank for rank, condition in enumerate(Condition)}


class RefreshFacts(BaseModel):
    """What the run was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dag_id: str
    run_id: str
    started_at: AwareDatetime
    finished_at: AwareDatetime


class SourceLine(BaseModel):
    """One source: what the refresh did with it, and how it fares."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    did: SourceReport
    condition: Condition
    read_at: AwareDatetime | None = None
    """When it was last read well."""
    failing_since: AwareDatetime | None = None

    @property
    def left(self) -> dict[str, int]:
        """How many indicators are no longer in force, by why; what does not occur is left out."""
        counts = {
            "expired": self.did.expired,
            "revoked": self.did.revoked,
            "no longer listed": self.did.no_longer_listed,
            "source taken out": self.did.removed,
        }
        return {why: number for why, number in counts.items() if number}

    @property
    def held_back(self) -> list[tuple[str, int, list[HeldBack]]]:
        """Why indicators are held back, how many, and some of them; the most frequent first."""
        return [
            (why, number, [e for e in self.did.held_back_examples if e.reason == why])
            for why, number in self.did.held_back_because.items()
        ]


def source_lines(
    report: RefreshReport, states: Mapping[str, SourceState], asked: Collection[str]
) -> list[SourceLine]:
    """Each source of the report; ``asked`` are those that the run was to read."""
    lines = []
    for did in report.sources:
        state = states.get(did.source)
        lines.append(
            SourceLine(
                did=did,
                condition=_condition(did, asked),
                read_at=state.read_at if state else None,
                failing_since=state.failing_since if state else None,
            )
        )
    return sorted(lines, key=lambda one: (_RANK[one.condition], one.did.source))


def _condition(did: SourceReport, asked: Collection[str]) -> Condition:
    if did.error is not None:
        return Condition.FAILED
    if did.source == ANALYSTS:
        return Condition.BY_HAND
    if did.source not in asked:
        return Condition.REMOVED if did.removed else Condition.NOT_READ
    return Condition.NOTHING_NEW if did.unchanged else Condition.READ


def render_refresh_html(
    report: RefreshReport,
    states: Mapping[str, SourceState],
    asked: Collection[str],
    run: RefreshFacts,
) -> str:
    """The whole page."""
    sources = source_lines(report, states, asked)
    plot = indicators_by_source(report.sources)
    return render_page(
        "refresh.html.j2",
        [] if plot is None else [plot],
        report=report,
        run=run,
        sources=sources,
        headline=headline(report),
        total=_total(report.sources),
        broken=[(s.did.source, s.did.rejected, s.did.rejected_examples) for s in sources],
        left_out=[(s.did.source, s.did.left_out, s.did.left_out_examples) for s in sources],
        max_examples=MAX_EXAMPLES,
        program=program_version(),
        Condition=Condition,
    )


def write_refresh_report(
    report: RefreshReport,
    states: Mapping[str, SourceState],
    asked: Collection[str],
    run: RefreshFacts,
    folder: Path,
) -> Path:
    """Write report.html, and summary.json for lists of reports. Returns the page's path."""
    write_text_whole(folder / "summary.json", json_text(summary_of(report)))
    page = folder / "report.html"
    write_text_whole(page, render_refresh_html(report, states, asked, run))
    return page


def headline(report: RefreshReport) -> str:
    """The refresh in one sentence."""
    in_force = sum(source.in_force for source in report.sources)
    configured = sum(not source.removed for source in report.sources)
    indicators = "indicator" if in_force == 1 else "indicators"
    said = f"{in_force:,} {indicators} in force from {_sources(configured)}"
    if not report.changed:
        said = f"Nothing changed: {said}"
    if report.failed:
        said += f"; {_sources(len(report.failed))} could not be read"
    return said


def summary_of(report: RefreshReport) -> ReportSummary:
    """The report in one line."""
    total = _total(report.sources)
    return ReportSummary(
        headline=headline(report),
        failed=bool(report.failed),
        preview=False,
        changed=total["added"] + total["reactivated"] + total["left"],
    )


def _sources(number: int) -> str:
    return f"{number:,} {'source' if number == 1 else 'sources'}"


def _total(sources: Collection[SourceReport]) -> dict[str, int]:
    """What adds up over the sources."""
    left = sum(s.expired + s.revoked + s.no_longer_listed + s.removed for s in sources)
    names = ("held_back", "added", "reactivated", "rejected", "left_out")
    return {name: sum(getattr(s, name) for s in sources) for name in names} | {"left": left}
