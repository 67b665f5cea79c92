"""Carrying out actions with as few calls as is right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Request, Response
from mailbox_bench import Bench

from local_tenant.state import Next
from retract.errors import MailboxError, MessageNotFound, OutcomeUnknown, Throttled
from retract.model import Action, Copy, Place, Provider

pytestmark = pytest.mark.parametrize("bench", [Provider.GOOGLE_WORKSPACE], indirect=True)
Make = Callable[..., Any]


def put(it: Any, copies: list[Copy], action: Action) -> list[MailboxError | None]:
    until = it.mailboxes.now() + timedelta(minutes=5)
    found: list[MailboxError | None] = it.mailboxes.retract([(c, action) for c in copies], until)
    return found


@pytest.mark.parametrize(
    ("action", "count", "call"),
    [
        (Action.JUNK, 10, "POST /batch/gmail/v1"),
        (Action.JUNK, 11, "POST /gmail/v1/users/me/messages/batchModify"),
        (Action.TRASH, 11, "POST /gmail/v1/users/me/messages/batchModify"),
        (Action.HARD_DELETE, 5, "POST /batch/gmail/v1"),
        (Action.HARD_DELETE, 6, "POST /gmail/v1/users/me/messages/batchDelete"),
    ],
)
def test_the_cheaper_way_is_taken(
    patient: Make, bench: Bench, action: Action, count: int, call: str
) -> None:
    mine, other = [bench.deliver(str(number)) for number in range(count)], bench.deliver("good")
    it = patient()
    assert put(it, mine, action) == [None] * count
    assert it.calls() == [call]
    assert {bench.outcome(copy)["place"] for copy in mine} == {it.mailboxes.destination(action)}
    assert bench.outcome(other)["place"] == Place.INBOX
    changed = [change["message_id"] for change in bench.changes()]
    assert sorted(changed) == sorted(copy.message_id for copy in mine)


def test_each_copy_gets_its_own_action_and_answer(patient: Make, bench: Bench) -> None:
    actions = [Action.JUNK, Action.TRASH, Action.HARD_DELETE, Action.TRASH, Action.JUNK]
    mine = [bench.deliver(action) for action in actions]
    gone = bench.deliver("gone")
    it = patient()
    put(it, [gone], Action.HARD_DELETE)
    wanted = [*zip(mine[:2], actions[:2], strict=True), (gone, Action.JUNK)]
    wanted += zip(mine[2:], actions[2:], strict=True)
    answers = it.mailboxes.retract(wanted, it.mailboxes.now() + timedelta(minutes=5))
    assert [type(answer) for answer in answers] == [
        type(None), type(None), MessageNotFound, type(None), type(None), type(None)
    ]  # fmt: skip
    for copy, action in zip(mine, actions, strict=True):
        assert bench.outcome(copy)["place"] == it.mailboxes.destination(action)


def test_ids_that_lead_nowhere_spoil_no_others(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(12)]
    it = patient()
    put(it, [mine[3]], Action.HARD_DELETE)
    put(it, mine, Action.TRASH)
    found = it.mailboxes.locate(mine)
    assert found[3] is None
    assert all(one.place is Place.TRASH for one in found[:3] + found[4:])


def test_an_id_that_is_refused_spoils_no_others(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(12)]
    bad = Copy(*[getattr(mine[0], name) for name in mine[0].__slots__[:4]], "no id at all")
    it = patient()
    answers = put(it, [*mine, bad], Action.TRASH)
    assert answers[:12] == [None] * 12
    assert isinstance(answers[12], MailboxError)
    assert all(one.place is Place.TRASH for one in it.mailboxes.locate(mine))


def test_a_lost_answer_for_many_is_an_unknown_outcome_of_each(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(12)]

    async def done_but_504(request: Request, proceed: Next) -> Response:
        response = await proceed(request)
        return Response(status_code=504) if "batchModify" in request.url.path else response

    bench.door.fault = done_but_504
    answers = put(patient(), mine, Action.JUNK)
    assert [type(answer) for answer in answers] == [OutcomeUnknown] * 12
    assert len(bench.changes()) == 12


def test_no_call_is_begun_when_the_time_is_over(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(3)]
    it = patient()
    wanted = [(copy, Action.TRASH) for copy in mine]
    answers = it.mailboxes.retract(wanted, it.mailboxes.now() - timedelta(seconds=1))
    assert all(isinstance(a, Throttled) and a.retry_after is None for a in answers)
    assert it.calls() == []


def test_no_wait_leads_past_the_time(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(40)]
    it = patient(user_units_per_minute=60, max_wait_seconds=600)
    until = it.mailboxes.now() + timedelta(seconds=90)
    half = [(copy, Action.TRASH) for copy in mine[:10]]
    assert it.mailboxes.retract(half, until) == [None] * 10
    answers = it.mailboxes.retract([(copy, Action.JUNK) for copy in mine[10:20]], until)
    assert answers == [None] * 10
    answers = it.mailboxes.retract([(copy, Action.HARD_DELETE) for copy in mine[20:]], until)
    assert all(isinstance(answer, Throttled) for answer in answers)
    assert sum(it.waits) <= 90
