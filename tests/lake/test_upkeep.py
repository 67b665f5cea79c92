from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from tests.lake.rows import indicator, table

import retract
from retract.errors import LakeError, TenantUnreachable
from retract.lake import store, tables
from retract.lake.source_state import SourceState
from retract.lake.store import Lake, LakeVersions
from retract.lake.tables import INDICATORS_TABLE, MESSAGES_TABLE, OBSERVABLES_TABLE
from retract.model import Mailbox, Provider, Watermark, Window

NOW = datetime(2026, 1, 6, tzinfo=UTC)
MONTH = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
ANN = Mailbox(Provider.MICROSOFT365, "tenant", "ann", "ann@north.example")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def everything(lake: Lake) -> tuple[pl.DataFrame, pl.DataFrame]:
    versions = lake.versions()
    return (
        lake.scan_messages(versions.messages, MONTH).collect(),
        lake.scan_observables(versions.observables, MONTH).collect(),
    )


def indicators(*values: str, source: str = "list") -> pl.DataFrame:
    return table(*(indicator(value, NOW, source=source) for value in values))


# --- a lake that is not there yet ---


def test_a_new_lake_has_no_versions_and_reads_as_empty(lake, tmp_path):
    assert lake.versions() == LakeVersions(messages=None, observables=None, indicators=None)
    assert lake.scan_messages(None, MONTH).collect().schema == MESSAGES_TABLE.empty().schema
    assert lake.scan_observables(None, MONTH).collect().schema == OBSERVABLES_TABLE.empty().schema
    assert lake.scan_indicators(None).collect().schema == INDICATORS_TABLE.empty().schema
    assert lake.known_message_ids([ANN], MONTH.start, 1) == {ANN: set()}
    assert lake.watermarks([ANN], 1) == {}
    assert not (tmp_path / "lake").exists()


def test_adding_nothing_creates_nothing(lake, tmp_path):
    assert lake.add_messages([], NOW) == 0
    assert not (tmp_path / "lake").exists()


# --- adding ---


def test_what_was_added_is_read_back(lake, message):
    assert lake.add_messages([message(1), message(2)], NOW) == 2

    messages, observables = everything(lake)
    assert set(messages["message_id"]) == {"m1", "m2"}
    assert messages.schema == MESSAGES_TABLE.empty().schema
    assert observables.schema == OBSERVABLES_TABLE.empty().schema
    assert set(observables["copy_id"]) == set(messages["copy_id"])


def test_adding_twice_adds_nothing_and_makes_no_version(lake, message):
    lake.add_messages([message(1), message(2)], NOW)
    versions, before = lake.versions(), everything(lake)

    assert lake.add_messages([message(1), message(2)], NOW + timedelta(days=1)) == 0

    assert lake.versions() == versions
    after = everything(lake)
    assert after[0].equals(before[0])
    assert after[1].equals(before[1])


def test_only_the_new_ones_of_a_second_collection_are_added(lake, message):
    lake.add_messages([message(1), message(2)], NOW)

    assert lake.add_messages([message(2), message(3)], NOW) == 1

    messages, observables = everything(lake)
    assert sorted(messages["message_id"]) == ["m1", "m2", "m3"]
    assert observables.n_unique() == observables.height


def test_a_newer_extractor_replaces_the_reading(lake, message):
    lake.add_messages([message(1, version=1)], NOW)

    assert lake.add_messages([message(1, version=2)], NOW) == 0, "it is not a new copy"

    messages, observables = everything(lake)
    assert messages["extractor_version"].to_list() == [2]
    counted = observables.join(messages, on=["copy_id", "extractor_version"], how="semi")
    assert set(counted["value"]) == {"https://shop.example/1/v2"}


def test_an_older_extractor_replaces_nothing(lake, message):
    lake.add_messages([message(1, version=2)], NOW)
    versions = lake.versions()

    assert lake.add_messages([message(1, version=1)], NOW) == 0
    assert lake.versions() == versions


