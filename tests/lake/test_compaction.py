from __future__ import annotations

import threading
from datetime import UTC, date, datetime

import polars as pl
import pytest
from tests.lake.contents import MONTH, NOW, everything, message, opened

from retract.lake import compaction, mail, upkeep
from retract.lake.compaction import compact_days
from retract.lake.frames import lookups_frame
from retract.lake.store import Lake
from retract.lake.tables import LOOKUPS_TABLE, MAIL_TABLES, MESSAGES_TABLE, OBSERVABLES_TABLE
from retract.model import Observable, ObservableType


def files(lake: Lake) -> list[int]:
    return [len(opened(lake, table).file_uris()) for table in MAIL_TABLES]


def assert_same(before: tuple[pl.DataFrame, ...], after: tuple[pl.DataFrame, ...]) -> None:
    """The same messages and observables, and the same set of lookups."""
    for earlier, later in zip(before[:2], after[:2], strict=True):
        order = [name for name in earlier.columns if name not in ("labels", "problems")]
        assert later.sort(order).equals(earlier.sort(order))
    assert set(after[2].rows()) == set(before[2].rows())


def test_many_small_files_become_few_while_mail_is_added_and_no_row_changes(lake, monkeypatch):
    monkeypatch.setattr(mail, "COMPACT_FROM", 4)
    lake.add_messages([message(number) for number in range(3)], NOW)
    pinned = lake.versions()
    before = everything(lake)
    for number in range(3, 12):
        lake.add_messages([message(number)], NOW)

    assert all(count < 4 for count in files(lake))
    messages, observables, lookups = everything(lake)
    assert sorted(messages["message_id"]) == sorted(f"m{number}" for number in range(12))
    assert set(observables["copy_id"]) == set(messages["copy_id"])
    assert set(lookups.rows()) == set(lookups_frame(observables).rows())
    assert lake.scan_messages(pinned.messages, MONTH).collect().equals(before[0])
    assert lake.scan_lookups(pinned.lookups, MONTH).collect().equals(before[2])


def test_what_is_looked_up_alike_is_there_once_after_joining(lake, monkeypatch):
    monkeypatch.setattr(upkeep, "AT_NIGHT", 2)
    common = (Observable(ObservableType.URL, "https://shop.example/", "html"),)
    for number in range(4):
        lake.add_messages([message(number, observables=common)], NOW)
    before = everything(lake)

    assert lake.compact() == 9, "three of four files, of three tables"

    after = everything(lake)
    assert_same(before, after)
    assert after[2].height == after[2].n_unique() == before[2].height // 4
    assert after[2].equals(after[2].sort("value_key", "key")), "in the order of the values"
    assert after[1].height == 4, "observables are never left out"
    assert lake.compact() == 0


def test_days_are_joined_one_by_one(lake, monkeypatch):
    for number in range(4):
        at = datetime(2026, 1, 5 + number % 2, tzinfo=UTC)
        lake.add_messages([message(number, received_at=at)], NOW)
    lake.add_messages([message(9, received_at=datetime(2026, 1, 9, tzinfo=UTC))], NOW)
    before = everything(lake)
    monkeypatch.setattr(upkeep, "AT_NIGHT", 2)

    assert lake.compact() == 6, "one of two files, of two days, of three tables"
    assert_same(before, everything(lake))


def test_large_files_are_not_written_again_for_few_small_ones(lake, monkeypatch):
    lake.add_messages([message(1)], NOW)
    lake.add_messages([message(2)], NOW)
    monkeypatch.setattr(upkeep, "AT_NIGHT", 2)
    monkeypatch.setattr(compaction, "SMALL_FILE", 1)
    assert lake.compact() == 0


def test_row_groups_are_of_the_tables_size(lake, monkeypatch):
    monkeypatch.setattr(upkeep, "AT_NIGHT", 2)
    for number in range(2):
        lake.add_messages([message(number)], NOW)
    lake.compact()
    for table in (LOOKUPS_TABLE, OBSERVABLES_TABLE):
        assert table.writer.max_row_group_size == table.row_group is not None


# --- side by side ---


