"""Every call is answered once, within the limits, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retract.errors import (
    AuthenticationFailed,
    ConnectionSettingsError,
    MailboxError,
    MessageNotFound,
    OutcomeUnknown,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.microsoft365.batches import Batches, Packing
from retract.mailboxes.microsoft365.calls import Call, Reply
from retract.mailboxes.pace import Pace

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
OK = Reply(200, {}, {"id": "1"})
BUSY = Reply(429, {"retry-after": "2.5"})
FAILS = Reply(504, {})
NOT_FOUND = Reply(404, {}, {"error": {"code": "ErrorItemNotFound"}})
UNAUTHORIZED = Reply(401, {})

Said = Reply | None
Script = Callable[[Sequence[Call]], Sequence[Said]]


def read(path: str, mailbox: str = "anna") -> Call:
    return Call("GET", path, f"read {path}", mailbox)


def move(path: str, mailbox: str = "anna") -> Call:
    return Call("POST", path, f"move {path}", mailbox, {}, changing=True)


def each(say: Callable[[Call], Said]) -> Script:
    return lambda calls: [say(call) for call in calls]


@dataclass
class Service:
    """Answers by a script, and notes what it was asked."""

    script: Script
    batches: list[list[str]] = field(default_factory=list)
    """The paths in each request."""
    waits: list[float] = field(default_factory=list)
    paces: list[float] = field(default_factory=list)
    """Waits for the application's even pace."""
    now: datetime = START
    most_at_once: Counter[str] = field(default_factory=Counter)
    _under_way: Counter[str] = field(default_factory=Counter)

    @property
    def asked(self) -> Counter[str]:
        return Counter(path for batch in self.batches for path in batch)

    async def __call__(self, calls: Sequence[Call]) -> Sequence[Said]:
        self.batches.append([call.path for call in calls])
        busy = [call.mailbox_id for call in calls] + ["batches"]
        self._under_way.update(busy)
        self.most_at_once |= self._under_way
        try:
            await asyncio.sleep(0)
            return self.script(calls)
        finally:
            self._under_way.subtract(busy)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def keep_pace(self, seconds: float) -> None:
        self.paces.append(seconds)

    def carry_out(
        self,
        calls: Iterable[Call],
        packing: Packing = Packing(),  # noqa: B008  it is frozen
        until: datetime | None = None,
        max_wait_seconds: float = 20,
        pace: float = 1e9,
    ) -> list[Reply | MailboxError]:
        async def run() -> list[Reply | MailboxError]:
            even = Pace(pace, self.keep_pace, lambda: 0.0)
            batches = Batches(self, even, lambda: self.now, max_wait_seconds, self.sleep)
            return await asyncio.wait_for(batches.carry_out(calls, packing, until), 20)

        return asyncio.run(run())


def kinds(answers: Iterable[Reply | MailboxError]) -> list[type]:
    return [type(answer) for answer in answers]


# ---- filling -----------------------------------------------------------------------------


def test_no_calls_need_no_request() -> None:
    service = Service(each(lambda call: OK))
    assert service.carry_out([]) == []
    assert service.batches == []


def test_batches_are_filled_across_mailboxes() -> None:
    service = Service(each(lambda call: OK))
    calls = [read(f"/{number}", f"user-{number % 25}") for number in range(100)]
    assert service.carry_out(calls) == [OK] * 100
    assert [len(batch) for batch in service.batches] == [20] * 5


def test_one_mailbox_is_asked_four_things_at_a_time() -> None:
    service = Service(each(lambda call: OK))
    assert service.carry_out([read(f"/{number}") for number in range(10)]) == [OK] * 10
    assert [len(batch) for batch in service.batches] == [4, 4, 2]


def test_some_batches_are_under_way_at_once() -> None:
    service = Service(each(lambda call: OK))
    service.carry_out([read("/", "") for _ in range(400)], Packing(batches_at_once=3))
    assert service.most_at_once["batches"] == 3


