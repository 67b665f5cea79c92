from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
from deltalake import DeltaTable
from tests.lake.contents import ANN, MONTH, NOW, url_of

from retract.lake import delta, watermarks
from retract.lake.store import Lake
from retract.model import Watermark

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
    monkeypatch.setattr(watermarks, "COMPACT_FROM", 3)
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
    monkeypatch.setattr(watermarks, "COMPACT_FROM", 1)
    lake.add_watermarks({ANN: MARK, BOB: MARK}, 1, NOW)
    later = Watermark(MONTH.start, "later")
    write = delta.write_deltalake

    def write_late(table, rows, **options):
        if options["mode"] == "overwrite":
            Lake(url_of(lake)).add_watermarks({ANN: later}, 1, NOW + timedelta(hours=1))
            monkeypatch.setattr(delta, "write_deltalake", write)
            lake.compact_watermarks()
        write(table, rows, **options)

    monkeypatch.setattr(delta, "write_deltalake", write_late)
    lake.compact_watermarks()
    assert lake.watermarks([ANN, BOB], 1) == {ANN: later, BOB: MARK}


def test_no_watermarks_make_no_table(lake, tmp_path):
    lake.add_watermarks({}, 1, NOW)
    lake.compact_watermarks()
    assert not (tmp_path / "lake").exists()
