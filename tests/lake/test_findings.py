from __future__ import annotations

import shutil
import threading
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from hypothesis import given
from hypothesis import strategies as st
from tests.lake.contents import NOW, indicators, message

from retract.errors import LakeError
from retract.lake import findings
from retract.lake.coverage import Covered
from retract.lake.findings import kept_counts, newest_counts
from retract.lake.frames import messages_frame
from retract.lake.store import Lake
from retract.lake.tables import (
    FOUND_TABLES,
    HELD_BACK_COUNTS_TABLE,
    HITS_TABLE,
    MAIL_TABLES,
    MESSAGES_TABLE,
    SUSPECTS_TABLE,
)
from retract.model import CollectedMessage

FIFTH, SIXTH = date(2026, 1, 5), date(2026, 1, 6)
DAYS = [FIFTH, SIXTH]


def hit(number: int, *, key: int = 7, version: int = 1, day: date = FIFTH) -> pl.DataFrame:
    row = {
        "copy_id": f"c{number}",
        "delivery_date": day,
        "extractor_version": version,
        "type": "url",
        "key": key,
        "lookup": "evil.example",
        "exact": False,
        "observable": "https://evil.example/",
        "all_met": ["https://evil.example/", "https://evil.example/2"],
    }
    return pl.DataFrame([row], schema=HITS_TABLE.empty().schema)


def suspects(*messages: CollectedMessage) -> pl.DataFrame:
    return messages_frame(messages, NOW)


NO_HITS = HITS_TABLE.empty()
NO_SUSPECTS = MESSAGES_TABLE.empty()

# --- hits and suspects ---


def test_nothing_was_found_in_a_new_lake(lake, tmp_path):
    assert lake.scan_hits(DAYS).collect().schema == HITS_TABLE.empty().schema
    assert lake.suspects(DAYS, 9).collect().schema == MESSAGES_TABLE.empty().schema
    assert lake.scan_held_back_counts(DAYS).collect().is_empty()
    assert lake.coverage(DAYS) == {}
    lake.add_findings(NO_HITS, NO_SUSPECTS, 3)
    lake.add_coverage({})
    assert not (tmp_path / "lake").exists()


def test_hits_are_read_back_by_days(lake):
    lake.add_findings(pl.concat([hit(1), hit(2, day=SIXTH)]), NO_SUSPECTS, 3)
    assert lake.scan_hits([FIFTH]).collect().equals(hit(1))
    assert lake.scan_hits(DAYS).collect().height == 2
    assert lake.scan_hits([]).collect().is_empty()


def test_of_a_suspect_the_newest_reading_counts_that_the_version_had(lake):
    lake.add_findings(NO_HITS, suspects(message(1), message(2)), 3)
    lake.add_findings(NO_HITS, suspects(message(1, version=2)), 5)
    lake.add_findings(NO_HITS, suspects(message(2), message(3, received_at=NOW)), 6)

    def readings(version: int, days: list[date]) -> set[tuple[str, int]]:
        found = lake.suspects(days, version).collect()
        assert found.schema == MESSAGES_TABLE.empty().schema
        rows = found.select("message_id", "extractor_version").rows()
        assert len(rows) == len(set(rows))
        return set(rows)

    assert readings(2, DAYS) == set()
    assert readings(4, DAYS) == {("m1", 1), ("m2", 1)}
    assert readings(5, DAYS) == {("m1", 2), ("m2", 1)}
    assert readings(6, DAYS) == {("m1", 2), ("m2", 1), ("m3", 1)}
    assert readings(6, [SIXTH]) == {("m3", 1)}


def test_an_older_reading_that_is_added_late_counts_no_more_than_it_did(lake):
    lake.add_findings(NO_HITS, suspects(message(1, version=2)), 5)
    lake.add_findings(NO_HITS, suspects(message(1, version=1)), 6)
    assert lake.suspects(DAYS, 6).collect()["extractor_version"].to_list() == [2]


# --- what is held back ---


def counts(*rows: tuple[date, int, int]) -> pl.DataFrame:
    """(day, key, copies)"""
    return pl.DataFrame(
        [(day, "url", key, copies, 0) for day, key, copies in rows],
        schema={
            "delivery_date": pl.Date,
            "type": pl.String,
            "key": pl.Int64,
            "copies": pl.Int64,
            "exactly": pl.Int64,
        },
        orient="row",
    )


def known(lake: Lake, *days: date) -> dict[tuple[date, int], int]:
    rows = lake.scan_held_back_counts(days or DAYS).collect()
    assert rows.schema == counts().schema
    found = {(day, key): copies for day, _, key, copies, _ in rows.iter_rows()}
    assert len(found) == rows.height
    return found


