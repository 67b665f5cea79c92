"""The ledger's tables, for SQLite and PostgreSQL alike.

Both compare text by its bytes, which the providers' case-sensitive ids need.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter

from retract.model import Action, Copy, Disposition, Location, Mode, Provider, State
from retract.retraction.records import Purpose

E = TypeVar("E", bound=StrEnum)


class UtcTime(sa.TypeDecorator[datetime]):
    """Aware UTC in, aware UTC out; SQLite itself keeps no time zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes aware times only")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        aware: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC)


class Word(sa.TypeDecorator[E]):
    """One of an enum's words, kept as text."""

    impl = sa.String(32)
    cache_ok = True

    def __init__(self, words: type[E]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: E | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> E | None:
        return None if value is None else self.words(value)


class LocationJson(sa.TypeDecorator[Location]):
    """A location as JSON."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Location | None, dialect: sa.Dialect) -> Any:
        return None if value is None else _LOCATION.dump_python(value, mode="json")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Location | None:
        return None if value is None else _LOCATION.validate_python(value)


_LOCATION: Final = TypeAdapter(Location)

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _copy_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("provider", Word(Provider), nullable=False),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("mailbox_id", sa.Text, nullable=False),
        sa.Column("mailbox", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("internet_message_id", sa.Text, nullable=False),
        sa.Column("disposition", Word(Disposition), nullable=False),
    ]


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("plan_digest", sa.String(64), nullable=False),
    sa.Column("policy_digest", sa.String(64), nullable=False),
    sa.Column("mode", Word(Mode), nullable=False),
    sa.Column("window_start", UtcTime, nullable=False),
    sa.Column("window_end", UtcTime, nullable=False),
    sa.Column("lake_messages", sa.BigInteger),
    sa.Column("lake_observables", sa.BigInteger),
    sa.Column("lake_indicators", sa.BigInteger),
    sa.Column("judged", sa.BigInteger, nullable=False),
    sa.Column("matched", sa.BigInteger, nullable=False),
    sa.Column("planned", sa.BigInteger, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("succeeded", sa.Boolean),
)
"""One row a run: what its plan was made from, and how it ended."""

planned = sa.Table(
    "planned",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("copy_id", sa.String(32), primary_key=True),
    sa.Column("mailbox_key", sa.Text, nullable=False),
    *_copy_columns(),
    sa.Column("action", Word(Action), nullable=False),
)
"""What each run set out to do: an outcome is owed for every row."""

copies = sa.Table(
    "copies",
    metadata,
    sa.Column("copy_id", sa.String(32), primary_key=True),
    *_copy_columns(),
    sa.Column("state", Word(State), nullable=False),
    sa.Column("action", Word(Action), nullable=False),
    sa.Column("purpose", Word(Purpose), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("claim_expires_at", UtcTime),
    sa.Column("settled_action", Word(Action)),
    sa.Column("before", LocationJson),
    sa.Column("origin", LocationJson),
    sa.Column("location", LocationJson),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)
"""The current state of every copy ever looked at (see `records.CopyState`)."""

events = sa.Table(
    "events",
    metadata,
    sa.Column(
        "event_id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("copy_id", sa.String(32), nullable=False, index=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("mailbox_key", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("state", Word(State), nullable=False),
    sa.Column("action", Word(Action), nullable=False),
    sa.Column("purpose", Word(Purpose), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("location_before", LocationJson),
    sa.Column("location_after", LocationJson),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Index(None, "run_id", "copy_id"),
)
"""Everything that happened to a copy. Rows are added, never changed."""

mailbox_leases = sa.Table(
    "mailbox_leases",
    metadata,
    sa.Column("mailbox_key", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("next_attempt_at", UtcTime),
    sa.Column("reason", sa.Text, nullable=False),
)
"""Who works in a mailbox, and before when a provider asked us not to come back."""

COPY_FIELDS: Final = (
    "provider",
    "connection",
    "mailbox_id",
    "mailbox",
    "message_id",
    "internet_message_id",
)
"""The columns that make a `Copy`."""


def copy_fields(copy: Copy, disposition: Disposition) -> dict[str, Any]:
    """The columns, by name, that say which copy a row is about."""
    return {name: getattr(copy, name) for name in COPY_FIELDS} | {"disposition": disposition}
