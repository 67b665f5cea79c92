"""The tenant's own view: where is this copy now, who changed what, deliver this."""

from __future__ import annotations

import base64

import pytest

ANNA, ZOE = "anna@north.example", "zoe@south.example"


@pytest.fixture
def control(tenant):
    tenant.add_mailbox(ANNA)
    tenant.add_mailbox(ZOE)
    with tenant.http_client() as client:
        client.base_url = f"{tenant.info['control_url']}/"
        yield client


def delivery(**changes):
    raw = b"From: a@b.example\r\nSubject: Hi\r\nMessage-ID: <1@b.example>\r\n\r\nx"
    return {
        "raw_base64": base64.b64encode(raw).decode(),
        "recipients": [ANNA, ZOE],
        "received_at": "2026-03-01T12:00:00+01:00",
    } | changes


def test_a_delivery_reaches_mailboxes_of_both_services(control):
    answer = control.post("deliver", json=delivery(delivery_id="d1"))
    assert answer.status_code == 201
    at_microsoft, at_google = answer.json()
    assert at_microsoft | {"message_id": ""} == {
        "provider": "microsoft365",
        "mailbox": ANNA,
        "message_id": "",
        "internet_message_id": "<1@b.example>",
        "delivery_id": "d1",
        "subject": "Hi",
        "received_at": "2026-03-01T11:00:00+00:00",
        "place": "inbox",
        "folder": "inbox",
        "labels": [],
        "is_read": False,
        "is_flagged": False,
    }
    assert at_google["provider"] == "google_workspace"
    assert (at_google["place"], at_google["labels"]) == ("inbox", ["INBOX", "UNREAD"])
    assert control.get("copies").json() == [at_microsoft, at_google]
    assert control.get("copies", params={"provider": "google_workspace"}).json() == [at_google]
    assert control.get(f"copies/{at_google['message_id']}").json() == at_google


@pytest.mark.parametrize(
    "changes",
    [
        {"recipients": ["nobody@north.example"]},
        {"recipients": [ANNA, "nobody@north.example"]},
        {"recipients": []},
        {"raw_base64": "%%%"},
        {"received_at": "2026-03-01T12:00:00"},
        {"colour": "red"},
    ],
)
def test_a_wrong_delivery_reaches_nobody(control, changes):
    assert control.post("deliver", json=delivery(**changes)).status_code == 422
    assert control.get("copies").json() == []


def test_an_unknown_copy_is_not_found(control):
    assert control.get("copies/nonsense").status_code == 404


def test_audit_is_empty_until_somebody_changes_something(tenant, control, graph_of):
    control.post("deliver", json=delivery())
    assert control.get("audit").json() == []
    [microsoft] = [copy for copy in tenant.copies() if copy["provider"] == "microsoft365"]
    graph = graph_of(tenant)
    graph.post(
        f"users/{ANNA}/messages/{microsoft['message_id']}/move",
        json={"destinationId": "deleteditems"},
        headers={"Prefer": 'IdType="ImmutableId"'},
    )
    [entry] = control.get("audit").json()
    assert entry | {"at": ""} == {
        "at": "",
        "provider": "microsoft365",
        "mailbox": ANNA,
        "operation": "move",
        "message_id": microsoft["message_id"],
        "from": "inbox",
        "to": "deleteditems",
        "status": 201,
    }
