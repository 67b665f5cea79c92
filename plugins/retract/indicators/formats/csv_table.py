"""CSV: a table whose columns are named, in its first row or in the feeds file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import NamedTuple

from retract.errors import FeedError
from retract.indicators.feeds import Columns, Source
from retract.indicators.formats.contents import lines_of, refuse_json, text_of
from retract.indicators.formats.records import entries
from retract.indicators.listed import Entry, Rejected


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """The number of the line it starts on."""
    cells: list[str]
    """Stripped."""
    is_last: bool
    """The text ends with it, and without a line end: it may have been cut off."""


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The table's entries. Raises FeedError when the data is no such table.

    Lines that start with # are comments; rows that cannot be used are rejected one by one.
    """
    text = text_of(data)
    refuse_json(text, "CSV")
    rows = rows_of(text, source.delimiter)
    if source.columns is None:
        raise ValueError("a csv source without columns")
    header = _first_row(rows) if source.header is True else list(source.header)
    if not header:
        return
    positions = _positions(source.columns, header)
    for row in rows:
        if isinstance(row, Rejected):
            yield row
        elif problem := misfit(row, len(header)):
            yield problem
        else:
            stated = {field: row.cells[position] for field, position in positions.items()}
            yield from entries(stated, source.type, f"line {row.line}")


def rows_of(text: str, delimiter: str = ",", *, spaced: bool = False) -> Iterator[Row | Rejected]:
    """Every row that is not blank or a comment; what is no CSV is rejected line by line.

    ``spaced``: a space may stand before an opening quotation mark. Raises FeedError where a
    quotation mark is never closed: what follows it cannot be told from what it holds.
    """
    lines = _Lines(text)
    unended = 0 if text.endswith("\n") else text.count("\n") + 1
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    while True:
        lines.next_row()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.at > lines.row or lines.ended:
                raise FeedError(
                    f"is no CSV at line {lines.row}: a quotation mark there is never closed; was "
                    "it cut off? Fetch it again"
                ) from error
            yield Rejected(f"line {lines.row}", f"no CSV: {error}")
            continue
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield Row(lines.row, cells, is_last=lines.at == unended)


def misfit(row: Row, columns: int) -> Rejected | None:
    """Why a row does not fit its header; None when it does.

    A surplus cell, be it blank, moves all others: half a URL would be taken for the whole. Raises
    FeedError for a last row that is cut off.
    """
    if len(row.cells) == columns:
        return None
    where, found = f"line {row.line}", f"{len(row.cells)} fields where there are {columns} columns"
    if row.is_last and len(row.cells) < columns:
        raise FeedError(f"ends in the middle of {where}, {found}: it was cut off, fetch it again")
    return Rejected(where, found)


class _Lines:
    """A text's lines for a CSV reader, without those between rows that are blank or comments."""

    def __init__(self, text: str) -> None:
        self._lines = lines_of(text)
        self._between_rows = True
        self.row = 0
        """Where the row began that is read now."""
        self.at = 0
        self.ended = False

    def next_row(self) -> None:
        self._between_rows = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for number, line in self._lines:
            self.at = number
            if self._between_rows:
                if not line or line.isspace() or line.lstrip().startswith("#"):
                    continue
                self._between_rows = False
                self.row = number
            return line + "\n"
        self.ended = True
        raise StopIteration


def _first_row(rows: Iterator[Row | Rejected]) -> list[str]:
    row = next(rows, None)
    if isinstance(row, Rejected):
        raise FeedError(f"has no readable header at {row.where}: {row.reason}")
    return row.cells if row else []


def _positions(columns: Columns, header: list[str]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for field, name in columns.model_dump(exclude_none=True).items():
        if name not in header:
            shown = ", ".join(header)[:200]
            raise FeedError(f"has no column {name!r}; correct columns: the header is {shown!r}")
        positions[field] = header.index(name)
    return positions
