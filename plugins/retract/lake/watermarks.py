"""How far mailboxes were read, as rows of the watermarks table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

from retract.lake.tables import WATERMARKS_TABLE
from retract.model import Mailbox, Watermark


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
