"""Delta tables under one URL: opened, made, committed to beside others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote

import polars as pl
import tenacity
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from retract.errors import LakeError
from retract.lake.tables import Table

Result = TypeVar("Result")

KEPT_SINCE: Final = "kept-since"
"""The name under which a table remembers the first day that `Lake.expire` left, as an ordinal."""

WEEK_HOURS: Final = 168
_COMMIT_PATIENCE: Final = timedelta(minutes=5)


class DeltaTables:
    """The tables below ``url``: a local folder, or any object store.

    Methods raise LakeError when a table has another shape than this program's, or when a commit
    does not get through.
    """

    def __init__(self, url: str, storage_options: dict[str, str] | None = None) -> None:
        self._root = url.rstrip("/") if "://" in url else str(Path(url).expanduser().absolute())
        self._storage_options = storage_options

    # --- opening ---

    def url(self, table: Table) -> str:
        """Where the table is."""
        return f"{self._root}/{table.name}"

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
            configuration=table.configuration,
            storage_options=self._storage_options,
        )

    def version(self, table: Table) -> int | None:
        """The newest version; None when the table is not there yet."""
        there = self.open(table)
        return None if there is None else there.version()

    # --- reading ---

    def scan(self, table: Table, version: int | None, where: pl.Expr | None = None) -> pl.LazyFrame:
        """The rows of a version; none where the version is None.

        ``where`` is a filter of the columns by which the table is partitioned. Raises LakeError
        when there is no such version, and when files of it have left the store: Delta's log
        remembers versions longer than their files are kept.
        """
        if version is None:
            return table.empty().lazy()
        there, newest = self.open(table, version), self.open(table)
        if there is None or newest is None:
            raise LakeError(f"{table.name}: there is no such table at {self.url(table)}")
        if newest.version() != version:
            files = self.files(table, there).filter(True if where is None else where)
            gone = files.join(self.files(table, newest), on="file", how="anti")
            self.require(table, gone["file"].to_list(), f"version {version}")
        rows = pl.scan_delta(there)
        return rows if where is None else rows.filter(where)

    def scan_newest(self, table: Table) -> pl.LazyFrame:
        """The rows as they are now; none where the table is not there yet."""
        there = self.open(table)
        return table.empty().lazy() if there is None else pl.scan_delta(there)

    def files(self, table: Table, there: DeltaTable) -> pl.DataFrame:
        """The files of a version: ``file``, its address, and the columns of its partition."""
        actions = file_facts(there)
        files = [f"{self.url(table)}/{unquote(path)}" for path in actions["path"]]
        partition = [pl.col(f"partition.{name}").alias(name) for name in table.partition_by]
        return actions.select(pl.Series("file", files, dtype=pl.String), *partition)

    def scan_files(self, files: list[str]) -> pl.LazyFrame:
        """The rows of some of a table's files, without the columns of their partition."""
        return pl.scan_parquet(
            files, glob=False, hive_partitioning=False, storage_options=self._storage_options
        )

    def require(self, table: Table, files: Collection[str], what: str) -> None:
        """Raises LakeError when one of these files of ``what`` has left the store."""
        for file in sorted(files):
            try:
                self.scan_files([file]).collect_schema()
            except (OSError, pl.exceptions.PolarsError) as error:
                raise LakeError(
                    f"{table.name}: {what} cannot be read any more: its files were removed after "
                    f"{table.keep_hours or WEEK_HOURS} hours, or the store does not answer; the "
                    f"newest version is {self.version(table)}"
                ) from error

    # --- writing ---

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

    def append(
        self,
        table: Table,
        there: DeltaTable,
        frame: pl.DataFrame,
        properties: CommitProperties | None = None,
    ) -> None:
        """One commit that adds these rows."""
        write_deltalake(
            there,
            table.rows(frame),
            mode="append",
            writer_properties=table.writer,
            commit_properties=properties,
        )

    def overwrite(
        self, table: Table, there: DeltaTable, frame: pl.DataFrame, predicate: str | None = None
    ) -> None:
        """One commit that puts these rows in the place of those of the predicate, or of all."""
        write_deltalake(
            there,
            table.rows(frame),
            mode="overwrite",
            predicate=predicate,
            writer_properties=table.writer,
        )

    # --- upkeep ---

    def configure(self, table: Table) -> None:
        """Give a table that was made before its properties had their values the present ones."""

        def configure() -> None:
            there = self.open(table)
            if there is None:
                return
            known = there.metadata().configuration
            new = {
                name: value
                for name, value in table.configuration.items()
                if known.get(name) != value
            }
            if new:
                there.alter.set_table_properties(new)

        self.commit(table, configure)

    def clean(self, table: Table) -> int:
        """Remove files that no version within the table's retention needs, also those that a
        writer left without a commit, and what the log no longer has to tell; returns how many
        files of rows."""

        def clean() -> int:
            there = self.open(table)
            if there is None:
                return 0
            removed = there.vacuum(dry_run=False, full=True)
            there = self.open(table)
            if there is not None:
                there.create_checkpoint()
                there.cleanup_metadata()
            return len(removed)

        return self.commit(table, clean)


def file_facts(there: DeltaTable) -> pl.DataFrame:
    """One row a file: ``path``, ``size_bytes``, ``num_records``, ``partition.…`` and so on."""
    return pl.DataFrame(there.get_add_actions(flatten=True))


def kept_since(messages: DeltaTable) -> datetime:
    """The start of the first day that `Lake.expire` left."""
    day = messages.transaction_version(KEPT_SINCE)
    return datetime.fromordinal(day or 1).replace(tzinfo=UTC)


def _check_shape(table: Table, there: DeltaTable) -> None:
    wrong = table.differences(there.schema())
    if wrong:
        raise LakeError(
            f"{table.name}: the table has another shape in {', '.join(wrong)}: it was written by "
            f"another version of the program; move {table.goes_with} away and collect again"
        )