def test_answers_are_in_the_order_of_the_calls() -> None:
    service = Service(each(lambda call: Reply(200, {}, {"id": call.path})))
    calls = [read(f"/{number}", f"user-{number % 7}") for number in range(60)]
    answers = service.carry_out(calls)
    assert [answer.json()["id"] for answer in answers if isinstance(answer, Reply)] == [
        call.path for call in calls
    ]


@pytest.mark.parametrize(
    ("per_second", "size"),
    [(0.5, 1), (1, 1), (18.7, 18), (20, 20), (39, 19), (150, 18), (2000, 20)],
)
def test_batches_are_as_large_as_uses_up_a_seconds_calls(per_second: float, size: int) -> None:
    assert Packing.for_pace(per_second).batch_size == size


def test_the_pace_of_the_application_is_kept() -> None:
    service = Service(each(lambda call: OK))
    service.carry_out([read("/", "") for _ in range(60)], pace=10)
    assert service.paces == [2.0, 4.0]


# ---- throttling --------------------------------------------------------------------------


def once(first: Said, paths: Iterable[str] = ()) -> Script:
    """The first answer to these paths, or to any; all is well afterwards."""
    told: set[str] = set()

    def say(call: Call) -> Said:
        if call.path in told or (paths and call.path not in paths):
            return OK
        told.add(call.path)
        return first

    return each(say)


def test_a_throttled_call_alone_is_made_again_after_its_own_wait() -> None:
    service = Service(once(BUSY, ["/3"]))
    calls = [move(f"/{number}", f"user-{number}") for number in range(10)]
    assert service.carry_out(calls) == [OK] * 10
    assert service.asked == {f"/{number}": 1 + (number == 3) for number in range(10)}
    (wait,) = service.waits
    assert wait >= 2.5


def test_the_others_of_a_throttled_mailbox_wait_with_it() -> None:
    events: list[str] = []

    def say(call: Call) -> Said:
        events.append(call.path)
        return BUSY if events == ["/0"] else OK

    service = Service(each(say))
    sleep = service.sleep

    async def noting(seconds: float) -> None:
        for _ in range(50):  # time enough for the others, if they were let go
            await sleep(0)
        events.append("waited")

    service.sleep = noting  # type: ignore[method-assign]
    calls = [read("/0"), read("/1"), read("/other", "ben")]
    assert service.carry_out(calls, Packing(batch_size=1, batches_at_once=1)) == [OK] * 3
    assert events == ["/0", "/other", "waited", "/0", "/1"]


def test_a_wait_that_is_too_long_is_the_answer_of_the_whole_mailbox() -> None:
    service = Service(each(lambda call: Reply(429, {"retry-after": "300"})))
    calls = [read(f"/{number}") for number in range(50)]
    answers = service.carry_out(calls)
    assert kinds(answers) == [Throttled] * 50
    assert {answer.retry_after for answer in answers if isinstance(answer, Throttled)} == {300}
    assert (len(service.batches), service.waits) == (1, [])


@pytest.mark.parametrize("asked", ["1", "0", "0.01", "", "soon", "-3", None])
def test_throttling_without_end_ends(asked: str | None) -> None:
    busy = Reply(503, {} if asked is None else {"retry-after": asked})
    service = Service(each(lambda call: busy))
    assert kinds(service.carry_out([move("/1"), move("/2", "ben")])) == [Throttled] * 2
    assert all(3 < times < 100 for times in service.asked.values())
    assert sum(service.waits) <= 2 * 20


def failing(error: MailboxError, times: int) -> Script:
    """Whole requests that come to nothing, before all is well."""
    left = iter(range(times))

    def script(calls: Sequence[Call]) -> Sequence[Said]:
        if next(left, None) is not None:
            raise error
        return [OK for _ in calls]

    return script


def test_a_throttled_batch_is_made_again_as_a_whole() -> None:
    service = Service(failing(Throttled("busy", retry_after=3), 2))
    calls = [move(f"/{number}", f"user-{number}") for number in range(15)]
    assert service.carry_out(calls) == [OK] * 15
    assert [len(batch) for batch in service.batches] == [15, 15, 15]
    assert len(service.waits) == 2
    assert min(service.waits) >= 3


