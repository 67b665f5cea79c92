"""The shapes of the lake's Delta tables, and the keys that make commits idempotent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

import polars as pl
import pyarrow as pa
from deltalake import Schema, WriterProperties

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

_FOUND_IN: Final = _schema(messages_table=_TEXT, messages_version=pa.int64())

SUSPECTS: Final = pa.schema([*MESSAGES, *_FOUND_IN])
"""The messages rows of the copies that have a hit, were delivered as something to act on, or had
either in an earlier reading. A run decides on these alone, and need not look at any other mail.
What is there twice counts once.

``messages_version`` is the version they were found in, of the table with the id
``messages_table``: of one that was taken away nothing is known any more.
"""

HELD_BACK_COUNTS: Final = pa.schema(
    [
        *_schema(
            delivery_date=pa.date32(),
            type=_TEXT,
            key=pa.int64(),
            copies=pa.int64(),
            exactly=pa.int64(),
            whole=pa.bool_(),
        ),
        *_FOUND_IN,
    ]
)
"""How many of a day's copies have a lookup that is held back, and how many exactly so.

They were counted in ``messages_version`` of ``messages_table``. A row that is ``whole`` counts
nothing: it says that all that was held back was counted in that version anew, and that earlier
counts are void. Of several counts of a key the one of the newest version counts.
"""

COVERAGE: Final = _schema(
    delivery_date=pa.date32(),
    messages=pa.int64(),
    indicators=(pa.int64(), "nullable"),
    as_of=_TIME,
    own_domains=_TEXTS,
    tables=_TEXT,
)
"""How far a day's deliveries were matched: all copies of that version of the messages with all
indicators of that version in force at ``as_of``, those that name ``own_domains`` held back. Their
hits were committed before the row, and every row is true for itself. ``tables`` are the ids of the
tables that it speaks of: of one that was taken away nothing is known any more.
"""


KEEP_HOURS: Final = 36
"""How long files of the mail stay that only earlier versions need: for runs pinned to one."""

LOG_HOURS: Final = 42
"""How long a table's log tells of earlier versions: longer than their files stay. It is cut at
the newest checkpoint that is older."""

FORGET_AHEAD: Final = timedelta(days=4)
"""How long before mail must be gone it is to be taken out of the tables: days are forgotten
whole, at night, and their files leave the store in the second night after that. So there is
nearly a day left, should a night's upkeep come late."""

LOOKUPS_ROW_GROUP: Final = 1024 * 1024
OBSERVABLES_ROW_GROUP: Final = 512 * 1024
"""Rows of a row group: readers pay for each. Measured, as is the order (benchmarks/layout.py):
lookups sorted by values take a fourth less than sorted by keys, and are read in half the time."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the lake."""

    name: str
    schema: pa.Schema
    partition_by: tuple[str, ...] = ()
    keep_hours: int | None = None
    """How long files stay that only earlier versions need; None for Delta's own week."""
    statistics: tuple[str, ...] | None = None
    """The columns whose least and greatest values Delta's log keeps, longer than the rows are
    kept: none that tells of people. None for all."""
    sort_by: tuple[str, ...] = ()
    unique_by: tuple[str, ...] = ()
    """Rows that are the same in these count once."""
    row_group: int | None = None
    """Rows of a row group; None for the writer's own choice."""
    goes_with: str = "it"
    """What has to be moved away with it, for an error's text."""

    @property
    def configuration(self) -> dict[str, str]:
        """The table's Delta properties, so that other programs keep to them, too."""
        properties = {}
        if self.statistics is not None:
            properties["delta.dataSkippingStatsColumns"] = ",".join(self.statistics)
        if self.keep_hours is not None:
            keep, log = f"interval {self.keep_hours} hours", f"interval {LOG_HOURS} hours"
            properties["delta.deletedFileRetentionDuration"] = keep
            properties["delta.logRetentionDuration"] = log
        return properties

    @property
    def writer(self) -> WriterProperties:
        """How its files are written."""
        # A third less than Snappy, in the same time.
        return WriterProperties(
            compression="ZSTD", compression_level=1, max_row_group_size=self.row_group
        )

    def empty(self) -> pl.DataFrame:
        """A frame of this shape without rows."""
        return cast(pl.DataFrame, pl.from_arrow(self.schema.empty_table()))

    def rows(self, frame: pl.DataFrame) -> pa.RecordBatchReader:
        """The frame's rows as Arrow, sorted, for one commit: batch by batch, as a large table
        fits into memory once but not three times.

        Raises LakeError for a missing column, another type, or a null where none may be.
        """
        try:
            frame = frame.select(self.schema.names).cast(self.empty().schema)
            frame = frame.sort(self.sort_by) if self.sort_by else frame
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


