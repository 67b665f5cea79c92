"""The Directory: who the users are, and who may ask."""

from __future__ import annotations

import pytest

from local_tenant.mailbox import Hosting

READONLY = "https://www.googleapis.com/auth/admin.directory.user.readonly"
ADMIN = "admin@south.example"
DIRECTORY = ("admin", "directory_v1")


@pytest.fixture
def users(tenant, connect):
    return connect(tenant, ADMIN, (READONLY,), DIRECTORY).users()


def test_every_user_of_the_customer(users, tenant):
    tenant.add_mailbox("zoe@south.example", "Zoë Vega")
    tenant.add_mailbox("left@south.example", enabled=False)
    tenant.add_mailbox("old@south.example", archived=True)
    tenant.add_mailbox("new@south.example", hosting=Hosting.UNLICENSED)
    listed = {
        user["primaryEmail"]: user for user in users.list(customer="my_customer").execute()["users"]
    }
    assert listed.keys() == {
        ADMIN,
        "zoe@south.example",
        "left@south.example",
        "old@south.example",
        "new@south.example",
    }
    assert listed["zoe@south.example"]["name"] == {
        "givenName": "Zoë",
        "familyName": "Vega",
        "fullName": "Zoë Vega",
    }
    states = {
        name: (user["suspended"], user["archived"], user["isMailboxSetup"])
        for name, user in listed.items()
    }
    assert states["zoe@south.example"] == (False, False, True)
    assert states["left@south.example"] == (True, False, True)
    assert states["old@south.example"] == (False, True, True)
    assert states["new@south.example"] == (False, False, False)


def test_pages_in_an_order(users, tenant):
    for number in range(7):
        tenant.add_mailbox(f"u{number}@south.example")
    seen, token = [], None
    while True:
        page = users.list(
            domain="south.example", maxResults=3, orderBy="email", pageToken=token
        ).execute()
        seen += [user["primaryEmail"] for user in page["users"]]
        token = page.get("nextPageToken")
        if not token:
            break
    assert seen == sorted(seen)
    assert len(seen) == 8
    backwards = users.list(
        customer="my_customer", orderBy="email", sortOrder="DESCENDING"
    ).execute()
    assert [user["primaryEmail"] for user in backwards["users"]] == seen[::-1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ({}, 400, "Bad Request"),
        ({"customer": "C0elsewhere"}, 400, "Invalid Input: customer"),
        ({"domain": "north.example"}, 404, "Domain not found."),
        ({"customer": "my_customer", "maxResults": 501}, 400, "maxResults"),
        ({"customer": "my_customer", "maxResults": 0}, 400, "maxResults"),
        ({"customer": "my_customer", "pageToken": "?"}, 400, "Invalid Input: pageToken"),
        ({"customer": "my_customer", "query": "isSuspended=false"}, 501, "does not emulate"),
    ],
)
def test_wrong_questions(users, refusal, arguments, status, message):
    answer = refusal(users.list(**arguments))
    assert answer.status == status
    assert message in answer.message


def test_only_an_administrator_may_ask(tenant, ann, connect, refusal):
    answer = refusal(
        connect(tenant, ann.address, (READONLY,), DIRECTORY).users().list(customer="my_customer")
    )
    assert (answer.status, answer.reason) == (403, "forbidden")
    assert answer.message == "Not Authorized to access this resource/api"


def test_the_directory_needs_its_own_scope(tenant, connect, refusal):
    service = connect(tenant, ADMIN, ("https://mail.google.com/",), DIRECTORY)
    answer = refusal(service.users().list(customer="my_customer"))
    assert (answer.status, answer.reason) == (403, "insufficientPermissions")


def test_deleted_users_are_none(users):
    assert "users" not in users.list(customer="my_customer", showDeleted="true").execute()
