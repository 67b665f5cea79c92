"""The ledger's database: an engine for SQLite or PostgreSQL, its transactions and its errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from retract.errors import ConfigurationError, LedgerError

_BUSY_TIMEOUT_SECONDS: Final = 60
_CHUNK: Final = 500
"""Ids a statement: SQLite limits the variables of one."""


def open_engine(url: str) -> sa.Engine:
    """The engine for a ledger's URL. Raises ConfigurationError for one that cannot hold it."""
    try:
        parsed = sa.make_url(url)
        dialect = parsed.get_backend_name()
        if dialect == "postgresql":
            return sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True, pool_size=1)
        if dialect == "sqlite" and parsed.database and parsed.database != ":memory:":
            engine = sa.create_engine(
                parsed,
                hide_parameters=True,
                poolclass=NullPool,
                connect_args={"timeout": _BUSY_TIMEOUT_SECONDS},
            )
            sa.event.listen(engine, "connect", _leave_transactions_to_us)
            sa.event.listen(engine, "begin", _begin_on_sqlite)
            return engine
    except (sa.exc.ArgumentError, ImportError) as error:
        raise ConfigurationError(f"the ledger's URL cannot be used: {error}") from error
    except ValueError:
        # Not the error's own words: it quotes a part of the URL, perhaps of its password.
        raise ConfigurationError(
            "the ledger's URL cannot be used: its port is no number, or its password holds a "
            "character that must be written in percent form, such as %40 for @"
        ) from None
    raise ConfigurationError(
        "the ledger's URL must name an SQLite file (sqlite:////path/ledger.db) or a PostgreSQL "
        "database (postgresql+psycopg2://…)"
    )


def prepare_file(engine: sa.Engine) -> None:
    """Make the SQLite file's folder, and let readers and one writer work side by side: WAL,
    which is kept in the file."""
    Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
    with _told(engine):
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that may write; on SQLite no other one writes meanwhile."""
    with _told(engine), engine.begin() as db:
        yield db


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that only reads, and waits for no writer."""
    with (
        _told(engine),
        engine.connect().execution_options(reading=True) as db,
        db.begin(),
    ):
        yield db


def insert_new(db: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row; False when there is one with its key already."""
    dialect = postgresql if db.dialect.name == "postgresql" else sqlite
    return db.execute(dialect.insert(table).on_conflict_do_nothing(), dict(row)).rowcount == 1


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids, each once and in order, in as many as one statement takes.

    One order for all writers, so that none waits for another in a circle.
    """
    ordered = sorted(set(ids))
    return (ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK))


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # or else sqlite3 begins late, and lets two writers in


def _begin_on_sqlite(db: sa.Connection) -> None:
    only_reads = db.get_execution_options().get("reading", False)
    db.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


@contextmanager
def _told(engine: sa.Engine) -> Iterator[None]:
    """A database's error as ours; it names no values, and no password."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        where = engine.url.render_as_string(hide_password=True)
        reason = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise LedgerError(
            f"the ledger at {where} cannot be used: {reason} (a new or older ledger needs "
            "Ledger.migrate first)"
        ) from error
