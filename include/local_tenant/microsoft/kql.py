"""A small part of the Kusto Query Language: what it takes to ask tables for delivered mail.

A table, and then, each after a bar: ``where`` comparisons joined by ``and``; ``project`` of
columns; ``distinct`` of columns; ``order by`` or ``sort by`` one column; ``take`` or ``limit``;
``join kind=leftsemi`` of another such query in parentheses on one column. A comparison is a column,
then ``==``, ``!=``, ``<``, ``<=``, ``>`` or ``>=`` and a literal, ``=~`` and a string, ``in`` or
``in~`` and literals in parentheses, or ``between (… .. …)``. A literal is a string, a whole number,
``datetime(…)``, ``now()`` or ``ago(…)``. Everything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

MOST_ROWS = 100_000
"""More are cut off: "results can return up to 100,000 rows"."""
_MOST_TOKENS = 100_000

Value = str | int | datetime


class QueryError(ValueError):
    """A query that is wrong, or outside of what is understood here."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    kind: type[str] | type[int] | type[datetime]
    read: Callable[[Any], Value]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of whatever kind, and the columns that can be read of each."""

    columns: Mapping[str, Column]
    rows: Iterable[Any]


def run(query: str, tables: Mapping[str, Callable[[], Table]], now: datetime) -> Table:
    """The result, its rows made one by one. Raises QueryError."""
    parser = _Parser(_tokens(query), tables, now)
    found = parser.query()
    parser.end()
    return replace(found, rows=islice(found.rows, MOST_ROWS))


# ---- words -----------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>@'[^']*'|@"[^"]*"|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<call>(?:datetime|ago|now)\s*\([^)'"|]*\))
      | (?P<number>\d{1,18}\b)
      | (?P<word>[A-Za-z_]\w*~?)
      | (?P<sign>==|=~|!=|<=|>=|\.\.|[<>=(),|])
    )""",
    re.VERBOSE,
)


def _tokens(query: str) -> list[tuple[str, str]]:
    """(kind, text) of each."""
    found: list[tuple[str, str]] = []
    position, query = 0, query.strip()
    while position < len(query):
        match = _TOKEN.match(query, position)
        if match is None or match.lastgroup is None or len(found) > _MOST_TOKENS:
            raise QueryError(f"Query could not be parsed at '{query[position : position + 20]}'")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


_AGO = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


