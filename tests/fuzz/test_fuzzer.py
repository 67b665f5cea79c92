"""A short fuzz run with every test run; `make fuzz` is the long one."""

from __future__ import annotations

import time

import pytest
from tests.fuzz import fuzzer


@pytest.mark.parametrize("name", fuzzer.TARGETS)
def test_no_damaged_input_breaks_a_promise(name: str) -> None:
    assert fuzzer.fuzz(name, seed=7, most=200, until=time.monotonic() + 60) == 200


@pytest.mark.parametrize("name", fuzzer.TARGETS)
def test_the_undamaged_input_keeps_them(name: str) -> None:
    for check, sound in fuzzer.TARGETS[name]:
        check(sound)


def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(data: bytes) -> None:
        raise IndexError(len(data))

    monkeypatch.setitem(fuzzer.TARGETS, "URL", [(breaks, b"x")])
    with pytest.raises(fuzzer.BrokenPromise, match=r"URL, seed 7, input 0: IndexError"):
        fuzzer.fuzz("URL", seed=7, most=1, until=time.monotonic() + 60)
