"""The lake's mail: copies, their observables, and under which keys these are looked up.

Collecting is safe to repeat and to run side by side: a commit that meets another one is made
again on top of it, so the same copy never comes twice. A copy's lookups and observables are
committed before its message row, so a reader that sees the row sees them too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from pydantic import BaseModel, ConfigDict

from retract.errors import LakeError
from retract.lake.between import between
from retract.lake.compaction import COMPACT_FROM, compact_days
from retract.lake.coverage import Between
from retract.lake.delta import file_facts, kept_since
from retract.lake.frames import lookups_frame, messages_frame, observables_frame
from retract.lake.part import PartOfLake
from retract.lake.tables import (
    INDICATORS_TABLE,
    LOOKUPS_TABLE,
    MAIL_TABLES,
    MESSAGES_TABLE,
    OBSERVABLES_TABLE,
    Table,
)
from retract.lake.watermarks import mailbox_key
from retract.model import CollectedMessage, Mailbox, Window

if TYPE_CHECKING:
    import pyarrow as pa

BATCH: Final = 1_000
"""Messages a commit: what is read is kept, should the mailbox fail later on."""

_GUARDS: Final = 256


class LakeVersions(BaseModel):
    """The versions a run is pinned to; None where a table is not there yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: int | None = None
    observables: int | None = None
    lookups: int | None = None
    indicators: int | None = None


class MailOfDays(NamedTuple):
    """Some days of the lake's mail, in one version."""

    messages: pl.LazyFrame
    observables: pl.LazyFrame
    lookups: pl.LazyFrame


