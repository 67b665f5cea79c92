"""The whole job once, from delivery to report, checked against the tenant's own word."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from local_system.check import CopyKey, copies, differences, expected_by_truth
from local_system.system import REPOSITORY, Airflow, SystemFailed, Tenant, empty_folder
from retract.model import ACTIONABLE_DISPOSITIONS, Action, Provider
from retract.policy import Policy, load_policy
from retract.reports.model import Result, RunReport

POLICY = REPOSITORY / "include" / "policies" / "demo.yaml"
MESSAGES = 600
MAILBOXES = 40
_SAY_EVERY = 5.0
"""Seconds between lines where there is no terminal to draw on."""


def run_demo(home: Path, mail: Path | None, feeds: Sequence[Path]) -> bool:
    """Run it; True when every message is where it should be and both DAGs succeeded."""
    console = Console(stderr=False)
    began = time.monotonic()
    for path in (*feeds, *([mail] if mail else [])):
        if not path.exists():
            raise SystemFailed(f"{path} does not exist")
    empty_folder(home)
    scenario = home / "scenario"
    options = ["--state-dir", str(home / "tenant"), "--mailboxes", str(MAILBOXES)]
    options += ["--mail", str(mail.absolute())] if mail else ["--messages", str(MESSAGES)]
    options += ["--scenario", str(scenario)]
    with _progress(console) as progress:
        step = _Steps(console, progress)
        step("Filling the local tenant with mail")
        with Tenant.start(options, home / "tenant.log") as tenant:
            step.done(f"{tenant.info.messages} messages, {tenant.info.copies} copies")
            airflow = Airflow(
                home / "airflow",
                policy_file=POLICY,
                feeds_file=_feeds_file(home, scenario, mail, feeds),
                connections=tenant.info.airflow_connections(),
            )
            step("Preparing Airflow's database (SQLite)")
            airflow.migrate()
            step.done()
            before = copies(tenant.info)
            step("refresh_indicators: a campaign becomes known")
            refreshed = airflow.test_dag("refresh_indicators") == 0
            step.done("" if refreshed else "ended red")
            step("post_delivery_response: judging delivered mail again")
            responded = (
                airflow.test_dag("post_delivery_response", watch=lambda: step.watch(airflow)) == 0
            )
            step.done("" if responded else "ended red")
            step("Asking the tenant where every message is now")
            after = copies(tenant.info)
            step.done()
    folder = airflow.newest_attempt("post_delivery_response")
    if folder is None or not (folder / "report.json").exists():
        raise SystemFailed(f"no report was written; see {airflow.home}/*.log")
    report = RunReport.model_validate_json((folder / "report.json").read_text(encoding="utf-8"))
    policy = load_policy(POLICY)
    truth = scenario / "truth.json"
    expected = (
        expected_by_truth(truth, before.values(), _actions(policy))
        if mail is None and not feeds
        else _reported(report)
    )
    wrong = differences(before, after, expected)
    console.print(_table(report))
    console.print(
        f"{report.counts.judged} copies judged, {report.counts.matched} matched an indicator, "
        f"{len(expected)} to retract, {time.monotonic() - began:.0f} s in all."
    )
    _tell(console, wrong, len(before), truth=mail is None and not feeds)
    console.print(f"Report: {folder / 'report.html'}", soft_wrap=True)
    if not (refreshed and responded):
        console.print(f"A DAG run ended red; its log is in {airflow.home}", style="red")
    return refreshed and responded and not wrong


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
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

    def __call__(self, description: str) -> None:
        self._current = self._progress.add_task(description, total=None, note="")
        self._say(f"{description} …")

    def done(self, note: str = "") -> None:
        if self._current is not None:
            self._progress.update(self._current, total=1, completed=1, note=note)
        if note:
            self._say(f"  {note}")

    def watch(self, airflow: Airflow) -> None:
        """How far the response has come: mailboxes collected, then mailboxes acted on."""
        folder = airflow.newest_attempt("post_delivery_response")
        if folder is None or self._current is None:
            return
        total, collected, to_act, acted = (
            len(list((folder / name).glob("*.json")))
            for name in ("shards", "collected", "to_act", "acted")
        )
        note = f"{collected}/{total} mailboxes collected"
        if to_act:
            note += f", {acted}/{to_act} acted on"
        self._progress.update(
            self._current, total=(total + to_act) or None, completed=collected + acted, note=note
        )
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
    from retract.indicators.feeds import sources_of_files

    file = home / "feeds.yaml"
    file.write_text(sources_of_files(feeds), encoding="utf-8")
    return file


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


def _tell(console: Console, wrong: Sequence[str], copies_held: int, *, truth: bool) -> None:
    told = "what the generator knows of each message" if truth else "what the report claims"
    if not wrong:
        console.print(
            f"Checked against the tenant: all {copies_held} copies are where they should be "
            f"by {told}.",
            style="green",
        )
        return
    console.print(f"{len(wrong)} copies are not where they should be by {told}:", style="red")
    for line in wrong[:20]:
        console.print(Text("  " + line))
