"""What the directory tells of users with and without a mailbox."""

from __future__ import annotations

import pytest

from local_tenant.mailbox import Hosting

USER = "anna@north.example"
FIELDS = "mail,userPrincipalName,userType,accountEnabled,assignedLicenses,onPremisesSyncEnabled"


@pytest.fixture
def fields_of(graph):
    def fields_of(user):
        return graph.get(f"users/{user}", params={"$select": FIELDS}).json()

    return fields_of


def test_a_licensed_user_of_the_cloud(fields_of):
    anna = fields_of(USER)
    assert (anna["mail"], anna["userPrincipalName"]) == (USER, USER)
    assert (anna["accountEnabled"], anna["userType"]) == (True, "Member")
    assert anna["onPremisesSyncEnabled"] is None
    [licence] = anna["assignedLicenses"]
    assert set(licence) == {"disabledPlans", "skuId"}


def test_a_shared_mailbox_has_a_disabled_account_no_licence_and_its_mail(tenant, graph, fields_of):
    tenant.add_mailbox("info@north.example", shared=True)
    tenant.deliver(b"Subject: hi\n\nx", ["info@north.example"])
    shared = fields_of("info@north.example")
    assert (shared["accountEnabled"], shared["assignedLicenses"]) == (False, [])
    assert shared["mail"] == "info@north.example"
    assert len(graph.get("users/info@north.example/messages").json()["value"]) == 1


@pytest.mark.parametrize(
    ("hosting", "mail", "synchronised"),
    [
        (Hosting.ON_PREMISES, "max@north.example", True),
        (Hosting.INACTIVE, "max@north.example", None),
        (Hosting.UNLICENSED, None, None),
    ],
)
def test_a_user_without_a_mailbox_in_the_cloud_is_listed_and_has_no_mail_to_read(
    tenant, graph, fields_of, hosting, mail, synchronised
):
    tenant.add_mailbox("max@north.example", hosting=hosting)
    found = fields_of("max@north.example")
    assert found["mail"] == mail
    assert found["assignedLicenses"] == []
    assert found["onPremisesSyncEnabled"] is synchronised
    for path in ("messages", "mailFolders", "mailFolders/inbox/messages/delta"):
        refused = graph.get(f"users/max@north.example/{path}")
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "MailboxNotEnabledForRESTAPI"
        assert refused.json()["error"]["message"] == (
            "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
        )


def test_a_synchronised_user_may_have_a_mailbox_in_the_cloud(tenant, graph, fields_of):
    tenant.add_mailbox("syn@north.example", synchronised=True)
    assert fields_of("syn@north.example")["onPremisesSyncEnabled"] is True
    assert graph.get("users/syn@north.example/messages").status_code == 200
    query = {"$filter": "onPremisesSyncEnabled eq true"}
    found = graph.get("users", params=query).json()["value"]
    assert [user["mail"] for user in found] == ["syn@north.example"]


def test_a_guest_has_another_organisation_s_address(tenant, graph):
    guest = tenant.add_mailbox("gast@partner.example", guest=True)
    query = {"$filter": "mail eq 'gast@partner.example'", "$select": FIELDS}
    [found] = graph.get("users", params=query).json()["value"]
    assert found["userType"] == "Guest"
    assert found["userPrincipalName"] == "gast_partner.example#EXT#@north.example"
    refused = graph.get(f"users/{guest.mailbox_id}/messages")
    assert refused.json()["error"]["code"] == "MailboxNotEnabledForRESTAPI"


def test_a_path_knows_a_user_by_sign_in_name_and_not_by_another_address(tenant, graph):
    tenant.add_mailbox("mail@north.example", sign_in_name="login@north.example")
    [item] = tenant.deliver(b"Subject: hi\n\nx", ["mail@north.example"])
    for path in ("users/mail@north.example", "users/mail@north.example/messages"):
        assert graph.get(path).status_code == 404
    [found] = graph.get("users/LOGIN@north.example/messages").json()["value"]
    assert found["id"] == item.rest_id
    [user] = graph.get("users", params={"$filter": "mail eq 'mail@north.example'"}).json()["value"]
    assert user["userPrincipalName"] == "login@north.example"
