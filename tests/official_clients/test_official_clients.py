"""Clients of Microsoft Graph that others wrote, as they are, cannot tell the local tenant from it.

What they print is held against the tenant's own word. Google's client is the one that the program
uses: tests/local_tenant/google lets it call everything there is.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from local_tenant.mailbox import LastVerb, Provider
from local_tenant.state import TenantSettings

pytestmark = pytest.mark.official_clients

ANNA, BEN, TEAM = "anna@north.example", "ben@north.example", "team@north.example"
ROLES = (
    "Mail.ReadWrite",
    "User.Read.All",
    "GroupMember.Read.All",
    "ThreatHunting.Read.All",
)
VISIBLE = [
    "Archive",
    "Conversation History",
    "Deleted Items",
    "Drafts",
    "Inbox",
    "Junk Email",
    "Outbox",
    "Sent Items",
]


def mail(number: int) -> bytes:
    lines = [
        "From: Sam Sender <sam@sender.example>",
        f"To: {ANNA}",
        f"Subject: number {number}",
        f"Message-ID: <{number}@sender.example>",
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "Content-Type: text/plain",
        "",
        "Hello https://bad.example/",
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
def tenant(running_tenants):
    """Five messages to Anna, the newest first by number."""
    tenant = running_tenants(settings=TenantSettings(microsoft_roles=ROLES))
    for address in (ANNA, BEN):
        tenant.add_mailbox(address)
    return tenant


@pytest.fixture
def delivered(tenant):
    """The ids of the five messages, newest first; the first was answered."""
    now, store = tenant.state.clock(), tenant.state.store
    ids = [
        tenant.deliver(mail(number), [ANNA], now - timedelta(hours=number + 1))[0].message_id
        for number in range(5)
    ]
    first = store.find(ids[0])
    store.respond(store.mailbox_of(first), first, LastVerb.REPLY, at=now)
    return ids


def test_microsoft_s_sdk_reads_and_changes_mail(tenant, delivered, run_client):
    store = tenant.state.store
    group = store.add_group(Provider.MICROSOFT365, TEAM, members=[ANNA, BEN])
    mailbox = store.mailbox(Provider.MICROSOFT365, ANNA)
    store.add_folder(mailbox, "Filed", mailbox.well_known("inbox").folder_id)
    found = run_client(
        "with_msgraph_sdk.py",
        tenant,
        user=ANNA,
        ids=delivered[:3],
        group=group.group_id,
        message_id="<1@sender.example>",
    )
    first = store.find(delivered[0])
    assert found["users"] == [ANNA, BEN]
    assert found["subjects"] == [f"number {number} sam@sender.example" for number in range(5)]
    assert found["by_message_id"] == [delivered[1]]
    assert found["one"] == {
        "subject": "number 0",
        "received": first.received_at.isoformat(),
        "body_type": "html",
        "flag": "notFlagged",
        "is_draft": False,
        "verbs": [["Integer 0x1081", "102"]],
        "bytes": len(first.content.raw),
    }
    assert found["folders"] == [*sorted([*VISIBLE, "Filed"]), "delta: 9 and more: False"]
    assert found["batch"] == [200, 200, 200]
    assert found["absolute_batch"] == [400, 400, 400]
    assert found["changes"] == [
        [f"number {number}" for number in range(5)],
        [[delivered[1], True]],
        [delivered[1], True],
    ]
    assert found["delete"] == "404 ErrorInvalidUser"
    assert found["members"] == [ANNA, BEN]
    assert found["hunted"] == [f"number {number}" for number in range(5)]
    assert places(tenant) == ["inbox", "junk", "purged", "inbox", "inbox"]
    assert [entry["operation"] for entry in tenant.audit()] == ["move", "permanentDelete"]


def test_o365_signs_in_reads_and_changes_mail(tenant, delivered, run_client):
    found = run_client("with_o365.py", tenant, user=ANNA, ids=delivered[:3])
    first = tenant.state.store.find(delivered[0])
    assert found["signed_in"] is True
    assert found["users"] == [ANNA, BEN]
    assert found["subjects"] == [f"number {number}" for number in range(5)]
    assert found["filtered"] == [delivered[0]]
    assert (found["folders"], found["children"]) == (VISIBLE, [])
    assert found["by_name"] == "Archive"
    assert found["one"] == {
        "sender": "sam@sender.example",
        "to": [ANNA],
        "received": first.received_at.timestamp(),
        "attachments": ["invoice.pdf"],
        "mime": len(first.content.raw),
    }
    assert (found["marked"], found["moved"], found["deleted"]) == (True, True, True)
    assert places(tenant) == ["inbox", "junk", "recoverable", "inbox", "inbox"]
    assert first.is_read


def places(tenant: Any) -> list[str]:
    return [copy["place"] for copy in tenant.copies() if copy["mailbox"] == ANNA]
