"""How far mailboxes were read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import polars as pl

from retract.lake.compaction import COMPACT_FROM, compact_whole
from retract.lake.delta import kept_since
from retract.lake.part import PartOfLake
from retract.lake.tables import MESSAGES_TABLE, WATERMARKS_TABLE
from retract.model import Mailbox, Watermark


class WatermarksPart(PartOfLake):
    """How far each mailbox was read."""

    def watermarks(
        self, mailboxes: Collection[Mailbox], extractor_version: int
    ) -> dict[Mailbox, Watermark]:
        """How far each was read by this extractor or a newer one; only those that were.

        ``since`` is never earlier than what `expire` has left of the mail.
        """
        messages = self._tables.open(MESSAGES_TABLE)
        if messages is None:
            return {}
        rows = self._tables.scan_newest(WATERMARKS_TABLE).filter(
            pl.col("mailbox_id").is_in([mailbox.mailbox_id for mailbox in mailboxes]),
            pl.col("extractor_version") >= extractor_version,
            pl.col("messages_table") == str(messages.metadata().id),
        )
        kept = kept_since(messages)
        found = {
            (row["provider"], row["connection"], row["mailbox_id"]): row
            for row in newest(rows).collect().iter_rows(named=True)
        }
        return {
            mailbox: Watermark(max(row["since"], kept), row["cursor"])
            for mailbox in mailboxes
            if (row := found.get(mailbox_key(mailbox)))
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
            messages = str(self._open_or_create_messages().metadata().id)
            frame = watermark_rows(read, extractor_version, messages, read_at)
            self._tables.append(WATERMARKS_TABLE, there, frame)

        self._tables.commit(WATERMARKS_TABLE, add)

    def compact_watermarks(self, *, read_since: datetime | None = None) -> None:
        """Keep of each mailbox the newest one alone, or none when it is older than that.

        Safe beside others: what they append meanwhile stays, and the newest counts. Nothing is
        done while the files are few, unless some may be too old.
        """

        def kept(rows: pl.LazyFrame) -> pl.LazyFrame:
            there = newest(rows)
            return there if read_since is None else there.filter(pl.col("read_at") >= read_since)

        at_least = COMPACT_FROM if read_since is None else 1
        compact_whole(self._tables, WATERMARKS_TABLE, at_least, kept)


def mailbox_key(mailbox: Mailbox) -> tuple[str, str, str]:
    """What a mailbox is known by: addresses change."""
    return (mailbox.provider.value, mailbox.connection, mailbox.mailbox_id)


def watermark_rows(
    read: Mapping[Mailbox, Watermark],
    extractor_version: int,
    messages_table: str,
    read_at: datetime,
) -> pl.DataFrame:
    """One row a mailbox."""
    rows = [
        {
            "provider": mailbox.provider.value,
            "connection": mailbox.connection,
            "mailbox_id": mailbox.mailbox_id,
            "since": watermark.since.astimezone(UTC),
            "cursor": watermark.cursor,
            "extractor_version": extractor_version,
            "messages_table": messages_table,
            "read_at": read_at.astimezone(UTC),
        }
        for mailbox, watermark in read.items()
    ]
    return pl.DataFrame(rows, schema=WATERMARKS_TABLE.empty().schema, strict=True)


def newest(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Of each mailbox the row that was read last."""
    mailbox = ("provider", "connection", "mailbox_id")
    return rows.group_by(mailbox).agg(pl.all().sort_by("read_at").last())
