"""What of the indicators, and of the mail, a day was never matched with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from tests.lake.rows import indicator, table
from tests.reevaluation.mail import NOW, message

from retract.lake.coverage import Between
from retract.lake.frames import lookups_frame, messages_frame, observables_frame
from retract.model import CollectedMessage
from retract.model import ObservableType as Type
from retract.reevaluation import late_lookups
from retract.reevaluation.incremental import (
    Mail,
    increment,
    new_readings,
    newly_in_force,
    still_there,
)
from retract.reevaluation.match import LISTED

BEFORE = NOW - timedelta(days=1)
HOST = (Type.DOMAIN, "evil.example")
PAGE = (Type.URL, "https://evil.example/a")
ROOT = (Type.URL, "https://evil.example/")
NETWORK = (Type.IP_ADDRESS, "203.0.113.0/24")
LONG_AGO = date(2000, 1, 1)


def rows(*listed: tuple[Type, str], **more) -> pl.DataFrame:
    return table(*(indicator(value, NOW, kind, **more) for kind, value in listed))


def new_lookups(
    was: pl.DataFrame, now_is: pl.DataFrame, *, both: pl.DataFrame | None = None, now=NOW
) -> set[str]:
    kept = rows() if both is None else both
    between = Between(kept.lazy(), now_is.lazy(), was.lazy())
    whole = (pl.concat([kept, was]).lazy(), pl.concat([kept, now_is]).lazy())
    return set(newly_in_force(between, *whole, now, BEFORE)["lookup"])


def test_only_what_no_indicator_meant_before_is_new():
    was = rows(HOST, PAGE, NETWORK)

    assert new_lookups(was, pl.concat([was, rows(ROOT)])) == {"evil.example/"}
    assert new_lookups(rows(), was) == {"evil.example", "evil.example/a", "203.0.113.0/24"}
    assert new_lookups(was, rows()) == set()


@pytest.mark.parametrize(
    "not_in_force", [{"active": False}, {"held_back": "shared host"}, {"expires_at": BEFORE}]
)
def test_what_was_not_in_force_is_new_when_it_is(not_in_force):
    assert new_lookups(rows(HOST, **not_in_force), rows(HOST)) == {"evil.example"}
    assert new_lookups(rows(HOST), rows(HOST, **not_in_force)) == set()


def test_what_has_expired_since_is_new_to_a_run_of_an_earlier_time():
    expired = rows(HOST, expires_at=BEFORE - timedelta(hours=1))

    assert new_lookups(rows(), rows(), both=expired, now=BEFORE - timedelta(hours=2)) == {
        "evil.example"
    }
    assert new_lookups(rows(), rows(), both=expired) == set()


def test_what_shares_the_key_of_something_narrower_is_new():
    key = rows(PAGE)["key"][0]
    narrower = [rows(ROOT).with_columns(key=key), rows(PAGE)]

    assert new_lookups(narrower[0], narrower[1]) == {"evil.example/a"}
    assert new_lookups(narrower[1], narrower[0]) == set()  # the whole key was looked for
    assert new_lookups(rows(PAGE), rows(NETWORK).with_columns(key=key)) == {"203.0.113.0/24"}


def test_a_rule_is_new_when_one_before_it_makes_room(monkeypatch):
    monkeypatch.setattr(late_lookups, "MAX_RULES", 1)
    first, second = ((Type.SUBJECT_PATTERN, f"your invoice {n}*") for n in (1, 2))

    both = rows(second, first_seen=NOW)

    assert new_lookups(rows(first, first_seen=BEFORE), rows(), both=both) == {second[1]}
    assert new_lookups(rows(), rows(first, first_seen=BEFORE), both=both) == {first[1]}


# --- mail ---


def frame(*read: CollectedMessage) -> pl.DataFrame:
    return messages_frame(read, NOW)


def mail(*read: CollectedMessage) -> Mail:
    observables = observables_frame(read)
    return Mail(frame(*read).lazy(), observables.lazy(), lookups_frame(observables).lazy())


NOTHING = frame().lazy()
NONE_LISTED = rows().select(LISTED)


def test_a_file_that_was_only_written_anew_has_no_new_readings():
    old, other, again = message("m"), message("n"), message("m", extractor_version=2)
    between = Between(NOTHING, frame(again, other).lazy(), frame(old, other).lazy())

    assert new_readings(between).select("copy_id", "extractor_version").collect().rows() == [
        (again.copy.copy_id, 2)
    ]


def test_new_copies_meet_all_and_all_copies_what_is_new():
    old, new = message("old", HOST), message("new", HOST, (Type.DOMAIN, "later.example"))
    listed = rows(HOST, (Type.DOMAIN, "later.example"))
    of_all = mail(old, new)

    def found(newly_listed: pl.DataFrame) -> tuple[set[str], set[str]]:
        found = increment(of_all, frame(new).lazy(), NOTHING, listed.lazy(), newly_listed)
        return set(found.hits["copy_id"]), set(found.suspects["copy_id"])

    ids = old.copy.copy_id, new.copy.copy_id
    assert found(NONE_LISTED) == ({ids[1]}, {ids[1]})
    assert found(rows(HOST).select(LISTED)) == (set(ids), set(ids))


def test_another_reading_of_a_suspect_is_a_suspect_though_nothing_speaks_against_it():
    read, again = message("m", HOST), message("m", extractor_version=2)

    found = increment(
        mail(again), frame(again).lazy(), frame(read).lazy(), rows(HOST).lazy(), NONE_LISTED
    )

    assert found.hits.is_empty()
    assert found.suspects["extractor_version"].to_list() == [2]


def test_a_suspect_that_was_read_again_or_forgotten_is_none_any_more():
    old, kept = message("old"), message("kept")
    first = message("first", received_at=datetime(2026, 1, 1, tzinfo=UTC), extractor_version=2)
    suspects = frame(old, kept, first).lazy()
    messages = frame(message("old", extractor_version=2), kept).lazy()

    def left(kept_since: date) -> set[str]:
        found = still_there(suspects, messages, 2, kept_since).collect()
        return set(found["copy_id"])

    assert left(LONG_AGO) == {kept.copy.copy_id, first.copy.copy_id}
    assert left(date(2026, 1, 2)) == {kept.copy.copy_id}
