"""A person's own mail and feeds, looked at before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from local_system.system import SystemFailed
from retract.errors import RetractError
from retract.indicators.loose_files import feeds_of_files
from retract.indicators.refresh import read_source
from retract.mailboxes.exported_mail import read_exported_mail
from retract.observables.structure import split_headers


def require_mail(path: Path) -> None:
    """Raises SystemFailed unless at least one message can be read at ``path``."""
    try:
        entries = read_exported_mail(path)
    except RetractError as error:
        raise SystemFailed(f"MAIL: {error}") from None
    problem = "expected .eml files, an mbox or a Maildir"
    for entry in entries:
        if split_headers(entry.raw)[0]:
            return
        problem = f"{entry.source}: {entry.problem or 'no message, it has no headers'}"
    raise SystemFailed(f"MAIL: there is no mail in {path}: {problem}")


def require_feeds(files: Sequence[Path], now: datetime) -> None:
    """Raises SystemFailed unless each file is a list of indicators."""
    for file in files:
        if not file.exists():
            raise SystemFailed(f"FEEDS: {file} does not exist")
        if not file.is_file():
            raise SystemFailed(f"FEEDS: {file} is a folder: name the files in it")
    try:
        stated = feeds_of_files(files)
        for source in stated.enabled:
            read_source(source, now)
    except RetractError as error:
        raise SystemFailed(f"FEEDS: {error}") from None
