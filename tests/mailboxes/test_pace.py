"""Calls come no faster than the pace allows."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.mailboxes.pace import Pace


class Time:
    """Passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 1000.0

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def keep(per_second: float, steps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """When so many calls each were let go, given how long is idled before each."""
    time = Time()
    pace = Pace(per_second, time.sleep, lambda: time.now)
    went = []
    for idle, calls in steps:
        time.now += idle
        asyncio.run(pace.keep(calls))
        went.append((time.now, calls))
    return went


def test_the_first_calls_need_not_wait() -> None:
    assert keep(10, [(0, 20)]) == [(1000.0, 20)]


def test_a_batch_takes_the_time_of_its_calls() -> None:
    assert keep(10, [(0, 20), (0, 20), (0, 1)]) == [(1000.0, 20), (1002.0, 20), (1004.0, 1)]


def test_half_an_idle_second_is_made_up_for() -> None:
    went = keep(40, [(0, 10), (0, 10), (60, 10), (0, 10), (0, 10), (0, 10), (0, 10)])
    starts = [1000, 1000.25, 1060.25, 1060.25, 1060.25, 1060.5, 1061.28]
    assert [at for at, _ in went] == pytest.approx(starts)


def test_those_who_wait_together_take_turns() -> None:
    async def together() -> list[float]:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        pace = Pace(10, sleep, lambda: 1000.0)
        await asyncio.gather(*(pace.keep(5) for _ in range(4)))
        return waits

    assert asyncio.run(together()) == pytest.approx([0.5, 1.03, 1.53])


STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), min_size=1, max_size=40)


@given(st.floats(20, 5000), STEPS)
def test_no_second_holds_more_than_the_pace_allows(
    per_second: float, steps: list[tuple[float, int]]
) -> None:
    went = keep(per_second, steps)
    for start, _ in went:
        assert sum(calls for at, calls in went if start <= at < start + 1) <= per_second


@given(st.floats(0.5, 20), STEPS)
def test_what_is_more_than_a_seconds_calls_takes_the_time_of_its_calls(
    per_second: float, steps: list[tuple[float, int]]
) -> None:
    went = keep(per_second, steps)
    for (at, calls), (after, _) in pairwise(went):
        if calls > per_second:
            assert after - at >= calls / per_second - 1e-6
