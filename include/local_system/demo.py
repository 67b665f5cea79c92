"""The whole job once, from delivery to report, checked against the tenant's own word."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import (
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from local_system.check import CopyKey, copies, differences, expected_by_truth
from local_system.own_mail import require_feeds, require_mail
from local_system.system import REPOSITORY, Airflow, SystemFailed, Tenant, counted, empty_folder
from retract.indicators.refresh_report import RefreshReport
from retract.model import ACTIONABLE_DISPOSITIONS, Action, Provider
from retract.policy import Policy, load_policy
from retract.reports.model import Result, RunReport
from retract.reports.text import visible

POLICY = REPOSITORY / "include" / "policies" / "demo.yaml"
MESSAGES = 600
MAILBOXES = 40
_SHOWN = 20
"""Problems told on the screen; the report and the logs have all."""
_SAY_EVERY = 5.0
"""Seconds between lines where there is no terminal to draw on."""


def run_demo(home: Path, mail: Path | None, feeds: Sequence[Path]) -> bool:
    """Run it; True when every message is where it should be and both DAGs succeeded."""
    console = Console(stderr=False, highlight=False)
    began = time.monotonic()
    # The shell leaves a ~ alone within MAIL=… and FEEDS="… …".
    mail = mail.expanduser().absolute() if mail else None
    feeds = [file.expanduser().absolute() for file in feeds]
    scenario = home / "scenario"
    options = ["--state-dir", str(home / "tenant"), "--mailboxes", str(MAILBOXES)]
    options += ["--mail", str(mail)] if mail else ["--messages", str(MESSAGES)]
    options += ["--scenario", str(scenario)]
    with _progress(console) as progress:
        step = _Steps(console, progress)
        if mail or feeds:
            step("Own mail and feeds", "a look at what was named")
            if mail:
                require_mail(mail)
            require_feeds(feeds, datetime.now(UTC))
            step.done()
        empty_folder(home)
        step("The local tenant", "filling it with mail")
        with Tenant.start(options, home / "tenant.log") as tenant:
            step.done(
                f"{counted(tenant.info.messages, 'message')}, "
                f"{counted(tenant.info.copies, 'copy', 'copies')}"
            )
            airflow = Airflow(
                home / "airflow",
                policy_file=POLICY,
                feeds_file=_feeds_file(home, scenario, mail, feeds),
                # Own mail was delivered elsewhere: no header in it is one of this tenant's.
                connections=tenant.info.airflow_connections(trust_headers=mail is None),
            )
            step("Airflow", "preparing its database (SQLite)")
            airflow.migrate()
            step.done()
            before = copies(tenant.info)
            step(
                "refresh_indicators",
                "reading the feeds" if mail or feeds else "a campaign becomes known",
            )
            refreshed = airflow.test_dag("refresh_indicators") == 0
            step.done(_refreshed(airflow) if refreshed else "ended red")
            step("post_delivery_response", "judging delivered mail again")
            responded = (
                airflow.test_dag("post_delivery_response", watch=lambda: step.watch(airflow)) == 0
            )
            step.done("" if responded else "ended red")
            step("The check", "asking the tenant where every message is now")
            after = copies(tenant.info)
            step.done()
    folder = airflow.newest_attempt("post_delivery_response")
    if folder is None or not (folder / "report.json").exists():
        raise SystemFailed(f"no report was written; see {airflow.log('post_delivery_response')}")
    # The run's own folder has a long name.
    (home / "report").symlink_to(folder)
    report = RunReport.model_validate_json((folder / "report.json").read_text(encoding="utf-8"))
    generated = mail is None and not feeds
    expected = (
        expected_by_truth(scenario / "truth.json", before.values(), _actions(load_policy(POLICY)))
        if generated
        else _reported(report)
    )
    wrong = differences(before, after, expected)
    console.print()
    console.print(_table(report) if report.copies else "No copy needed an action.")
    counts = report.counts
    console.print(
        f"{counted(counts.judged, 'copy', 'copies')} judged, {counts.matched} met an indicator, "
        f"{counts.planned} to retract, {time.monotonic() - began:.0f} s in all."
    )
    _tell(console, wrong, len(before), truth=generated)
    console.print(f"Report: {home / 'report' / 'report.html'}", soft_wrap=True)
    for dag_id, succeeded in (
        ("refresh_indicators", refreshed),
        ("post_delivery_response", responded),
    ):
        if not succeeded:
            _tell_red(console, airflow, dag_id, report)
    return refreshed and responded and not wrong


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class _Steps:
    """What is going on: a progress line a step on a terminal, else plain lines now and then."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._current: TaskID | None = None
        self._told_at = 0.0

    def __call__(self, name: str, doing: str) -> None:
        self._current = self._progress.add_task(name, total=None, note=doing)
        self._say(f"{name}: {doing} …")

    def done(self, note: str = "") -> None:
        """``note`` is what came of it; left empty, what was last said stays."""
        if self._current is not None:
            self._progress.update(self._current, total=1, completed=1)
            if note:
                self._progress.update(self._current, note=note)
        if note:
            self._say(f"  {note}")

    def watch(self, airflow: Airflow) -> None:
        """How far the response has come: mailboxes collected, then mailboxes acted on."""
        folder = airflow.newest_attempt("post_delivery_response")
        if folder is None or self._current is None:
            return
        total, collected, acted = (
            len(list((folder / name).glob("*.json"))) for name in ("shards", "collected", "acted")
        )
        # A plan with nothing to do still has a task, for no mailbox.
        planned = (json.loads(file.read_bytes()) for file in (folder / "to_act").glob("*.json"))
        to_act = sum(bool(task["retractions"]) for task in planned)
        if not total:
            return
        note = f"{collected}/{total} mailboxes collected"
        if to_act:
            note += f", {acted}/{to_act} acted on"
        self._progress.update(self._current, note=note)
        if time.monotonic() - self._told_at > _SAY_EVERY:
            self._say(f"  {note}")

    def _say(self, line: str) -> None:
        self._told_at = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(line)


