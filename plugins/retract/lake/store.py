"""The lake: four Delta tables under one URL. Every read is pinned to a version.

Collecting is safe to repeat and to run side by side: a commit that meets another one is made
again on top of it, so the same copy never comes twice. A copy's observables are committed
before its message row, so a reader that sees the row sees the observables too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from zlib import crc32

import polars as pl
import tenacity
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pydantic import BaseModel, ConfigDict

from retract.errors import LakeError
from retract.lake.frames import messages_frame, observables_frame
from retract.lake.source_state import SourceState
from retract.lake.tables import (
    INDICATORS_TABLE,
    MESSAGES_TABLE,
    OBSERVABLES_TABLE,
    SOURCES_TABLE,
    Table,
)
from retract.model import CollectedMessage, Mailbox, Window

if TYPE_CHECKING:
    import pyarrow as pa

Result = TypeVar("Result")

BATCH: Final = 1_000
"""Messages a commit: what is read is kept, should the mailbox fail later on."""

COMPACT_FROM: Final = 32
"""Files of one day that are joined, when they are small: every commit leaves a file for each of
its days, and a reader pays for each of them."""

SMALL_FILE: Final = 1024 * 1024
"""Bytes on average below which files are small."""

ALL_TABLES: Final = (MESSAGES_TABLE, OBSERVABLES_TABLE, INDICATORS_TABLE, SOURCES_TABLE)

_SMALL: Final = WriterProperties(compression="ZSTD", compression_level=1)
"""A third less than Snappy, in the same time: every version of a large source is a whole file."""

_COMMIT_PATIENCE: Final = timedelta(minutes=5)
_GUARDS: Final = 256


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
        self._root = url.rstrip("/") if "://" in url else str(Path(url).expanduser().absolute())
        self._storage_options = storage_options

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
        self, mailbox: Mailbox, window: Window, extractor_version: int
    ) -> set[str]:
        """The provider's ids of the mailbox's copies that need not be read again."""
        known = (
            self.scan_messages(self._version(MESSAGES_TABLE), window)
            .filter(
                pl.col("mailbox_id") == mailbox.mailbox_id,
                pl.col("connection") == mailbox.connection,
                pl.col("provider") == mailbox.provider.value,
                pl.col("extractor_version") >= extractor_version,
            )
            .select("message_id")
            .collect()
        )
        return set(known["message_id"])

    def mailbox_domains(self, version: int | None = None) -> frozenset[str]:
        """The domains of all mailboxes whose mail was collected, in lower case.

        By default as it is now.
        """
        version = self._version(MESSAGES_TABLE) if version is None else version
        addresses = self._scan(MESSAGES_TABLE, version)
        seen = addresses.select(pl.col("mailbox").unique()).collect()["mailbox"]
        domains = (address.rpartition("@")[2].strip().lower() for address in seen if "@" in address)
        return frozenset(domain for domain in domains if domain)

    def scan_messages(self, version: int | None, window: Window) -> pl.LazyFrame:
        """The copies delivered in the window."""
        return self._scan(MESSAGES_TABLE, version).filter(
            _days(window), pl.col("received_at") >= window.start, pl.col("received_at") < window.end
        )

    def scan_observables(self, version: int | None, window: Window) -> pl.LazyFrame:
        """The observables of the days the window touches: join them with the messages."""
        return self._scan(OBSERVABLES_TABLE, version).filter(_days(window))

    # --- indicators ---

    def scan_indicators(self, version: int | None) -> pl.LazyFrame:
        """All indicators, those no longer active and those held back included.

        Raises LakeError for a version that is too old: `expire` takes its files away.
        """
        rows = self._scan(INDICATORS_TABLE, version)
        if version is not None:
            self._require_files(INDICATORS_TABLE, version)
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
            table = self._open_or_create(INDICATORS_TABLE)
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

        return self._commit(INDICATORS_TABLE, replace)

    def source_states(self, version: int | None = None) -> dict[str, SourceState]:
        """How each source was last read, by its name; by default as it is now."""
        there = self._open(SOURCES_TABLE, version)
        return {} if there is None else _states(there)

    def write_source_states(
        self, states: Iterable[SourceState], *, forget: Collection[str] = ()
    ) -> None:
        """Put these states in the place of what was known of their sources; forget some."""
        new = {state.source: state for state in states}

        def write() -> None:
            table = self._open_or_create(SOURCES_TABLE)
            known = _states(table)
            kept = {name: state for name, state in known.items() if name not in forget}
            after = kept | new
            if after != known:
                rows = [state.model_dump() for state in after.values()]
                frame = pl.DataFrame(rows, schema=SOURCES_TABLE.empty().schema)
                write_deltalake(table, SOURCES_TABLE.rows(frame), mode="overwrite")

        self._commit(SOURCES_TABLE, write)

    # --- all tables ---

    def versions(self) -> LakeVersions:
        """The newest versions, to pin a run to."""
        # Messages first: observables are committed before them, so none can be missing.
        messages = self._version(MESSAGES_TABLE)
        observables = self._version(OBSERVABLES_TABLE)
        return LakeVersions(
            messages=messages,
            observables=observables,
            indicators=self._version(INDICATORS_TABLE),
        )

    def expire(self, before: datetime) -> Expired:
        """Forget the copies delivered before the day of ``before`` (UTC).

        They are out of every later version at once. The files stay for readers pinned to an
        earlier version, and leave the store at the first call a week or more later.
        """
        day = before.astimezone(UTC).date().isoformat()
        return Expired(
            messages=self._delete(MESSAGES_TABLE, day),
            observables=self._delete(OBSERVABLES_TABLE, day),
            files=sum(map(self._vacuum, ALL_TABLES)),
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
            there = self._open_or_create(MESSAGES_TABLE)
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

        return self._commit(MESSAGES_TABLE, add)

    def _append_observables(
        self, messages: list[CollectedMessage], guard: CommitProperties
    ) -> None:
        there = self._open_or_create(OBSERVABLES_TABLE)
        observables = observables_frame(messages)
        # One commit holds all rows of a reading. They are there already, without their message,
        # when a worker died between the two commits.
        stored = _readings(there, observables)
        new = observables.join(stored, on=stored.columns, how="anti")
        if not new.is_empty():
            rows = OBSERVABLES_TABLE.rows(new)
            write_deltalake(there, rows, mode="append", commit_properties=guard)

    def _delete(self, table: Table, day: str) -> int:
        def delete() -> int:
            there = self._open(table)
            if there is None:
                return 0
            return int(there.delete(f"delivery_date < '{day}'")["num_deleted_rows"] or 0)

        return self._commit(table, delete)

    def _vacuum(self, table: Table) -> int:
        def vacuum() -> int:
            there = self._open(table)
            return 0 if there is None else len(there.vacuum(dry_run=False))

        return self._commit(table, vacuum)

    def _compact(self, table: Table) -> int:
        there = self._open(table)
        if there is None:
            return 0
        return sum(self._compact_day(table, day) for day in _crowded_days(there))

    def _compact_day(self, table: Table, day: date) -> int:
        """One try: when another commit comes first, a later call finds the day still crowded."""
        there = self._open(table)
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

    def _commit(self, table: Table, commit: Callable[[], Result]) -> Result:
        """Commit, again and again while others come first; each try starts from the newest."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(CommitFailedError),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            stop=tenacity.stop_after_delay(_COMMIT_PATIENCE),
            reraise=True,
        )
        try:
            return retrying(commit)
        except DeltaError as error:
            raise LakeError(f"{table.name}: the commit failed: {error}") from error

    def _scan(self, table: Table, version: int | None) -> pl.LazyFrame:
        if version is None:
            return table.empty().lazy()
        there = self._open(table, version)
        if there is None:
            raise LakeError(f"{table.name}: there is no such table at {self._url(table)}")
        return pl.scan_delta(there)

    def _require_files(self, table: Table, version: int) -> None:
        """Raises LakeError when files of this version have left the store.

        Delta's log remembers versions longer than their files are kept.
        """
        newest, there = self._open(table), self._open(table, version)
        if newest is None or there is None or newest.version() == version:
            return
        for file in sorted(set(there.file_uris()) - set(newest.file_uris())):
            try:
                pl.scan_parquet(file, storage_options=self._storage_options).collect_schema()
            except (OSError, pl.exceptions.PolarsError) as error:
                raise LakeError(
                    f"{table.name}: version {version} cannot be read any more: its files were "
                    f"removed after a week, or the store does not answer; the newest version is "
                    f"{newest.version()}"
                ) from error

    def _version(self, table: Table) -> int | None:
        there = self._open(table)
        return None if there is None else there.version()

    def _open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        """The table, its shape checked; None when it is not there yet."""
        try:
            there = DeltaTable(
                self._url(table), version=version, storage_options=self._storage_options
            )
        except TableNotFoundError:
            return None
        except DeltaError as error:
            which = "" if version is None else f" at version {version}"
            said = " ".join(str(error).split())
            raise LakeError(f"{table.name}: cannot be opened{which}: {said}") from error
        _check_shape(table, there)
        return there

    def _open_or_create(self, table: Table) -> DeltaTable:
        there = self._open(table)
        if there is not None:
            return there
        return DeltaTable.create(
            self._url(table),
            table.schema,
            mode="ignore",
            partition_by=list(table.partition_by),
            storage_options=self._storage_options,
        )

    def _url(self, table: Table) -> str:
        return f"{self._root}/{table.name}"


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


def _guards(messages: Iterable[CollectedMessage]) -> set[str]:
    """Names for the messages' mailboxes. The table remembers each, so they are not endless."""
    mailboxes = {
        "\x1f".join((m.copy.provider, m.copy.connection, m.copy.mailbox_id)) for m in messages
    }
    return {f"mailboxes-{crc32(mailbox.encode()) % _GUARDS}" for mailbox in mailboxes}


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


def _check_shape(table: Table, there: DeltaTable) -> None:
    wrong = table.differences(there.schema())
    if wrong:
        raise LakeError(
            f"{table.name}: the table has another shape in {', '.join(wrong)}: it was written by "
            "another version of the program; move it away and collect again"
        )
