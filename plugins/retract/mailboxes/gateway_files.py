"""What a mail gateway writes down of the mail it delivered: NDJSON or Parquet files.

One record a message and recipient, with the fields of `DescribedMessage`; in a Parquet file the
attachments are a list of structs, and the authentication results a struct or a map. The recipient
is any of a mailbox's addresses. That of a list is no mailbox's: what comes by a list is told of
only by a gateway that writes down whom the list led to. Files end in ``.ndjson``, ``.jsonl`` or
``.parquet``; ``.gz`` behind the first two. A file that was last written before the time asked for
is not opened.

A record that cannot be read is left out with a warning that says where it is and what is wrong
with it; so is a file. The file itself keeps it: once mended it is read by the next run.
"""

from __future__ import annotations

import glob
import gzip
import json
import logging
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from retract.errors import MailboxError
from retract.model import Mailbox
from retract.observables.described import DescribedMessage

_LINES: Final = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
_LONGEST_LINE: Final = 4 * 1024 * 1024
"""Characters of one record: no message has that much to tell."""
_ROWS: Final = 10_000
_MOST_TOLD: Final = 20
"""Warnings a file: one that is broken throughout says the same in every line."""

log = logging.getLogger(__name__)


class GatewayFiles:
    """The files that a path with wildcards leads to. Implements `described.Descriptions`."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._start: datetime | None = None
        self._told: dict[str, list[DescribedMessage]] = {}
        self._prepared: frozenset[str] = frozenset()

    def prepare(self, mailboxes: Sequence[Mailbox], start: datetime) -> None:
        wanted = frozenset(each for mailbox in mailboxes for each in _addresses(mailbox))
        told: defaultdict[str, list[DescribedMessage]] = defaultdict(list)
        for path in self._files(start):
            for described in _read(path, wanted):
                if described.received_at >= start:
                    told[described.recipient.lower()].append(described)
        self._start, self._told, self._prepared = start, dict(told), wanted

    def of(self, mailbox: Mailbox, start: datetime) -> Iterable[DescribedMessage]:
        addresses = _addresses(mailbox)
        if not self._prepared.issuperset(addresses) or self._start is None or start < self._start:
            self.prepare([mailbox], start)
        told = (one for address in addresses for one in self._told.get(address, ()))
        return (one for one in told if one.received_at >= start)

    def _files(self, start: datetime) -> list[Path]:
        # An absolute pattern, which Path.glob does not take.
        paths = [Path(name) for name in sorted(glob.glob(self._pattern, recursive=True))]  # noqa: PTH207
        if not paths:
            raise MailboxError(
                f"no file of the mail gateway is at {self._pattern}: check gateway_files in the "
                "connection, and that the gateway still writes them"
            )
        return [path for path in paths if _is_written_since(path, start)]


def _addresses(mailbox: Mailbox) -> tuple[str, ...]:
    """All of a mailbox's, each once."""
    return tuple(dict.fromkeys(each.lower() for each in (mailbox.address, *mailbox.aliases)))


def _is_written_since(path: Path, start: datetime) -> bool:
    try:
        return path.is_file() and datetime.fromtimestamp(path.stat().st_mtime, UTC) >= start
    except OSError as error:  # a gateway throws its old files away
        log.warning("%s was not read: %s", path.name, _printable(str(error)))
        return False


def _read(path: Path, wanted: frozenset[str]) -> Iterator[DescribedMessage]:
    """The file's records for the wanted recipients."""
    warned = 0
    records = _rows(path) if path.suffix == ".parquet" else _lines(path)
    try:
        for number, record in records:
            try:
                if not isinstance(record, dict):
                    raise ValueError("not an object")
                if str(record.get("recipient", "")).lower() in wanted or "recipient" not in record:
                    yield DescribedMessage.model_validate(record)
            except ValueError as error:
                warned += 1
                if warned <= _MOST_TOLD:
                    log.warning("%s, record %d left out: %s", path.name, number, _reason(error))
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, pa.ArrowException) as error:
        log.warning("%s was not read to its end: %s", path.name, _printable(str(error)))
    if warned > _MOST_TOLD:
        log.warning("%s: %d records left out in all", path.name, warned)


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.name.lower().endswith(_LINES):
        raise OSError("its name ends in none of .ndjson, .jsonl, .ndjson.gz, .jsonl.gz, .parquet")
    opened = gzip.open if path.suffix == ".gz" else open
    # A sender may have written what is no UTF-8: that costs no other record.
    with opened(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if line.strip():
                yield number, _parsed(line)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            for row in batch.to_pylist(maps_as_pydicts="lossy"):
                number += 1
                yield number, _without_nulls(row)


def _without_nulls(value: Any) -> Any:
    """A column that a record does not use is null in it, and left out here."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value if each is not None]
    return value


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        told = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)[:3]
        )
        return _printable(told)
    return _printable(str(error))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]
