"""The lake: Delta tables under one URL. What a run judges is pinned to a version.

Collecting is safe to repeat and to run side by side: a commit that meets another one is made
again on top of it, so the same copy never comes twice. A copy's observables are committed
before its message row, so a reader that sees the row sees the observables too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zlib import crc32

import polars as pl
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError
from pydantic import BaseModel, ConfigDict

from retract.errors import LakeError
from retract.lake.delta import DeltaTables
from retract.lake.frames import messages_frame, observables_frame
from retract.lake.source_state import SourceState
from retract.lake.tables import (
    INDICATORS_TABLE,
    MESSAGES_TABLE,
    OBSERVABLES_TABLE,
    SOURCES_TABLE,
    WATERMARKS_TABLE,
    Table,
)
from retract.lake.watermarks import newest, watermark_rows
from retract.model import CollectedMessage, Mailbox, Watermark, Window

if TYPE_CHECKING:
    import pyarrow as pa

BATCH: Final = 1_000
"""Messages a commit: what is read is kept, should the mailbox fail later on."""

COMPACT_FROM: Final = 32
"""Files of one day that are joined, when they are small: every commit leaves a file for each of
its days, and a reader pays for each of them."""

SMALL_FILE: Final = 1024 * 1024
"""Bytes on average below which files are small."""

ALL_TABLES: Final = (
    MESSAGES_TABLE,
    OBSERVABLES_TABLE,
    INDICATORS_TABLE,
    SOURCES_TABLE,
    WATERMARKS_TABLE,
)

_SMALL: Final = WriterProperties(compression="ZSTD", compression_level=1)
"""A third less than Snappy, in the same time: every version of a large source is a whole file."""

_GUARDS: Final = 256
_KEPT_SINCE: Final = "kept-since"
"""The name under which a table remembers the first day that `Lake.expire` left, as an ordinal."""


class LakeVersions(BaseModel):
    """The versions a run is pinned to; None where a table is not there yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: int | None = None
    observables: int | None = None
    indicators: int | None = None


