"""Groups of the directory, who is in them, and the mail that is sent to them."""

from __future__ import annotations

import pytest

from local_tenant.groups import GroupKind
from local_tenant.mailbox import Hosting, Provider
from local_tenant.state import TenantSettings

M365 = Provider.MICROSOFT365
EVENTUAL = {"ConsistencyLevel": "eventual"}
USERS = "transitiveMembers/microsoft.graph.user"


def people(*names):
    return [f"{name}@north.example" for name in names]


@pytest.fixture
def open_tenant(running_tenants, graph_of):
    """A tenant whose application has these permissions; with a client of its Graph."""

    def open_tenant(*roles):
        tenant = running_tenants(settings=TenantSettings(microsoft_roles=roles))
        for address in people("anna", "ben", "cleo", "dora"):
            tenant.add_mailbox(address)
        return tenant, graph_of(tenant)

    return open_tenant


@pytest.fixture
def nested(open_tenant):
    """All ⊃ {anna, sales ⊃ {ben, cleo, all}, keys}: groups may hold each other."""
    tenant, graph = open_tenant("GroupMember.Read.All", "User.Read.All")
    store = tenant.state.store
    sales = store.add_group(M365, "sales@north.example", "Sales", members=people("ben", "cleo"))
    store.add_group(M365, "keys@north.example", kind=GroupKind.SECURITY, members=people("dora"))
    store.add_group(M365, "all@north.example", members=people("anna", "sales", "keys"))
    store.add_member(sales, "all@north.example")
    return tenant, graph


def group_id(tenant, name):
    return tenant.state.store.group(M365, f"{name}@north.example").group_id


def test_a_group_is_found_by_its_mail_address_and_read_by_id(nested):
    tenant, graph = nested
    query = {"$filter": "mail eq 'SALES@north.example'", "$select": "id,displayName,mail"}
    [found] = graph.get("groups", params=query).json()["value"]
    assert found == {
        "id": group_id(tenant, "sales"),
        "displayName": "Sales",
        "mail": "sales@north.example",
    }
    group = graph.get(f"groups/{found['id']}").json()
    assert (group["mailEnabled"], group["securityEnabled"]) == (True, False)
    assert graph.get("groups", params={"$filter": "mail eq 'x@y.example'"}).json()["value"] == []


def test_transitive_members_are_flat_and_each_there_once(nested):
    tenant, graph = nested
    url = f"groups/{group_id(tenant, 'all')}/{USERS}"
    answer = graph.get(url, params={"$count": "true", "$select": "id,mail"}, headers=EVENTUAL)
    body = answer.json()
    assert body["@odata.count"] == 4
    assert sorted(user["mail"] for user in body["value"]) == people("anna", "ben", "cleo", "dora")
    assert all(set(user) == {"id", "mail"} for user in body["value"])


def test_members_are_users_and_groups_with_their_types(nested):
    tenant, graph = nested
    members = graph.get(f"groups/{group_id(tenant, 'all')}/members").json()["value"]
    told = {member["mail"]: member["@odata.type"] for member in members}
    assert told == {
        "anna@north.example": "#microsoft.graph.user",
        "sales@north.example": "#microsoft.graph.group",
        None: "#microsoft.graph.group",
    }


def test_members_come_in_pages(nested):
    tenant, graph = nested
    url = f"groups/{group_id(tenant, 'all')}/{USERS}"
    found, link, params = [], url, {"$top": 3, "$count": "true"}
    pages = 0
    while link:
        page = graph.get(link, params=params, headers=EVENTUAL).json()
        found += [user["id"] for user in page["value"]]
        link, params, pages = page.get("@odata.nextLink"), None, pages + 1
    assert (len(set(found)), len(found), pages) == (4, 4, 2)


@pytest.mark.parametrize(("params", "headers"), [({}, EVENTUAL), ({"$count": "true"}, {})])
def test_a_cast_needs_the_advanced_query_parameters(nested, params, headers):
    tenant, graph = nested
    url = f"groups/{group_id(tenant, 'all')}/{USERS}"
    refused = graph.get(url, params=params, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (
        400,
        "Request_UnsupportedQuery",
    )


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("groups/sales@north.example", 400, "Request_BadRequest"),
        ("groups/00000000-1111-4222-8333-444444444444", 404, "Request_ResourceNotFound"),
        ("groups/00000000-1111-4222-8333-444444444444/members", 404, "Request_ResourceNotFound"),
        ("groups?$filter=mail gt 'a'", 400, "Request_UnsupportedQuery"),
        ("groups?$top=1000", 400, "Request_UnsupportedQuery"),
        ("groups?$select=mailbox", 400, "BadRequest"),
    ],
)
def test_wrong_calls_are_refused(nested, path, status, code):
    _, graph = nested
    refused = graph.get(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)


def test_groups_need_a_permission_of_their_own(open_tenant):
    tenant, graph = open_tenant("User.Read.All", "Mail.ReadWrite")
    tenant.state.store.add_group(M365, "sales@north.example")
    url = f"groups/{group_id(tenant, 'sales')}"
    for path in ("groups", url, f"{url}/members", f"{url}/{USERS}"):
        refused = graph.get(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            403,
            "Authorization_RequestDenied",
        )


def test_without_a_permission_for_users_a_member_is_an_id(open_tenant):
    tenant, graph = open_tenant("GroupMember.Read.All")
    tenant.state.store.add_group(M365, "sales@north.example", members=people("anna"))
    [member] = graph.get(f"groups/{group_id(tenant, 'sales')}/members").json()["value"]
    assert member["id"]
    assert {value for name, value in member.items() if name not in ("id", "@odata.type")} == {None}


def test_mail_to_a_list_reaches_each_member_once_with_one_message_id(nested):
    tenant, _ = nested
    tenant.add_mailbox("max@north.example", hosting=Hosting.ON_PREMISES)
    store = tenant.state.store
    store.add_member(store.group(M365, "sales@north.example"), "max@north.example")
    raw = b"Message-ID: <1@x.example>\nSubject: hi\n\nx"
    items = tenant.deliver(raw, ["all@north.example", "anna@north.example"])
    mailboxes = [store.mailbox_of(item).address for item in items]
    assert sorted(mailboxes) == people("anna", "ben", "cleo", "dora")
    assert {item.content.internet_message_id for item in items} == {"<1@x.example>"}
    assert len({item.delivery_id for item in items}) == 1


def test_a_security_group_takes_no_mail(nested):
    tenant, _ = nested
    with pytest.raises(LookupError):
        tenant.deliver(b"Subject: hi\n\nx", ["keys@north.example"])


def test_a_member_can_leave(nested):
    tenant, graph = nested
    store = tenant.state.store
    store.remove_member(store.group(M365, "sales@north.example"), "ben@north.example")
    url = f"groups/{group_id(tenant, 'all')}/{USERS}"
    answer = graph.get(url, params={"$count": "true"}, headers=EVENTUAL).json()
    assert answer["@odata.count"] == 3
