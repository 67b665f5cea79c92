"""The Directory: who the users are, and who may ask."""

from __future__ import annotations

import pytest

from local_tenant.mailbox import Hosting, Provider

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


MEMBERS = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"


@pytest.fixture
def members(tenant, connect):
    return connect(tenant, ADMIN, (MEMBERS,), DIRECTORY).members()


def test_one_user_by_id_address_or_alias(users, tenant, refusal):
    zoe = tenant.add_mailbox("zoe@south.example", "Zoë Vega")
    tenant.state.store.add_alias(zoe, "z.vega@south.example")
    for key in (zoe.mailbox_id, "ZOE@south.example", "z.vega@south.example"):
        user = users.get(userKey=key).execute()
        assert (user["id"], user["aliases"]) == (zoe.mailbox_id, ["z.vega@south.example"])
    assert refusal(users.get(userKey="nobody@south.example")).reason == "notFound"


def test_members_of_a_group_and_of_those_inside_it(members, tenant, refusal):
    store, google = tenant.state.store, Provider.GOOGLE_WORKSPACE
    people = [tenant.add_mailbox(f"m{number}@south.example") for number in range(3)]
    store.add_group(google, "inner@south.example", members=[p.address for p in people[1:]])
    store.add_group(google, "all@south.example", members=["inner@south.example", people[0].address])
    direct = members.list(groupKey="all@south.example").execute()["members"]
    assert {(m["email"], m["type"]) for m in direct} == {
        ("inner@south.example", "GROUP"),
        ("m0@south.example", "USER"),
    }
    found, token = [], None
    while True:
        page = members.list(
            groupKey="all@south.example",
            includeDerivedMembership=True,
            maxResults=3,
            pageToken=token,
        ).execute()
        found += [member["id"] for member in page["members"] if member["type"] == "USER"]
        token = page.get("nextPageToken")
        if not token:
            break
    assert sorted(found) == sorted(person.mailbox_id for person in people)
    assert refusal(members.list(groupKey="none@south.example")).reason == "notFound"


def test_members_need_a_scope_of_their_own(tenant, connect, refusal):
    asked = connect(tenant, ADMIN, (READONLY,), DIRECTORY).members().list(groupKey="x")
    assert refusal(asked).reason == "insufficientPermissions"