def _feeds_file(home: Path, scenario: Path, mail: Path | None, feeds: Sequence[Path]) -> Path:
    """The feeds file of the run: the scenario's, or one that names the user's own files."""
    if not feeds:
        if mail is None:
            return scenario / "feeds.yaml"
        return REPOSITORY / "include" / "feeds" / "feeds.yaml"
    from retract.indicators.loose_files import sources_of_files

    file = home / "feeds.yaml"
    file.write_text(sources_of_files(feeds), encoding="utf-8")
    return file


def _refreshed(airflow: Airflow) -> str:
    """How many indicators are in force, in words."""
    folder = airflow.newest_attempt("refresh_indicators")
    if folder is None:
        return ""
    refreshed = RefreshReport.model_validate_json((folder / "refreshed.json").read_bytes())
    in_force = sum(source.in_force for source in refreshed.sources)
    held_back = sum(source.held_back for source in refreshed.sources)
    if not in_force:
        return "no indicators: name some with FEEDS=…"
    said = f"{counted(in_force, 'indicator')} from {counted(len(refreshed.sources), 'feed')}"
    return f"{said}, {held_back:,} held back" if held_back else said


def _actions(policy: Policy) -> dict[tuple[str, str], str]:
    return {
        (provider.value, disposition.value): policy.action(provider, disposition).value
        for provider in Provider
        for disposition in ACTIONABLE_DISPOSITIONS
    }


def _reported(report: RunReport) -> dict[CopyKey, str]:
    """What the report claims to have done: for own mail nobody knows the truth beforehand."""
    return {
        (copy.provider.value, copy.mailbox, copy.message_id): copy.action.value
        for copy in report.copies
        if copy.result is Result.DONE and copy.action is not Action.NO_ACTION
    }


def _table(report: RunReport) -> Table:
    counted = Counter(
        (c.disposition.value, c.action.value, c.provider.value, c.result.value)
        for c in report.copies
    )
    table = Table(title="Retractions", title_justify="left")
    for heading in ("disposition", "action", "provider", "outcome"):
        table.add_column(heading)
    table.add_column("copies", justify="right")
    for row, count in sorted(counted.items()):
        table.add_row(*(Text(cell) for cell in row), str(count))
    return table


def _tell_red(console: Console, airflow: Airflow, dag_id: str, report: RunReport) -> None:
    """That a DAG run ended red, why as far as its report says, and where its log is."""
    problems: list[str] = []
    if dag_id == "post_delivery_response":
        problems += report.problems
        problems += (f"{one.mailbox}: {one.problem}" for one in report.mailboxes if one.problem)
    console.print(f"{dag_id} ended red; its log is {airflow.log(dag_id)}", style="red")
    for line in problems[:_SHOWN]:
        console.print(Text("  " + visible(line)))


def _tell(console: Console, wrong: Sequence[str], copies_held: int, *, truth: bool) -> None:
    told = "what the generator knows of each message" if truth else "what the report claims"
    held = counted(copies_held, "copy", "copies")
    if not wrong:
        console.print(f"Checked against the tenant: {held}, none out of place", style="green")
        console.print(f"by {told}.", style="green")
        return
    console.print(f"{len(wrong)} of {held} are not where they should be by {told}:", style="red")
    for line in wrong[:_SHOWN]:
        console.print(Text("  " + visible(line)))
