"""Small files of one day joined into one.

Every commit leaves a file for each of its days, and a reader pays for each of them. Readers see
the same rows before and after. Not delta-rs's optimize.compact(): of two that run side by side
release 1.6 lets both commit, and every row is there twice. Overwriting is checked for conflicts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from retract.lake.delta import DeltaTables, file_facts
from retract.lake.tables import Table

COMPACT_FROM: Final = 32
"""Small files that are joined by those who add to them."""

SMALL_FILE: Final = 1024 * 1024
"""Bytes below which a file is small."""

Kept = Callable[[pl.LazyFrame], pl.LazyFrame]
"""The rows that are to stay."""


def compact_days(tables: DeltaTables, table: Table, at_least: int, kept: Kept | None = None) -> int:
    """Join the files of each day that has so many small ones; returns how many fewer there are.

    Of rows that count once, one is left; and no more than those ``kept``.
    """
    there = tables.open(table)
    if there is None:
        return 0
    days = crowded_days(there, at_least)
    return sum(_compact_day(tables, table, day, kept or _once(table), at_least) for day in days)


def compact_whole(tables: DeltaTables, table: Table, at_least: int, kept: Kept) -> int:
    """Join all files of a table that is not partitioned, when there are so many."""
    there = tables.open(table)
    if there is None or len(there.file_uris()) < at_least:
        return 0
    return _rewrite(tables, table, there, kept(pl.scan_delta(there)).collect())


def crowded_days(there: DeltaTable, at_least: int) -> list[date]:
    """The days that have so many small files."""
    small = file_facts(there).filter(pl.col("size_bytes") < SMALL_FILE)
    days = small.group_by(day="partition.delivery_date").len()
    return sorted(days.filter(pl.col("len") >= at_least)["day"])


def _compact_day(tables: DeltaTables, table: Table, day: date, kept: Kept, at_least: int) -> int:
    there = tables.open(table)
    if there is None or day not in crowded_days(there, at_least):
        return 0
    rows = kept(pl.scan_delta(there).filter(pl.col("delivery_date") == day)).collect()
    return _rewrite(tables, table, there, rows, f"delivery_date = '{day.isoformat()}'")


def _rewrite(
    tables: DeltaTables,
    table: Table,
    there: DeltaTable,
    rows: pl.DataFrame,
    predicate: str | None = None,
) -> int:
    """One try: when another commit comes first, a later call finds the files still many."""
    before = len(there.file_uris())
    try:
        tables.overwrite(table, there, rows, predicate)
    except CommitFailedError:
        return 0
    return before - len(there.file_uris())


def _once(table: Table) -> Kept:
    """Of the rows that are the same in what makes them count once, the first in sorting order."""

    def once(rows: pl.LazyFrame) -> pl.LazyFrame:
        if not table.unique_by:
            return rows
        if {*table.unique_by, *table.partition_by} == set(table.schema.names):
            return rows.unique(table.unique_by)  # any of them will do, so no order is needed
        ordered = rows.sort(table.sort_by)
        return ordered.unique(table.unique_by, keep="first", maintain_order=True)

    return once
