"""What changed between two versions of a table, found by comparing the files that hold them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

import polars as pl
from deltalake import DeltaTable

from retract.errors import LakeError
from retract.lake.coverage import Between
from retract.lake.delta import DeltaTables
from retract.lake.tables import Table

Files = dict[str, tuple[Any, ...]]
"""The addresses of a version's files, each with the values of its partition."""


def between(
    tables: DeltaTables,
    table: Table,
    earlier: int | None,
    version: int | None,
    days: Collection[date] | None = None,
) -> Between:
    """What two versions share and what they do not, of these days where there are any.

    None is a version without rows. Raises LakeError when a version cannot be opened any more,
    when files that hold its rows have left the store, and when the versions are of two tables.
    """
    first, second, newest = (
        _open(tables, table, which) for which in (earlier, version, tables.version(table))
    )
    if first is not None and second is not None and first.metadata().id != second.metadata().id:
        raise LakeError(f"{table.name}: the table was replaced meanwhile: run it again")
    before, after, now = (_files(tables, table, there, days) for there in (first, second, newest))
    tables.require(table, (before | after).keys() - now.keys(), f"version {earlier} or {version}")
    shared = before.keys() & after.keys()
    return Between(
        kept=_rows(tables, table, {file: before[file] for file in shared}),
        added=_rows(tables, table, {file: after[file] for file in after.keys() - shared}),
        removed=_rows(tables, table, {file: before[file] for file in before.keys() - shared}),
    )


def _open(tables: DeltaTables, table: Table, version: int | None) -> DeltaTable | None:
    if version is None:
        return None
    there = tables.open(table, version)
    if there is None:
        raise LakeError(f"{table.name}: there is no such table at {tables.url(table)}")
    return there


def _files(
    tables: DeltaTables, table: Table, there: DeltaTable | None, days: Collection[date] | None
) -> Files:
    if there is None:
        return {}
    files = tables.files(table, there)
    if days is not None:
        files = files.filter(pl.col("delivery_date").is_in(list(days)))
    return {file: tuple(values) for file, *values in files.iter_rows()}


def _rows(tables: DeltaTables, table: Table, files: Files) -> pl.LazyFrame:
    """The rows of these files. Delta's files lack the columns that the table is partitioned by."""
    of_partition: dict[tuple[Any, ...], list[str]] = {}
    for file, values in sorted(files.items()):
        of_partition.setdefault(values, []).append(file)
    shape = table.empty().schema
    parts = [
        tables.scan_files(paths).with_columns(
            pl.lit(value, dtype=shape[name]).alias(name)
            for name, value in zip(table.partition_by, values, strict=True)
        )
        for values, paths in of_partition.items()
    ]
    rows = [part.select(shape.names()) for part in parts]
    return pl.concat(rows) if rows else table.empty().lazy()
