"""Concurrency per mailbox, request budgets, and the door that faults will come through."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import Request, Response

from local_tenant.quota import Budget, Slots
from local_tenant.state import Next, TenantSettings

ANNA, OTTO = "anna@north.example", "otto@north.example"


def burst(tenant, token, urls):
    """All of them at once; the answers in the order of the calls."""

    async def run():
        trust = ssl.create_default_context(cafile=str(tenant.connection.ca_file))
        async with httpx.AsyncClient(
            base_url=f"{tenant.state.origin}/v1.0/",
            verify=trust,
            headers={"Authorization": f"Bearer {token}"},
        ) as client:
            return await asyncio.gather(*(client.get(url) for url in urls))

    return asyncio.run(run())


def test_a_fifth_call_at_once_to_one_mailbox_is_throttled(running_tenants, sign_in):
    tenant = running_tenants(settings=TenantSettings(latency_seconds=0.5))
    for address in (ANNA, OTTO):
        tenant.add_mailbox(address)
    token = sign_in(tenant)["access_token"]
    answers = burst(tenant, token, [f"users/{ANNA}/messages"] * 6 + [f"users/{OTTO}/messages"] * 4)
    assert sorted(answer.status_code for answer in answers[:6]) == [200] * 4 + [429] * 2
    assert {answer.status_code for answer in answers[6:]} == {200}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "ApplicationThrottled"
    assert refused.json()["error"]["message"] == "Application is over its MailboxConcurrency limit."
    assert int(refused.headers["Retry-After"]) >= 1
    again = burst(tenant, token, [f"users/{ANNA}/messages"] * 4)
    assert {answer.status_code for answer in again} == {200}


def test_a_mailbox_s_request_budget_comes_back_with_time(running_tenants, graph_of, clock):
    tenant = running_tenants(settings=TenantSettings(microsoft_mailbox_requests=3), clock=clock)
    tenant.add_mailbox(ANNA)
    graph = graph_of(tenant)
    url = f"users/{ANNA}/messages"
    assert [graph.get(url).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert graph.get(url).headers["Retry-After"] == "600"
    clock.now += timedelta(minutes=10)
    assert graph.get(url).status_code == 200


def test_the_door_may_answer_delay_or_spoil(tenant, graph):
    async def success_then_504(request: Request, proceed: Next) -> Response:
        answer = await proceed(request)
        return Response(status_code=504) if request.url.path.endswith("/move") else answer

    item = tenant.deliver(b"Subject: x\n\nx", [ANNA])[0]
    tenant.state.door = success_then_504
    url = f"users/{ANNA}/messages/{item.rest_id}/move"
    assert graph.post(url, json={"destinationId": "junkemail"}).status_code == 504
    assert tenant.copies()[0]["place"] == "junk"


def test_a_budget_counts_units_in_a_sliding_window():
    moment = [datetime(2026, 1, 1, tzinfo=UTC)]
    budget = Budget(10, timedelta(minutes=1), lambda: moment[0])
    assert budget.spend("a", 6) is None
    moment[0] += timedelta(seconds=30)
    assert budget.spend("a", 4) is None
    assert budget.spend("a", 1) == timedelta(seconds=30)
    assert budget.spend("b", 10) is None
    moment[0] += timedelta(seconds=30)
    assert budget.spend("a", 6) is None
    assert budget.spend("a", 1) == timedelta(seconds=30)


def test_slots_are_given_back_whatever_happens():
    slots = Slots(1)

    def fail_while_holding():
        with slots.hold("a") as granted:
            assert granted
            with slots.hold("a") as second:
                assert not second
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_while_holding()
    with slots.hold("a") as granted:
        assert granted
