"""The report on one run as an HTML page."""

from __future__ import annotations

from typing import Final

from retract.reports.model import Exposure, Result, RunReport
from retract.reports.page import copies, render_page
from retract.reports.plots import plots
from retract.retraction.plan import SkipReason

MAX_ROWS: Final = 500
"""Copies shown in each of the page's tables; the CSV file holds all."""
MAX_MAILBOXES: Final = 100
MAX_REASONS: Final = 10
"""Matches shown for one copy, or indicators for one allow rule."""
MAX_RULES: Final = 50
MAX_HELD_BACK: Final = 50
MAX_MET: Final = 200
"""Copies shown that their owners had read, answered or passed on."""
MAX_TROUBLES: Final = 50
MAX_UNWATCHED: Final = 200


def render_html(report: RunReport) -> str:
    """The whole page."""
    return render_page(
        "report.html.j2",
        plots(report),
        report=report,
        headline=headline(report),
        copies=report.copies[:MAX_ROWS],
        skipped=report.skipped[:MAX_ROWS],
        mailboxes=report.mailboxes[:MAX_MAILBOXES],
        rules=report.rules[:MAX_RULES],
        held_back=report.held_back.top[:MAX_HELD_BACK],
        max_reasons=MAX_REASONS,
        met=report.met_by_owner[:MAX_MET],
        troubles=report.troubles[:MAX_TROUBLES],
        unwatched=report.unwatched[:MAX_UNWATCHED],
        Exposure=Exposure,
        Result=Result,
        SkipReason=SkipReason,
    )


def headline(report: RunReport) -> str:
    """The run in one sentence."""
    counts = report.counts
    judged = copies(counts.judged)
    if not counts.planned:
        return f"Nothing to retract: {judged} judged"
    if report.preview:
        return f"Would retract {counts.planned:,} of {judged}"
    said = f"Retracted {counts.by_result.get(Result.DONE, 0):,} of {judged}"
    if report.needing_attention:
        return f"{said}; {report.needing_attention:,} still in need of attention"
    return said
