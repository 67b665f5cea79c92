"""The command ``indicators add``: read, show what it would hit, ask, write."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from retract.cli.addition import addition_of
from retract.cli.addition_tables import addition_tables, result_text
from retract.cli.ask import confirmed, login_name
from retract.cli.installation import Installation
from retract.cli.moments import end_of
from retract.cli.opinions import in_force_of
from retract.cli.terminal import console, hostile, number_of, plain, step
from retract.cli.would_hit import would_hit
from retract.errors import ConfigurationError
from retract.indicators import analysts
from retract.indicators.analysts import Opinion
from retract.indicators.pasted import Pasted, pasted
from retract.model import Disposition, ObservableType
from retract.observables.text import decode
from retract.reports.json_text import json_text

STDIN: Final = Path("-")
MAX_BYTES: Final = 1024 * 1024
"""What is longer is a feed, and has its place in the feeds file."""
_SHOWN_LINES: Final = 10
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for."""

    file: Path
    campaign: str
    disposition: Disposition
    confidence: int
    expires: str
    reference: str
    by: str | None
    kind: ObservableType | None
    yes: bool
    json: bool


def run_add(request: Request, clock: Callable[[], datetime]) -> bool:
    """Whether anything was written. Raises RetractError for what cannot be read or written."""
    now = clock()
    opinion = _opinion(request, now)
    text = read_text(request.file)
    if _is_mail_source(text):
        raise ConfigurationError(
            f"{_name(request.file)} is a mail's source, where links are broken over lines and "
            "encoded: paste the mail as it is displayed, or copy its links"
        )
    read = pasted(text, request.kind or "auto")
    if not read.found:
        raise ConfigurationError(_nothing_found(request, read))
    notes = console(stderr=True)
    shown = notes if request.json else console()
    installation = Installation.open()
    if not installation.has_lake:
        lake = f"There is no lake at {installation.settings.lake} yet: is RETRACT_HOME right?"
        notes.print(plain(lake, style="yellow"))
    with step(notes, "Looking what it would hit"):
        hold_back = installation.hold_back(now)
        snapshot = analysts.entered([(one.type, one.value) for one in read.found], opinion, now)
        rows = analysts.judged(snapshot, now, hold_back)
        addition = addition_of(
            read,
            opinion,
            rows,
            would_hit(installation, rows, hold_back, now),
            listed=in_force_of(installation.lake, rows, now),
            own_domains=installation.own_domains,
            policy=installation.policy,
            now=now,
        )
    shown.print(addition_tables(addition, installation.policy))
    question = f"Enter {number_of(len(read.found), 'value')}? [y/N] "
    answer = request.yes or confirmed(question, stdin_is_read=request.file == STDIN)
    if answer:
        with step(notes, "Writing"):
            report = analysts.write(installation.lake, snapshot, clock(), hold_back)
        addition = addition.model_copy(update={"written": True, "version": report.version})
    shown.print(result_text(addition, installation.policy, asked=answer is not None))
    if request.json:
        sys.stdout.write(json_text(addition))
    return addition.written


def _is_mail_source(text: str) -> bool:
    """Whether a whole mail begins it, as it was sent."""
    names = {line.partition(":")[0].lower() for line in text.lstrip()[:20_000].splitlines()}
    return names >= {"received", "mime-version", "content-type"}


def read_text(file: Path) -> str:
    """The text of a file, or of the standard input. Raises ConfigurationError."""
    name = _name(file)
    try:
        if file == STDIN:
            if sys.stdin.isatty():
                sys.stderr.write("Paste the text, then press Ctrl-D on a line of its own.\n")
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(
            f"{name}: longer than {MAX_BYTES // 1024} KiB: that is a feed; name it in the feeds "
            "file, with an own name and how far it is trusted"
        )
    if data.startswith(_UTF16):
        return decode(data, "utf-16")
    if b"\x00" in data:
        raise ConfigurationError(f"{name}: binary data; copy the text out of it and paste that")
    return decode(data.removeprefix(b"\xef\xbb\xbf"), None)


def _name(file: Path) -> str:
    return "the standard input" if file == STDIN else str(file)


def _opinion(request: Request, now: datetime) -> Opinion:
    campaign = request.campaign.strip()
    if not campaign:
        raise ConfigurationError("--campaign is empty: say what the values belong to")
    return Opinion(
        campaign=campaign,
        by=request.by or login_name(),
        reference=request.reference.strip(),
        disposition=request.disposition,
        confidence=request.confidence,
        expires_at=end_of(request.expires, now),
    )


def _nothing_found(request: Request, read: Pasted) -> str:
    said = [
        f"line {one.line}: {hostile(one.text)}: {hostile(one.reason)}"
        for one in read.not_understood
    ]
    more = [f"… and {len(said) - _SHOWN_LINES} more"] if len(said) > _SHOWN_LINES else []
    hint = (
        f"{_name(request.file)}: nothing in it was understood as a "
        f"{request.kind or 'URL, domain, address, IP address or file hash'}"
    )
    if request.kind is None:
        hint += "; file names, display names and patterns need --type"
    return "\n".join([hint, *said[:_SHOWN_LINES], *more])
