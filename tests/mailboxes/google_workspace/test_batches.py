"""Several calls in one request: what each was answered, and what is done about it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Request, Response
from mailbox_bench import NOW, Answer, Bench, Scripted

from local_tenant.state import Next
from retract.errors import (
    AuthenticationFailed,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    OutcomeUnknown,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.model import Action, Copy, Extraction, Location, Place, Provider

pytestmark = pytest.mark.parametrize("bench", [Provider.GOOGLE_WORKSPACE], indirect=True)
Make = Callable[..., Any]
SOON = NOW + timedelta(minutes=5)
INBOX = {"id": "1", "labelIds": ["INBOX"]}


def refused(status: int, reason: str, **headers: str) -> tuple[int, dict[str, str], object]:
    error = {"code": status, "message": "No.", "errors": [{"reason": reason}]}
    return status, {name.replace("_", "-"): v for name, v in headers.items()}, {"error": error}


def batch(*answers: tuple[int, dict[str, str], object]) -> Answer:
    """What the service sends for a batch of so many calls."""
    parts = []
    for number, (status, headers, body) in enumerate(answers, 1):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        parts.append(
            f"--b\r\nContent-Type: application/http\r\nContent-ID: <response-x + {number}>\r\n\r\n"
            f"HTTP/1.1 {status} Said\r\n{lines}Content-Type: application/json\r\n\r\n"
            f"{json.dumps(body)}\r\n"
        )
    content = "".join(parts) + "--b--\r\n"
    return 200, {"Content-Type": "multipart/mixed; boundary=b"}, content.encode()


@pytest.fixture
def google(scripted: Callable[..., Scripted], bench: Bench) -> Scripted:
    return scripted(Provider.GOOGLE_WORKSPACE)


def copies(google: Scripted, count: int) -> list[Copy]:
    return [replace(google.copy, message_id=f"{number}") for number in range(count)]


GOOD = (200, {}, INBOX)


def test_a_batch_holds_25_calls_of_one_user(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(60)]
    it = patient()
    found = it.mailboxes.locate(mine)
    assert all(isinstance(one, Location) and one.place is Place.INBOX for one in found)
    assert it.calls() == ["POST /batch/gmail/v1"] * 3
    assert it.waits == []


def test_a_connection_that_lay_idle_is_not_used_again(patient: Make, bench: Bench) -> None:
    copy, it = bench.deliver("one"), patient()

    def used() -> set[object]:
        it.mailboxes.locate([copy])
        return set(it.mailboxes._api.line.http.connections.values())

    first = used()
    assert first
    assert used() == first
    it.waits.append(60.0)
    assert used().isdisjoint(first)


def test_each_call_is_answered_by_itself(google: Scripted) -> None:
    google.script.lines = [
        batch(GOOD, refused(404, "notFound"), refused(400, "invalidArgument"), GOOD)
    ]
    found = google.mailboxes.locate(copies(google, 4))
    assert [type(one) for one in found] == [Location, type(None), MailboxError, Location]
    assert len(google.script.calls) == 1


@pytest.mark.parametrize("retry_after", ["1.5", "0", "soon", None])
@pytest.mark.parametrize("status", [403, 429])
def test_a_call_refused_for_its_rate_is_made_again_alone(
    google: Scripted, status: int, retry_after: str | None
) -> None:
    headers = {"Retry_After": retry_after} if retry_after else {}
    busy = refused(status, "rateLimitExceeded", **headers)
    google.script.lines = [batch(GOOD, busy, GOOD, busy), GOOD, GOOD]
    found = google.mailboxes.locate(copies(google, 4))
    assert all(isinstance(one, Location) for one in found)
    assert [url.rpartition("/")[2].partition("?")[0] for _, url in google.script.calls] == [
        "v1",
        "1",
        "3",
    ]
    # Both were refused in the same moment: what one waited, the other need not.
    assert len(google.script.waits) == 1
    assert google.script.waits[0] >= (1.5 if retry_after == "1.5" else 0)


def test_a_rate_refused_for_long_is_told_of_those_calls_alone(google: Scripted) -> None:
    busy = refused(429, "rateLimitExceeded", Retry_After="300")
    google.script.lines = [batch(GOOD, busy, busy)]
    found = google.mailboxes.locate(copies(google, 3))
    assert isinstance(found[0], Location)
    assert all(isinstance(one, Throttled) and one.retry_after == 300 for one in found[1:])
    assert google.script.waits == []
    assert len(google.script.calls) == 1


def test_waits_of_one_users_calls_add_up_to_the_setting(google: Scripted) -> None:
    busy = refused(429, "rateLimitExceeded", Retry_After="7")
    google.script.lines = [batch(*[busy] * 20), busy]
    found = google.mailboxes.locate(copies(google, 20))
    assert all(isinstance(one, Throttled) for one in found)
    assert sum(google.script.waits) <= 20


def test_a_service_that_fails_one_look_is_asked_again(google: Scripted) -> None:
    google.script.lines = [batch(GOOD, refused(500, "backendError")), GOOD]
    assert all(isinstance(one, Location) for one in google.mailboxes.locate(copies(google, 2)))
    google.script.lines = [batch(GOOD, refused(500, "backendError")), refused(500, "backendError")]
    found = google.mailboxes.locate(copies(google, 2))
    assert isinstance(found[1], TenantUnreachable)


def test_a_change_that_failed_inside_is_not_repeated(google: Scripted) -> None:
    google.script.lines = [batch(GOOD, refused(504, ""), refused(404, "notFound"))]
    wanted = [(copy, Action.TRASH) for copy in copies(google, 3)]
    first, second, third = google.mailboxes.retract(wanted, SOON)
    assert first is None
    assert type(second) is OutcomeUnknown
    assert type(third) is MessageNotFound
    assert len(google.script.calls) == 1


LOST: list[Answer] = [
    ConnectionResetError("reset"),
    TimeoutError("silence"),
    (504, {}, {}),
    (200, {"Content-Type": "multipart/mixed; boundary=b"}, b"--b\r\n\r\nno batch\r\n--b--"),
    (200, {"Content-Type": "text/html"}, b"<html>"),
    (200, {}, b"\xff\xfe"),
    batch(GOOD),
]


@pytest.mark.parametrize("lost", LOST)
def test_a_batch_of_changes_whose_answer_is_lost_is_not_repeated(
    google: Scripted, lost: Answer
) -> None:
    google.script.lines = [lost]
    wanted = [(copy, Action.JUNK) for copy in copies(google, 3)]
    found = google.mailboxes.retract(wanted, SOON)
    assert [type(one) for one in found] == [OutcomeUnknown] * 3
    assert len(google.script.calls) == 1


@pytest.mark.parametrize("lost", LOST)
def test_a_batch_of_looks_whose_answer_is_lost_is_told(google: Scripted, lost: Answer) -> None:
    google.script.lines = [lost]
    assert all(isinstance(one, MailboxError) for one in google.mailboxes.locate(copies(google, 3)))


@pytest.mark.parametrize("status", [429, 503])
def test_a_batch_refused_as_a_whole_was_not_carried_out(google: Scripted, status: int) -> None:
    again = refused(status, "rateLimitExceeded", Retry_After="2")
    google.script.lines = [again, batch(GOOD, GOOD)]
    wanted = [(copy, Action.JUNK) for copy in copies(google, 2)]
    assert google.mailboxes.retract(wanted, SOON) == [None, None]
    assert sum(google.script.waits) >= 2


def test_a_token_withdrawn_inside_a_batch_is_renewed(google: Scripted) -> None:
    unauthorized = refused(401, "authError")
    google.script.lines = [batch(unauthorized, unauthorized), batch(GOOD, GOOD)]
    assert all(isinstance(one, Location) for one in google.mailboxes.locate(copies(google, 2)))
    assert google.script.tokens == 2
    google.script.lines = [batch(unauthorized, unauthorized)]
    found = google.mailboxes.locate(copies(google, 2))
    assert [type(one) for one in found] == [AuthenticationFailed] * 2


def test_what_is_wrong_with_a_user_is_not_found_out_again_and_again(google: Scripted) -> None:
    body = {"error": "invalid_grant", "error_description": "Invalid email or User ID"}
    google.script.token_lines = [(400, {}, body)]
    found = google.mailboxes.locate(copies(google, 100))
    assert [type(one) for one in found] == [MailboxUnavailable] * 100
    assert google.script.tokens == 1


def test_an_error_of_one_user_is_no_other_users(patient: Make, bench: Bench) -> None:
    copy = bench.deliver()
    nobody = replace(copy, mailbox="nobody@south.example")
    it = patient()
    found = it.mailboxes.locate([nobody, copy, nobody])
    assert [type(one) for one in found] == [MailboxUnavailable, Location, MailboxUnavailable]


def test_several_users_are_worked_on_at_once(patient: Make, bench: Bench) -> None:
    domain = bench.mailbox.address.partition("@")[2]
    there = []
    for number in range(3):
        box = bench.tenant.add_mailbox(f"u{number}-{bench.mailbox.mailbox_id}@{domain}")
        (item,) = bench.tenant.deliver(b"Subject: x\r\n\r\nx", [box.address])
        there.append(
            Copy(Provider.GOOGLE_WORKSPACE, "work", box.mailbox_id, box.address, item.message_id)
        )
    together = threading.Barrier(3)

    async def meet(request: Request, proceed: Next) -> Response:
        if "/messages/" in request.url.path:
            # All three are under way, or this times out.
            await asyncio.to_thread(together.wait, 20)
        return await proceed(request)

    bench.door.fault = meet
    found = patient().mailboxes.locate(there)
    bench.door.fault = None
    assert all(isinstance(one, Location) for one in found)


# ---- outages -------------------------------------------------------------------------------

USERS_NOT_SPARED = 12 + 8
"""A dozen that show it, and those who are under way then."""


def of_many_users(google: Scripted) -> list[Copy]:
    return [
        replace(google.copy, mailbox=f"u{number}@south.example", mailbox_id=f"{number}")
        for number in range(200)
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (TimeoutError("timed out"), TenantUnreachable),
        (refused(503, "backendError", retry_after="3600"), Throttled),
    ],
)
def test_a_service_that_is_down_is_not_waited_for_user_by_user(
    google: Scripted, line: Answer, kind: type[MailboxError]
) -> None:
    google.script.lines = [line]
    found = google.mailboxes.locate(of_many_users(google))
    assert {type(one) for one in found} == {kind}
    asked = [one for one in found if isinstance(one, Throttled) and one.retry_after]
    assert len(asked) <= USERS_NOT_SPARED  # the others were asked for no wait of their own
    assert len(google.script.calls) <= 3 * USERS_NOT_SPARED


def test_a_change_that_was_not_called_for_has_no_unknown_outcome(google: Scripted) -> None:
    google.script.lines = [TimeoutError("timed out")]
    wanted = [(copy, Action.TRASH) for copy in of_many_users(google)]
    found = google.mailboxes.retract(wanted, SOON)
    assert {type(one) for one in found} == {OutcomeUnknown, TenantUnreachable}
    unknown = sum(isinstance(one, OutcomeUnknown) for one in found)
    assert unknown == len(google.script.calls) <= USERS_NOT_SPARED


@pytest.mark.parametrize("ask", ["find", "read"])
@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (TimeoutError("timed out"), TenantUnreachable),
        (refused(503, "backendError", retry_after="3600"), Throttled),
        (refused(403, "insufficientPermissions"), PermissionDenied),
    ],
)
def test_one_users_searches_and_contents_are_given_up_together(
    google: Scripted, line: Answer, kind: type[MailboxError], ask: str
) -> None:
    google.script.lines = [line]
    wanted = [replace(one, internet_message_id="<1@x>") for one in copies(google, 200)]
    found = getattr(google.mailboxes, ask)(wanted)
    assert [type(one) for one in found] == [kind] * 200
    assert len(google.script.calls) <= 9


def test_one_content_out_of_reach_is_no_others(google: Scripted) -> None:
    raw = (200, {}, {**INBOX, "raw": "U3ViamVjdDogeA0KDQp4"})
    google.script.lines = [*[(500, {}, {})] * 3, raw]
    found = google.mailboxes.read(copies(google, 3))
    assert [type(one) for one in found] == [TenantUnreachable, Extraction, Extraction]


def test_a_few_users_out_of_reach_are_no_outage(google: Scripted) -> None:
    bad = (404, {}, {"error": {"code": 404, "errors": [{"reason": "notFound"}]}})
    google.script.lines = [*[refused(503, "backendError", retry_after="3600")] * 8, bad]
    found = google.mailboxes.locate(of_many_users(google))
    assert sum(isinstance(one, Throttled) for one in found) == 8
    assert len(google.script.calls) == 200


# ---- quota ---------------------------------------------------------------------------------


def test_the_client_waits_before_the_service_would_refuse(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(50)]
    it = patient(user_units_per_minute=500, max_wait_seconds=65)
    it.service_grants(500)
    found = it.mailboxes.locate(mine)
    assert all(isinstance(one, Location) for one in found)
    assert len(it.calls()) == 2  # nothing was refused
    assert 55 < sum(it.waits) <= 65


def test_a_wait_that_is_too_long_is_told(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(80)]
    it = patient(user_units_per_minute=500, max_wait_seconds=65)
    found = it.mailboxes.locate(mine)
    assert all(isinstance(one, Location) for one in found[:50])
    for one in found[50:]:
        assert isinstance(one, Throttled)
        assert one.retry_after is not None
        assert 0 < one.retry_after <= 62


def test_a_service_that_grants_less_than_thought_is_waited_for(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(20)]
    it = patient(max_wait_seconds=80)
    it.service_grants(300)  # 15 of 20 looks
    found = it.mailboxes.locate(mine)
    assert all(isinstance(one, Location) for one in found)
    assert sum(it.waits) <= 80


def test_the_projects_quota_is_shared_out(patient: Make, bench: Bench) -> None:
    mine = [bench.deliver(str(number)) for number in range(50)]
    it = patient(project_units_per_minute=500, max_wait_seconds=0)
    found = it.mailboxes.locate(mine)
    assert sum(isinstance(one, Location) for one in found) == 25


def test_a_project_for_which_a_look_costs_less_looks_more_often(
    patient: Make, bench: Bench
) -> None:
    mine = [bench.deliver(str(number)) for number in range(50)]
    it = patient(user_units_per_minute=250, get_units=5, max_wait_seconds=0)
    assert all(isinstance(one, Location) for one in it.mailboxes.locate(mine))