class Expired(BaseModel):
    """What `Lake.expire` took away: rows no longer visible, files gone from the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: int
    observables: int
    files: int


class Lake:
    """The tables below ``url``: a local folder, or any object store (s3://, az://, gs://).

    ``storage_options`` goes to the object store as it is. Methods raise LakeError when a table
    has another shape than this program's, or when a commit does not get through.
    """

    def __init__(self, url: str, *, storage_options: dict[str, str] | None = None) -> None:
        self._tables = DeltaTables(url, storage_options)

    # --- messages and observables ---

    def add_messages(self, messages: Iterable[CollectedMessage], collected_at: datetime) -> int:
        """Add copies that are not there yet; returns how many.

        A copy read again by a newer extractor takes the place of its older reading. When
        ``messages`` raises midway, what it gave before is committed, and the error goes on.
        Days that have become many small files are compacted on the way.
        """
        added = 0
        batch: list[CollectedMessage] = []
        try:
            for message in messages:
                batch.append(message)
                if len(batch) == BATCH:
                    full, batch = batch, []
                    added += self._add_batch(full, collected_at)
        finally:
            added += self._add_batch(batch, collected_at)
        self.compact()
        return added

    def known_message_ids(
        self, mailboxes: Collection[Mailbox], since: datetime, extractor_version: int
    ) -> dict[Mailbox, set[str]]:
        """The provider's ids of each mailbox's copies, delivered since then, that need not be
        read again."""
        rows = (
            self._tables.scan(MESSAGES_TABLE, self._tables.version(MESSAGES_TABLE))
            .filter(
                pl.col("delivery_date") >= since.astimezone(UTC).date(),
                pl.col("received_at") >= since,
                pl.col("mailbox_id").is_in([mailbox.mailbox_id for mailbox in mailboxes]),
                pl.col("extractor_version") >= extractor_version,
            )
            .group_by("provider", "connection", "mailbox_id")
            .agg("message_id")
            .collect()
        )
        known = {(*ids,): set(messages) for *ids, messages in rows.iter_rows()}
        return {mailbox: known.get(_key(mailbox), set()) for mailbox in mailboxes}

    def mailbox_domains(self, version: int | None = None) -> frozenset[str]:
        """The domains of all mailboxes whose mail was collected, in lower case.

        By default as it is now.
        """
        version = self._tables.version(MESSAGES_TABLE) if version is None else version
        addresses = self._tables.scan(MESSAGES_TABLE, version)
        seen = addresses.select(pl.col("mailbox").unique()).collect()["mailbox"]
        domains = (address.rpartition("@")[2].strip().lower() for address in seen if "@" in address)
        return frozenset(domain for domain in domains if domain)

    def scan_messages(self, version: int | None, window: Window) -> pl.LazyFrame:
        """The copies delivered in the window."""
        return self._tables.scan(MESSAGES_TABLE, version).filter(
            _days(window), pl.col("received_at") >= window.start, pl.col("received_at") < window.end
        )

    def scan_observables(self, version: int | None, window: Window) -> pl.LazyFrame:
        """The observables of the days the window touches: join them with the messages."""
        return self._tables.scan(OBSERVABLES_TABLE, version).filter(_days(window))

    # --- how far mailboxes were read ---

    def watermarks(
        self, mailboxes: Collection[Mailbox], extractor_version: int
    ) -> dict[Mailbox, Watermark]:
        """How far each was read by this extractor or a newer one; only those that were.

        ``since`` is never earlier than what `expire` has left of the mail.
        """
        messages = self._tables.open(MESSAGES_TABLE)
        if messages is None:
            return {}
        rows = self._tables.scan(WATERMARKS_TABLE, self._tables.version(WATERMARKS_TABLE)).filter(
            pl.col("mailbox_id").is_in([mailbox.mailbox_id for mailbox in mailboxes]),
            pl.col("extractor_version") >= extractor_version,
            pl.col("messages_table") == str(messages.metadata().id),
        )
        kept_since = _kept_since(messages)
        found = {
            (row["provider"], row["connection"], row["mailbox_id"]): row
            for row in newest(rows).collect().iter_rows(named=True)
        }
        return {
            mailbox: Watermark(max(row["since"], kept_since), row["cursor"])
            for mailbox in mailboxes
            if (row := found.get(_key(mailbox)))
        }

    def add_watermarks(
        self, read: Mapping[Mailbox, Watermark], extractor_version: int, read_at: datetime
    ) -> None:
        """Remember how far these were read. Only once all of it was added: what a watermark
        covers is not read again."""
        if not read:
            return

        def add() -> None:
            there = self._tables.open_or_create(WATERMARKS_TABLE)
            messages = str(self._tables.open_or_create(MESSAGES_TABLE).metadata().id)
            frame = watermark_rows(read, extractor_version, messages, read_at)
            write_deltalake(there, WATERMARKS_TABLE.rows(frame), mode="append")

        self._tables.commit(WATERMARKS_TABLE, add)

    def compact_watermarks(self, *, read_since: datetime | None = None) -> None:
        """Keep of each mailbox the newest one alone, or none when it is older than that.

        Safe beside others: what they append meanwhile stays, and the newest counts. Nothing is
        done while the files are few, unless some may be too old.
        """
        there = self._tables.open(WATERMARKS_TABLE)
        if there is None or (read_since is None and len(there.file_uris()) < COMPACT_FROM):
            return
        rows = newest(pl.scan_delta(there))
        if read_since is not None:
            rows = rows.filter(pl.col("read_at") >= read_since)
        with suppress(CommitFailedError):  # another one compacts it
            write_deltalake(there, WATERMARKS_TABLE.rows(rows.collect()), mode="overwrite")

    # --- indicators ---

    def scan_indicators(self, version: int | None) -> pl.LazyFrame:
        """All indicators, those no longer active and those held back included.

        Raises LakeError for a version that is too old: `expire` takes its files away.
        """
        rows = self._tables.scan(INDICATORS_TABLE, version)
        if version is not None:
            self._tables.require_files(INDICATORS_TABLE, version)
        return rows

    def replace_indicators(
        self,
        indicators: pl.DataFrame,
        *,
        sources: Collection[str] | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Make these the indicators; returns the new version.

        With ``sources``, only the rows of these are replaced. With ``expected_version``, raises
        LakeError when the table has moved on since then.
        """
        others = set() if sources is None else set(indicators["source"].unique()) - set(sources)
        if others:
            raise LakeError(f"indicators: rows of other sources than stated: {sorted(others)}")

        def replace() -> int:
            table = self._tables.open_or_create(INDICATORS_TABLE)
            if expected_version not in (None, table.version()):
                raise LakeError(
                    f"the indicators are at version {table.version()}, not {expected_version}: "
                    "another refresh came first, so merge again"
                )
            rows = INDICATORS_TABLE.rows(indicators)
            write_deltalake(
                table,
                rows,
                mode="overwrite",
                predicate=_of_sources(sources),
                writer_properties=_SMALL,
            )
            table.update_incremental()
            return table.version()

        return self._tables.commit(INDICATORS_TABLE, replace)

    def source_states(self, version: int | None = None) -> dict[str, SourceState]:
        """How each source was last read, by its name; by default as it is now."""
        there = self._tables.open(SOURCES_TABLE, version)
        return {} if there is None else _states(there)

    def write_source_states(
        self, states: Iterable[SourceState], *, forget: Collection[str] = ()
    ) -> None:
        """Put these states in the place of what was known of their sources; forget some."""
        new = {state.source: state for state in states}

        def write() -> None:
            table = self._tables.open_or_create(SOURCES_TABLE)
            known = _states(table)
            kept = {name: state for name, state in known.items() if name not in forget}
            after = kept | new
            if after != known:
                rows = [state.model_dump() for state in after.values()]
                frame = pl.DataFrame(rows, schema=SOURCES_TABLE.empty().schema)
                write_deltalake(table, SOURCES_TABLE.rows(frame), mode="overwrite")

        self._tables.commit(SOURCES_TABLE, write)

    # --- all tables ---

    def versions(self) -> LakeVersions:
        """The newest versions, to pin a run to."""
        # Messages first: observables are committed before them, so none can be missing.
        messages = self._tables.version(MESSAGES_TABLE)
        observables = self._tables.version(OBSERVABLES_TABLE)
        return LakeVersions(
            messages=messages,
            observables=observables,
            indicators=self._tables.version(INDICATORS_TABLE),
        )

    def expire(self, before: datetime) -> Expired:
        """Forget the copies delivered before the day of ``before`` (UTC).

        They are out of every later version at once. The files stay for readers pinned to an
        earlier version, and leave the store at the first call a week or more later.
        """
        day = before.astimezone(UTC).date()
        self.compact_watermarks(read_since=before)
        return Expired(
            messages=self._delete(MESSAGES_TABLE, day),
            observables=self._delete(OBSERVABLES_TABLE, day),
            files=sum(map(self._tables.vacuum, ALL_TABLES)),
        )

    def compact(self) -> int:
        """Join the files of each day that has many; returns how many files fewer there are.

        Readers see the same rows before and after.
        """
        return self._compact(MESSAGES_TABLE) + self._compact(OBSERVABLES_TABLE)

    # --- below the face ---

    def _add_batch(self, batch: list[CollectedMessage], collected_at: datetime) -> int:
        if not batch:
            return 0
        messages = messages_frame(batch, collected_at)
        # Another commit for one of these mailboxes after the tables were opened makes this one
        # fail, and it starts again; commits for other mailboxes do not disturb it.
        guard = CommitProperties(
            app_transactions=[Transaction(name, 1) for name in sorted(_guards(batch))]
        )

        def add() -> int:
            there = self._tables.open_or_create(MESSAGES_TABLE)
            new = _unread(messages, there)
            if new.is_empty():
                return 0
            to_add = set(new["copy_id"])
            self._append_observables([m for m in batch if m.copy.copy_id in to_add], guard)
            added = new["known_version"].null_count()
            rows = MESSAGES_TABLE.rows(new.drop("known_version"))
            if added == new.height:
                write_deltalake(there, rows, mode="append", commit_properties=guard)
            else:
                _merge_messages(there, rows, guard)
            return added

        return self._tables.commit(MESSAGES_TABLE, add)

    def _append_observables(
        self, messages: list[CollectedMessage], guard: CommitProperties
    ) -> None:
        there = self._tables.open_or_create(OBSERVABLES_TABLE)
        observables = observables_frame(messages)
        # One commit holds all rows of a reading. They are there already, without their message,
        # when a worker died between the two commits.
        stored = _readings(there, observables)
        new = observables.join(stored, on=stored.columns, how="anti")
        if not new.is_empty():
            rows = OBSERVABLES_TABLE.rows(new)
            write_deltalake(there, rows, mode="append", commit_properties=guard)

    def _delete(self, table: Table, day: date) -> int:
        def delete() -> int:
            there = self._tables.open(table)
            if there is None:
                return 0
            kept_since = max(day.toordinal(), there.transaction_version(_KEPT_SINCE) or 0)
            deleted = there.delete(
                f"delivery_date < '{day.isoformat()}'",
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(_KEPT_SINCE, kept_since)]
                ),
            )
            return int(deleted["num_deleted_rows"] or 0)

        return self._tables.commit(table, delete)

    def _compact(self, table: Table) -> int:
        there = self._tables.open(table)
        if there is None:
            return 0
        return sum(self._compact_day(table, day) for day in _crowded_days(there))

    def _compact_day(self, table: Table, day: date) -> int:
        """One try: when another commit comes first, a later call finds the day still crowded."""
        there = self._tables.open(table)
        if there is None or day not in _crowded_days(there):
            return 0
        before = len(there.file_uris())
        rows = pl.scan_delta(there).filter(pl.col("delivery_date") == day).collect()
        try:
            # Not optimize.compact(): of two that run side by side delta-rs 1.6 lets both
            # commit, and every row is there twice. Overwriting is checked for conflicts.
            write_deltalake(
                there,
                table.rows(rows),
                mode="overwrite",
                predicate=f"delivery_date = '{day.isoformat()}'",
            )
        except CommitFailedError:
            return 0
        return before - len(there.file_uris())


