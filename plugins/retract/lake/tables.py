"""The shapes of the lake's Delta tables, and the keys that make commits idempotent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import polars as pl
import pyarrow as pa
from deltalake import Schema

from retract.errors import LakeError


def _schema(**types: pa.DataType | tuple[pa.DataType, str]) -> pa.Schema:
    """A schema of required columns; ``(type, "nullable")`` marks the others."""
    return pa.schema(
        [
            pa.field(name, kind[0], nullable=True)
            if isinstance(kind, tuple)
            else pa.field(name, kind, nullable=False)
            for name, kind in types.items()
        ]
    )


BATCH_ROWS: Final = 100_000

_TEXT = pa.string()
_TIME = pa.timestamp("us", tz="UTC")
# Spark and delta-rs both write list elements as nullable; a stricter type cannot be read back.
_TEXTS = pa.list_(pa.string())

MESSAGES: Final = _schema(
    copy_id=_TEXT,
    provider=_TEXT,
    connection=_TEXT,
    mailbox_id=_TEXT,
    mailbox=_TEXT,
    message_id=_TEXT,
    internet_message_id=_TEXT,
    received_at=_TIME,
    delivery_date=pa.date32(),
    subject=_TEXT,
    sender_address=_TEXT,
    sender_name=_TEXT,
    delivered_disposition=_TEXT,
    sending_ip=_TEXT,
    body_fingerprint=_TEXT,
    place=_TEXT,
    folder_id=_TEXT,
    folder_name=_TEXT,
    labels=_TEXTS,
    is_read=pa.bool_(),
    is_flagged=pa.bool_(),
    authentication=_TEXT,
    problems=_TEXTS,
    extractor_version=pa.int32(),
    collected_at=_TIME,
)
"""One row a copy. ``authentication`` is a JSON list of [method, result] pairs."""

OBSERVABLES: Final = _schema(
    copy_id=_TEXT,
    delivery_date=pa.date32(),
    extractor_version=pa.int32(),
    type=_TEXT,
    value=_TEXT,
    value_key=pa.int64(),
    found_in=_TEXT,
)
"""One row for each observable of a copy.

``extractor_version`` is that of the reading the row comes from: rows of an older reading stay
until they expire, and a copy's messages row tells which reading counts. ``value_key`` is the key
of type and value, by which the value's lookups are found.
"""

LOOKUPS: Final = _schema(
    delivery_date=pa.date32(),
    key=pa.int64(),
    value_key=pa.int64(),
    exact=pa.bool_(),
)
"""A dictionary of each day's observables: under which keys each distinct value is looked up, and
whether that lookup is the value itself.

A match reads little else, for nearly no value meets anything. It may hold values that no copy
has any more, and, before it is compacted, a pair several times.
"""

INDICATORS: Final = _schema(
    indicator_id=_TEXT,
    type=_TEXT,
    value=_TEXT,
    lookup=_TEXT,
    key=pa.int64(),
    exact_only=pa.bool_(),
    disposition=_TEXT,
    confidence=pa.int32(),
    source=_TEXT,
    campaign=_TEXT,
    reference=_TEXT,
    tags=_TEXTS,
    sightings=pa.int32(),
    first_seen=_TIME,
    last_seen=_TIME,
    listed=pa.bool_(),
    expires_at=(_TIME, "nullable"),
    held_back=(_TEXT, "nullable"),
    active=pa.bool_(),
    changed_at=_TIME,
    inactive_because=(_TEXT, "nullable"),
)
"""One row for each (type, value, source): one source's opinion of one value.

``listed``: the source's last good reading holds it. ``held_back`` is the reason; null when it is
live. ``active`` says whether it is in force, ``changed_at`` since when that is so, and
``inactive_because`` why it is not: expired, revoked, no longer listed, source removed.
``sightings`` is what the source says of how often it was seen.
"""

SOURCES: Final = _schema(
    source=_TEXT,
    settings=_TEXT,
    read_at=(_TIME, "nullable"),
    listed=pa.int64(),
    etag=_TEXT,
    last_modified=_TEXT,
    content=_TEXT,
    cursor=_TEXT,
    hold_back=_TEXT,
    tried_at=_TIME,
    failing_since=(_TIME, "nullable"),
    error=(_TEXT, "nullable"),
)
"""One row a source: its last good reading, and how the last try went.

``settings`` is the digest of what the reading was made with: when it differs, everything is read
anew. ``etag``, ``last_modified``, ``content`` (a digest) and ``cursor`` let the next reading ask
for what changed. ``hold_back`` is the digest of the rules the source's rows were judged with.
"""

WATERMARKS: Final = _schema(
    provider=_TEXT,
    connection=_TEXT,
    mailbox_id=_TEXT,
    since=_TIME,
    cursor=_TEXT,
    extractor_version=pa.int32(),
    messages_table=_TEXT,
    read_at=_TIME,
)
"""How far a mailbox was read: of several rows of one mailbox the newest ``read_at`` counts.

