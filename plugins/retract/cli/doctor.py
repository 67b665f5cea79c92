"""The command ``doctor``: whether a connection works, and what to mend."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from retract.cli.terminal import console, plain, step
from retract.errors import ConnectionSettingsError
from retract.mailboxes.connect import Settings, settings_from
from retract.mailboxes.examination import Finding, Grade, examine

_SIGNS: Final = {
    Grade.GOOD: ("✓", "green"),
    Grade.WARNING: ("!", "yellow"),
    Grade.WRONG: ("✗", "red"),
}
_MOST_CHARACTERS = 1_000_000


def settings_in_file(file: Path) -> Settings:
    """The settings in the JSON of an Airflow connection; ``-`` is stdin.

    Both what AIRFLOW_CONN_… holds and what ``airflow connections get … --output json`` prints.
    Raises ConnectionSettingsError, which never quotes the file.
    """
    try:
        if str(file) == "-":
            text = sys.stdin.read(_MOST_CHARACTERS)
        else:
            text = file.read_text(encoding="utf-8")
        connection = json.loads(text)
        if isinstance(connection, list) and len(connection) == 1:
            connection = connection[0]
        extra = connection.get("extra_dejson") or connection.get("extra") or {}
        extras: dict[str, Any] = dict(json.loads(extra) if isinstance(extra, str) else extra)
        login, password = connection.get("login"), connection.get("password")
    except OSError as error:
        raise ConnectionSettingsError(f"{file} cannot be read: {error.strerror}") from None
    except (AttributeError, TypeError, ValueError):
        raise ConnectionSettingsError(
            f"{file} does not hold one Airflow connection as a JSON object with login, password "
            "and extra, as docs/connections.md shows"
        ) from None
    return settings_from(str(extras.pop("provider", "")), extras, login, password)


def doctor(
    connection: str,
    settings: Callable[[], Settings],
    clock: Callable[[], datetime],
    *,
    mailbox: str = "",
    as_json: bool = False,
) -> bool:
    """Examine a connection and print what is found, line by line. Whether nothing is wrong."""
    printed, findings = console(), []
    for found in _shown(_findings(connection, settings, clock, mailbox)):
        findings.append(found)
        if not as_json:
            _print(printed, found)
    healthy = all(found.grade is not Grade.WRONG for found in findings)
    if as_json:
        told = [
            {"check": f.check, "grade": f.grade, "told": f.told, "mend": f.mend} for f in findings
        ]
        answer = {"connection": connection, "healthy": healthy, "findings": told}
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
    else:
        count = sum(found.grade is Grade.WRONG for found in findings)
        verdict = "This connection is ready." if healthy else f"{count} to mend."
        printed.print(Text(f"\n{verdict}", style="bold"))
    return healthy


def _findings(
    connection: str, settings: Callable[[], Settings], clock: Callable[[], datetime], mailbox: str
) -> Iterator[Finding]:
    try:
        given = settings()
    except ConnectionSettingsError as error:
        yield Finding("settings", Grade.WRONG, str(error))
        return
    yield Finding("settings", Grade.GOOD, "understood")
    yield from examine(given, connection, clock, mailbox)


def _shown(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; while one is waited for, a terminal shows that something is going on."""
    notes = console(stderr=True)
    while True:
        with step(notes, "asking …"):
            found = next(findings, None)
        if found is None:
            return
        yield found


def _print(printed: Console, found: Finding) -> None:
    sign, style = _SIGNS[found.grade]
    line = Text(sign, style=style)
    line.append(f" {found.check}: ", style="bold")
    line.append_text(plain(found.told))
    printed.print(line, soft_wrap=True)
    if found.mend:
        printed.print(Text("  → ").append_text(plain(found.mend)), soft_wrap=True)