_DAY: Final = ("delivery_date",)
_READING: Final = ("copy_id", "extractor_version")
_MAIL: Final = "the folders lookups, observables and messages"

MESSAGES_TABLE: Final = Table(
    "messages",
    MESSAGES,
    _DAY,
    keep_hours=KEEP_HOURS,
    goes_with=_MAIL,
    statistics=("received_at", "extractor_version"),
    sort_by=("received_at",),
)
OBSERVABLES_TABLE: Final = Table(
    "observables",
    OBSERVABLES,
    _DAY,
    keep_hours=KEEP_HOURS,
    goes_with=_MAIL,
    statistics=("extractor_version",),
    sort_by=("value_key",),
    row_group=OBSERVABLES_ROW_GROUP,
)
LOOKUPS_TABLE: Final = Table(
    "lookups",
    LOOKUPS,
    _DAY,
    keep_hours=KEEP_HOURS,
    goes_with=_MAIL,
    statistics=("exact",),
    sort_by=("value_key", "key"),
    unique_by=("key", "value_key", "exact"),
    row_group=LOOKUPS_ROW_GROUP,
)
HITS_TABLE: Final = Table(
    "hits",
    HITS,
    _DAY,
    keep_hours=KEEP_HOURS,
    statistics=("extractor_version",),
    sort_by=("key",),
    unique_by=(*_READING, "type", "key", "lookup"),
)
SUSPECTS_TABLE: Final = Table(
    "suspects",
    SUSPECTS,
    _DAY,
    keep_hours=KEEP_HOURS,
    statistics=("received_at", "messages_version"),
    sort_by=("messages_version",),
    unique_by=("messages_table", *_READING),
)
HELD_BACK_COUNTS_TABLE: Final = Table(
    "held_back_counts",
    HELD_BACK_COUNTS,
    _DAY,
    keep_hours=KEEP_HOURS,
    statistics=("messages_version",),
    sort_by=("key",),
)
COVERAGE_TABLE: Final = Table(
    "coverage", COVERAGE, keep_hours=KEEP_HOURS, statistics=("delivery_date", "messages")
)
INDICATORS_TABLE: Final = Table("indicators", INDICATORS, ("source",))
SOURCES_TABLE: Final = Table("sources", SOURCES)
WATERMARKS_TABLE: Final = Table(
    "watermarks", WATERMARKS, keep_hours=24, statistics=("extractor_version", "read_at")
)
"""Nobody pins a version of it, and cursors are large: a day is long enough for any reader."""

MAIL_TABLES: Final = (LOOKUPS_TABLE, OBSERVABLES_TABLE, MESSAGES_TABLE)
"""What was collected, in the order in which a batch is committed."""

FOUND_TABLES: Final = (HITS_TABLE, SUSPECTS_TABLE, HELD_BACK_COUNTS_TABLE)
"""What matches found."""

ALL_TABLES: Final = (
    *MAIL_TABLES,
    *FOUND_TABLES,
    COVERAGE_TABLE,
    INDICATORS_TABLE,
    SOURCES_TABLE,
    WATERMARKS_TABLE,
)