def test_two_who_join_files_at_once_double_no_row(lake, monkeypatch):
    lake.add_messages([message(1)], NOW)
    lake.add_messages([message(2)], NOW)
    before = everything(lake)
    start, seen = threading.Barrier(2), threading.Barrier(2)
    crowded = compaction.crowded_days

    def both_see_it_crowded(table, at_least):
        days = crowded(table, at_least)
        seen.wait(timeout=10)
        return days

    monkeypatch.setattr(compaction, "crowded_days", both_see_it_crowded)

    def compact() -> None:
        start.wait()
        compact_days(lake._tables, OBSERVABLES_TABLE, 2)

    threads = [threading.Thread(target=compact) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert_same(before, everything(lake))


@pytest.mark.parametrize("table", MAIL_TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("meanwhile", ["added", "read anew", "forgotten"])
def test_what_others_do_while_files_are_joined_stays_done(lake, monkeypatch, table, meanwhile):
    lake.add_messages([message(1, received_at=NOW)], NOW)
    lake.add_messages([message(2, received_at=NOW)], NOW)
    overwrite = lake._tables.overwrite

    def late(*arguments):
        monkeypatch.setattr(lake._tables, "overwrite", overwrite)
        if meanwhile == "added":
            lake.add_messages([message(3, received_at=NOW)], NOW)
        elif meanwhile == "read anew":
            lake.add_messages([message(1, received_at=NOW, version=2)], NOW)
        else:
            lake.expire(datetime(2026, 1, 7, tzinfo=UTC))
        overwrite(*arguments)

    monkeypatch.setattr(lake._tables, "overwrite", late)
    compact_days(lake._tables, table, 2)

    messages, observables, lookups = everything(lake)
    expected = {
        "added": [("m1", 1), ("m2", 1), ("m3", 1)],
        "read anew": [("m1", 2), ("m2", 1)],
        "forgotten": [],
    }
    rows = messages.select("message_id", "extractor_version").rows()
    assert sorted(rows) == expected[meanwhile]
    assert observables.n_unique() == observables.height
    assert set(lookups.rows()) == set(lookups_frame(observables).rows())
    assert (meanwhile == "forgotten") == observables.is_empty()


def test_threads_that_add_while_another_joins_files_lose_and_double_none(lake, monkeypatch):
    monkeypatch.setattr(upkeep, "AT_NIGHT", 2)
    done = threading.Event()
    joined: list[int] = []

    def compact() -> None:
        while not done.is_set():
            joined.append(lake.compact())

    def add(first: int) -> None:
        for number in range(first, first + 8):
            lake.add_messages([message(number, mailbox_id=f"b{first}")], NOW)

    compacting = threading.Thread(target=compact)
    adding = [threading.Thread(target=add, args=(first,)) for first in (0, 100)]
    for thread in (compacting, *adding):
        thread.start()
    for thread in adding:
        thread.join()
    done.set()
    compacting.join()

    messages, observables, lookups = everything(lake)
    assert sorted(messages["message_id"]) == sorted(
        f"m{number}" for number in (*range(8), *range(100, 108))
    )
    assert observables.n_unique() == observables.height
    assert set(lookups.rows()) == set(lookups_frame(observables).rows())
    assert sum(joined) > 0


def test_days_are_crowded_by_their_small_files(lake):
    for number in range(3):
        lake.add_messages([message(number)], NOW)
    lake.add_messages([message(9, received_at=NOW)], NOW)
    table = opened(lake, MESSAGES_TABLE)
    assert compaction.crowded_days(table, 3) == [date(2026, 1, 5)]
    assert compaction.crowded_days(table, 1) == [date(2026, 1, 5), date(2026, 1, 6)]
    assert compaction.crowded_days(table, 4) == []


def test_a_day_of_which_nothing_counts_any_more_is_emptied(lake, monkeypatch):
    lake.add_messages([message(1)], NOW)
    lake.add_messages([message(2), message(3, received_at=NOW)], NOW)
    compact_days(lake._tables, LOOKUPS_TABLE, 2, lambda rows: rows.clear())
    assert everything(lake)[2]["delivery_date"].unique().to_list() == [NOW.date()]
