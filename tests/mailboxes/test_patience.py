"""Waits are short, honour what the provider asks for, and end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.errors import OutcomeUnknown, TenantUnreachable, Throttled
from retract.mailboxes.patience import Patience, parse_retry_after

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0", 0.0),
        ("0.25", 0.25),
        (" 3 ", 3.0),
        ("Mon, 05 Jan 2026 12:00:30 GMT", 30.0),
        ("Mon, 05 Jan 2026 11:00:00 GMT", 0.0),
        ("Mon, 05 Jan 2026 12:00:30 -0000", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Mon, 99 Jan 2026 12:00:30 GMT", None),
        ("Mon, 05 Jan 99999999999999999999 12:00:30 GMT", None),
    ],
)
def test_retry_after_in_every_form(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_is_too_strange(header: str) -> None:
    seconds = parse_retry_after(header, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


class Provider:
    """Raises what it was given, one after the other, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def patience(seconds: float) -> tuple[Patience, list[float]]:
    waits: list[float] = []
    return Patience(seconds, waits.append), waits


def test_an_answer_needs_no_wait() -> None:
    patient, waits = patience(20)
    assert patient.call(Provider()) == "answer"
    assert waits == []


def test_the_wait_asked_for_is_kept() -> None:
    patient, waits = patience(20)
    assert patient.call(Provider(Throttled("slow down", retry_after=9.5))) == "answer"
    assert len(waits) == 1
    assert 9.5 <= waits[0] < 20


def test_a_wait_that_is_too_long_is_told_on_at_once() -> None:
    patient, waits = patience(20)
    with pytest.raises(Throttled) as caught:
        patient.call(Provider(Throttled("slow down", retry_after=300)))
    assert caught.value.retry_after == 300
    assert waits == []


@pytest.mark.parametrize("asked", [None, 0.0, 1.0])
def test_endless_throttling_ends_within_the_bound(asked: float | None) -> None:
    patient, waits = patience(20)
    provider = Provider(*(Throttled("slow down", retry_after=asked) for _ in range(1000)))
    with pytest.raises(Throttled):
        patient.call(provider)
    assert sum(waits) <= 20
    assert 3 < provider.calls < 100


def test_no_answer_is_tried_again_a_few_times() -> None:
    patient, _ = patience(20)
    provider = Provider(*(TenantUnreachable("no answer") for _ in range(1000)))
    with pytest.raises(TenantUnreachable):
        patient.call(provider)
    assert provider.calls == 3


@pytest.mark.parametrize("error", [lambda: OutcomeUnknown("perhaps"), lambda: ValueError("bug")])
def test_what_may_have_been_done_is_never_done_again(error: Callable[[], Exception]) -> None:
    patient, waits = patience(20)
    provider = Provider(error())
    with pytest.raises((OutcomeUnknown, ValueError)):
        patient.call(provider)
    assert (provider.calls, waits) == (1, [])


def test_throttled_tries_do_not_count_as_unanswered_ones() -> None:
    patient, _ = patience(60)
    throttled, silence = Throttled("slow down"), TenantUnreachable("no answer")
    provider = Provider(throttled, throttled, silence, throttled, silence)
    assert patient.call(provider) == "answer"
