"""Advanced hunting over what was delivered."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

import pytest

from local_tenant.mailbox import Provider
from local_tenant.state import TenantSettings

ANNA, BEN = "anna@north.example", "ben@north.example"
EVENTS = "EmailEvents"
ROLES = ("ThreatHunting.Read.All", "Mail.ReadWrite")


def mail(number=1, body="see https://bad.example/a?b=1.", headers=()):
    lines = [
        "Return-Path: <bounce@sender.example>",
        "From: Sam <sam@sender.example>",
        f"Message-ID: <{number}@sender.example>",
        f"Subject: number {number}",
        *headers,
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "Content-Type: text/html; charset=utf-8",
        "",
        f"<p>{body} <a href='https://click.example/?u=1&amp;v=2'>x</a></p>",
        "--b",
        "Content-Type: application/pdf; name=invoice.pdf",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment",
        "",
        base64.b64encode(b"%PDF").decode(),
        "--b--",
        "",
    ]
    return "\r\n".join(lines).encode()


@pytest.fixture
def tenant(running_tenants, clock):
    tenant = running_tenants(clock=clock, settings=TenantSettings(microsoft_roles=ROLES))
    for address in (ANNA, BEN):
        tenant.add_mailbox(address)
    return tenant


@pytest.fixture
def graph(tenant, graph_of):
    return graph_of(tenant)


@pytest.fixture
def ask(graph):
    def ask(query, **more):
        answer = graph.post("security/runHuntingQuery", json={"Query": query} | more)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    return ask


@pytest.fixture
def refusal(graph):
    def refusal(query, **more):
        answer = graph.post("security/runHuntingQuery", json={"Query": query} | more)
        return answer.status_code, answer.json()["error"]["code"]

    return refusal


def user_id(tenant, address):
    return tenant.state.store.mailbox(Provider.MICROSOFT365, address).mailbox_id


def test_each_recipient_has_a_row_and_the_message_one_name(tenant, graph):
    tenant.deliver(mail(), [ANNA, BEN])
    answer = graph.post("security/runHuntingQuery", json={"Query": EVENTS}).json()
    rows = answer["results"]
    assert {row["RecipientEmailAddress"] for row in rows} == {ANNA, BEN}
    assert {row["RecipientObjectId"] for row in rows} == {
        user_id(tenant, ANNA),
        user_id(tenant, BEN),
    }
    assert len({row["NetworkMessageId"] for row in rows}) == 1
    assert rows[0] | {"RecipientEmailAddress": "", "RecipientObjectId": ""} == {
        "Timestamp": "2026-03-02T12:00:00.0000000Z",
        "NetworkMessageId": rows[0]["NetworkMessageId"],
        "InternetMessageId": "<1@sender.example>",
        "SenderMailFromAddress": "bounce@sender.example",
        "SenderFromAddress": "sam@sender.example",
        "SenderDisplayName": "Sam",
        "SenderMailFromDomain": "sender.example",
        "SenderFromDomain": "sender.example",
        "SenderIPv4": "",
        "RecipientEmailAddress": "",
        "RecipientObjectId": "",
        "Subject": "number 1",
        "EmailDirection": "Inbound",
        "DeliveryAction": "Delivered",
        "DeliveryLocation": "Inbox/Folder",
        "ThreatTypes": "",
        "AttachmentCount": 1,
        "UrlCount": 2,
        "LatestDeliveryLocation": "Inbox/Folder",
    }
    types = {column["name"]: column["type"] for column in answer["schema"]}
    assert (types["Timestamp"], types["UrlCount"], types["Subject"]) == (
        "DateTime",
        "Int64",
        "String",
    )


def test_urls_come_once_a_message_and_files_once_a_recipient(tenant, ask):
    tenant.deliver(mail(), [ANNA, BEN])
    [network_id] = {row["NetworkMessageId"] for row in ask(EVENTS)}
    urls = ask("EmailUrlInfo | project NetworkMessageId, Url, UrlDomain")
    assert urls == [
        {"NetworkMessageId": network_id, "Url": "https://bad.example/a?b=1",
         "UrlDomain": "bad.example"},
        {"NetworkMessageId": network_id, "Url": "https://click.example/?u=1&v=2",
         "UrlDomain": "click.example"},
    ]  # fmt: skip
    files = ask("EmailAttachmentInfo | project RecipientEmailAddress, FileName, SHA256, FileSize")
    sha256 = hashlib.sha256(b"%PDF").hexdigest()
    assert sorted(row.pop("RecipientEmailAddress") for row in files) == [ANNA, BEN]
    assert files == [{"FileName": "invoice.pdf", "SHA256": sha256, "FileSize": 4}] * 2
    once = ask("EmailAttachmentInfo | distinct FileName, SHA256")
    assert once == [{"FileName": "invoice.pdf", "SHA256": sha256}]


def test_a_row_tells_where_the_copy_lay_and_where_it_lies(tenant, graph, ask):
    [item] = tenant.deliver(mail(), [ANNA])
    tenant.state.store.deliver(
        mail(2, headers=["X-Forefront-Antispam-Report: CIP:192.0.2.9;CAT:HPHISH;SCL:9;"]),
        [ANNA],
        tenant.state.clock(),
        folder="junkemail",
    )
    graph.post(f"users/{ANNA}/messages/{item.rest_id}/move", json={"destinationId": "deleteditems"})
    columns = "DeliveryAction, DeliveryLocation, LatestDeliveryLocation, ThreatTypes, SenderIPv4"
    moved, junked = ask(f"EmailEvents | order by Subject asc | project {columns}")
    assert list(moved.values()) == ["Delivered", "Inbox/Folder", "Deleted items", "", ""]
    assert list(junked.values()) == ["Junked", "Junk", "Junk", "Phish", "192.0.2.9"]


def test_what_was_sent_or_drafted_is_no_delivery(tenant, ask):
    for folder in ("sentitems", "drafts"):
        tenant.state.store.deliver(mail(), [ANNA], tenant.state.clock(), folder=folder)
    assert ask(EVENTS) == []


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("Subject == 'number 1'", "1"),
        ("Subject == 'NUMBER 1'", ""),
        ('Subject =~ "NUMBER 1"', "1"),
        ("Subject != 'number 1'", "23"),
        ("Subject in ('number 1', 'number 3')", "13"),
        ("Subject in~ ('NUMBER 1', 'other')", "1"),
        ("Timestamp >= datetime(2026-03-02T10:00:00Z)", "12"),
        ("Timestamp < datetime(2026-03-02T10:00:00.0000000Z)", "3"),
        ("Timestamp between (datetime(2026-03-02 10:30) .. datetime(2026-03-02T11:30))", "1"),
        ("Timestamp > ago(150m) and Timestamp <= now()", "12"),
        ("UrlCount > 1 and AttachmentCount == 1", "123"),
        ("UrlCount > 1 | where Subject == 'number 2'", "2"),
        (r"Subject == 'number \'1\''", ""),
        ("Subject == @'number 2'", "2"),
    ],
)
def test_rows_are_chosen(tenant, ask, where, numbers):
    for number in (1, 2, 3):
        received = tenant.state.clock() - timedelta(hours=number)
        tenant.deliver(mail(number), [ANNA], received + timedelta(minutes=5))
    rows = ask(f"EmailEvents | where {where} | order by Timestamp desc | project Subject")
    assert "".join(row["Subject"][-1] for row in rows) == numbers


def test_a_semi_join_keeps_what_the_other_table_knows(tenant, ask):
    tenant.deliver(mail(1), [ANNA])
    tenant.deliver(mail(2, body="see https://two.example/"), [BEN])
    query = (
        "EmailUrlInfo | where Timestamp >= ago(1d) | join kind=leftsemi (EmailEvents "
        f"| where RecipientObjectId in ('{user_id(tenant, BEN)}')) on NetworkMessageId "
        "| project Url | take 1"
    )
    assert ask(query) == [{"Url": "https://two.example/"}]


@pytest.mark.parametrize(
    ("timespan", "count"),
    [
        (None, 2),
        ("P1D", 1),
        ("PT36H", 1),
        ("P90D", 2),
        ("2026-02-01T00:00:00Z/2026-03-01T00:00:00Z", 1),
        ("P2D/2026-02-25T00:00:00Z", 0),
        ("2026-02-20T00:00:00Z/P1D", 1),
        ("2026-02-21T12:00:00Z", 1),
    ],
)
def test_a_timespan_bounds_the_query_and_thirty_days_bound_all(tenant, ask, timespan, count):
    for days in (0, 10, 31):
        received = tenant.state.clock() - timedelta(days=days)
        tenant.deliver(mail(days), [ANNA], received)
    assert tenant.state.clock().isoformat() == "2026-03-02T12:00:00+00:00"
    assert len(ask(EVENTS, Timespan=timespan)) == count


@pytest.mark.parametrize(
    "query",
    [
        "",
        "Nothing",
        "EmailEvents |",
        "EmailEvents | where",
        "EmailEvents | where Colour == 'red'",
        "EmailEvents | where Subject",
        "EmailEvents | where Subject has 'x'",
        "EmailEvents | where Subject == 3",
        "EmailEvents | where Subject == Subject",
        "EmailEvents | where Timestamp > '2026-03-01'",
        "EmailEvents | where Timestamp > datetime(yesterday)",
        "EmailEvents | where Subject == 'a' or Subject == 'b'",
        "EmailEvents | summarize count()",
        "EmailEvents | take many",
        "EmailEvents | project Subject | where Url == 'x'",
        "EmailEvents | join kind=inner (EmailUrlInfo) on NetworkMessageId",
        "EmailEvents | join kind=leftsemi (EmailUrlInfo on NetworkMessageId",
        "EmailEvents | where Subject == 'it's'",
        "EmailEvents; EmailEvents",
    ],
)
def test_what_is_wrong_or_not_understood_is_refused(refusal, query):
    assert refusal(query) == (400, "BadRequest")


@pytest.mark.parametrize("timespan", ["", "yesterday", "P", "P1D/P1D", "a/b"])
def test_a_timespan_must_be_one(refusal, timespan):
    assert refusal(EVENTS, Timespan=timespan) == (400, "BadRequest")


def test_the_body_must_hold_a_query(graph):
    for body in ({}, {"Query": 3}, {"Query": EVENTS, "Other": 1}, []):
        assert graph.post("security/runHuntingQuery", json=body).status_code == 400


def test_hunting_needs_a_permission_of_its_own(tenant, graph_of):
    tenant.state.microsoft.roles = ("Mail.ReadWrite", "User.Read.All")
    refused = graph_of(tenant).post("security/runHuntingQuery", json={"Query": EVENTS})
    assert refused.status_code == 403


def test_the_tenant_may_ask_so_often_a_minute(tenant, graph, clock):
    answers = [graph.post("security/runHuntingQuery", json={"Query": EVENTS}) for _ in range(46)]
    assert [answer.status_code for answer in answers] == [200] * 45 + [429]
    assert int(answers[-1].headers["Retry-After"]) == 60
    clock.now += timedelta(minutes=1)
    again = graph.post("security/runHuntingQuery", json={"Query": EVENTS})
    assert again.status_code == 200
