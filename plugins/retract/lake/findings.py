"""What matches found, and how far each day was matched.

All of it is only ever added to, so two runs at once do each other no harm, and what one of them
adds twice counts once. Coverage is added last: it speaks of findings that are there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date
from functools import partial

import polars as pl
from deltalake import DeltaTable

from retract.errors import LakeError
from retract.lake.compaction import COMPACT_FROM, compact_days, compact_whole
from retract.lake.coverage import Covered, best, usable
from retract.lake.part import PartOfLake
from retract.lake.tables import (
    COVERAGE_TABLE,
    FOUND_TABLES,
    HELD_BACK_COUNTS_TABLE,
    HITS_TABLE,
    INDICATORS_TABLE,
    MAIL_TABLES,
    MESSAGES_TABLE,
    SUSPECTS_TABLE,
    Table,
)

_DAY = pl.col("delivery_date")
_HELD = ("delivery_date", "type", "key")
_SPOKEN_OF = (*MAIL_TABLES, *FOUND_TABLES, INDICATORS_TABLE)


class FindingsPart(PartOfLake):
    """Hits, suspects, counts of what is held back, and coverage, by days of delivery (UTC)."""

    # --- hits and suspects ---

    def add_findings(
        self, hits: pl.DataFrame, suspects: pl.DataFrame, messages_version: int
    ) -> None:
        """Add hits, and the messages rows of ``messages_version`` that are suspects by them."""
        self._append(HITS_TABLE, hits)
        self._append(SUSPECTS_TABLE, suspects.with_columns(self._found_in(messages_version)))

    def scan_hits(self, days: Collection[date]) -> pl.LazyFrame:
        """The hits of these days' copies; some may come twice."""
        return self._newest(HITS_TABLE, days)

    def suspects(
        self,
        days: Collection[date],
        messages_version: int,
        readings: pl.LazyFrame | None = None,
    ) -> pl.LazyFrame:
        """These days' suspects, in the shape of the messages: of each copy the newest reading
        that was there in ``messages_version``.

        With ``readings``, (copy_id, extractor_version), of these alone: an indicator that named
        half the world for an hour leaves millions of others.
        """
        order = (pl.col("extractor_version"), pl.col("messages_version"))
        rows = self._of_messages(self._newest(SUSPECTS_TABLE, days))
        if readings is not None:
            rows = rows.join(readings, on=["copy_id", "extractor_version"], how="semi")
        return (
            rows.filter(pl.col("messages_version") <= messages_version)
            .sort(*order, descending=True)
            .unique("copy_id", keep="first", maintain_order=True)
            .select(MESSAGES_TABLE.schema.names)
        )

    # --- what is held back ---

    def replace_held_back_counts(
        self, days: Collection[date], counts: pl.DataFrame, messages_version: int
    ) -> None:
        """Put these in the place of all counts of these days from earlier versions.

        ``counts`` has delivery_date, type, key, copies and exactly, of all that is held back.
        """
        marks = pl.DataFrame({"delivery_date": sorted(set(days))}, {"delivery_date": pl.Date})
        whole = marks.with_columns(type=pl.lit(""), key=0, copies=0, exactly=0, whole=True)
        self._add_counts(counts, messages_version, whole)

    def add_held_back_counts(self, counts: pl.DataFrame, messages_version: int) -> None:
        """Add counts of what was not held back before, of the same columns."""
        self._add_counts(counts, messages_version)

    def scan_held_back_counts(self, days: Collection[date]) -> pl.LazyFrame:
        """One row for each day, type and key: delivery_date, type, key, copies, exactly.

        Some may be of lookups that are not held back any more.
        """
        rows = self._of_messages(self._newest(HELD_BACK_COUNTS_TABLE, days))
        return newest_counts(rows).select(*_HELD, "copies", "exactly")

    # --- coverage ---

    def coverage(
        self, days: Collection[date], messages_version: int | None = None
    ) -> dict[date, Covered]:
        """How far these days were matched; without the days of which nothing is known.

        With ``messages_version``, what speaks of later messages is left out.
        """
        rows = self._newest(COVERAGE_TABLE, days)
        if messages_version is not None:
            rows = rows.filter(pl.col("messages") <= messages_version)
        found = self._usable_coverage(rows).collect()
        return {
            row.pop("delivery_date"): Covered.model_validate(row)
            for row in found.drop("tables").iter_rows(named=True)
        }

    def known_domains(
        self, messages_version: int | None = None
    ) -> tuple[int, tuple[str, ...]] | None:
        """The newest version of the messages, at most this one, of which the domains of the
        mailboxes are known, and these; to go on from."""
        rows = usable(self._tables.scan_newest(COVERAGE_TABLE), *self._ids())
        if messages_version is not None:
            rows = rows.filter(pl.col("messages") <= messages_version)
        newest = rows.select("messages", "own_domains").sort("messages").tail(1).collect()
        return next(((version, tuple(own)) for version, own in newest.iter_rows()), None)

    def open_findings(self) -> dict[str, str]:
        """The ids of the tables that coverage speaks of, those of the findings made where they are
        not there yet."""
        for table in FOUND_TABLES:
            self._tables.commit(table, partial(self._tables.open_or_create, table))
        return self._table_ids()

    def require_tables(self, known: Mapping[str, str]) -> None:
        """Raises LakeError when one of these tables, given with their ids, is no longer that one:
        what was known of it says nothing of the one in its place."""
        there = self._table_ids()
        for name, its in known.items():
            if there.get(name) != its:
                raise LakeError(
                    f"{name}: the table was replaced since the run was pinned: clear the run's "
                    "task pin, and what follows it"
                )

    def add_coverage(
        self, covered: Mapping[date, Covered], tables: Mapping[str, str] | None = None
    ) -> None:
        """Say that these days were matched so far. Only once all that was found was added, in these
        ``tables`` where they are given with their ids.

        Raises LakeError when the tables are others, or do not have the versions that are spoken of.
        """
        if not covered:
            return
        self.require_tables(tables or {})
        spoken_of = {
            MESSAGES_TABLE: max(one.messages for one in covered.values()),
            INDICATORS_TABLE: max(
                -1 if one.indicators is None else one.indicators for one in covered.values()
            ),
        }
        for table, version in spoken_of.items():
            newest = self._tables.version(table)
            if version > (-1 if newest is None else newest):
                raise LakeError(
                    f"{table.name}: the table was replaced while it was matched: run it again"
                )
        self.open_findings()
        mail, all_tables = self._ids()
        rows = [
            {
                "delivery_date": day,
                "messages": one.messages,
                "indicators": one.indicators,
                "as_of": one.as_of.astimezone(UTC),
                "own_domains": list(one.own_domains),
                "tables": mail if one.indicators is None else all_tables,
            }
            for day, one in covered.items()
        ]
        frame = pl.DataFrame(rows, schema=COVERAGE_TABLE.empty().schema)
        self._append(COVERAGE_TABLE, frame)
        self._compact_findings(COMPACT_FROM)

    # --- below the face ---

    def _compact_findings(self, at_least: int) -> int:
        """Join small files, when there are so many; returns how many files fewer there are."""
        tables = self._tables
        return sum(
            (
                compact_days(tables, HITS_TABLE, at_least),
                compact_days(tables, SUSPECTS_TABLE, at_least),
                compact_days(
                    tables,
                    HELD_BACK_COUNTS_TABLE,
                    at_least,
                    lambda rows: kept_counts(self._of_messages(rows)),
                ),
                compact_whole(tables, COVERAGE_TABLE, at_least, self._usable_coverage),
            )
        )

    def _usable_coverage(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Of these rows of the coverage those that count."""
        return best(usable(rows, *self._ids()))

    def _newest(self, table: Table, days: Collection[date]) -> pl.LazyFrame:
        return self._tables.scan_newest(table).filter(_DAY.is_in(list(days)))

    def _append(self, table: Table, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return

        def append() -> None:
            self._tables.append(table, self._tables.open_or_create(table), frame)

        self._tables.commit(table, append)

    def _add_counts(
        self, counts: pl.DataFrame, messages_version: int, *marks: pl.DataFrame
    ) -> None:
        rows = counts.select(*_HELD, "copies", "exactly").with_columns(whole=pl.lit(False))
        rows = pl.concat([rows, *marks], how="vertical_relaxed")
        self._append(HELD_BACK_COUNTS_TABLE, rows.with_columns(self._found_in(messages_version)))

    def _found_in(self, messages_version: int) -> list[pl.Expr]:
        return [
            pl.lit(_id(self._tables.open(MESSAGES_TABLE))).alias("messages_table"),
            pl.lit(messages_version, pl.Int64).alias("messages_version"),
        ]

    def _of_messages(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Those that were found in the messages table that is there."""
        return rows.filter(pl.col("messages_table") == _id(self._tables.open(MESSAGES_TABLE)))

    def _table_ids(self) -> dict[str, str]:
        """The ids of those that are there."""
        ids = {table.name: _id(self._tables.open(table)) for table in _SPOKEN_OF}
        return {name: its for name, its in ids.items() if its}

    def _ids(self) -> tuple[str, str]:
        """Which tables these are, without the indicators and with them."""
        ids = self._table_ids()
        *mail, indicators = (ids.get(table.name, "") for table in _SPOKEN_OF)
        return ",".join(mail), ",".join((*mail, indicators))


def newest_counts(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Of each key of a day the count of the newest version, unless a later one counted all anew."""
    version = pl.col("messages_version")
    anew = version.filter("whole").max().over("delivery_date")
    return (
        rows.filter(anew.is_null() | (version >= anew), ~pl.col("whole"))
        .group_by(_HELD)
        .agg(pl.all().sort_by("messages_version", "copies").last())
    )


def kept_counts(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The counts that count, and what makes earlier ones void."""
    columns = HELD_BACK_COUNTS_TABLE.schema.names
    anew = (
        rows.filter("whole")
        .group_by("delivery_date")
        .agg(pl.all().sort_by("messages_version").last())
    )
    return pl.concat([newest_counts(rows).select(columns), anew.select(columns)])


def _id(table: DeltaTable | None) -> str:
    return "" if table is None else str(table.metadata().id)
