from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from tests.lake.contents import indicators

from retract.errors import LakeError
from retract.lake import delta
from retract.lake.delta import DeltaTables
from retract.lake.tables import ALL_TABLES, INDICATORS_TABLE, LOOKUPS_TABLE

OPTIONS = {"some_option": "some value"}


def test_an_object_stores_options_go_wherever_it_is_asked(tmp_path, monkeypatch):
    tables = DeltaTables(str(tmp_path), OPTIONS)
    there = tables.open_or_create(INDICATORS_TABLE)
    tables.append(INDICATORS_TABLE, there, indicators("a"))
    assert there._storage_options == OPTIONS
    newest = tables.open(INDICATORS_TABLE)
    assert newest is not None
    assert newest._storage_options == OPTIONS

    given: list[object] = []
    scan = pl.scan_parquet

    def scan_parquet(files, **options):
        given.append(options.pop("storage_options"))
        return scan(files, **options)

    monkeypatch.setattr(delta.pl, "scan_parquet", scan_parquet)
    files = tables.files(INDICATORS_TABLE, newest)["file"].to_list()
    assert tables.scan_files(files).collect().height == 1
    assert given == [OPTIONS]


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("s3://bucket/lake/", "s3://bucket/lake/lookups"),
        ("abfss://box@store.example/lake", "abfss://box@store.example/lake/lookups"),
        ("/some/folder/", "/some/folder/lookups"),
        ("folder", str(Path("folder").absolute() / "lookups")),
    ],
)
def test_tables_lie_below_the_lakes_url(url, at):
    assert DeltaTables(url).url(LOOKUPS_TABLE) == at


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_each_table_is_made_with_its_properties_and_keeps_its_shape(tmp_path, table):
    tables = DeltaTables(str(tmp_path))
    made = tables.open_or_create(table)
    assert made.metadata().configuration == table.configuration
    assert made.metadata().partition_columns == list(table.partition_by)
    assert tables.scan_newest(table).collect().schema == table.empty().schema
    tables.append(table, made, table.empty())
    assert tables.files(table, made)["file"].len() == len(made.file_uris())


def test_two_who_make_a_table_at_once_make_one(tmp_path, monkeypatch):
    tables, others = DeltaTables(str(tmp_path)), DeltaTables(str(tmp_path))
    first: list[DeltaTable] = []
    monkeypatch.setattr(tables, "open", lambda table: first.append(others.open_or_create(table)))
    assert tables.open_or_create(LOOKUPS_TABLE).metadata().id == first[0].metadata().id


def test_a_commit_that_another_came_before_is_made_again(tmp_path):
    tables, tries = DeltaTables(str(tmp_path)), []

    def commit() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise CommitFailedError("another came first")
        return len(tries)

    assert tables.commit(LOOKUPS_TABLE, commit) == 3


def test_a_commit_that_never_gets_through_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(delta, "_COMMIT_PATIENCE", timedelta(0))

    def commit() -> None:
        raise CommitFailedError("another came first")

    with pytest.raises(LakeError, match="lookups: the commit failed: another came first"):
        DeltaTables(str(tmp_path)).commit(LOOKUPS_TABLE, commit)