class MailPart(PartOfLake):
    """What was collected."""

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
        for table in MAIL_TABLES:
            compact_days(self._tables, table, COMPACT_FROM)
        return added

    def known_message_ids(
        self, mailboxes: Collection[Mailbox], since: datetime, extractor_version: int
    ) -> dict[Mailbox, set[str]]:
        """The provider's ids of each mailbox's copies, delivered since then, that need not be
        read again."""
        rows = (
            self._tables.scan_newest(MESSAGES_TABLE)
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
        return {mailbox: known.get(mailbox_key(mailbox), set()) for mailbox in mailboxes}

    def mailbox_domains(
        self, version: int | None = None, known: tuple[int, Collection[str]] | None = None
    ) -> frozenset[str]:
        """The domains of all mailboxes whose mail was collected, in lower case.

        By default as it is now. Where they are ``known`` of an earlier version, only what differs
        from that is read.
        """
        version = self._tables.version(MESSAGES_TABLE) if version is None else version
        if version is not None and known is not None:
            with suppress(LakeError):  # it is too old: all is read
                _, added, removed = between(self._tables, MESSAGES_TABLE, known[0], version)
                new = _domains(added)
                # A domain that some file was rid of may be in others, or in none any more.
                if _domains(removed) <= new:
                    return frozenset(known[1]) | new
        return _domains(self._tables.scan(MESSAGES_TABLE, version))

    def kept_since(self) -> date:
        """The first day of deliveries that `expire` has left whole, as it is now.

        Copies of earlier days may have been collected since.
        """
        there = self._tables.open(MESSAGES_TABLE)
        return date.min if there is None else kept_since(there).date()

    def versions(self) -> LakeVersions:
        """The newest versions, to pin a run to."""
        # Messages first: what belongs to them is committed before them, so none can be missing.
        messages = self._tables.version(MESSAGES_TABLE)
        observables = self._tables.version(OBSERVABLES_TABLE)
        lookups = self._tables.version(LOOKUPS_TABLE)
        if messages is not None and None in (observables, lookups):
            raise LakeError(
                "messages: their observables or lookups are not there: move "
                f"{MESSAGES_TABLE.goes_with} away and collect again"
            )
        return LakeVersions(
            messages=messages,
            observables=observables,
            lookups=lookups,
            indicators=self._tables.version(INDICATORS_TABLE),
        )

    def scan_messages(self, version: int | None, window: Window) -> pl.LazyFrame:
        """The copies delivered in the window.

        This and the like raise LakeError for a version that is too old: `expire` takes its files
        away.
        """
        return self._tables.scan(MESSAGES_TABLE, version, _days(window)).filter(
            pl.col("received_at") >= window.start, pl.col("received_at") < window.end
        )

    def scan_observables(self, version: int | None, window: Window) -> pl.LazyFrame:
        """The observables of the days the window touches: join them with the messages."""
        return self._tables.scan(OBSERVABLES_TABLE, version, _days(window))

    def scan_lookups(self, version: int | None, window: Window) -> pl.LazyFrame:
        """The lookups of the days the window touches."""
        return self._tables.scan(LOOKUPS_TABLE, version, _days(window))

    def mail_of(self, versions: LakeVersions, days: Collection[date]) -> MailOfDays:
        """All that was delivered on these days (UTC)."""
        of_days = pl.col("delivery_date").is_in(list(days))
        return MailOfDays(
            self._tables.scan(MESSAGES_TABLE, versions.messages, of_days),
            self._tables.scan(OBSERVABLES_TABLE, versions.observables, of_days),
            self._tables.scan(LOOKUPS_TABLE, versions.lookups, of_days),
        )

    def messages_between(
        self, earlier: int | None, version: int | None, days: Collection[date]
    ) -> Between:
        """What differs between two versions of these days' messages.

        Raises LakeError when one of them cannot be read any more.
        """
        return between(self._tables, MESSAGES_TABLE, earlier, version, days)

    def rows_by_day(self, versions: LakeVersions, window: Window) -> dict[date, int]:
        """How many rows of lookups each day has that the window touches, from the log alone.

        Days without mail are left out; a day whose mail has no observables has none.
        """
        rows = dict.fromkeys(self._days_of(MESSAGES_TABLE, versions.messages, window), 0)
        lookups = self._days_of(LOOKUPS_TABLE, versions.lookups, window)
        return {day: lookups.get(day, 0) for day in rows}

    # --- below the face ---

    def _days_of(self, table: Table, version: int | None, window: Window) -> dict[date, int]:
        """The days of a version that the window touches, in order, each with its rows."""
        there = None if version is None else self._tables.open(table, version)
        if there is None:
            return {}
        files = file_facts(there).rename({"partition.delivery_date": "delivery_date"})
        rows = files.filter(_days(window)).group_by("delivery_date").agg(pl.sum("num_records"))
        return dict(rows.sort("delivery_date").iter_rows())

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
            there = self._open_or_create_messages()
            new = _unread(messages, there)
            if new.is_empty():
                return 0
            to_add = set(new["copy_id"])
            self._append_observables([m for m in batch if m.copy.copy_id in to_add], guard)
            added = new["known_version"].null_count()
            new = new.drop("known_version")
            if added == new.height:
                self._tables.append(MESSAGES_TABLE, there, new, guard)
            else:
                _merge_messages(there, MESSAGES_TABLE.rows(new), guard)
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
        if new.is_empty():
            return
        # Lookups need no guard: what is there twice counts once.
        self._append_lookups(lookups_frame(new))
        self._tables.append(OBSERVABLES_TABLE, there, new, guard)

    def _append_lookups(self, lookups: pl.DataFrame) -> None:
        there = self._tables.open_or_create(LOOKUPS_TABLE)
        self._tables.append(LOOKUPS_TABLE, there, lookups)


def commit_group(mailbox: Mailbox) -> int:
    """A number below 256: two who add mail of mailboxes of one group at once do so in turn."""
    return crc32("\x1f".join(mailbox_key(mailbox)).encode()) % _GUARDS


def _domains(messages: pl.LazyFrame) -> frozenset[str]:
    """Of the mailboxes."""
    seen = messages.select(pl.col("mailbox").unique()).collect(engine="streaming")["mailbox"]
    domains = (address.rpartition("@")[2].strip().lower() for address in seen if "@" in address)
    return frozenset(domain for domain in domains if domain)


def _days(window: Window) -> pl.Expr:
    """The partitions the window touches."""
    last = window.end.astimezone(UTC) - timedelta(microseconds=1)
    return pl.col("delivery_date").is_between(window.start.astimezone(UTC).date(), last.date())


def _guards(messages: Iterable[CollectedMessage]) -> set[str]:
    """Names for the messages' mailboxes. The table remembers each, so they are not endless."""
    copies = (message.copy for message in messages)
    mailboxes = {Mailbox(c.provider, c.connection, c.mailbox_id, c.mailbox) for c in copies}
    return {f"mailboxes-{commit_group(mailbox)}" for mailbox in mailboxes}


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
            writer_properties=MESSAGES_TABLE.writer,
            commit_properties=guard,
        )
        .when_matched_update_all("source.extractor_version > target.extractor_version")
        .when_not_matched_insert_all()
        .execute()
    )
