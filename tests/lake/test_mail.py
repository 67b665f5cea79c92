from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from tests.lake import contents
from tests.lake.contents import ANN, MONTH, NOW, everything, opened, remove_what_is_not_needed

import retract
from retract.errors import LakeError, TenantUnreachable
from retract.lake import delta, mail
from retract.lake.compaction import compact_days
from retract.lake.frames import lookups_frame
from retract.lake.tables import LOOKUPS_TABLE, MAIL_TABLES, MESSAGES_TABLE, OBSERVABLES_TABLE, Table
from retract.model import CollectedMessage, Watermark, Window

# --- adding ---


def test_what_was_added_is_read_back(lake, message):
    assert lake.add_messages([message(1), message(2)], NOW) == 2

    messages, observables, lookups = everything(lake)
    assert set(messages["message_id"]) == {"m1", "m2"}
    assert messages.schema == MESSAGES_TABLE.empty().schema
    assert observables.schema == OBSERVABLES_TABLE.empty().schema
    assert lookups.schema == LOOKUPS_TABLE.empty().schema
    assert set(lookups.rows()) == set(lookups_frame(observables).rows())
    assert set(observables["copy_id"]) == set(messages["copy_id"])


def test_adding_twice_adds_nothing_and_makes_no_version(lake, message):
    lake.add_messages([message(1), message(2)], NOW)
    versions, before = lake.versions(), everything(lake)

    assert lake.add_messages([message(1), message(2)], NOW + timedelta(days=1)) == 0

    assert lake.versions() == versions
    for earlier, later in zip(before, everything(lake), strict=True):
        assert later.equals(earlier)


def test_only_the_new_ones_of_a_second_collection_are_added(lake, message):
    lake.add_messages([message(1), message(2)], NOW)

    assert lake.add_messages([message(2), message(3)], NOW) == 1

    messages, observables, _ = everything(lake)
    assert sorted(messages["message_id"]) == ["m1", "m2", "m3"]
    assert observables.n_unique() == observables.height


def test_a_newer_extractor_replaces_the_reading(lake, message):
    lake.add_messages([message(1, version=1)], NOW)

    assert lake.add_messages([message(1, version=2)], NOW) == 0, "it is not a new copy"

    messages, observables, _ = everything(lake)
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


@pytest.mark.parametrize("fails", MAIL_TABLES, ids=lambda table: table.name)
def test_a_crash_between_any_two_commits_is_mended_by_the_next_try(
    lake, message, monkeypatch, fails
):
    lake.add_messages([message(1), message(2)], NOW)
    again = [message(3), message(4, received_at=NOW)]

    with monkeypatch.context() as patch:
        _break(patch, fails)
        with pytest.raises(OSError, match="went away"):
            lake.add_messages(again, NOW)
    assert sorted(everything(lake)[0]["message_id"]) == ["m1", "m2"]

    assert lake.add_messages(again, NOW) == 2
    _assert_whole(lake)
    assert lake.add_messages(again, NOW) == 0


@pytest.mark.parametrize("fails", MAIL_TABLES, ids=lambda table: table.name)
def test_a_crash_while_copies_are_read_anew_is_mended_by_the_next_try(
    lake, message, monkeypatch, fails
):
    lake.add_messages([message(1), message(2)], NOW)
    again = [message(1, version=2), message(3)]

    with monkeypatch.context() as patch:
        _break(patch, fails)
        with pytest.raises(OSError, match="went away"):
            lake.add_messages(again, NOW)
    messages = everything(lake)[0]
    assert set(messages.select("message_id", "extractor_version").rows()) == {("m1", 1), ("m2", 1)}

    assert lake.add_messages(again, NOW) == 1
    _assert_whole(lake)
    messages = everything(lake)[0].select("message_id", "extractor_version")
    assert sorted(messages.rows()) == [("m1", 2), ("m2", 1), ("m3", 1)]


def _break(patch: pytest.MonkeyPatch, fails: Table) -> None:
    """The machine goes away before the commit to this table."""

    def broken(there, rows, **options):
        if there.table_uri.rstrip("/").endswith(fails.name):
            raise OSError("the machine went away")
        write_deltalake(there, rows, **options)

    def broken_merge(*arguments, **options):
        raise OSError("the machine went away")

    patch.setattr(delta, "write_deltalake", broken)
    if fails is MESSAGES_TABLE:
        patch.setattr(DeltaTable, "merge", broken_merge)