def test_counts_of_a_day_are_replaced_and_added_to(lake):
    lake.replace_held_back_counts(DAYS, counts((FIFTH, 1, 4), (FIFTH, 2, 2), (SIXTH, 1, 9)), 3)
    lake.add_held_back_counts(counts((FIFTH, 3, 1)), 3)
    assert known(lake) == {(FIFTH, 1): 4, (FIFTH, 2): 2, (FIFTH, 3): 1, (SIXTH, 1): 9}
    assert known(lake, SIXTH) == {(SIXTH, 1): 9}

    lake.replace_held_back_counts([FIFTH], counts((FIFTH, 1, 3)), 4)
    assert known(lake) == {(FIFTH, 1): 3, (SIXTH, 1): 9}, "fewer, and one that none has any more"
    lake.add_held_back_counts(counts((FIFTH, 2, 5)), 5)
    assert known(lake, FIFTH) == {(FIFTH, 1): 3, (FIFTH, 2): 5}


def test_counts_that_come_late_from_an_earlier_version_void_none(lake):
    """Of two runs at once the one with the older mail may end last."""
    lake.replace_held_back_counts([FIFTH], counts((FIFTH, 1, 4), (FIFTH, 2, 1)), 5)
    lake.replace_held_back_counts([FIFTH], counts((FIFTH, 1, 3)), 4)
    lake.add_held_back_counts(counts((FIFTH, 3, 7)), 4)
    assert known(lake) == {(FIFTH, 1): 4, (FIFTH, 2): 1}


def test_no_counts_can_replace_some(lake):
    lake.replace_held_back_counts([FIFTH], counts((FIFTH, 1, 4)), 3)
    lake.replace_held_back_counts([FIFTH], counts(), 4)
    assert known(lake) == {}


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(DAYS),
            st.integers(1, 3),
            st.integers(0, 3),
            st.integers(0, 4),
            st.booleans(),
        ),
        max_size=12,
    ),
    until=st.integers(0, 12),
)
def test_joining_the_counts_early_changes_no_count(rows, until):
    shape = HELD_BACK_COUNTS_TABLE.empty().schema
    frame = pl.DataFrame(
        [
            (day, "" if whole else "url", 0 if whole else key, copies, 0, whole, "id", version)
            for day, key, copies, version, whole in rows
        ],
        schema=shape,
        orient="row",
    )
    early = pl.concat([kept_counts(frame[:until].lazy()), frame[until:].lazy()])
    columns = ("delivery_date", "key", "copies")
    shown = [newest_counts(one).select(columns) for one in (frame.lazy(), early)]
    assert sorted(shown[0].collect().rows()) == sorted(shown[1].collect().rows())


# --- coverage ---


def covered(messages: int, indicators: int | None = None, hours: int = 0) -> Covered:
    at = NOW + timedelta(hours=hours)
    return Covered(messages=messages, indicators=indicators, as_of=at, own_domains=("a.example",))


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """A lake with versions 0 to 3 of messages, and 0 to 2 of indicators."""
    for number in range(3):
        lake.add_messages([message(number)], NOW)
    for value in ("a", "b"):
        lake.replace_indicators(indicators(value))
    return lake


def test_coverage_is_read_back_by_days(filled):
    filled.add_coverage({FIFTH: covered(1, 1), SIXTH: covered(2)})
    assert filled.coverage(DAYS) == {FIFTH: covered(1, 1), SIXTH: covered(2)}
    assert filled.coverage([SIXTH]) == {SIXTH: covered(2)}


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (covered(1, 2, 5), covered(2, 1)),
        (covered(1, 1, 5), covered(1, 2)),
        (covered(1, None, 5), covered(1, 0)),
        (covered(1, 1), covered(1, 1, 1)),
    ],
)
def test_of_several_the_one_of_the_newest_versions_counts(filled, less, more):
    for one in (less, more, less):
        filled.add_coverage({FIFTH: one})
    assert filled.coverage([FIFTH]) == {FIFTH: more}


def test_what_speaks_of_later_messages_can_be_left_out(filled):
    filled.add_coverage({FIFTH: covered(1, 1)})
    filled.add_coverage({FIFTH: covered(3, 1), SIXTH: covered(3)})
    assert filled.coverage(DAYS, messages_version=2) == {FIFTH: covered(1, 1)}


@pytest.mark.parametrize("gone", [*MAIL_TABLES, *FOUND_TABLES], ids=lambda table: table.name)
def test_coverage_is_void_without_a_table_it_speaks_of(filled, tmp_path, gone):
    filled.add_coverage({FIFTH: covered(1), SIXTH: covered(1, 1)})
    filled.add_findings(hit(1), suspects(message(1)), 1)

    shutil.rmtree(tmp_path / "lake" / gone.name)
    assert filled.coverage(DAYS) == {}
    filled._tables.open_or_create(gone)
    assert filled.coverage(DAYS) == {}, "the new table is another one"


def test_with_new_indicators_only_what_speaks_of_none_still_counts(filled, tmp_path):
    filled.add_coverage({FIFTH: covered(1), SIXTH: covered(1, 1)})
    shutil.rmtree(tmp_path / "lake" / "indicators")
    assert filled.coverage(DAYS) == {FIFTH: covered(1)}
    filled.replace_indicators(indicators("c"))
    assert filled.coverage(DAYS) == {FIFTH: covered(1)}