def test_nobody_goes_while_the_application_is_throttled() -> None:
    service = Service(failing(Throttled("busy"), 1))
    sleep = service.sleep
    seen: list[int] = []

    async def noting(seconds: float) -> None:
        before = len(service.batches)
        for _ in range(50):
            await sleep(0)
        seen.append(len(service.batches) - before)

    service.sleep = noting  # type: ignore[method-assign]
    calls = [read("/", "") for _ in range(100)]
    assert service.carry_out(calls, Packing(batches_at_once=1)) == [OK] * 100
    assert seen == [0]


def test_an_application_throttled_for_long_is_told_to_all() -> None:
    service = Service(failing(Throttled("busy", retry_after=300), 1000))
    answers = service.carry_out([read("/", "") for _ in range(1000)])
    assert kinds(answers) == [Throttled] * 1000
    assert len(service.batches) <= 6


# ---- answers that do not come ------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, FAILS, Reply(500, {}), Reply(408, {})])
def test_a_change_that_was_not_answered_is_not_repeated(nothing: Said) -> None:
    service = Service(once(nothing))
    answers = service.carry_out([move("/1"), read("/2"), move("/3", "ben")])
    assert kinds(answers) == [OutcomeUnknown, Reply, OutcomeUnknown]
    assert service.asked == {"/1": 1, "/2": 2, "/3": 1}


def test_a_batch_that_was_not_answered_repeats_what_only_reads() -> None:
    service = Service(failing(OutcomeUnknown("ReadTimeout"), 1))
    answers = service.carry_out([move("/1"), read("/2"), move("/3", "ben")])
    assert kinds(answers) == [OutcomeUnknown, Reply, OutcomeUnknown]
    assert "move /1" in str(answers[0])
    assert service.asked == {"/1": 1, "/2": 2, "/3": 1}


def test_a_batch_that_was_never_sent_is_made_again() -> None:
    service = Service(failing(TenantUnreachable("refused"), 2))
    assert service.carry_out([move("/1"), read("/2")]) == [OK] * 2


def test_what_never_comes_is_not_asked_for_without_end() -> None:
    service = Service(each(lambda call: None))
    assert kinds(service.carry_out([read("/1"), read("/2", "ben")])) == [TenantUnreachable] * 2
    assert service.asked == {"/1": 3, "/2": 3}


def test_a_service_that_is_down_is_not_asked_by_everybody() -> None:
    service = Service(failing(TenantUnreachable("refused"), 10_000))
    answers = service.carry_out([move(f"/{n}", f"user-{n}") for n in range(2000)])
    assert kinds(answers) == [TenantUnreachable] * 2000
    assert len(service.batches) < 60


def test_failures_with_answers_between_them_are_no_end() -> None:
    turns = iter(range(1000))

    def script(calls: Sequence[Call]) -> Sequence[Said]:
        if next(turns) % 2 == 0:
            raise TenantUnreachable("refused")
        return [OK for _ in calls]

    calls = [read(f"/{number}", "") for number in range(60)]
    assert Service(script).carry_out(calls, Packing(1, 1)) == [OK] * 60


# ---- tokens ------------------------------------------------------------------------------


def test_an_old_token_costs_one_more_try() -> None:
    service = Service(once(UNAUTHORIZED, ["/2"]))
    assert service.carry_out([move("/1"), move("/2"), move("/3")]) == [OK] * 3
    assert service.asked == {"/1": 1, "/2": 2, "/3": 1}
    assert service.waits == []


def test_a_fresh_token_that_does_not_help_is_told() -> None:
    service = Service(each(lambda call: UNAUTHORIZED))
    assert kinds(service.carry_out([move("/1")])) == [AuthenticationFailed]
    assert service.asked == {"/1": 2}


def test_a_refused_sign_in_is_everybodys_answer() -> None:
    service = Service(failing(AuthenticationFailed("wrong secret"), 10_000))
    answers = service.carry_out([read("/", "") for _ in range(1000)])
    assert kinds(answers) == [AuthenticationFailed] * 1000
    assert len(service.batches) <= 6


