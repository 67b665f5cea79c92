"""Gmail's HTTP batch endpoint, its quota and its concurrency."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import google_auth_httplib2
import pytest
from googleapiclient.errors import HttpError

from local_tenant.state import TenantSettings


class ShiftedClock:
    """The real time and then some: assertions are signed with the real one."""

    def __init__(self):
        self.shift = timedelta()

    def __call__(self):
        return datetime.now(UTC) + self.shift


@pytest.fixture
def limited(running_tenants, connect):
    """A tenant with these settings, and Ann's messages in it."""

    def limited(clock=None, **settings):
        tenant = running_tenants(
            settings=TenantSettings(**settings), **({"clock": clock} if clock else {})
        )
        tenant.add_mailbox("ann@south.example")
        return tenant, connect(tenant).users().messages()

    return limited


def test_every_part_has_its_own_answer(messages, deliver, run_batch, refusal):
    names = [deliver(f"m{n}") for n in range(3)]
    first, missing, trashed, listed, deleted = run_batch(
        [
            messages.get(userId="me", id=names[0], format="minimal"),
            messages.get(userId="me", id="abc123"),
            messages.trash(userId="me", id=names[1]),
            messages.list(userId="me", q=f"rfc822msgid:x {'é'}"),
            messages.delete(userId="me", id=names[2]),
        ]
    )
    assert first["id"] == names[0]
    assert isinstance(missing, HttpError)
    assert refusal(missing).reason == "notFound"
    assert trashed["labelIds"] == ["TRASH", "UNREAD"]
    assert listed == {"resultSizeEstimate": 0}
    assert not deleted


def test_bodies_reach_the_inner_calls(messages, deliver, run_batch, tenant):
    names = [deliver(f"m{n}") for n in range(2)]
    body = {"addLabelIds": ["SPAM"], "removeLabelIds": ["INBOX"]}
    answers = run_batch([messages.modify(userId="me", id=name, body=body) for name in names])
    assert [answer["labelIds"] for answer in answers] == [["SPAM", "UNREAD"]] * 2


def test_25_calls_pass_and_of_100_many_do_not(messages, deliver, run_batch, refusal):
    name = deliver()
    request = {"userId": "me", "id": name, "format": "minimal"}
    few = run_batch([messages.get(**request) for _ in range(25)])
    assert all(answer["id"] == name for answer in few)
    many = run_batch([messages.get(**request) for _ in range(100)])
    refused = [answer for answer in many if isinstance(answer, HttpError)]
    assert 0 < len(refused) < 100
    for error in refused:
        answer = refusal(error)
        assert (answer.status, answer.reason) == (429, "rateLimitExceeded")
        assert answer.message == "Too many concurrent requests for user."


def test_more_than_100_calls_are_refused_as_a_whole(messages, deliver, run_batch, tenant):
    name = deliver()
    with pytest.raises(HttpError, match="Received: 101, Limit: 100") as raised:
        run_batch([messages.trash(userId="me", id=name) for _ in range(101)])
    assert raised.value.resp.status == 400
    assert tenant.audit() == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/mixed; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x--"),
        (
            "multipart/mixed; boundary=x",
            b"--x\r\nContent-Type: application/http\r\n\r\nGET /_tenant/audit HTTP/1.1\r\n\r\n"
            b"\r\n--x--",
        ),
        ("multipart/mixed; boundary=x", b"--x\r\nContent-Type: application/http\r\n\r\n\r\n--x--"),
    ],
)
def test_what_is_no_batch_of_gmail_calls_is_refused(tenant, content_type, body):
    with tenant.http_client() as client:
        answer = client.post(
            "/batch/gmail/v1", content=body, headers={"Content-Type": content_type}
        )
    assert answer.status_code == 400


def test_the_user_s_quota_is_counted_in_units_a_minute(limited, refusal):
    clock = ShiftedClock()
    tenant, messages = limited(clock, gmail_user_units=60)
    name = tenant.deliver(b"Subject: x\r\n\r\ny", ["ann@south.example"])[0].message_id
    for _ in range(3):
        messages.get(userId="me", id=name, format="minimal").execute()
    answer = refusal(messages.get(userId="me", id=name))
    assert (answer.status, answer.reason) == (403, "rateLimitExceeded")
    assert "'Queries per minute per user'" in answer.message
    assert answer.body["errors"][0]["domain"] == "usageLimits"
    clock.shift = timedelta(seconds=61)
    messages.get(userId="me", id=name).execute()


def test_the_project_s_quota_is_shared(limited, connect, refusal):
    tenant, messages = limited(gmail_project_units=7)
    tenant.add_mailbox("bob@south.example")
    messages.list(userId="me").execute()
    bob = connect(tenant, subject="bob@south.example").users().messages()
    assert "'Queries per minute'" in refusal(bob.list(userId="me")).message


def test_a_user_s_calls_at_once_are_limited(limited, connect):
    tenant, _ = limited(gmail_user_concurrency=2, latency_seconds=0.5)
    answers = []

    def call(service):
        try:
            service.users().getProfile(userId="me").execute()
            answers.append(200)
        except HttpError as error:
            answers.append(error.resp.status)

    services = [connect(tenant) for _ in range(4)]
    for service in services:  # sign in first, so that the calls meet
        service._http.credentials.refresh(google_auth_httplib2.Request(service._http.http))
    threads = [threading.Thread(target=call, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 200, 429, 429]