def _of_sources(sources: Collection[str] | None) -> str | None:
    """A predicate for the partitions of these sources; None for all there are."""
    if sources is None:
        return None
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(sources))
    return f"source IN ({names})"


def _states(table: DeltaTable) -> dict[str, SourceState]:
    # Two who made the table at the same moment may both have written a source: the later counts.
    rows = pl.scan_delta(table).sort("tried_at").collect().iter_rows(named=True)
    return {row["source"]: SourceState.model_validate(row) for row in rows}


def _days(window: Window) -> pl.Expr:
    """The partitions the window touches."""
    last = window.end.astimezone(UTC) - timedelta(microseconds=1)
    return pl.col("delivery_date").is_between(window.start.astimezone(UTC).date(), last.date())


def commit_group(mailbox: Mailbox) -> int:
    """A number below 256: two who add mail of mailboxes of one group at once do so in turn."""
    return crc32("\x1f".join(_key(mailbox)).encode()) % _GUARDS


def _guards(messages: Iterable[CollectedMessage]) -> set[str]:
    """Names for the messages' mailboxes. The table remembers each, so they are not endless."""
    copies = (message.copy for message in messages)
    mailboxes = {Mailbox(c.provider, c.connection, c.mailbox_id, c.mailbox) for c in copies}
    return {f"mailboxes-{commit_group(mailbox)}" for mailbox in mailboxes}