def _assert_whole(lake) -> None:
    """No copy comes twice, no observable, and each has its lookups."""
    messages, observables, lookups = everything(lake)
    assert messages["copy_id"].n_unique() == messages.height
    assert observables.n_unique() == observables.height
    readings = ["copy_id", "extractor_version"]
    assert messages.join(observables, on=readings, how="anti").is_empty()
    expected = set(lookups_frame(observables).rows())
    assert set(lookups.rows()) == expected


def test_what_was_read_before_a_failure_is_kept(lake, message, monkeypatch):
    monkeypatch.setattr(mail, "BATCH", 2)

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
    assert lake.scan_lookups(versions.lookups, window).collect().height > 0


def test_a_window_reads_only_its_days(lake, message, tmp_path):
    days = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in range(1, 11)]
    lake.add_messages([message(n, received_at=at) for n, at in enumerate(days)], NOW)
    window, versions = Window(days[2], days[3]), lake.versions()
    for folder in (tmp_path / "lake").glob("*/delivery_date=*"):
        if folder.name[-2:] not in ("03", "04"):
            shutil.rmtree(folder)

    assert lake.scan_messages(versions.messages, window).collect().height == 1
    assert not lake.scan_observables(versions.observables, window).collect().is_empty()
    assert not lake.scan_lookups(versions.lookups, window).collect().is_empty()


def test_the_mail_of_some_days_is_whole_and_of_these_days_alone(lake, message):
    days = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in range(1, 6)]
    lake.add_messages([message(n, received_at=at) for n, at in enumerate(days)], NOW)
    some = [date(2026, 1, 2), date(2026, 1, 4)]

    parts = [part.collect() for part in lake.mail_of(lake.versions(), some)]

    whole = everything(lake)
    for part, of_month in zip(parts, whole, strict=True):
        assert set(part["delivery_date"]) == set(some)
        assert part.height == of_month.filter(pl.col("delivery_date").is_in(some)).height
    assert all(part.collect().is_empty() for part in lake.mail_of(lake.versions(), []))


def test_the_rows_of_each_day_are_told_without_reading_them(lake, message, tmp_path):
    bare = message(3, received_at=datetime(2026, 1, 9, tzinfo=UTC), observables=())
    later = message(2, received_at=datetime(2026, 1, 7, tzinfo=UTC))
    lake.add_messages([message(1), later, bare], NOW)
    versions, lookups = lake.versions(), everything(lake)[2]
    lake.add_messages([message(4)], NOW)
    for file in (tmp_path / "lake").glob("*/*/*.parquet"):
        file.write_bytes(b"")

    rows = lake.rows_by_day(versions, MONTH)

    counts = dict(lookups.group_by("delivery_date").len().iter_rows())
    assert rows == {**counts, date(2026, 1, 9): 0}
    sixth = Window(datetime(2026, 1, 5, 23, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC))
    assert rows.keys() & lake.rows_by_day(versions, sixth).keys() == {date(2026, 1, 5)}


@pytest.mark.parametrize("table", MAIL_TABLES, ids=lambda table: table.name)
def test_a_version_whose_files_are_gone_is_a_clear_error_before_it_is_read(lake, table):
    lake.add_messages([message_of(day) for day in (4, 5)], NOW)
    pinned = lake.versions()
    lake.add_messages([message_of(5, 1)], NOW)
    opened(lake, table).delete("delivery_date = '2026-01-05'")
    remove_what_is_not_needed(lake, table)

    gone = f"{table.name}: version 1 cannot be read any more: its files were removed after 36 hours"
    with pytest.raises(LakeError, match=gone):
        lake.mail_of(pinned, [date(2026, 1, 5)])
    scan = getattr(lake, f"scan_{table.name}")
    with pytest.raises(LakeError, match=gone):
        scan(1, MONTH)
    fourth = lake.mail_of(pinned, [date(2026, 1, 4)])
    assert fourth.messages.collect().height == 1, "a day that is still there can be read"


