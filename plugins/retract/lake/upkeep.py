"""The lake's upkeep: small files joined, mail that is past its time forgotten."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from deltalake import CommitProperties, Transaction
from pydantic import BaseModel, ConfigDict

from retract.lake.compaction import compact_days
from retract.lake.delta import KEPT_SINCE
from retract.lake.findings import FindingsPart
from retract.lake.tables import (
    ALL_TABLES,
    COVERAGE_TABLE,
    FOUND_TABLES,
    MAIL_TABLES,
    MESSAGES_TABLE,
    OBSERVABLES_TABLE,
    Table,
)
from retract.lake.watermarks import WatermarksPart

AT_NIGHT: Final = 8
"""Small files of one day that `Lake.compact` joins: while mail is collected, more may lie."""


class Expired(BaseModel):
    """What `Lake.expire` took away: rows no longer visible, files gone from the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: int
    observables: int
    files: int


class UpkeepPart(FindingsPart, WatermarksPart):
    """What `maintain_lake` does. Safe beside runs: they read a version as long as it is kept."""

    def compact(self) -> int:
        """Join small files; returns how many files fewer there are. No row that counts changes."""
        self.compact_watermarks()
        of_mail = sum(compact_days(self._tables, table, AT_NIGHT) for table in MAIL_TABLES)
        return of_mail + self._compact_findings(AT_NIGHT)

    def expire(self, before: datetime) -> Expired:
        """Forget the copies delivered before the day of ``before`` (UTC), and all about them.

        They are out of every later version at once. The files stay for readers pinned to an
        earlier version, and leave the store at the first call `KEEP_HOURS` or more later, with
        what a writer left that died before its commit. The log never tells of what is in a
        message; ids of copies leave it at the first call `LOG_HOURS` later.
        """
        day = before.astimezone(UTC).date()
        for table in ALL_TABLES:
            self._tables.configure(table)
        self.compact_watermarks(read_since=before)
        deleted = {
            table.name: self._delete(table, day)
            for table in (*MAIL_TABLES[::-1], *FOUND_TABLES, COVERAGE_TABLE)
        }
        return Expired(
            messages=deleted[MESSAGES_TABLE.name],
            observables=deleted[OBSERVABLES_TABLE.name],
            files=sum(map(self._tables.clean, ALL_TABLES)),
        )

    def _delete(self, table: Table, day: date) -> int:
        def delete() -> int:
            there = self._tables.open(table)
            if there is None:
                return 0
            kept_since = max(day.toordinal(), there.transaction_version(KEPT_SINCE) or 0)
            deleted = there.delete(
                f"delivery_date < '{day.isoformat()}'",
                writer_properties=table.writer,
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(KEPT_SINCE, kept_since)]
                ),
            )
            return int(deleted["num_deleted_rows"] or 0)

        return self._tables.commit(table, delete)
