"""JSON batching."""

from __future__ import annotations

import base64

import pytest

USER = "anna@north.example"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
JSON = {"Content-Type": "application/json"}


def step(number, url=f"/users/{USER}/messages?$select=subject", method="GET", **more):
    return {"id": str(number), "method": method, "url": url, **more}


def by_id(answer):
    assert answer.status_code == 200
    return {one["id"]: one for one in answer.json()["responses"]}


def test_each_call_is_answered_on_its_own(tenant, graph, deliver):
    immutable = deliver()
    answers = by_id(
        graph.post(
            "$batch",
            json={
                "requests": [
                    step(1, headers=IMMUTABLE),
                    step(2, f"/users/{USER}/messages/nonsense"),
                    step(
                        3,
                        f"users/{USER}/messages/{immutable}/move",
                        "POST",
                        headers={**IMMUTABLE, **JSON},
                        body={"destinationId": "junkemail"},
                    ),
                    step(4, f"/users/{USER}/messages/{immutable}/$value", headers=IMMUTABLE),
                ]
            },
        )
    )
    assert {number: one["status"] for number, one in answers.items()} == {
        "1": 200,
        "2": 400,
        "3": 201,
        "4": 200,
    }
    assert answers["1"]["body"]["value"][0]["id"] == immutable
    assert answers["2"]["body"]["error"]["code"] == "ErrorInvalidIdMalformed"
    assert base64.b64decode(answers["4"]["body"]).startswith(b"From: Sam Sender")
    assert tenant.copies()[0]["place"] == "junk"


def test_calls_wait_for_what_they_depend_on_and_fail_with_it(graph, deliver):
    immutable = deliver()
    move = {"method": "POST", "headers": {**IMMUTABLE, **JSON}}
    url = f"/users/{USER}/messages/{immutable}/move"
    answers = by_id(
        graph.post(
            "$batch",
            json={
                "requests": [
                    step("a", url, body={"destinationId": "nowhere"}, **move),
                    step("b", url, body={"destinationId": "junkemail"}, dependsOn=["a"], **move),
                    step("c", url, body={"destinationId": "archive"}, **move),
                    step("d", f"/users/{USER}/mailFolders/archive", dependsOn=["c"]),
                    step("e", dependsOn=["b"]),
                ]
            },
        )
    )
    assert [answers[name]["status"] for name in "abcde"] == [400, 424, 201, 200, 424]
    assert answers["d"]["body"]["totalItemCount"] == 1


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"requests": []}, "Invalid batch payload format."),
        ({"calls": [step(1)]}, "Invalid batch payload format."),
        ({"requests": [{"id": "1", "url": "/users"}]}, "Invalid batch payload format."),
        ({"requests": [step(number) for number in range(21)]},
         "Number of batch request steps exceeds the maximum value of 20."),
        ({"requests": [step("a"), step("A")]}, "Request Id A has to be unique in a batch."),
        ({"requests": [step("a", body={"isRead": True}, method="PATCH")]},
         "Write request id : a does not contain Content-Type header or body."),
        ({"requests": [step("a", dependsOn=["b"]), step("b")]},
         "Request Id a depends on a request that is not before it."),
    ],
)  # fmt: skip
def test_a_malformed_batch_is_refused_as_a_whole(graph, payload, message):
    answer = graph.post("$batch", json=payload)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BadRequest"
    assert answer.json()["error"]["message"] == message


def test_a_batch_needs_a_token(tenant):
    with tenant.http_client() as client:
        assert client.post("/v1.0/$batch", json={"requests": [step(1)]}).status_code == 401


def test_twenty_calls_to_one_mailbox_stay_within_its_concurrency(running_tenants, graph_of):
    from local_tenant.state import TenantSettings

    tenant = running_tenants(settings=TenantSettings(latency_seconds=0.02))
    tenant.add_mailbox(USER)
    graph = graph_of(tenant)
    answers = by_id(graph.post("$batch", json={"requests": [step(n) for n in range(20)]}))
    assert {one["status"] for one in answers.values()} == {200}
