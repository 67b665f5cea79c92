"""Calls come no faster than the pace allows."""

from __future__ import annotations

import asyncio

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


def test_idle_time_is_not_saved_up() -> None:
    assert keep(10, [(0, 20), (60, 20), (0, 20)]) == [(1000.0, 20), (1060.0, 20), (1062.0, 20)]


def test_those_who_wait_together_take_turns() -> None:
    async def together() -> list[float]:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        pace = Pace(10, sleep, lambda: 1000.0)
        await asyncio.gather(*(pace.keep(5) for _ in range(4)))
        return waits

    assert asyncio.run(together()) == [0.5, 1.0, 1.5]


@given(
    st.floats(0.5, 5000),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), min_size=1, max_size=40),
)
def test_no_stretch_of_time_holds_more_than_the_pace_allows(
    per_second: float, steps: list[tuple[float, int]]
) -> None:
    went = keep(per_second, steps)
    for first, (start, _) in enumerate(went):
        for last in range(first, len(went)):
            end, last_calls = went[last]
            calls = sum(count for _, count in went[first : last + 1])
            # The last handful goes at once: its time is still to come.
            assert calls <= (end - start) * per_second + last_calls + 1e-3
