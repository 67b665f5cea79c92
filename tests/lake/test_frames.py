from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from retract.errors import LakeError
from retract.lake.frames import lookups_frame, messages_frame, observables_frame
from retract.lake.tables import LOOKUPS_TABLE, MESSAGES_TABLE, OBSERVABLES_TABLE
from retract.model import Observable, ObservableType
from retract.observables import lookup

NOW = datetime(2026, 1, 6, tzinfo=UTC)


def test_a_message_becomes_one_row_of_the_tables_shape(message):
    frame = messages_frame([message(1)], NOW)

    assert frame.schema == MESSAGES_TABLE.empty().schema
    row = frame.row(0, named=True)
    assert row["copy_id"] == message(1).copy.copy_id
    assert (row["provider"], row["mailbox"]) == ("microsoft365", "ann@north.example")
    assert row["delivery_date"] == date(2026, 1, 5)
    assert row["labels"] == ["INBOX", "UNREAD"]
    assert json.loads(row["authentication"]) == [["dmarc", "fail"]]
    assert row["collected_at"] == NOW


def test_the_delivery_date_is_the_utc_day(message):
    late = datetime(2026, 1, 5, 20, tzinfo=timezone(timedelta(hours=-8)))

    frame = messages_frame([message(1, received_at=late)], NOW)

    assert frame["delivery_date"].to_list() == [date(2026, 1, 6)]


def test_the_newest_reading_of_a_copy_counts(message):
    frame = messages_frame([message(1, version=2), message(1, version=1)], NOW)

    assert frame["extractor_version"].to_list() == [2]


def test_every_observable_has_one_row_of_the_tables_shape(message):
    url = Observable(ObservableType.URL, "https://evil.example/a/b?c", "html")
    digest = Observable(ObservableType.SHA256, "0" * 64, "attachment")

    frame = observables_frame([message(1, observables=(url, digest, url))])

    assert frame.schema == OBSERVABLES_TABLE.empty().schema
    assert set(frame.select("type", "value", "found_in", "value_key").rows()) == {
        (seen.type.value, seen.value, seen.found_in, lookup.key(seen.type, seen.value))
        for seen in (url, digest)
    }
    assert frame.height == 2


def test_every_value_of_a_day_is_looked_up_under_all_its_keys_once(message):
    url = Observable(ObservableType.URL, "https://evil.example/a/b?c", "html")
    digest = Observable(ObservableType.SHA256, "0" * 64, "attachment")
    later = datetime(2026, 1, 6, tzinfo=UTC)
    messages = [
        message(1, observables=(url, digest)),
        message(2, observables=(url,)),
        message(3, observables=(url,), received_at=later),
    ]

    frame = lookups_frame(observables_frame(messages))

    assert frame.schema == LOOKUPS_TABLE.empty().schema
    expected = {
        (day, lookup.key(seen.type, found.text), lookup.key(seen.type, seen.value), found.exact)
        for day, values in ((date(2026, 1, 5), (url, digest)), (later.date(), (url,)))
        for seen in values
        for found in lookup.lookups_of(seen.type, seen.value)
    }
    assert frame.height == len(expected)
    assert set(frame.rows()) == expected


def test_no_messages_make_empty_frames_of_the_right_shape():
    assert messages_frame([], NOW).schema == MESSAGES_TABLE.empty().schema
    assert observables_frame([]).schema == OBSERVABLES_TABLE.empty().schema
    assert lookups_frame(observables_frame([])).schema == LOOKUPS_TABLE.empty().schema


def test_text_that_is_no_unicode_is_stored_all_the_same(message):
    odd = message(
        1,
        subject="broken \udcff subject",
        observables=(Observable(ObservableType.FILE_NAME, "invoice\ud800.pdf"),),
    )
    odd = replace(odd, copy=replace(odd.copy, internet_message_id="<\udce9>"))

    messages, observables = messages_frame([odd], NOW), observables_frame([odd])

    assert messages["subject"].to_list() == ["broken ? subject"]
    assert set(observables["value"]) == {"invoice?.pdf"}


def test_a_frame_of_another_shape_is_refused():
    frame = MESSAGES_TABLE.empty().drop("subject")
    with pytest.raises(LakeError, match="messages: rows of another shape"):
        MESSAGES_TABLE.rows(frame)


def test_a_frame_of_other_types_is_refused(message):
    frame = messages_frame([message(1)], NOW).with_columns(extractor_version=pl.lit("one"))
    with pytest.raises(LakeError, match="messages: rows of another shape"):
        MESSAGES_TABLE.rows(frame)


def test_a_null_where_none_may_be_is_refused(message):
    frame = messages_frame([message(1)], NOW).with_columns(subject=pl.lit(None, pl.String))
    with pytest.raises(LakeError, match="messages: rows of another shape"):
        MESSAGES_TABLE.rows(frame)


def test_two_values_that_were_made_to_share_a_key_are_looked_up_both(message, monkeypatch):
    key = lookup.key
    values = ["https://good.example/a", "https://evil.example/b"]
    monkeypatch.setattr(lookup, "key", lambda kind, text: 7 if text in values else key(kind, text))
    seen = tuple(Observable(ObservableType.URL, value, "html") for value in values)

    found = lookups_frame(observables_frame([message(1, observables=seen)]))

    for text in ("good.example/a", "evil.example/b"):
        assert key(ObservableType.URL, text) in found.filter(value_key=7)["key"]
