"""What Microsoft's SDKs write otherwise than the documentation, and the service takes."""

from __future__ import annotations

import pytest

from local_tenant.microsoft.paths import canonical

USER = "anna@north.example"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


@pytest.mark.parametrize(
    ("path", "spelt"),
    [
        ("/v1.0//users", "/v1.0/users"),
        ("/v1.0/users/a/messages/delta()", "/v1.0/users/a/messages/delta"),
        ("/v1.0/groups/a/members/graph.user", "/v1.0/groups/a/members/microsoft.graph.user"),
        ("/v1.0/users/a/messages/AAk()=", "/v1.0/users/a/messages/AAk()="),
        ("/v1.0/$batch", "/v1.0/$batch"),
    ],
)  # fmt: skip
def test_a_path_has_one_spelling(path, spelt):
    assert canonical(path) == spelt
    assert canonical(spelt) == spelt


def test_links_are_spelt_as_documented(graph, deliver):
    deliver()
    delta = graph.get(f"/users/{USER}/mailFolders/inbox/messages/delta()").json()
    assert "/messages/delta?" in delta["@odata.deltaLink"]
    assert graph.get(delta["@odata.deltaLink"]).status_code == 200


def test_an_action_s_parameter_is_taken_in_any_case(tenant, graph, deliver):
    message_id = deliver()
    url = f"users/{USER}/messages/{message_id}/move"
    moved = graph.post(url, json={"DestinationId": "junkemail"}, headers=IMMUTABLE)
    assert moved.status_code == 201
    assert tenant.copies()[0]["place"] == "junk"


def test_a_property_is_taken_in_its_own_case_alone(graph, deliver):
    url = f"users/{USER}/messages/{deliver()}"
    refused = graph.patch(url, json={"IsRead": True}, headers=IMMUTABLE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "RequestBodyRead")


def test_a_batch_may_say_more_but_not_name_whole_addresses(tenant, graph):
    origin = f"{tenant.info['graph_url']}/v1.0"
    steps = [
        {"id": "1", "method": "GET", "url": f"/users/{USER}/messages", "depends_on": []},
        {"id": "2", "method": "GET", "url": f"{origin}/users/{USER}/messages"},
    ]
    answers = graph.post("$batch", json={"requests": steps}).json()["responses"]
    told = {answer["id"]: answer for answer in answers}
    assert told["1"]["status"] == 200
    # msgraph-sdk-python issue 1015
    assert told["2"]["status"] == 400
    assert "Resource not found for the segment" in told["2"]["body"]["error"]["message"]
