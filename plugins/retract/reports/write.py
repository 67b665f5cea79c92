"""The report as files: a page for people, a table for spreadsheets, exact values for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from retract.reports.html import headline, render_html
from retract.reports.json_text import json_text
from retract.reports.model import CopyResult, ReportSummary, Result, RunReport, Where
from retract.reports.text import clipped, spreadsheet_safe
from retract.retraction.plan import JudgedCopy, Skipped
from retract.whole_file import write_text_whole

COLUMNS: Final = (
    "received_at",
    "provider",
    "connection",
    "mailbox",
    "sender",
    "subject",
    "internet_message_id",
    "disposition",
    "delivered_disposition",
    "action",
    "instead_of",
    "result",
    "result_at",
    "note",
    "place_before",
    "place_now",
    "exposure",
    "matches",
    "sources",
    "indicators",
    "campaigns",
    "overruled",
    "allowed_by",
    "message_id",
    "copy_id",
)
_LIST_LIMIT: Final = 2_000
"""Characters of a joined list: a spreadsheet's cell holds 32,767."""


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where the files are."""

    html: Path
    csv: Path
    json: Path
    summary: Path


def write_report(report: RunReport, folder: Path) -> ReportPaths:
    """Write report.html, report.csv, report.json, and summary.json for lists of reports.

    Each file appears whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("report.html", "report.csv", "report.json", "summary.json")
    paths = ReportPaths(*(folder / name for name in names))
    write_text_whole(paths.summary, json_text(summary_of(report)))
    # The page last: who sees it finds the files it speaks of.
    write_text_whole(paths.json, json_text(report))
    # The mark at the beginning is how a spreadsheet knows that the file is UTF-8.
    write_text_whole(paths.csv, "\ufeff" + render_csv(report))
    write_text_whole(paths.html, render_html(report))
    return paths


def summary_of(report: RunReport) -> ReportSummary:
    """The report in one line."""
    results = report.counts.by_result
    return ReportSummary(
        headline=headline(report),
        failed=report.failed,
        preview=report.preview,
        changed=results.get(Result.DONE, 0) + results.get(Result.WOULD_RETRACT, 0),
    )


def render_csv(report: RunReport) -> str:
    """One line a copy, planned ones first, then those left alone.

    No cell can be a formula, and no invisible character is left: for exact values there is the
    JSON file. Links are not defanged.
    """
    return copies_table(report).to_csv(index=False, lineterminator="\n")


def copies_table(report: RunReport) -> pd.DataFrame:
    """The same as a table, text already safe for spreadsheets."""
    rows = [_planned_row(copy) for copy in report.copies]
    rows += [_skipped_row(copy) for copy in report.skipped]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _planned_row(copy: CopyResult) -> dict[str, object]:
    return _judged_columns(copy) | {
        "result": copy.result.value,
        "result_at": copy.result_at.isoformat() if copy.result_at else "",
        "note": spreadsheet_safe(copy.note),
        "place_before": _place(copy.was),
        "place_now": _place(copy.now),
        "exposure": copy.exposure or "",
    }


def _skipped_row(copy: Skipped) -> dict[str, object]:
    return _judged_columns(copy) | {"result": "left_alone", "note": copy.reason.value}


def _judged_columns(copy: JudgedCopy) -> dict[str, object]:
    """The columns that every copy has; the others are empty."""
    return dict.fromkeys(COLUMNS, "") | {
        "received_at": copy.received_at.isoformat(),
        "provider": copy.provider.value,
        "connection": spreadsheet_safe(copy.connection),
        "mailbox": spreadsheet_safe(copy.mailbox),
        "sender": spreadsheet_safe(copy.sender),
        "subject": spreadsheet_safe(copy.subject),
        "internet_message_id": spreadsheet_safe(copy.internet_message_id),
        "disposition": copy.disposition.value,
        "delivered_disposition": copy.delivered_disposition.value,
        "action": copy.action.value,
        "instead_of": copy.instead_of or "",
        "matches": len(copy.reasons),
        "sources": _joined(reason.source for reason in copy.reasons),
        "indicators": _joined(reason.indicator for reason in copy.reasons),
        "campaigns": _joined(reason.campaign for reason in copy.reasons),
        "overruled": _joined(beaten.indicator for beaten in copy.overruled),
        "allowed_by": _joined(f"{b.rule}: {b.rule_reason}" for b in copy.overruled),
        "message_id": spreadsheet_safe(copy.message_id),
        "copy_id": copy.copy_id,
    }


def _joined(texts: Iterable[str]) -> str:
    unique = dict.fromkeys(text for text in texts if text)
    return clipped(spreadsheet_safe(" | ".join(unique)), _LIST_LIMIT)


def _place(where: Where | None) -> str:
    if where is None:
        return ""
    return spreadsheet_safe(f"{where.place} ({where.folder})" if where.folder else where.place)
