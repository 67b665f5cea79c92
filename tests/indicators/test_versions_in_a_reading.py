from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retract.indicators.feeds import Source
from retract.indicators.listed import Listed
from retract.indicators.refresh import read_source
from retract.indicators.snapshot import snapshot_of
from retract.model import ObservableType

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOURCE = Source(
    name="stix", format="stix", location="/nowhere", disposition="malicious", confidence=80
)


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def listed(value: str, statement: str = "", stated_at: datetime | None = None, revoked=False):
    return Listed(
        ObservableType.DOMAIN, value, statement=statement, stated_at=stated_at, revoked=revoked
    )


def in_force(*entries: Listed) -> set[str]:
    return set(snapshot_of(entries, SOURCE, NOW).rows.filter("active")["value"])


@pytest.mark.parametrize("turned", [False, True])
def test_a_revocation_on_a_later_page_beats_the_version_it_revokes(turned):
    entries = [
        listed("a.example", "indicator--1", day(1)),
        listed("a.example", "indicator--1", day(2), revoked=True),
    ]
    assert in_force(*(reversed(entries) if turned else entries)) == set()


def test_what_an_older_version_named_is_not_listed_any_more():
    mended = [
        listed("wrong.example", "indicator--1", day(1)),
        listed("right.example", "indicator--1", day(2)),
    ]
    assert in_force(*mended) == {"right.example"}


def test_a_version_without_a_time_is_the_oldest():
    assert in_force(
        listed("a.example", "indicator--1"),
        listed("b.example", "indicator--1", day(1)),
    ) == {"b.example"}


def test_all_values_of_one_version_count():
    one = [listed(f"{name}.example", "indicator--1", day(1)) for name in "abc"]
    assert in_force(*one) == {"a.example", "b.example", "c.example"}


def test_another_statement_of_the_same_value_stands():
    assert in_force(
        listed("a.example", "indicator--1", day(1)),
        listed("a.example", "indicator--2", day(9), revoked=True),
    ) == {"a.example"}


def test_entries_that_name_no_statement_are_all_kept():
    assert in_force(listed("a.example"), listed("b.example", stated_at=day(1))) == {
        "a.example",
        "b.example",
    }


def test_an_id_that_no_table_can_store_is_an_id_all_the_same():
    assert in_force(
        listed("a.example", "indicator--\ud800", day(1)),
        listed("b.example", "indicator--\ud800", day(2)),
        listed("c.example", "x" * 100_000, day(2)),
    ) == {"b.example", "c.example"}


entries = st.lists(
    st.builds(
        listed,
        st.sampled_from(["a.example", "b.example", "c.example"]),
        st.sampled_from(["", "i-1", "i-2"]),
        st.sampled_from([None, day(1), day(2)]),
        st.booleans(),
    ),
    max_size=8,
)


@given(entries)
@settings(deadline=None)
def test_it_is_what_the_newest_versions_say_in_whatever_order_they_come(stated):
    def is_newest(entry: Listed) -> bool:
        others = [other.stated_at for other in stated if other.statement == entry.statement]
        return not entry.statement or not any(
            time is not None and (entry.stated_at is None or time > entry.stated_at)
            for time in others
        )

    expected = {one.value for one in stated if is_newest(one) and not one.revoked}
    assert in_force(*stated) == in_force(*reversed(stated)) == expected


@pytest.mark.parametrize(
    "withdrawn", [{"revoked": True}, {"indicator_types": ["benign"]}, {"labels": ["tlp:red"]}]
)
def test_versions_on_several_pages_are_versions_all_the_same(tmp_path, withdrawn):
    def page(name: str, modified: str, pattern: str, **more: object) -> None:
        thing = {
            "type": "indicator",
            "id": "indicator--1",
            "modified": modified,
            "pattern": pattern,
            **more,
        }
        (tmp_path / name).write_text(json.dumps({"objects": [thing]}), encoding="utf-8")

    changes = {"location": str(tmp_path / "*.json"), "disposition_by_tag": {"tlp:red": "ignore"}}
    pages = SOURCE.model_copy(update=changes)
    page("a.json", "2026-01-01T00:00:00Z", "[domain-name:value = 'c.example']", id="indicator--2")
    page("1.json", "2026-01-01T00:00:00Z", "[domain-name:value = 'a.example']")
    page("2.json", "2026-01-02T00:00:00Z", "[domain-name:value = 'b.example']")
    assert set(read_source(pages, NOW).rows.filter("active")["value"]) == {
        "b.example",
        "c.example",
    }

    page("0.json", "2026-01-03T00:00:00Z", "[domain-name:value = 'b.example']", **withdrawn)
    assert set(read_source(pages, NOW).rows.filter("active")["value"]) == {"c.example"}
