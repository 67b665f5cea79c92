"""What is held back is counted as it would have matched, without a row for each match."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake.rows import indicator, table

from retract.lake.frames import lookups_frame, messages_frame, observables_frame
from retract.lake.tables import HELD_BACK_COUNTS_TABLE
from retract.model import (
    CollectedMessage,
    Copy,
    Extraction,
    Location,
    Observable,
    Place,
    Provider,
    Window,
)
from retract.model import ObservableType as Type
from retract.observables import lookup
from retract.reevaluation import held_back
from retract.reevaluation.held_back import (
    HeldBackHit,
    HeldBackHits,
    counted,
    held_back_hits,
    held_back_of,
)
from retract.reevaluation.incremental import Mail
from retract.reevaluation.match import full_match

NOW = datetime(2026, 1, 31, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=30), NOW)
SHARED = "shared host: good mail names it too"


def message(number: int, *seen: tuple[Type, str], version: int = 1) -> CollectedMessage:
    """Delivered ``number`` days ago."""
    return CollectedMessage(
        copy=Copy(Provider.GOOGLE_WORKSPACE, "tenant", "ann", "ann@south.example", f"m{number}"),
        received_at=NOW - timedelta(days=number, seconds=1),
        location=Location(Place.INBOX),
        extraction=Extraction("", "", "", "", tuple(Observable(*one, "html") for one in seen)),
        extractor_version=version,
    )


def listed(*values: tuple[Type, str], **more: object) -> pl.DataFrame:
    told = {"held_back": SHARED} | more
    return table(
        *(
            indicator(value, NOW, kind, indicator_id=f"i{number}{more.get('source', '')}", **told)
            for number, (kind, value) in enumerate(values)
        )
    )


def hits(messages: Iterable[CollectedMessage], indicators: pl.DataFrame) -> HeldBackHits:
    return held_back_of(mail(list(messages)), indicators.lazy(), NOW)


def mail(messages: list[CollectedMessage], readings: list[CollectedMessage] | None = None) -> Mail:
    """The lake's tables; ``readings`` are those whose observables are there."""
    observables = observables_frame(messages if readings is None else readings)
    lookups = lookups_frame(observables)
    return Mail(messages_frame(messages, NOW).lazy(), observables.lazy(), lookups.lazy())


def counts(found: HeldBackHits) -> dict[str, int]:
    return {hit.value: hit.copies for hit in found.top}


COUNTS = HELD_BACK_COUNTS_TABLE.empty()[:, :5].schema
GOOGLE = (Type.DOMAIN, "google.com")


def test_a_value_is_told_once_with_who_lists_it_and_why_it_is_held_back():
    read = [message(n, (Type.DOMAIN, "mail.google.com"), GOOGLE) for n in range(3)]
    indicators = pl.concat(
        [
            listed(GOOGLE, (Type.DOMAIN, "never.example"), source="b"),
            listed(GOOGLE, source="a", disposition="spam"),
        ]
    )

    assert hits(read, indicators) == HeldBackHits(
        values=1,
        top=(
            HeldBackHit(
                type=Type.DOMAIN,
                value="google.com",
                reason=SHARED,
                sources=("a", "b"),
                disposition="malicious",
                copies=3,
            ),
        ),
    )


@pytest.mark.parametrize(
    "not_held_back",
    [
        {"held_back": None},
        {"active": False},
        {"expires_at": NOW},
    ],
)
def test_only_what_would_be_in_force_counts(not_held_back):
    assert hits([message(1, GOOGLE)], listed(GOOGLE, **not_held_back)) == HeldBackHits()


def test_only_the_newest_reading_of_a_copy_counts():
    older, newer = message(1, GOOGLE), message(1, version=2)

    found = held_back_of(mail([newer], readings=[older]), listed(GOOGLE).lazy(), NOW)

    assert found == HeldBackHits()


def test_days_are_counted_each_for_itself_and_summed_for_what_is_held_back_now():
    read = [message(days, GOOGLE) for days in (0, 1, 1, 2)]
    read = [replace(one, copy=replace(one.copy, message_id=str(n))) for n, one in enumerate(read)]
    other = (Type.DOMAIN, "example.com")
    indicators = listed(GOOGLE, other)

    found = counted(mail([*read, message(5, other)]), indicators.lazy())

    assert found.schema == COUNTS
    by_key = found.group_by("type", "key").agg(pl.col("copies").sort())
    assert sorted(by_key["copies"].to_list()) == [
        [1],
        [1, 1, 2],
    ]
    assert counts(held_back_hits(found.lazy(), listed(GOOGLE).lazy(), NOW)) == {"google.com": 4}


def test_the_values_with_most_copies_are_named_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(held_back, "TOP", 2)
    hosts = [(Type.DOMAIN, f"host{n}.example") for n in range(4)]
    read = [message(n, *hosts[: n + 1]) for n in range(4)]

    found = hits(read, listed(*hosts))

    assert found.values == 4
    assert counts(found) == {"host0.example": 4, "host1.example": 3}


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_however_many_days_are_looked_at_together_the_count_is_the_same(at_once, monkeypatch):
    monkeypatch.setattr(held_back, "COPIES_AT_ONCE", at_once)
    read = [message(days, GOOGLE) for days in (0, 1, 2, 5, 9, 20)]

    assert counts(hits(read, listed(GOOGLE))) == {"google.com": 6}


def test_a_collision_of_keys_is_no_hit():
    other = (Type.DOMAIN, "innocent.example")
    collision = listed(GOOGLE).with_columns(
        key=pl.lit(lookup.key(*other), dtype=pl.Int64),
    )

    assert hits([message(1, other)], collision) == HeldBackHits()


_HOSTS = ("google.com", "docs.google.com", "a.docs.google.com", "x.co.uk", "co.uk")
_VALUES = st.sampled_from(
    [(Type.DOMAIN, host) for host in _HOSTS]
    + [(Type.URL, f"https://{host}{path}") for host in _HOSTS[:3] for path in ("/", "/a", "/a/b")]
    + [(Type.EMAIL_ADDRESS, value) for value in ("@google.com", "a@google.com")]
)


@given(st.lists(st.lists(_VALUES, max_size=5), max_size=5), st.lists(_VALUES, max_size=6))
def test_the_counts_are_those_of_the_matches_that_there_would_be(contents, values):
    read = [message(n, *seen) for n, seen in enumerate(contents)]
    indicators = listed(*dict.fromkeys(values))
    matches = full_match(
        *mail(read),
        indicators.with_columns(held_back=pl.lit(None, pl.String)).lazy(),
        WINDOW,
        NOW,
    )
    expected = dict(matches.group_by("type", "indicator").len().select("indicator", "len").rows())

    found = hits(read, indicators)

    assert counts(found) == expected
    assert found.values == len(expected)
