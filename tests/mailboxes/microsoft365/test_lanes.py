"""No mailbox is asked more than four things at a time, and none is forgotten."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from retract.mailboxes.microsoft365.lanes import CALLS_AT_ONCE, Lanes

Item = tuple[str, int]
MAILBOXES = st.sampled_from(["", "anna", "ben", "carla"])


def lane_of(item: Item) -> str:
    return item[0]


def items(lane: str, count: int) -> list[Item]:
    return [(lane, number) for number in range(count)]


def test_the_lanes_take_turns() -> None:
    lanes: Lanes[Item] = Lanes(lane_of)
    lanes.put([*items("anna", 3), *items("ben", 3)])
    assert lanes.take(4) == [("anna", 0), ("ben", 0), ("anna", 1), ("ben", 1)]


def test_a_fifth_call_waits_until_one_is_done() -> None:
    lanes: Lanes[Item] = Lanes(lane_of)
    lanes.put(items("anna", 6))
    assert lanes.take(20) == items("anna", 4)
    assert lanes.take(20) == []
    lanes.done(("anna", 2))
    assert lanes.take(20) == [("anna", 4)]


def test_calls_of_no_mailbox_have_no_limit() -> None:
    lanes: Lanes[Item] = Lanes(lane_of)
    lanes.put(items("", 30))
    assert lanes.take(20) == items("", 30)[:20]
    assert lanes.take(20) == items("", 30)[20:]


def test_who_comes_back_is_first() -> None:
    lanes: Lanes[Item] = Lanes(lane_of)
    lanes.put(items("anna", 6))
    taken = lanes.take(4)
    for item in taken:
        lanes.done(item)
    lanes.put_back([taken[3]])
    assert lanes.take(2) == [("anna", 3), ("anna", 4)]


def test_a_lane_held_twice_is_released_twice() -> None:
    lanes: Lanes[Item] = Lanes(lane_of)
    lanes.put([*items("anna", 1), *items("ben", 1)])
    lanes.hold("anna")
    lanes.hold("anna")
    assert lanes.take(20) == [("ben", 0)]
    lanes.release("anna")
    assert lanes.take(20) == []
    lanes.release("anna")
    assert lanes.take(20) == [("anna", 0)]


def test_who_is_cleared_is_never_taken() -> None:
    lanes: Lanes[Item] = Lanes(lane_of)
    lanes.put([*items("anna", 2), *items("ben", 1)])
    assert lanes.clear("anna") == items("anna", 2)
    assert lanes.take(20) == [("ben", 0)]
    lanes.put(items("carla", 2))
    assert lanes.clear() == items("carla", 2)
    assert lanes.take(20) == []


@given(st.lists(MAILBOXES, max_size=60), st.integers(1, 25))
def test_everybody_is_taken_once(names: list[str], size: int) -> None:
    lanes: Lanes[Item] = Lanes(lane_of)
    all_items = [(name, number) for number, name in enumerate(names)]
    lanes.put(all_items)
    seen: list[Item] = []
    while batch := lanes.take(size):
        assert len(batch) <= size
        seen += batch
        for item in batch:
            lanes.done(item)
    assert sorted(seen) == sorted(all_items)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: Lanes[Item] = Lanes(lane_of)
        self.number = 0
        self.waiting: list[Item] = []
        self.under_way: list[Item] = []
        self.held: Counter[str] = Counter()

    @rule(lane=MAILBOXES, count=st.integers(1, 7))
    def put(self, lane: str, count: int) -> None:
        new = [(lane, self.number + place) for place in range(count)]
        self.number += count
        self.waiting += new
        self.lanes.put(new)

    @rule(size=st.integers(1, 20))
    def take(self, size: int) -> None:
        could = sum(
            min(len(mine), len(mine) if not lane else CALLS_AT_ONCE - self.busy(lane))
            for lane in {item[0] for item in self.waiting}
            if not self.held[lane]
            for mine in [[item for item in self.waiting if item[0] == lane]]
        )
        taken = self.lanes.take(size)
        assert len(taken) == min(size, could), "nobody waits who could go"
        for item in taken:
            assert not self.held[item[0]]
            self.waiting.remove(item)
        self.under_way += taken

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), again=st.booleans())
    def end(self, data: st.DataObject, again: bool) -> None:
        item = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(item)
        if again:
            self.waiting.append(item)
            self.lanes.put_back([item])
        self.lanes.done(item)

    @rule(lane=MAILBOXES)
    def hold(self, lane: str) -> None:
        self.held[lane] += 1
        self.lanes.hold(lane)

    @precondition(lambda self: +self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(sorted(+self.held)))
        self.held[lane] -= 1
        self.lanes.release(lane)

    @rule(lane=MAILBOXES)
    def clear(self, lane: str) -> None:
        gone = [item for item in self.waiting if item[0] == lane]
        assert sorted(self.lanes.clear(lane)) == sorted(gone)
        self.waiting = [item for item in self.waiting if item[0] != lane]

    @invariant()
    def no_mailbox_is_asked_too_much(self) -> None:
        for lane in {item[0] for item in self.under_way} - {""}:
            assert self.busy(lane) <= CALLS_AT_ONCE

    def busy(self, lane: str) -> int:
        return sum(item[0] == lane for item in self.under_way)


TestAnyOrder = AnyOrder.TestCase
