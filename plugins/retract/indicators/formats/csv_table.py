"""CSV: a table whose columns are named, in its first row or in the feeds file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime

from retract.errors import FeedError
from retract.indicators.feeds import Columns, Source
from retract.indicators.formats.contents import text_of
from retract.indicators.listed import Entry, Listed, Rejected
from retract.model import ACTIONABLE_DISPOSITIONS, Disposition, ObservableType
from retract.observables.written import AnyType, canonical

_Row = tuple[int, list[str]]


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The table's entries. Raises FeedError when the data is no such table.

    Rows that start with # are comments; those that cannot be used are rejected one by one.
    """
    rows = _rows(text_of(data), source.delimiter)
    columns = source.columns
    if columns is None:
        raise ValueError("a csv source without columns")
    if source.header is True:
        _, header = next(rows, (0, []))
        if not header:
            return
    else:
        header = list(source.header)
    positions = _positions(columns, [name.strip() for name in header])
    for number, row in rows:
        try:
            if len(row) < len(header):
                raise ValueError(f"{len(row)} fields where there are {len(header)} columns")
            cells = {field: row[position].strip() for field, position in positions.items()}
            yield _listed(cells, source.type)
        except ValueError as error:
            yield Rejected(f"line {number}", str(error))


def _rows(text: str, delimiter: str) -> Iterator[_Row]:
    """(line number, cells) of every row that is not blank or a comment."""
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FeedError(f"is no CSV at line {reader.line_num}: {error}") from error
        if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#"):
            yield reader.line_num, row


def _positions(columns: Columns, header: list[str]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for field, name in columns.model_dump(exclude_none=True).items():
        if name not in header:
            shown = ", ".join(header)[:200]
            raise FeedError(f"has no column {name!r}; correct columns: the header is {shown!r}")
        positions[field] = header.index(name)
    return positions


def _listed(cells: dict[str, str], kind: AnyType) -> Listed:
    if stated := cells.get("type"):
        kind = _type(stated)
    return Listed(
        *canonical(kind, cells["value"]),
        disposition=_disposition(cells.get("disposition")),
        confidence=_confidence(cells.get("confidence")),
        campaign=cells.get("campaign") or None,
        reference=cells.get("reference") or None,
        first_seen=_time(cells.get("first_seen")),
        expires_at=_time(cells.get("expires_at")),
    )


def _type(text: str) -> AnyType:
    word = text.lower().replace("-", "_").replace(" ", "_")
    if word == "auto":
        return "auto"
    try:
        return ObservableType(word)
    except ValueError:
        known = ", ".join(ObservableType)
        raise ValueError(f"unknown type {text[:40]!r}; known: {known}") from None


def _disposition(text: str | None) -> Disposition | None:
    if not text:
        return None
    if text.lower() not in ACTIONABLE_DISPOSITIONS:
        raise ValueError(f"unknown disposition {text[:40]!r}")
    return Disposition(text.lower())


def _confidence(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) > 100:
        raise ValueError(f"confidence {text[:40]!r} is not a whole number from 0 to 100")
    return int(text)


def _time(text: str | None) -> datetime | None:
    """ISO-8601; UTC where it names no zone."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a time as 2026-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