def message_of(day: int, number: int = 0) -> CollectedMessage:
    return contents.message(10 * number + day, received_at=datetime(2026, 1, day, tzinfo=UTC))


def test_an_empty_table_has_no_days(lake):
    lake.add_watermarks({ANN: Watermark(MONTH.start, "")}, 1, NOW)  # makes the tables
    assert lake.rows_by_day(lake.versions(), MONTH) == {}
    assert all(part.collect().is_empty() for part in lake.mail_of(lake.versions(), [NOW.date()]))
    between = lake.messages_between(0, 0, [NOW.date()])
    assert all(part.collect().is_empty() for part in between)


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


@pytest.mark.parametrize("lost", [LOOKUPS_TABLE, OBSERVABLES_TABLE], ids=lambda one: one.name)
def test_messages_without_what_belongs_to_them_are_refused(lake, message, tmp_path, lost):
    """They would meet nothing, ever: they are not collected again."""
    lake.add_messages([message(1)], NOW)
    shutil.rmtree(tmp_path / "lake" / lost.name)
    clear = "move the folders lookups, observables and messages away and collect again"
    with pytest.raises(LakeError, match=clear):
        lake.versions()
    with pytest.raises(LakeError, match=clear):
        lake.add_messages([message(2)], NOW)
    with pytest.raises(LakeError, match=clear):
        lake.add_watermarks({ANN: Watermark(MONTH.start, "")}, 1, NOW)


def test_observables_of_an_earlier_shape_are_refused_with_what_to_do(lake, tmp_path):
    frame = OBSERVABLES_TABLE.empty().drop("value_key").with_columns(lookup=pl.lit(""))
    write_deltalake(str(tmp_path / "lake" / "observables"), frame.to_arrow())
    with pytest.raises(LakeError, match=r"shape in lookup, value_key: .*observables and messages"):
        lake.versions()


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


def test_domains_that_are_known_of_an_earlier_version_are_not_read_again(lake):
    lake.add_messages([contents.message(1), _from_south(2)], NOW)
    known = (lake.versions().messages, {"known.example"})
    assert lake.mailbox_domains(known=known) == {"known.example"}
    lake.add_messages([contents.message(3)], NOW)
    assert lake.mailbox_domains(known=known) == {"known.example", "north.example"}
    for table in MAIL_TABLES:
        compact_days(lake._tables, table, 1)
    assert lake.mailbox_domains(known=known) == {"known.example", "north.example", "south.example"}


def test_a_domain_whose_last_mail_is_gone_is_no_longer_known(lake):
    lake.add_messages([_from_south(1), contents.message(2, received_at=NOW)], NOW)
    known = (lake.versions().messages, {"north.example", "south.example"})
    lake.add_messages([contents.message(3)], NOW)
    lake.expire(NOW)
    assert lake.mailbox_domains(known=known) == {"north.example"}


@pytest.mark.parametrize("forgotten", [False, True])
def test_domains_known_of_a_version_that_cannot_be_read_are_read_anew(lake, forgotten):
    lake.add_messages([_from_south(1), contents.message(2)], NOW)
    version = lake.versions().messages
    if forgotten:
        compact_days(lake._tables, MESSAGES_TABLE, 1)
        remove_what_is_not_needed(lake, MESSAGES_TABLE)
    known = (version if forgotten else version + 5, {"known.example"})
    assert lake.mailbox_domains(known=known) == {"north.example", "south.example"}


def _from_south(number):
    one = contents.message(number)
    return replace(one, copy=replace(one.copy, mailbox_id="eve", mailbox="eve@South.example"))


# --- side by side ---


@pytest.mark.parametrize("compact_from", [2, mail.COMPACT_FROM])
def test_threads_that_collect_the_same_copies_add_them_once(
    lake, message, monkeypatch, compact_from
):
    monkeypatch.setattr(mail, "COMPACT_FROM", compact_from)
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

    _assert_whole(lake)
    messages, observables, _ = everything(lake)
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
    messages, observables, _ = everything(lake)
    assert messages.height == messages["copy_id"].n_unique() == 50
    assert sum(int(line) for output in outputs for line in output.split()) == 50
    assert observables.height == observables.n_unique()
