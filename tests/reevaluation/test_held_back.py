"""What is held back is counted as it would have matched, without a row for each match."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake.rows import indicator, table

from retract.lake.frames import messages_frame, observables_frame
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
from retract.reevaluation.held_back import HeldBackHit, HeldBackHits, held_back_hits
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
    messages = list(messages)
    return held_back_hits(
        messages_frame(messages, NOW).lazy(),
        observables_frame(messages).lazy(),
        indicators.lazy(),
        WINDOW,
        NOW,
    )


def counts(found: HeldBackHits) -> dict[str, int]:
    return {hit.value: hit.copies for hit in found.top}


GOOGLE = (Type.DOMAIN, "google.com")


def test_a_value_is_told_once_with_who_lists_it_and_why_it_is_held_back():
    mail = [message(n, (Type.DOMAIN, "mail.google.com"), GOOGLE) for n in range(3)]
    indicators = pl.concat(
        [
            listed(GOOGLE, (Type.DOMAIN, "never.example"), source="b"),
            listed(GOOGLE, source="a", disposition="spam"),
        ]
    )

    assert hits(mail, indicators) == HeldBackHits(
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


def test_only_copies_of_the_window_and_their_newest_reading_count():
    older, newer = message(1, GOOGLE), message(1, version=2)
    messages = messages_frame([newer, message(40, GOOGLE)], NOW)

    found = held_back_hits(
        messages.lazy(),
        observables_frame([older, message(40, GOOGLE)]).lazy(),
        listed(GOOGLE).lazy(),
        WINDOW,
        NOW,
    )

    assert found == HeldBackHits()


def test_the_values_with_most_copies_are_named_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(held_back, "TOP", 2)
    hosts = [(Type.DOMAIN, f"host{n}.example") for n in range(4)]
    mail = [message(n, *hosts[: n + 1]) for n in range(4)]

    found = hits(mail, listed(*hosts))

    assert found.values == 4
    assert counts(found) == {"host0.example": 4, "host1.example": 3}


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_however_many_days_are_looked_at_together_the_count_is_the_same(at_once, monkeypatch):
    monkeypatch.setattr(held_back, "COPIES_AT_ONCE", at_once)
    mail = [message(days, GOOGLE) for days in (0, 1, 2, 5, 9, 20)]

    assert counts(hits(mail, listed(GOOGLE))) == {"google.com": 6}


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
    mail = [message(n, *seen) for n, seen in enumerate(contents)]
    indicators = listed(*dict.fromkeys(values))
    matches = full_match(
        messages_frame(mail, NOW).lazy(),
        observables_frame(mail).lazy(),
        indicators.with_columns(held_back=pl.lit(None, pl.String)).lazy(),
        WINDOW,
        NOW,
    )
    expected = dict(matches.group_by("type", "indicator").len().select("indicator", "len").rows())

    found = hits(mail, indicators)

    assert counts(found) == expected
    assert found.values == len(expected)
