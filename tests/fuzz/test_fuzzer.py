"""A short fuzz run with every test run; `make fuzz` is the long one."""

from __future__ import annotations

import time

import pytest
from tests.fuzz import fuzzer


@pytest.mark.parametrize("name", fuzzer.TARGETS)
def test_no_broken_input_breaks_a_promise(name: str) -> None:
    assert fuzzer.fuzz(name, seed=7, most=300, until=time.monotonic() + 60) == 300


@pytest.mark.parametrize("name", fuzzer.TARGETS)
def test_the_unbroken_seeds_are_sound(name: str) -> None:
    target, seeds = fuzzer.TARGETS[name]
    for seed in seeds:
        target(seed)


def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(data: bytes) -> None:
        raise IndexError(len(data))

    monkeypatch.setitem(fuzzer.TARGETS, "URL", (breaks, (b"x",)))
    with pytest.raises(fuzzer.BrokenPromise, match=r"URL, seed 7, input 0: IndexError"):
        fuzzer.fuzz("URL", seed=7, most=1, until=time.monotonic() + 60)