def test_what_is_no_answer_of_the_service_is_raised_as_it_is() -> None:
    def script(calls: Sequence[Call]) -> Sequence[Said]:
        raise ConnectionSettingsError("no such certificate")

    with pytest.raises(ConnectionSettingsError):
        Service(script).carry_out([read("/", "") for _ in range(100)])


# ---- the end of the time -----------------------------------------------------------------


def test_no_call_is_begun_after_the_end() -> None:
    service = Service(each(lambda call: OK))

    def script(calls: Sequence[Call]) -> Sequence[Said]:
        service.now += timedelta(seconds=10)
        return [OK for _ in calls]

    service.script = script
    calls = [move("/", "") for _ in range(100)]
    until = START + timedelta(seconds=15)
    answers = service.carry_out(calls, Packing(batches_at_once=1), until)
    assert kinds(answers) == [Reply] * 40 + [Throttled] * 60
    assert {a.retry_after for a in answers if isinstance(a, Throttled)} == {None}
    assert len(service.batches) == 2


def test_nobody_waits_beyond_the_end() -> None:
    service = Service(each(lambda call: BUSY))
    until = START + timedelta(seconds=2)
    (answer,) = service.carry_out([move("/1")], until=until)
    assert isinstance(answer, Throttled)
    assert answer.retry_after == 2.5
    assert service.waits == []


def test_after_the_end_nothing_is_begun() -> None:
    service = Service(each(lambda call: OK))
    assert kinds(service.carry_out([move("/1")], until=START)) == [Throttled]
    assert service.batches == []


# ---- whatever happens --------------------------------------------------------------------

FAULTS: list[Said | MailboxError] = [
    OK, BUSY, Reply(503, {}), FAILS, NOT_FOUND, UNAUTHORIZED, None,
]  # fmt: skip
OUTER: list[Said | MailboxError] = [
    None, None, None, None,
    Throttled("busy"), Throttled("busy", retry_after=1), OutcomeUnknown("lost"),
    TenantUnreachable("refused"), MailboxError("bad batch"),
]  # fmt: skip


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    asked=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=90),
    size=st.integers(1, 20),
    at_once=st.integers(1, 7),
    well=st.floats(0, 1),
)
def test_every_call_is_answered_once_and_no_change_is_made_twice(
    seed: int, asked: list[tuple[int, bool]], size: int, at_once: int, well: float
) -> None:
    chance = Random(seed)
    may_be_done: Counter[str] = Counter()
    done: set[str] = set()

    def script(calls: Sequence[Call]) -> Sequence[Said]:
        outer = None if chance.random() < well else chance.choice(OUTER)
        if isinstance(outer, OutcomeUnknown):
            may_be_done.update(call.path for call in calls)
        if isinstance(outer, MailboxError):
            raise outer
        said: list[Said] = []
        for call in calls:
            answer = OK if chance.random() < well else chance.choice(FAULTS)
            assert not isinstance(answer, MailboxError)
            if answer in (OK, FAILS, None):
                may_be_done[call.path] += 1
            if answer is OK:
                done.add(call.path)
            said.append(answer)
        return said

    calls = [
        (move if changing else read)(f"/{number}", f"user-{mailbox}" if mailbox else "")
        for number, (mailbox, changing) in enumerate(asked)
    ]
    service = Service(script)
    answers = service.carry_out(calls, Packing(size, at_once))

    assert len(answers) == len(calls)
    assert all(len(batch) <= size for batch in service.batches)
    assert service.most_at_once["batches"] <= at_once
    assert all(
        most <= 4 for lane, most in service.most_at_once.items() if lane not in ("", "batches")
    )
    for call, answer in zip(calls, answers, strict=True):
        assert isinstance(answer, Reply) == (call.path in done)
        if call.changing:
            assert may_be_done[call.path] <= 1
            assert isinstance(answer, OutcomeUnknown) == (
                may_be_done[call.path] == 1 and call.path not in done
            )
        if isinstance(answer, MessageNotFound):
            assert not done & {call.path}
