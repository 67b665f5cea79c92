"""Delta tables under one URL: opened, made, committed to beside others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import polars as pl
import tenacity
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from retract.errors import LakeError
from retract.lake.tables import Table

Result = TypeVar("Result")

_COMMIT_PATIENCE: Final = timedelta(minutes=5)


class DeltaTables:
    """The tables below ``url``: a local folder, or any object store.

    Methods raise LakeError when a table has another shape than this program's, or when a commit
    does not get through.
    """

    def __init__(self, url: str, storage_options: dict[str, str] | None = None) -> None:
        self._root = url.rstrip("/") if "://" in url else str(Path(url).expanduser().absolute())
        self._storage_options = storage_options

    def commit(self, table: Table, commit: Callable[[], Result]) -> Result:
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

    def scan(self, table: Table, version: int | None) -> pl.LazyFrame:
        """The rows of a version; none where the version is None. Raises LakeError without it."""
        if version is None:
            return table.empty().lazy()
        there = self.open(table, version)
        if there is None:
            raise LakeError(f"{table.name}: there is no such table at {self.url(table)}")
        return pl.scan_delta(there)

    def require_files(self, table: Table, version: int) -> None:
        """Raises LakeError when files of this version have left the store.

        Delta's log remembers versions longer than their files are kept.
        """
        newest, there = self.open(table), self.open(table, version)
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

    def version(self, table: Table) -> int | None:
        """The newest version; None when the table is not there yet."""
        there = self.open(table)
        return None if there is None else there.version()

    def open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        """The table, its shape checked; None when it is not there yet."""
        try:
            there = DeltaTable(
                self.url(table), version=version, storage_options=self._storage_options
            )
        except TableNotFoundError:
            return None
        except DeltaError as error:
            which = "" if version is None else f" at version {version}"
            said = " ".join(str(error).split())
            raise LakeError(f"{table.name}: cannot be opened{which}: {said}") from error
        _check_shape(table, there)
        return there

    def open_or_create(self, table: Table) -> DeltaTable:
        """The table, its shape checked, made where it is not there yet."""
        there = self.open(table)
        if there is not None:
            return there
        return DeltaTable.create(
            self.url(table),
            table.schema,
            mode="ignore",
            partition_by=list(table.partition_by),
            storage_options=self._storage_options,
        )

    def url(self, table: Table) -> str:
        """Where the table is."""
        return f"{self._root}/{table.name}"

    def vacuum(self, table: Table) -> int:
        """Remove files that no version within the table's retention needs; returns how many."""
        hours = table.keep_hours

        def vacuum() -> int:
            there = self.open(table)
            if there is None:
                return 0
            enforce = hours is None  # Delta asks to confirm less than a week
            return len(there.vacuum(hours, dry_run=False, enforce_retention_duration=enforce))

        return self.commit(table, vacuum)


def _check_shape(table: Table, there: DeltaTable) -> None:
    wrong = table.differences(there.schema())
    if wrong:
        raise LakeError(
            f"{table.name}: the table has another shape in {', '.join(wrong)}: it was written by "
            "another version of the program; move it away and collect again"
        )