def _key(mailbox: Mailbox) -> tuple[str, str, str]:
    return (mailbox.provider.value, mailbox.connection, mailbox.mailbox_id)


def _kept_since(messages: DeltaTable) -> datetime:
    day = messages.transaction_version(_KEPT_SINCE)
    return datetime.fromordinal(day or 1).replace(tzinfo=UTC)


def _readings(table: DeltaTable, frame: pl.DataFrame) -> pl.DataFrame:
    """(copy_id, extractor_version), once each, of the frame's copies that are in the table."""
    # A join, as filtering by a long list of ids is ten times slower over many small files.
    return (
        pl.scan_delta(table)
        .filter(pl.col("delivery_date").is_in(frame["delivery_date"].unique().to_list()))
        .join(frame.lazy().select("copy_id"), on="copy_id", how="semi")
        .select("copy_id", "extractor_version")
        .unique()
        .collect()
    )


def _unread(messages: pl.DataFrame, table: DeltaTable) -> pl.DataFrame:
    """Those of the messages that are not there, or in an older reading, its ``known_version``."""
    known = _readings(table, messages).rename({"extractor_version": "known_version"})
    return messages.join(known, on="copy_id", how="left").filter(
        pl.col("known_version").is_null() | (pl.col("extractor_version") > pl.col("known_version"))
    )


def _merge_messages(table: DeltaTable, rows: pa.RecordBatchReader, guard: CommitProperties) -> None:
    (
        table.merge(
            rows,
            "target.delivery_date = source.delivery_date AND target.copy_id = source.copy_id",
            source_alias="source",
            target_alias="target",
            streamed_exec=False,  # or else it reads every partition, not only the source's
            commit_properties=guard,
        )
        .when_matched_update_all("source.extractor_version > target.extractor_version")
        .when_not_matched_insert_all()
        .execute()
    )


def _crowded_days(table: DeltaTable) -> list[date]:
    files = pl.DataFrame(table.get_add_actions(flatten=True)).select(
        "size_bytes", day="partition.delivery_date"
    )
    days = files.group_by("day").agg(count=pl.len(), size=pl.col("size_bytes").mean())
    crowded = days.filter(pl.col("count") >= COMPACT_FROM, pl.col("size") < SMALL_FILE)
    return sorted(crowded["day"])