def test_tables_that_another_one_makes_at_the_same_moment_are_opened(tmp_path, monkeypatch):
    make, failed = DeltaTable.create, []

    def too_late(*args, **more):
        made = make(*args, **more)
        if len(failed) < len(FOUND_TABLES):
            failed.append(made)
            raise CommitFailedError("protocol changed")
        return made

    monkeypatch.setattr(DeltaTable, "create", too_late)
    ids = Lake(str(tmp_path / "lake")).open_findings()
    assert ids == {
        table.name: str(made.metadata().id)
        for table, made in zip(FOUND_TABLES, failed, strict=True)
    }


def test_coverage_is_not_said_of_other_tables_than_those_that_were_added_to(filled, tmp_path):
    tables = filled.open_findings()
    filled.add_coverage({FIFTH: covered(1)}, tables)
    shutil.rmtree(tmp_path / "lake" / "hits")
    with pytest.raises(LakeError, match=r"hits: the table was replaced .*task pin"):
        filled.add_coverage({FIFTH: covered(1)}, tables)
    assert filled.coverage(DAYS) == {}


def test_the_mailboxes_domains_are_known_of_the_newest_version_that_was_matched(filled):
    assert filled.known_domains() is None
    for version in (3, 1, 2):
        own = (f"{version}.example", "north.example")
        filled.add_coverage({FIFTH: covered(version).model_copy(update={"own_domains": own})})
    assert filled.known_domains() == (3, ("3.example", "north.example"))
    assert filled.known_domains(2) == (2, ("2.example", "north.example"))
    assert filled.known_domains(0) is None


@pytest.mark.parametrize("one", [covered(4), covered(1, 3)])
def test_versions_that_are_not_there_are_refused(filled, one):
    """The table was taken away while it was matched."""
    with pytest.raises(LakeError, match="the table was replaced while it was matched"):
        filled.add_coverage({FIFTH: one})
    assert filled.coverage(DAYS) == {}


def test_of_messages_that_were_taken_away_nothing_is_known_any_more(filled, tmp_path):
    """They are collected again, and their versions counted anew."""
    filled.add_findings(hit(1), suspects(message(1), message(2)), 3)
    filled.replace_held_back_counts([FIFTH], counts((FIFTH, 1, 4)), 3)
    for table in MAIL_TABLES:
        shutil.rmtree(tmp_path / "lake" / table.name)
    assert filled.suspects(DAYS, 9).collect().is_empty()
    filled.add_messages([message(1)], NOW)
    assert filled.suspects(DAYS, 9).collect().is_empty()
    assert known(filled) == {}

    filled.add_findings(NO_HITS, suspects(message(1)), 1)
    filled.replace_held_back_counts([FIFTH], counts((FIFTH, 1, 2)), 1)
    filled.compact()
    assert filled.suspects(DAYS, 1).collect()["message_id"].to_list() == ["m1"]
    assert known(filled) == {(FIFTH, 1): 2}
    assert filled.scan_hits(DAYS).collect().height == 1, "what was read does not change"


# --- side by side ---


def test_threads_that_add_what_they_found_lose_none_while_files_are_joined(filled, monkeypatch):
    monkeypatch.setattr(findings, "COMPACT_FROM", 2)
    start = threading.Barrier(3)
    failed: list[BaseException] = []

    def add(first: int) -> None:
        try:
            start.wait()
            for number in range(first, first + 6):
                copy = message(number, received_at=datetime(2026, 1, 5, tzinfo=UTC))
                filled.add_findings(hit(number), suspects(copy), 2)
                filled.add_held_back_counts(counts((FIFTH, number, number)), 2)
                filled.add_coverage({FIFTH: covered(2, hours=number)})
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 0, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    numbers = {*range(6), *range(10, 16)}
    assert set(filled.scan_hits([FIFTH]).collect()["copy_id"]) == {f"c{n}" for n in numbers}
    seen = filled.suspects([FIFTH], 2).collect()["message_id"].to_list()
    assert sorted(seen) == sorted(f"m{n}" for n in numbers)
    assert known(filled) == {(FIFTH, n): n for n in numbers}
    assert filled.coverage([FIFTH]) == {FIFTH: covered(2, hours=15)}
    filled.compact()
    assert filled.scan_hits([FIFTH]).collect()["copy_id"].n_unique() == len(numbers)
    assert filled.suspects([FIFTH], 2).collect().height == len(numbers)


def test_joined_files_hold_each_finding_once(filled, monkeypatch):
    monkeypatch.setattr(findings, "COMPACT_FROM", 2)
    for version in (3, 2):
        filled.add_findings(pl.concat([hit(1), hit(1, key=8)]), suspects(message(1)), version)
    filled.add_coverage({FIFTH: covered(1)})

    assert filled.scan_hits(DAYS).collect().height == 2
    rows = filled._tables.scan_newest(SUSPECTS_TABLE).collect()
    assert rows["messages_version"].to_list() == [2], "the first version that had it"
