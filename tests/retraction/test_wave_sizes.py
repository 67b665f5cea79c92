"""Waves are as large as the service is fast: no lease runs out while a worker is at work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count

import pytest
from fake_provider import FakeProvider
from hypothesis import given
from hypothesis import strategies as st
from words import RUN, START, act, copy, counted, recorded

from retract.model import State
from retract.retraction.act import WAVE
from retract.retraction.records import mailbox_key
from retract.retraction.waves import FIRST_WAVE, next_size

TEN_SECONDS = timedelta(seconds=10)
MAILBOXES = 60
COPIES = [copy(number, f"box-{number % MAILBOXES}") for number in range(3 * MAILBOXES)]

sizes = st.integers(1, WAVE)
steps = st.timedeltas(timedelta(), timedelta(hours=1))


def test_waves_grow_while_their_steps_take_little_of_the_lease():
    size, seen = FIRST_WAVE, [FIRST_WAVE]
    while size < WAVE:
        size = next_size(size, size, timedelta(seconds=size / 100), timedelta(minutes=5))
        seen.append(size)
    assert seen == [24, 96, 384, 400]


def test_waves_shrink_to_what_a_quarter_of_the_lease_is_enough_for():
    assert next_size(400, 400, timedelta(seconds=50), TEN_SECONDS) == 20
    assert next_size(20, 20, timedelta(minutes=50), TEN_SECONDS) == 1


def test_a_small_wave_tells_of_a_larger_one_only_what_it_can():
    """The last copies of all, or those that another worker left, take a step's least time."""
    assert next_size(400, 2, timedelta(seconds=2), TEN_SECONDS) == 400


@given(sizes, sizes, steps, st.timedeltas(timedelta(seconds=5), timedelta(hours=1)))
def test_a_size_is_between_one_and_the_most(size, copies, longest, lease):
    assert 1 <= next_size(size, min(copies, size), longest, lease, WAVE) <= WAVE


@given(sizes, st.floats(0.001, 2.0))
def test_whatever_a_copy_takes_the_steps_come_to_fit(size, seconds_each):
    for _ in range(10):
        size = next_size(size, size, timedelta(seconds=size * seconds_each), TEN_SECONDS)
    assert size * seconds_each <= 2.5


class SlowProvider(FakeProvider):
    """Each copy takes its time in every call."""

    def __init__(self, clock, wait: Callable[[], None]) -> None:
        super().__init__(clock)
        self.meanwhile = wait
        self.after: Callable[[set[str]], None] = lambda keys: None

    def locate(self, copies):
        answers = super().locate(copies)
        self.after({mailbox_key(each) for each in copies})
        return answers

    def retract(self, retractions, until):
        answers = super().retract(retractions, until)
        self.after({mailbox_key(each) for each, _ in retractions})
        return answers


class SharedTime:
    """Workers in threads, of which one runs at a time: the one whose wait is over first."""

    def __init__(self, clock) -> None:
        self._clock = clock
        self._number = count()
        self._waiting: list[tuple[datetime, int, threading.Event]] = []

    def wait(self, seconds: float) -> None:
        turn = self._turn_in(seconds)
        self._next()
        assert turn.wait(60)

    def run(self, *workers: Callable[[], None]) -> None:
        with ThreadPoolExecutor(len(workers)) as pool:
            running = [pool.submit(self._run, each, self._turn_in(0)) for each in workers]
            self._next()
        for each in running:
            each.result()

    def _run(self, worker: Callable[[], None], turn: threading.Event) -> None:
        assert turn.wait(60)
        try:
            worker()
        finally:
            self._next()

    def _turn_in(self, seconds: float) -> threading.Event:
        turn = threading.Event()
        at = self._clock() + timedelta(seconds=seconds)
        heappush(self._waiting, (at, next(self._number), turn))
        return turn

    def _next(self) -> None:
        if self._waiting:
            self._clock.now, _, turn = heappop(self._waiting)
            turn.set()


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3])
def test_nobody_can_take_over_a_mailbox_while_its_worker_lives(ledger, clock, seconds):
    provider = SlowProvider(clock, lambda: clock.turn(seconds=seconds))
    for each in COPIES:
        provider.deliver(each)
    free: set[str] = set()

    def try_to_take_over(keys):
        with ledger.mailbox_leases(
            keys, owner="other", clock=clock, duration=TEN_SECONDS
        ) as leases:
            free.update(leases.held)

    provider.after = try_to_take_over

    results = act(recorded(ledger, *COPIES), provider, ledger, RUN, clock, lease=TEN_SECONDS)

    assert not free
    assert counted(results) == {State.DONE: len(COPIES)}
    assert all(result.error is None for result in results.values())


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_two_workers_with_the_same_mailboxes_share_the_work_of_a_slow_tenant(
    ledger, clock, seconds
):
    """A call over 400 copies would outlast the lease many times over."""
    time = SharedTime(clock)
    providers = [SlowProvider(clock, lambda: time.wait(seconds)) for _ in range(2)]
    providers[1].locations = providers[0].locations
    for each in COPIES:
        providers[0].deliver(each)
    results = {}

    def worker(name, provider):
        retractions = recorded(ledger, *COPIES, run_id=name)
        results[name] = act(
            retractions, provider, ledger, name, clock, lease=TEN_SECONDS, sleep=time.wait
        )

    time.run(*(partial(worker, f"run {n}", provider) for n, provider in enumerate(providers)))

    moved = [{message_id for message_id, _ in provider.effects} for provider in providers]
    assert moved[0] | moved[1] == {each.message_id for each in COPIES}
    assert sum(len(provider.effects) for provider in providers) == len(COPIES)
    assert min(map(len, moved)) > len(COPIES) / 4, "each did its part"
    # Nobody waited for long: three calls a copy, and some that came to nothing.
    assert clock() - START < timedelta(seconds=3 * len(COPIES) * seconds)
    for each in results.values():
        assert all(not result.failed for result in each.values())
