"""The command ``preview``: read, judge, show, write."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from retract.cli.preview import judge, read_feeds, read_messages
from retract.cli.preview_tables import preview_tables, rejected_lines
from retract.cli.terminal import console, plain, step
from retract.errors import ConfigurationError
from retract.mailboxes.exported_mail import read_exported_mail
from retract.model import Disposition, Provider
from retract.policy import load_policy
from retract.reports.json_text import json_text
from retract.reports.write import write_report

T = TypeVar("T")

STDOUT: Final = Path("-")


def run_preview(
    mail: Path,
    feeds: Sequence[Path],
    policy_file: Path,
    *,
    provider: Provider,
    disposition: Disposition,
    json: Path | None,
    report: Path | None,
    clock: Callable[[], datetime],
) -> None:
    """Print what would be done with exported mail, and write it where that is asked for.

    Raises RetractError for anything that cannot be read or written.
    """
    started_at = clock()
    policy = load_policy(policy_file)
    exported = read_exported_mail(mail)
    notes = console(stderr=True)
    with step(notes, "Reading feeds"):
        indicators = read_feeds(feeds, disposition, started_at)
    notes.print(rejected_lines(indicators.snapshots), end="")
    read = list(_counted(notes, "Reading messages", read_messages(exported, provider, started_at)))
    if not read:
        nothing = f"There is no mail in {mail}: expected .eml files, an mbox or a Maildir."
        notes.print(plain(nothing, style="yellow"))
    with step(notes, "Matching"):
        judged = judge(read, indicators, policy, provider, started_at)
    shown = notes if json == STDOUT else console()
    shown.print(preview_tables(judged.preview))
    if json == STDOUT:
        sys.stdout.write(json_text(judged.preview))
    elif json is not None:
        with _writing(json):
            json.write_text(json_text(judged.preview), encoding="utf-8")
        notes.print(plain(f"JSON: {json}"))
    if report is not None:
        facts = judged.report(policy, mail=mail, started_at=started_at, ended_at=clock())
        with step(notes, "Drawing the report"), _writing(report):
            paths = write_report(facts, report)
        notes.print(plain(f"Report: {paths.html}"))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error


def _counted(notes: Console, name: str, things: Iterable[T]) -> Iterator[T]:
    """The same things, counted on the screen as they come."""
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed}"))
    with Progress(*columns, TimeElapsedColumn(), console=notes) as progress:
        task = progress.add_task(name, total=None)
        for thing in things:
            yield thing
            progress.advance(task)
