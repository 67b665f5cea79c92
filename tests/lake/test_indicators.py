from __future__ import annotations

import threading

import polars as pl
import pytest
from deltalake import DeltaTable
from tests.lake.contents import NOW, indicators

from retract.errors import LakeError
from retract.lake import tables
from retract.lake.source_state import SourceState

# --- indicators ---


def test_replacing_indicators_keeps_earlier_versions_readable(lake):
    first = lake.replace_indicators(indicators("a", "b"))
    second = lake.replace_indicators(indicators("c"))

    assert second > first
    assert set(lake.scan_indicators(first).collect()["value"]) == {"a", "b"}
    assert set(lake.scan_indicators(second).collect()["value"]) == {"c"}
    assert lake.versions().indicators == second


def test_indicators_can_become_none(lake):
    lake.replace_indicators(indicators("a"))
    version = lake.replace_indicators(indicators())
    assert lake.scan_indicators(version).collect().is_empty()


def test_a_refresh_does_not_overwrite_another_one(lake):
    base = lake.replace_indicators(indicators("a"))
    lake.replace_indicators(indicators("a", "b"), expected_version=base)
    with pytest.raises(LakeError, match="another refresh came first"):
        lake.replace_indicators(indicators("a", "c"), expected_version=base)


def test_only_the_rows_of_the_named_sources_are_replaced(lake, tmp_path):
    both = pl.concat([indicators("a", "b"), indicators("c", source="other")])
    first = lake.replace_indicators(both)

    second = lake.replace_indicators(indicators("d"), sources=["list"])
    third = lake.replace_indicators(indicators(), sources=["other", "none's"])

    def values(version: int) -> set[str]:
        return set(lake.scan_indicators(version).collect()["value"])

    assert values(first) == {"a", "b", "c"}
    assert values(second) == {"c", "d"}
    assert values(third) == {"d"}
    files = DeltaTable(str(tmp_path / "lake" / "indicators")).file_uris()
    assert all("source=list" in file for file in files)


def test_rows_of_a_source_that_is_not_named_are_refused(lake):
    with pytest.raises(LakeError, match="rows of other sources than stated: \\['list'\\]"):
        lake.replace_indicators(indicators("a"), sources=["other"])


def test_a_version_whose_files_are_gone_is_a_clear_error(lake, tmp_path):
    first = lake.replace_indicators(indicators("a"))
    second = lake.replace_indicators(indicators("b"))
    table = DeltaTable(str(tmp_path / "lake" / "indicators"))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    with pytest.raises(LakeError, match=f"version {first} cannot be read any more: .*newest"):
        lake.scan_indicators(first)
    assert lake.scan_indicators(second).collect()["value"].to_list() == ["b"]


def test_large_tables_are_written_batch_by_batch(lake, monkeypatch):
    monkeypatch.setattr(tables, "BATCH_ROWS", 3)
    values = [f"v{number:02}" for number in range(10)]
    version = lake.replace_indicators(indicators(*values))
    assert sorted(lake.scan_indicators(version).collect()["value"]) == values


# --- states of sources ---


def state(name: str, **more: object) -> SourceState:
    return SourceState.model_validate({"source": name, "tried_at": NOW} | more)


def test_states_are_read_back_as_they_were_written(lake):
    assert lake.source_states() == {}
    good = state(
        "good", settings="d1", read_at=NOW, listed=7, etag='"1"', last_modified="Sat",
        content="c", cursor="x", hold_back="h",
    )  # fmt: skip
    bad = state("bad", failing_since=NOW, error="broken: ümlaut")
    lake.write_source_states([good, bad])
    assert lake.source_states() == {"good": good, "bad": bad}


def test_states_of_others_stay_and_some_are_forgotten(lake):
    lake.write_source_states([state("a"), state("b"), state("c")])
    lake.write_source_states([state("b", listed=2)], forget=["c", "never"])
    assert {name: one.listed for name, one in lake.source_states().items()} == {"a": 0, "b": 2}
    lake.write_source_states([], forget=["a", "b"])
    assert lake.source_states() == {}


def test_states_that_did_not_change_are_not_written(lake, tmp_path):
    lake.write_source_states([state("a")])
    version = DeltaTable(str(tmp_path / "lake" / "sources")).version()
    lake.write_source_states([state("a")])
    assert DeltaTable(str(tmp_path / "lake" / "sources")).version() == version
    assert lake.source_states(version) == lake.source_states()


def test_threads_that_write_states_lose_none(lake):
    lake.write_source_states([state("a")])
    start = threading.Barrier(3)

    def write(name: str) -> None:
        start.wait()
        for number in range(5):
            lake.write_source_states([state(name, listed=number)])

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: one.listed for name, one in lake.source_states().items()} == {
        "a": 4,
        "b": 4,
        "c": 4,
    }
