"""What changed between two versions of a table, found by comparing the files that hold them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

import polars as pl

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
    """The files of two versions, those of ``days`` alone where they are given.

    No more is read than what both lack or have. Raises LakeError when a version cannot be opened
    any more, or when files have left the store; and when the two are of different tables.
    """
    before, after = (_files(tables, table, which, days) for which in (earlier, version))
    shared = before.keys() & after.keys()
    newest = _files(tables, table, tables.version(table), days)
    gone = {**before, **after}.keys() - newest.keys()
    tables.require(table, gone, f"version {earlier} or {version}")
    return Between(
        kept=_rows(tables, table, {file: before[file] for file in shared}),
        added=_rows(tables, table, {file: after[file] for file in after.keys() - shared}),
        removed=_rows(tables, table, {file: before[file] for file in before.keys() - shared}),
    )


def _files(
    tables: DeltaTables, table: Table, version: int | None, days: Collection[date] | None
) -> Files:
    if version is None:
        return {}
    there = tables.open(table, version)
    if there is None:
        raise LakeError(f"{table.name}: there is no such table at {tables.url(table)}")
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