def test_a_message_without_observables_is_kept(lake, message):
    assert lake.add_messages([message(1, observables=())], NOW) == 1
    assert everything(lake)[0].height == 1


def test_a_crash_between_the_two_commits_is_mended_by_the_next_try(lake, message, monkeypatch):
    def broken(table, rows, **options):
        if table.table_uri.rstrip("/").endswith("messages"):
            raise OSError("the machine went away")
        write_deltalake(table, rows, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_deltalake", broken)
        with pytest.raises(OSError, match="went away"):
            lake.add_messages([message(1)], NOW)
    messages, observables = everything(lake)
    assert messages.is_empty()
    assert not observables.is_empty()

    assert lake.add_messages([message(1)], NOW) == 1
    observables = everything(lake)[1]
    assert observables.height == observables.n_unique() > 0


def test_what_was_read_before_a_failure_is_kept(lake, message, monkeypatch):
    monkeypatch.setattr(store, "BATCH", 2)

    def reading():
        yield from (message(number) for number in range(5))
        raise TenantUnreachable("no answer")

    with pytest.raises(TenantUnreachable):
        lake.add_messages(reading(), NOW)

    assert everything(lake)[0].height == 5


# --- reading ---


def test_the_window_is_half_open(lake, message):
    start, end = datetime(2026, 1, 5, 6, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    times = [start - tick, start, end - tick, end]
    lake.add_messages([message(n, received_at=at) for n, at in enumerate(times)], NOW)
    window, versions = Window(start, end), lake.versions()

    messages = lake.scan_messages(versions.messages, window).collect()
    observables = lake.scan_observables(versions.observables, window).collect()

    assert set(messages["message_id"]) == {"m1", "m2"}
    assert set(messages["copy_id"]) <= set(observables["copy_id"])


def test_a_window_reads_only_its_days(lake, message, tmp_path):
    days = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in range(1, 11)]
    lake.add_messages([message(n, received_at=at) for n, at in enumerate(days)], NOW)
    window, versions = Window(days[2], days[3]), lake.versions()
    for folder in (tmp_path / "lake").glob("*/delivery_date=*"):
        if folder.name[-2:] not in ("03", "04"):
            shutil.rmtree(folder)

    assert lake.scan_messages(versions.messages, window).collect().height == 1
    assert not lake.scan_observables(versions.observables, window).collect().is_empty()


def test_a_pinned_version_does_not_change(lake, message):
    lake.add_messages([message(1)], NOW)
    pinned = lake.versions()
    lake.add_messages([message(2), message(1, version=2)], NOW)

    messages = lake.scan_messages(pinned.messages, MONTH).collect()

    assert messages.select("message_id", "extractor_version").rows() == [("m1", 1)]


def test_known_ids_are_those_of_each_mailbox_since_then_by_this_extractor(lake, message):
    lake.add_messages(
        [
            message(1),
            message(2, version=2),
            message(3, mailbox_id="bob"),
            message(4, received_at=MONTH.end),
            message(5, received_at=MONTH.start - timedelta(microseconds=1)),
        ],
        NOW,
    )
    bob = replace(ANN, mailbox_id="bob", address="bob@north.example")
    other = replace(ANN, connection="another tenant")

    assert lake.known_message_ids([ANN, bob, other], MONTH.start, 1) == {
        ANN: {"m1", "m2", "m4"},
        bob: {"m3"},
        other: set(),
    }
    assert lake.known_message_ids([ANN], MONTH.start, 2) == {ANN: {"m2"}}


def test_a_version_that_never_was_is_a_clear_error(lake, message):
    lake.add_messages([message(1)], NOW)
    with pytest.raises(LakeError, match="messages: cannot be opened at version 99"):
        lake.scan_messages(99, MONTH)
    with pytest.raises(LakeError, match="indicators: there is no such table"):
        lake.scan_indicators(0)


def test_a_table_of_another_shape_is_a_clear_error(lake, tmp_path):
    frame = MESSAGES_TABLE.empty().drop("subject").with_columns(extra=pl.lit(1))
    write_deltalake(str(tmp_path / "lake" / "messages"), frame.to_arrow())
    with pytest.raises(LakeError, match="another shape in extra, subject"):
        lake.versions()


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


# --- watermarks ---

BOB = replace(ANN, mailbox_id="bob", address="bob@north.example")
MARK = Watermark(MONTH.start, "cursor")


def test_watermarks_are_read_back_and_the_newest_counts(lake):
    lake.add_watermarks({ANN: MARK, BOB: MARK}, 1, NOW)
    later = Watermark(MONTH.start + timedelta(days=1), "later")
    lake.add_watermarks({ANN: later}, 1, NOW + timedelta(hours=1))
    lake.add_watermarks({ANN: Watermark(MONTH.start, "late")}, 1, NOW - timedelta(hours=1))

    elsewhere = replace(ANN, connection="another tenant")
    assert lake.watermarks([ANN, elsewhere], 1) == {ANN: later}
    moved = replace(BOB, address="robert@north.example")
    assert lake.watermarks([moved], 1) == {moved: MARK}, "an address is no identity"


def test_a_newer_extractor_knows_no_older_watermarks(lake):
    lake.add_watermarks({ANN: MARK}, 1, NOW)
    assert lake.watermarks([ANN], 2) == {}
    lake.add_watermarks({BOB: MARK}, 3, NOW)
    assert lake.watermarks([ANN, BOB], 2) == {BOB: MARK}


def test_without_the_mail_it_covers_a_watermark_says_nothing(lake, message, tmp_path):
    lake.add_messages([message(1)], NOW)
    lake.add_watermarks({ANN: MARK}, 1, NOW)
    shutil.rmtree(tmp_path / "lake" / "messages")
    assert lake.watermarks([ANN], 1) == {}
    lake.add_messages([message(2)], NOW)
    assert lake.watermarks([ANN], 1) == {}, "the new table does not hold the old mail"


def test_a_watermark_covers_no_mail_that_was_forgotten(lake, message):
    """A run that looks further back than the retention must read the mailbox anew."""
    lake.add_messages([message(1), message(2, received_at=MONTH.end)], NOW)
    lake.add_watermarks({ANN: MARK}, 1, NOW)
    lake.expire(NOW - timedelta(days=3))
    assert lake.watermarks([ANN], 1) == {ANN: MARK}, "nothing was that old"

    lake.expire(datetime(2026, 1, 6, 12, tzinfo=UTC))
    cut = Watermark(datetime(2026, 1, 6, tzinfo=UTC), "cursor")
    assert lake.watermarks([ANN], 1) == {}, "not read for longer than the retention"
    lake.add_watermarks({ANN: MARK}, 1, NOW + timedelta(days=1))
    assert lake.watermarks([ANN], 1) == {ANN: cut}

    lake.add_messages([message(3, received_at=MONTH.start)], NOW)
    lake.expire(MONTH.start + timedelta(days=1))
    assert lake.watermarks([ANN], 1) == {ANN: cut}, "a longer retention brings no mail back"


def test_compacting_keeps_the_newest_watermark_of_each_mailbox(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "COMPACT_FROM", 3)
    table = str(tmp_path / "lake" / "watermarks")
    for number in range(3):
        at = NOW + timedelta(hours=number)
        lake.add_watermarks({ANN: Watermark(MONTH.start, str(number)), BOB: MARK}, 1, at)
    lake.compact_watermarks()
    assert pl.scan_delta(table).collect().height == 2
    assert lake.watermarks([ANN, BOB], 1) == {ANN: Watermark(MONTH.start, "2"), BOB: MARK}
    version = DeltaTable(table).version()
    lake.compact_watermarks()
    assert DeltaTable(table).version() == version, "nothing is done while the files are few"


def test_a_watermark_that_comes_while_others_compact_is_not_lost(lake, monkeypatch):
    monkeypatch.setattr(store, "COMPACT_FROM", 1)
    lake.add_watermarks({ANN: MARK, BOB: MARK}, 1, NOW)
    later = Watermark(MONTH.start, "later")
    write = store.write_deltalake

    def write_late(table, rows, **options):
        if options["mode"] == "overwrite":
            Lake(lake_url(lake)).add_watermarks({ANN: later}, 1, NOW + timedelta(hours=1))
            monkeypatch.setattr(store, "write_deltalake", write)
            lake.compact_watermarks()
        write(table, rows, **options)

    monkeypatch.setattr(store, "write_deltalake", write_late)
    lake.compact_watermarks()
    assert lake.watermarks([ANN, BOB], 1) == {ANN: later, BOB: MARK}


def lake_url(lake: Lake) -> str:
    return str(Path(lake._tables.url(MESSAGES_TABLE)).parent)


def test_no_watermarks_make_no_table(lake, tmp_path):
    lake.add_watermarks({}, 1, NOW)
    lake.compact_watermarks()
    assert not (tmp_path / "lake").exists()


# --- the organisation's own domains ---


def test_the_domains_of_collected_mailboxes_are_known(lake, message):
    assert lake.mailbox_domains() == frozenset()
    bob = message(2, mailbox_id="bob")
    bob = replace(bob, copy=replace(bob.copy, mailbox="Bob@South.Example"))
    odd = message(3, mailbox_id="odd")
    odd = replace(odd, copy=replace(odd.copy, mailbox="no address"))
    lake.add_messages([message(1), bob, odd], NOW)
    before = lake.versions().messages
    assert lake.mailbox_domains() == {"north.example", "south.example"}

    eve = message(4, mailbox_id="eve")
    lake.add_messages([replace(eve, copy=replace(eve.copy, mailbox="eve@west.example"))], NOW)
    assert lake.mailbox_domains(before) == {"north.example", "south.example"}


# --- side by side ---


@pytest.mark.parametrize("compact_from", [2, store.COMPACT_FROM])
def test_threads_that_collect_the_same_copies_add_them_once(
    lake, message, monkeypatch, compact_from
):
    monkeypatch.setattr(store, "COMPACT_FROM", compact_from)
    start = threading.Barrier(4)
    added: list[int] = []

    def collect(first: int) -> None:
        start.wait()
        added.extend(
            lake.add_messages([message(n) for n in range(some, some + 5)], NOW)
            for some in range(first, first + 20, 5)
        )

    threads = [threading.Thread(target=collect, args=(first,)) for first in (0, 0, 10, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    messages, observables = everything(lake)
    assert len(added) == 16, "none failed"
    assert sum(added) == messages.height == messages["copy_id"].n_unique() == 50
    assert observables.height == observables.n_unique()
    assert set(observables["copy_id"]) == set(messages["copy_id"])


COLLECT = """
import sys
from datetime import UTC, datetime
from retract.lake.store import Lake
from retract.model import *
def message(n):
    copy = Copy(Provider.MICROSOFT365, "tenant", "ann", "ann@north.example", f"m{n}")
    seen = (Observable(ObservableType.URL, f"https://shop.example/{n}"),)
    read = Extraction("", "", "", "", seen)
    at = datetime(2026, 1, 5, tzinfo=UTC)
    return CollectedMessage(copy, at, Location(Place.INBOX), read, 1)
collected_at = datetime(2026, 1, 6, tzinfo=UTC)
lake = Lake(sys.argv[1])
sys.stdin.readline()
for first in range(0, 50, 10):
    print(lake.add_messages([message(n) for n in range(first, first + 10)], collected_at))
"""


def test_processes_that_collect_the_same_copies_add_them_once(lake, tmp_path):
    plugins = str(Path(retract.__file__).parents[1])
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", COLLECT, str(tmp_path / "lake")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": plugins},
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [worker.communicate("go\n", timeout=120)[0] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0]
    messages, observables = everything(lake)
    assert messages.height == messages["copy_id"].n_unique() == 50
    assert sum(int(line) for output in outputs for line in output.split()) == 50
    assert observables.height == observables.n_unique()


# --- maintenance ---


def test_expired_messages_leave_with_their_observables(lake, message):
    old, new = datetime(2026, 1, 3, 23, tzinfo=UTC), datetime(2026, 1, 4, 1, tzinfo=UTC)
    lake.add_messages([message(1, received_at=old), message(2, received_at=new)], NOW)

    expired = lake.expire(datetime(2026, 1, 4, 12, tzinfo=UTC))

    messages, observables = everything(lake)
    assert messages["message_id"].to_list() == ["m2"], "of the day itself nothing is forgotten"
    assert set(observables["copy_id"]) == set(messages["copy_id"])
    assert expired.messages == 1
    assert expired.observables > 0
    assert expired.files == 0, "files stay a week for pinned readers"


def test_expiring_an_empty_lake_is_no_error(lake):
    assert lake.expire(NOW) == store.Expired(messages=0, observables=0, files=0)


def test_many_small_files_become_few_and_no_row_changes(lake, message, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "COMPACT_FROM", 4)
    lake.add_messages([message(number) for number in range(3)], NOW)
    pinned = lake.versions()
    before = everything(lake)
    for number in range(3, 12):
        lake.add_messages([message(number)], NOW)

    for name in ("messages", "observables"):
        assert len(DeltaTable(str(tmp_path / "lake" / name)).file_uris()) < 4
    messages, observables = everything(lake)
    assert sorted(messages["message_id"]) == sorted(f"m{number}" for number in range(12))
    assert set(observables["copy_id"]) == set(messages["copy_id"])
    assert lake.scan_messages(pinned.messages, MONTH).collect().equals(before[0])
    assert lake.compact() == 0


def test_two_who_compact_at_once_double_no_row(lake, message, monkeypatch):
    lake.add_messages([message(1)], NOW)
    lake.add_messages([message(2)], NOW)
    monkeypatch.setattr(store, "COMPACT_FROM", 2)
    before = everything(lake)
    start, opened = threading.Barrier(2), threading.Barrier(2)
    crowded = store._crowded_days

    def both_see_it_crowded(table):
        days = crowded(table)
        if threading.current_thread() is not threading.main_thread():
            opened.wait(timeout=10)
        return days

    monkeypatch.setattr(store, "_crowded_days", both_see_it_crowded)

    def compact() -> None:
        start.wait()
        lake._compact(MESSAGES_TABLE)

    threads = [threading.Thread(target=compact) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    after = everything(lake)
    assert after[0].sort("copy_id").equals(before[0].sort("copy_id"))


def test_large_files_are_not_written_again(lake, message, monkeypatch):
    monkeypatch.setattr(store, "COMPACT_FROM", 2)
    monkeypatch.setattr(store, "SMALL_FILE", 1)
    lake.add_messages([message(1)], NOW)
    lake.add_messages([message(2)], NOW)
    assert lake.compact() == 0


def test_days_are_compacted_one_by_one(lake, message, monkeypatch):
    for number in range(4):
        at = datetime(2026, 1, 5 + number % 2, tzinfo=UTC)
        lake.add_messages([message(number, received_at=at)], NOW)
    before = everything(lake)
    monkeypatch.setattr(store, "COMPACT_FROM", 2)

    assert lake.compact() == 4, "one of two files, of two days, of two tables"

    for earlier, later in zip(before, everything(lake), strict=True):
        assert set(later.drop("labels", "problems", strict=False).rows()) == set(
            earlier.drop("labels", "problems", strict=False).rows()
        )
        assert later.height == earlier.height
