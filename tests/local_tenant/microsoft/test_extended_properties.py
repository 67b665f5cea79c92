"""What the owner did with a message, as Graph's extended properties tell it."""

from __future__ import annotations

import pytest

from local_tenant.mailbox import LastVerb

USER = "anna@north.example"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
LAST_VERB = "singleValueExtendedProperties($filter=id eq 'Integer 0x1081')"


@pytest.fixture
def respond(tenant):
    def respond(message_id, verb):
        store = tenant.state.store
        item = store.find(message_id)
        store.respond(store.mailbox_of(item), item, verb, at=tenant.state.clock())

    return respond


@pytest.mark.parametrize(
    ("verb", "value"),
    [(LastVerb.REPLY, "102"), (LastVerb.REPLY_ALL, "103"), (LastVerb.FORWARD, "104")],
)
def test_an_answered_message_tells_how(graph, deliver, respond, verb, value):
    message_id = deliver()
    url = f"users/{USER}/messages/{message_id}"
    query = {"$select": "isRead", "$expand": LAST_VERB}
    before = graph.get(url, params=query, headers=IMMUTABLE).json()
    respond(message_id, verb)
    after = graph.get(url, params=query, headers=IMMUTABLE).json()
    assert "singleValueExtendedProperties" not in before
    assert after["singleValueExtendedProperties"] == [{"id": "Integer 0x1081", "value": value}]
    assert after["isRead"] is True
    assert "singleValueExtendedProperties" not in graph.get(url, headers=IMMUTABLE).json()


def test_a_listing_and_a_delta_tell_it_of_the_answered_message_alone(graph, deliver, respond):
    answered, other = deliver("answered", hours=1), deliver("other")
    respond(answered, LastVerb.REPLY)
    for url in (
        f"users/{USER}/messages",
        f"users/{USER}/mailFolders/inbox/messages",
        f"users/{USER}/mailFolders/inbox/messages/delta",
    ):
        rows = graph.get(url, params={"$expand": LAST_VERB}, headers=IMMUTABLE).json()["value"]
        told = {row["id"]: "singleValueExtendedProperties" in row for row in rows}
        assert told == {answered: True, other: False}


def test_an_answer_is_a_change_of_the_folder(graph, deliver, respond):
    message_id = deliver()
    url = f"users/{USER}/mailFolders/inbox/messages/delta"
    query = {"$select": "isRead", "$expand": LAST_VERB}
    link = graph.get(url, params=query, headers=IMMUTABLE).json()["@odata.deltaLink"]
    respond(message_id, LastVerb.FORWARD)
    [row] = graph.get(link, headers=IMMUTABLE).json()["value"]
    assert row["singleValueExtendedProperties"] == [{"id": "Integer 0x1081", "value": "104"}]


def test_several_properties_come_by_their_names_as_graph_writes_them(graph, deliver, respond):
    message_id = deliver()
    respond(message_id, LastVerb.REPLY)
    wanted = (
        "singleValueExtendedProperties($filter=id eq 'SystemTime 0x1082' or id eq "
        "'Integer 0x1081' or (Id eq 'String {00020329-0000-0000-c000-000000000046} Name X-Y'))"
    )
    answer = graph.get(
        f"users/{USER}/messages/{message_id}", params={"$expand": wanted}, headers=IMMUTABLE
    )
    names = [found["id"] for found in answer.json()["singleValueExtendedProperties"]]
    assert names == ["SystemTime 0x1082", "Integer 0x1081"]


@pytest.mark.parametrize(
    ("expand", "status", "code"),
    [
        ("singleValueExtendedProperties", 400, "ErrorInvalidParameter"),
        ("singleValueExtendedProperties($filter=id gt 'Integer 0x1081')", 400, "BadRequest"),
        ("singleValueExtendedProperties($filter=id eq 'Integer 4225')", 400,
         "ErrorInvalidExtendedProperty"),
        ("singleValueExtendedProperties($filter=id eq 'Number 0x1081')", 400,
         "ErrorInvalidExtendedProperty"),
        ("extensions", 501, "NotEmulated"),
    ],
)  # fmt: skip
def test_wrong_expansions_are_refused(graph, deliver, expand, status, code):
    message_id = deliver()
    for url in (
        f"users/{USER}/messages",
        f"users/{USER}/messages/{message_id}",
        f"users/{USER}/mailFolders/inbox/messages/delta",
    ):
        answer = graph.get(url, params={"$expand": expand}, headers=IMMUTABLE)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_the_same_tag_of_another_type_is_another_property(graph, deliver, respond):
    message_id = deliver()
    respond(message_id, LastVerb.REPLY)
    wanted = LAST_VERB.replace("Integer", "String")
    answer = graph.get(
        f"users/{USER}/messages/{message_id}", params={"$expand": wanted}, headers=IMMUTABLE
    )
    assert "singleValueExtendedProperties" not in answer.json()


def test_the_control_door_lets_the_owner_answer(tenant, graph, deliver):
    message_id = deliver()
    with tenant.http_client() as control:
        answered = control.post(f"/_tenant/copies/{message_id}/respond", json={"verb": "reply_all"})
        unknown = control.post("/_tenant/copies/nothing/respond", json={"verb": "reply"})
    assert (answered.status_code, answered.json()["is_read"]) == (200, True)
    assert unknown.status_code == 404
    assert tenant.state.store.find(message_id).last_verb is LastVerb.REPLY_ALL
    assert tenant.audit() == []
