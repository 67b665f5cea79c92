from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lake.contents import NOW, indicators, message, opened, remove_what_is_not_needed

from retract.errors import LakeError
from retract.lake import mail, upkeep
from retract.lake.coverage import Between
from retract.lake.store import Lake, LakeVersions
from retract.lake.tables import INDICATORS_TABLE, MESSAGES_TABLE

DAYS = [date(2026, 1, day) for day in (3, 4, 5, 6)]


def counted(rows: pl.LazyFrame) -> Counter[str]:
    """The rows, each with how often it comes."""
    return Counter(map(repr, rows.collect().rows()))


def assert_tells(between: Between, before: pl.LazyFrame, after: pl.LazyFrame) -> None:
    kept, added, removed = map(counted, between)
    assert kept + removed == counted(before)
    assert kept + added == counted(after)
    shape = before.collect_schema()
    assert [part.collect_schema() for part in between] == [shape] * 3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)))),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("expire"), st.sampled_from(DAYS)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, days=st.sets(st.sampled_from(DAYS)))
def test_between_two_versions_is_what_makes_the_one_the_other(steps, days):
    """Whatever was added, read anew, joined or forgotten between them."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "AT_NIGHT", 2)
        patch.setattr(mail, "COMPACT_FROM", 3)
        lake = Lake(folder)
        for what, argument in (("add", [(0, 1)]), *steps):
            if what == "add":
                batch = [
                    message(n, version=version, received_at=NOW - timedelta(days=n % 4))
                    for n, version in argument
                ]
                lake.add_messages(batch, NOW)
            elif what == "compact":
                lake.compact()
            else:
                lake.expire(datetime(argument.year, argument.month, argument.day, tzinfo=UTC))
        newest = lake.versions().messages
        assert newest is not None

        def at(version: int) -> pl.LazyFrame:
            return lake.mail_of(LakeVersions(messages=version), sorted(days)).messages

        for earlier in range(newest + 1):
            between = lake.messages_between(earlier, newest, sorted(days))
            assert_tells(between, at(earlier), at(newest))
        assert_tells(lake.messages_between(newest, 0, sorted(days)), at(newest), at(0))


def test_files_that_were_not_written_anew_are_kept(lake):
    lake.add_messages([message(1)], NOW)
    first = lake.versions().messages
    lake.add_messages([message(2)], NOW)

    kept, added, removed = lake.messages_between(first, lake.versions().messages, [DAYS[2]])

    assert kept.collect()["message_id"].to_list() == ["m1"]
    assert added.collect()["message_id"].to_list() == ["m2"]
    assert removed.collect().is_empty()


def test_only_the_files_of_the_days_are_read(lake, tmp_path):
    lake.add_messages([message(1), message(2, received_at=NOW)], NOW)
    first = lake.versions().messages
    lake.add_messages([message(3), message(4, received_at=NOW)], NOW)
    for file in (tmp_path / "lake" / "messages").glob("delivery_date=2026-01-06/*"):
        file.unlink()
    between = lake.messages_between(first, lake.versions().messages, [DAYS[2]])
    assert between.added.collect()["message_id"].to_list() == ["m3"]


def test_between_no_version_and_one_is_all_of_it(lake):
    lake.add_messages([message(1)], NOW)
    versions = lake.versions()
    between = lake.messages_between(None, versions.messages, DAYS)
    everything = lake.mail_of(versions, DAYS).messages
    assert_tells(between, everything.clear(), everything)

    lake.replace_indicators(indicators("a"))
    there = lake.scan_indicators(lake.versions().indicators)
    version = lake.versions().indicators
    assert_tells(lake.indicators_between(None, version), there.clear(), there)
    assert_tells(lake.indicators_between(version, None), there, there.clear())
    assert_tells(lake.indicators_between(None, None), there.clear(), there.clear())


def test_of_indicators_the_files_of_untouched_sources_are_kept(lake):
    odd = "a b'c/d=e%20:ü"
    first = lake.replace_indicators(pl.concat([indicators("a"), indicators("x", source=odd)]))
    second = lake.replace_indicators(indicators("b", "c"), sources=["list"])
    third = lake.replace_indicators(indicators("y", source=odd), sources=[odd])

    kept, added, removed = lake.indicators_between(first, second)
    assert kept.select("value", "source").collect().rows() == [("x", odd)]
    assert sorted(added.select("value", "source").collect().rows()) == [
        ("b", "list"),
        ("c", "list"),
    ]
    assert removed.select("value", "source").collect().rows() == [("a", "list")]
    for earlier in (first, second, third):
        rows = [lake.scan_indicators(version) for version in (earlier, third)]
        assert_tells(lake.indicators_between(earlier, third), *rows)


# --- what cannot be told any more ---


def test_files_that_left_the_store_are_a_clear_error_before_anything_is_read(lake):
    lake.add_messages([message(1)], NOW)
    first = lake.versions().messages
    lake.add_messages([message(1, version=2)], NOW)
    second = lake.versions().messages
    remove_what_is_not_needed(lake, MESSAGES_TABLE)
    newest = lake.versions().messages

    with pytest.raises(LakeError, match=f"messages: version {first} or {newest} cannot be read"):
        lake.messages_between(first, newest, DAYS)
    between = lake.messages_between(second, newest, DAYS)
    assert between.kept.collect().height == 1, "what is still there can be read"
    lake.messages_between(first, newest, [DAYS[0]])  # of a day that lost nothing


def test_indicators_whose_files_left_the_store_are_a_clear_error(lake):
    first = lake.replace_indicators(indicators("a"))
    lake.replace_indicators(indicators("b"))
    remove_what_is_not_needed(lake, INDICATORS_TABLE)
    with pytest.raises(LakeError, match="indicators: version"):
        lake.indicators_between(first, lake.versions().indicators)


def test_a_version_of_which_the_log_tells_no_more_is_a_clear_error(lake):
    lake.add_messages([message(1)], NOW)
    first = lake.versions().messages
    lake.add_messages([message(2)], NOW)
    table = opened(lake, MESSAGES_TABLE)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 hours"})
    table.create_checkpoint()
    table.cleanup_metadata()

    with pytest.raises(LakeError, match="messages: "):
        lake.messages_between(first, lake.versions().messages, DAYS)
    with pytest.raises(LakeError, match="messages: "):
        lake.messages_between(99, lake.versions().messages, DAYS)


def test_versions_of_a_lake_that_is_not_there_are_a_clear_error(lake):
    with pytest.raises(LakeError, match="messages: there is no such table"):
        lake.messages_between(0, 1, DAYS)
