"""Mail that a person exported: .eml files, folders of them, mbox files, Maildirs.

A folder is read recursively, in the order of its names:

- a file named ``*.eml`` is one message;
- a file named ``*.mbox`` or ``*.mbx``, or one without either name that begins with a
  ``From `` line (Thunderbird's ``Inbox``), is an mbox (RFC 4155);
- a file in the ``cur`` or ``new`` of a Maildir is one message; ``tmp`` is left out;
- any other file is not mail and is left out.

What cannot be read becomes an entry with a ``problem``, so nothing goes missing in silence.
Nothing in the export can make the reader crash, hang or fill the memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retract.errors import ConfigurationError

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Of a longer message only this much is read: it is judged by what it begins with."""

_CHUNK_BYTES = 64 * 1024
_MBOX_SUFFIXES = frozenset({".mbox", ".mbx"})
_ENVELOPE_LINE = b"From "


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """One message of an export, or one thing in it that could not be read."""

    source: str
    """The file, relative to the path given; its own name when that path is the file."""
    number: int | None
    """Its place in an mbox, from 1; None for a file that is one message."""
    raw: bytes
    """The message; empty when it could not be read."""
    problem: str = ""
    """Why it was not read, or not wholly; empty when all is well."""


def read_exported_mail(path: Path) -> Iterator[ExportedMessage]:
    """The messages at ``path``. Raises ConfigurationError at once when nothing is there."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"no mail can be read at {path}: {_reason(error)}") from error
    return _read_folder(path) if stat.S_ISDIR(mode) else _read_file(path, _printable(path.name))


def _read_folder(root: Path) -> Iterator[ExportedMessage]:
    # An own stack instead of os.walk: that recurses, and a hostile export nests deeply.
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield _problem(_relative(folder, root), f"folder not read: {_reason(error)}")
            continue
        in_maildir = folder.name in ("cur", "new") and _is_maildir(folder.absolute().parent)
        subfolders = []
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if not (entry.name == "tmp" and _is_maildir(folder)):
                    subfolders.append(path)
            elif _is_folder(path):
                # Following it could lead round in a circle, or out of the export.
                yield _problem(_relative(path, root), "link to a folder: not followed")
            elif in_maildir or _is_mail_by_name(path) or _begins_like_mbox(path):
                yield from _read_file(path, _relative(path, root), one_message=in_maildir)
        pending.extend(reversed(subfolders))


def _read_file(path: Path, source: str, *, one_message: bool = False) -> Iterator[ExportedMessage]:
    try:
        with _open(path) as file:
            if one_message or not _is_mbox(path, file):
                yield _read_message(file, source)
            else:
                yield from _read_mbox(file, source)
    except OSError as error:
        yield _problem(source, f"file not read: {_reason(error)}")


def _read_message(file: BinaryIO, source: str) -> ExportedMessage:
    raw = file.read(MAX_MESSAGE_BYTES + 1)
    if not raw:
        return _problem(source, "the file is empty")
    return _bounded(source, None, raw, cut=len(raw) > MAX_MESSAGE_BYTES)


def _read_mbox(file: BinaryIO, source: str) -> Iterator[ExportedMessage]:
    """Split at each ``From `` line that opens the file or follows an empty line."""
    number = 0
    message = bytearray()
    cut = False
    at_line_start = after_empty_line = True
    while line := file.readline(_CHUNK_BYTES):
        if at_line_start and after_empty_line and line.startswith(_ENVELOPE_LINE):
            if number:
                yield _bounded(source, number, bytes(message), cut=cut)
            number += 1
            message.clear()
            cut = False
        elif number or line.strip():
            # A file that does not begin with an envelope line still has a first message.
            number = number or 1
            if at_line_start and line.startswith(b">") and line.lstrip(b">")[:5] == _ENVELOPE_LINE:
                line = line[1:]
            if len(message) + len(line) <= MAX_MESSAGE_BYTES:
                message += line
            else:
                cut = True
        after_empty_line = at_line_start and line in (b"\n", b"\r\n")
        at_line_start = line.endswith(b"\n")
    if number:
        yield _bounded(source, number, bytes(message), cut=cut)
    else:
        yield _problem(source, "the file is empty")


def _bounded(source: str, number: int | None, raw: bytes, *, cut: bool) -> ExportedMessage:
    problem = f"only the first {MAX_MESSAGE_BYTES} bytes were read" if cut else ""
    return ExportedMessage(source, number, raw[:MAX_MESSAGE_BYTES], problem)


def _open(path: Path) -> BinaryIO:
    """Open a regular file and nothing else: a pipe would hang, a device would never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")


def _is_mbox(path: Path, file: BinaryIO) -> bool:
    if path.suffix.lower() in _MBOX_SUFFIXES:
        return True
    begins_like_mbox = file.read(len(_ENVELOPE_LINE)) == _ENVELOPE_LINE
    file.seek(0)
    return begins_like_mbox and path.suffix.lower() != ".eml"


def _begins_like_mbox(path: Path) -> bool:
    try:
        with _open(path) as file:
            return _is_mbox(path, file)
    except OSError:
        # Nothing says that it is mail: a socket or a stranger's locked file is not reported.
        return False


def _is_mail_by_name(path: Path) -> bool:
    return path.suffix.lower() in _MBOX_SUFFIXES | {".eml"}


def _is_maildir(folder: Path) -> bool:
    return _is_folder(folder / "cur") and _is_folder(folder / "new")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _problem(source: str, problem: str) -> ExportedMessage:
    return ExportedMessage(source, None, b"", problem)


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _relative(path: Path, root: Path) -> str:
    return _printable(path.relative_to(root).as_posix())


def _printable(name: str) -> str:
    """A file name need not be UTF-8; a report must be."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