``messages_table`` is the id of the messages table that holds what was read: of a table that was
taken away nothing is known any more.
"""


HITS: Final = _schema(
    copy_id=_TEXT,
    delivery_date=pa.date32(),
    extractor_version=pa.int32(),
    type=_TEXT,
    key=pa.int64(),
    lookup=_TEXT,
    exact=pa.bool_(),
    observable=_TEXT,
    all_met=_TEXTS,
)
"""A copy has a lookup that an indicator has, or had: a fact of the copy's reading, true whatever
becomes of the indicator. What is there twice counts once.

``exact``: an observable of it has the lookup as its own text, not as something wider; that one is
``observable`` where there is one. ``all_met`` are all values that have the lookup.
"""

SUSPECTS: Final = MESSAGES.append(pa.field("messages_version", pa.int64(), nullable=False))
"""The messages rows of the copies that have a hit, were delivered as something to act on, or had
either in an earlier reading; ``messages_version`` is the version they were found in. A run
decides on these alone, and need not look at any other mail. What is there twice counts once.
"""

HELD_BACK_COUNTS: Final = _schema(
    delivery_date=pa.date32(),
    type=_TEXT,
    key=pa.int64(),
    copies=pa.int64(),
    exactly=pa.int64(),
)
"""How many of a day's copies have a lookup that is held back, and how many exactly so."""

COVERAGE: Final = _schema(
    delivery_date=pa.date32(),
    messages=pa.int64(),
    indicators=(pa.int64(), "nullable"),
    as_of=_TIME,
    tables=_TEXT,
)
"""How far a day's deliveries were matched: all copies of that version of the messages with all
indicators of that version in force at ``as_of``. Their hits were committed before the row, and
every row is true for itself. ``tables`` are the ids of the tables that it speaks of: of one that
was taken away nothing is known any more.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the lake."""

    name: str
    schema: pa.Schema
    partition_by: tuple[str, ...] = ()
    keep_hours: int | None = None
    """How long files stay that only earlier versions need; None for Delta's own week."""

    def empty(self) -> pl.DataFrame:
        """A frame of this shape without rows."""
        return cast(pl.DataFrame, pl.from_arrow(self.schema.empty_table()))

    def rows(self, frame: pl.DataFrame) -> pa.RecordBatchReader:
        """The frame's rows as Arrow, for one commit: batch by batch, as a large table fits into
        memory once but not three times.

        Raises LakeError for a missing column, another type, or a null where none may be.
        """
        try:
            frame = frame.select(self.schema.names).cast(self.empty().schema)
            nulls = [
                field.name
                for field in self.schema
                if not field.nullable and frame[field.name].has_nulls()
            ]
        except pl.exceptions.PolarsError as error:
            raise LakeError(f"{self.name}: rows of another shape: {error}") from error
        if nulls:
            raise LakeError(f"{self.name}: rows of another shape: nulls in {', '.join(nulls)}")
        batches = (
            batch
            for rows in frame.iter_slices(BATCH_ROWS)
            for batch in rows.to_arrow().cast(self.schema).to_batches()
        )
        return pa.RecordBatchReader.from_batches(self.schema, batches)

    def differences(self, schema: Schema) -> list[str]:
        """The columns in which a stored table's schema is not this one."""
        stored = {field.name: field.type for field in schema.fields}
        expected = {field.name: field.type for field in Schema.from_arrow(self.schema).fields}
        names = expected | stored
        return sorted(name for name in names if expected.get(name) != stored.get(name))


MESSAGES_TABLE: Final = Table("messages", MESSAGES, ("delivery_date",))
OBSERVABLES_TABLE: Final = Table("observables", OBSERVABLES, ("delivery_date",))
LOOKUPS_TABLE: Final = Table("lookups", LOOKUPS, ("delivery_date",))
HITS_TABLE: Final = Table("hits", HITS, ("delivery_date",))
SUSPECTS_TABLE: Final = Table("suspects", SUSPECTS, ("delivery_date",))
HELD_BACK_COUNTS_TABLE: Final = Table("held_back_counts", HELD_BACK_COUNTS, ("delivery_date",))
COVERAGE_TABLE: Final = Table("coverage", COVERAGE)
INDICATORS_TABLE: Final = Table("indicators", INDICATORS, ("source",))
SOURCES_TABLE: Final = Table("sources", SOURCES)
WATERMARKS_TABLE: Final = Table("watermarks", WATERMARKS, keep_hours=24)
"""Nobody pins a version of it, and cursors are large: a day is long enough for any reader."""