class _Parser:
    """Reads and carries out at once: each stage narrows the rows of the one before."""

    def __init__(
        self,
        tokens: list[tuple[str, str]],
        tables: Mapping[str, Callable[[], Table]],
        now: datetime,
    ) -> None:
        self._tokens = tokens
        self._position = 0
        self._tables = tables
        self._now = now

    def query(self) -> Table:
        name = self._word("a table")
        if name not in self._tables:
            raise QueryError(f"Failed to resolve table or column expression named '{name}'")
        table = self._tables[name]()
        stages = {
            "where": self._where,
            "project": self._project,
            "distinct": self._distinct,
            "order": self._order,
            "sort": self._order,
            "take": self._take,
            "limit": self._take,
            "join": self._join,
        }
        while self._peek() == "|":
            self._next()
            operator = self._word("an operator")
            if operator not in stages:
                raise QueryError(f"The operator '{operator}' is not understood here")
            table = stages[operator](table)
        return table

    def end(self) -> None:
        if self._position < len(self._tokens):
            raise QueryError(f"Query could not be parsed at '{self._peek()}'")

    # ---- stages

    def _where(self, table: Table) -> Table:
        tests = [self._comparison(table)]
        while self._peek() == "and":
            self._next()
            tests.append(self._comparison(table))
        rows = (row for row in table.rows if all(test(row) for test in tests))
        return replace(table, rows=rows)

    def _project(self, table: Table) -> Table:
        names = [self._column(table)]
        while self._peek() == ",":
            self._next()
            names.append(self._column(table))
        return replace(table, columns={name: table.columns[name] for name in names})

    def _distinct(self, table: Table) -> Table:
        table = self._project(table)

        def rows() -> Iterator[Any]:
            seen: set[tuple[Value, ...]] = set()
            for row in table.rows:
                values = tuple(column.read(row) for column in table.columns.values())
                if values not in seen:
                    seen.add(values)
                    yield row

        return replace(table, rows=rows())

    def _order(self, table: Table) -> Table:
        self._expect("by")
        read = table.columns[self._column(table)].read
        # "Default is desc": the sort operator's page.
        ascending = self._peek() == "asc"
        if self._peek() in ("asc", "desc"):
            self._next()

        def rows() -> Iterator[Any]:
            yield from sorted(table.rows, key=read, reverse=not ascending)

        return replace(table, rows=rows())

    def _take(self, table: Table) -> Table:
        kind, text = self._next()
        if kind != "number":
            raise QueryError(f"A number of rows is needed, not '{text}'")
        return replace(table, rows=islice(table.rows, int(text)))

    def _join(self, table: Table) -> Table:
        for expected in ("kind", "="):
            self._expect(expected)
        kind = self._word("a kind of join")
        if kind != "leftsemi":
            raise QueryError(f"A join of kind '{kind}' is not understood here")
        self._expect("(")
        other = self.query()
        for expected in (")", "on"):
            self._expect(expected)
        name = self._column(table)
        if name not in other.columns:
            raise QueryError(f"Failed to resolve column or scalar expression named '{name}'")
        there, here = other.columns[name].read, table.columns[name].read

        def rows() -> Iterator[Any]:
            known = {there(row) for row in other.rows}
            return (row for row in table.rows if here(row) in known)

        return replace(table, rows=rows())

    # ---- comparisons

    def _comparison(self, table: Table) -> Callable[[Any], bool]:
        column = table.columns[self._column(table)]
        read = column.read
        operator = self._next()[1]
        if operator in ("in", "in~"):
            values = set(self._literals(column, ","))
            if operator == "in":
                return lambda row: read(row) in values
            folded = {str(value).casefold() for value in values}
            return lambda row: str(read(row)).casefold() in folded
        if operator == "between":
            low, high = self._literals(column, "..")
            return lambda row: low <= read(row) <= high  # type: ignore[operator]
        value: Any = self._literal(column)
        if operator == "=~" and column.kind is str:
            folded_value = str(value).casefold()
            return lambda row: str(read(row)).casefold() == folded_value
        compare = _COMPARISONS.get(operator)
        if compare is None or (column.kind is str and operator not in ("==", "!=")):
            raise QueryError(f"The comparison '{operator}' is not understood here")
        return lambda row: compare(read(row), value)

    def _literals(self, column: Column, separator: str) -> list[Value]:
        self._expect("(")
        found = [self._literal(column)]
        while self._peek() == separator:
            self._next()
            found.append(self._literal(column))
        self._expect(")")
        if separator == ".." and len(found) != 2:
            raise QueryError("between needs two values")
        return found

    def _literal(self, column: Column) -> Value:
        kind, text = self._next()
        value: Value
        if kind == "string":
            value = text[2:-1] if text[0] == "@" else re.sub(r"\\(.)", r"\1", text[1:-1])
        elif kind == "number":
            value = int(text)
        elif kind == "call":
            value = self._moment(text)
        else:
            raise QueryError(f"A value is needed, not '{text}'")
        if not isinstance(value, column.kind):
            raise QueryError(f"Cannot compare values of types {column.kind.__name__} and {kind}")
        return value

    def _moment(self, text: str) -> datetime:
        name, _, inner = text.rstrip(")").partition("(")
        inner = inner.strip()
        if name.strip() == "datetime":
            try:
                moment = datetime.fromisoformat(inner)
            except ValueError:
                raise QueryError(f"'{inner}' is no date and time") from None
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if name.strip() == "now" and not inner:
            return self._now
        span = re.fullmatch(r"(\d{1,6})([dhms])", inner)
        if name.strip() != "ago" or span is None:
            raise QueryError(f"'{text}' is not understood here")
        return self._now - timedelta(**{_AGO[span[2]]: int(span[1])})

    # ---- tokens

    def _peek(self) -> str:
        return self._tokens[self._position][1] if self._position < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._position >= len(self._tokens):
            raise QueryError("The query ends too early")
        self._position += 1
        return self._tokens[self._position - 1]

    def _expect(self, text: str) -> None:
        found = self._next()[1]
        if found != text:
            raise QueryError(f"'{text}' is needed, not '{found}'")

    def _word(self, what: str) -> str:
        kind, text = self._next()
        if kind != "word":
            raise QueryError(f"The name of {what} is needed, not '{text}'")
        return text

    def _column(self, table: Table) -> str:
        name = self._word("a column")
        if name not in table.columns:
            raise QueryError(f"Failed to resolve column or scalar expression named '{name}'")
        return name


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}
