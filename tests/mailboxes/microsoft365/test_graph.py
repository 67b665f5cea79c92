"""What goes over the wire to Graph: batches and single calls, tokens, contents, links."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from retract.errors import (
    AuthenticationFailed,
    MailboxError,
    MessageNotFound,
    OutcomeUnknown,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.microsoft365.calls import Call, GraphAnswer
from retract.mailboxes.microsoft365.graph import Graph
from retract.mailboxes.settings import Microsoft365Settings

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SETTINGS = Microsoft365Settings(
    tenant_id="tenant-1",
    client_id="client-1",
    client_secret=SecretStr("the-secret"),
    authority_url="https://login.invalid/{tenant_id}",
    graph_url="https://graph.invalid",
    requests_per_second=1e9,
)


class Named(GraphAnswer):
    id: str


Answer = httpx.Response | Exception
Inner = dict[str, Any]


class Service:
    """Gives out tokens, takes batches apart, and answers each call as told."""

    def __init__(self) -> None:
        self.inner: Callable[[Inner], Inner | None] = named
        self.outer: Callable[[httpx.Request], Answer | None] = lambda request: None
        self.direct: Callable[[httpx.Request], Answer] = lambda request: httpx.Response(200)
        self.requests: list[httpx.Request] = []
        self.steps: list[Inner] = []
        self.tokens = 0
        self.waits: list[float] = []
        self.most_at_once: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        mailbox = request.url.path.split("/")[3] if "/users/" in request.url.path else ""
        self._under_way.update([mailbox, "all"])
        self.most_at_once |= self._under_way
        for _ in range(5):
            await asyncio.sleep(0)
        self._under_way.subtract([mailbox, "all"])
        answer = self.outer(request)
        if answer is None:
            answer = self._batch(request) if request.url.path.endswith("$batch") else None
        if answer is None:
            answer = self.direct(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sign_in(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/openid-configuration"):
            base = "https://login.invalid/tenant-1"
            urls = {name: f"{base}/{name}" for name in ("token_endpoint", "authorization_endpoint")}
            return httpx.Response(200, json={**urls, "issuer": base})
        self.tokens += 1
        token = {"access_token": f"token-{self.tokens}", "token_type": "Bearer"}
        return httpx.Response(200, json={**token, "expires_in": 3600})

    def _batch(self, request: httpx.Request) -> httpx.Response:
        steps = json.loads(request.content)["requests"]
        self.steps += steps
        answers = [
            {"id": step["id"], **answer}
            for step in reversed(steps)
            if (answer := self.inner(step)) is not None
        ]
        return httpx.Response(200, json={"responses": answers})

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


class Transport(httpx.MockTransport):
    """Sign-in in msal's thread, the rest in the client's loop."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.sign_in)
        self.service = service

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await self.service.handle(request)


def named(step: Inner) -> Inner:
    return {"status": 200, "headers": {}, "body": {"id": step["url"]}}


def refused(status: int, code: str = "", **headers: str) -> Inner:
    return {"status": status, "headers": headers, "body": {"error": {"code": code}}}


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def graph(service: Service) -> Iterator[Graph]:
    graph = Graph(SETTINGS, lambda: NOW, Transport(service), sleep=service.sleep)
    yield graph
    graph.close()
    graph.close()  # twice does no harm


def reads(count: int) -> list[Call]:
    return [Call("GET", f"/users/u{n}/messages/m", "look", f"u{n}") for n in range(count)]


def moves(count: int) -> list[Call]:
    body = {"destinationId": "junkemail"}
    return [
        Call("POST", f"/users/u{n}/messages/m/move", f"move {n}", f"u{n}", body, changing=True)
        for n in range(count)
    ]


# ---- many calls --------------------------------------------------------------------------


def test_many_calls_go_in_few_requests_and_are_answered_in_order(
    service: Service, graph: Graph
) -> None:
    answers = graph.all(reads(45), Named)
    assert [answer.id for answer in answers if isinstance(answer, Named)] == [
        call.path for call in reads(45)
    ]
    assert [request.url.path for request in service.requests] == ["/v1.0/$batch"] * 3
    assert {request.method for request in service.requests} == {"POST"}
    assert {step["headers"]["Prefer"] for step in service.steps} == {'IdType="ImmutableId"'}


def test_a_call_alone_goes_as_it_is(service: Service, graph: Graph) -> None:
    service.direct = lambda request: httpx.Response(201, json={"id": "1"})
    (answer,) = graph.all(moves(1), Named)
    assert answer == Named(id="1")
    (request,) = service.requests
    assert (request.method, request.url.path) == ("POST", "/v1.0/users/u0/messages/m/move")
    assert json.loads(request.content) == {"destinationId": "junkemail"}
    assert request.headers["Prefer"] == 'IdType="ImmutableId"'
    assert request.headers["Content-Type"] == "application/json"


def test_each_call_has_its_own_error(service: Service, graph: Graph) -> None:
    def say(step: Inner) -> Inner:
        number = step["id"]
        told = {
            "1": refused(404, "ErrorItemNotFound"),
            "2": refused(403, "ErrorAccessDenied"),
            "3": refused(504),
            "4": {"status": 200, "body": {"no": "id"}},
            "5": refused(424, "FailedDependency"),
            "6": {"status": 200, "body": "eyJpZCI6ICJiYXNlNjQifQ"},
        }
        return told.get(number) or named(step)

    service.inner = say
    answers = graph.all(moves(8), Named)
    assert [type(answer) for answer in answers] == [
        Named, MessageNotFound, PermissionDenied, OutcomeUnknown,
        OutcomeUnknown, MailboxError, Named, Named,
    ]  # fmt: skip
    assert answers[6] == Named(id="base64")
    assert len(service.steps) == 8


@pytest.mark.parametrize("asked", ["0.5", "1", "", "soon"])
def test_a_throttled_call_is_made_again_alone(service: Service, graph: Graph, asked: str) -> None:
    refusals = iter([refused(429, "ApplicationThrottled", **{"Retry-After": asked})])
    service.inner = lambda step: (
        (next(refusals, None) if step["id"] == "3" else None) or named(step)
    )
    service.direct = lambda request: httpx.Response(200, json={"id": "alone"})
    answers = graph.all(moves(10), Named)
    assert all(isinstance(answer, Named) for answer in answers)
    assert answers[3] == Named(id="alone")
    assert [request.url.path for request in service.requests] == [
        "/v1.0/$batch", "/v1.0/users/u3/messages/m/move",
    ]  # fmt: skip
    assert len(service.waits) == 1


@pytest.mark.parametrize(
    "broken",
    [
        httpx.ReadTimeout("silence"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        ssl.SSLError("bad record mac"),
        httpx.Response(504),
        httpx.Response(500, text="<html>"),
        httpx.Response(408),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"responses": []}),
    ],
)
def test_a_batch_that_is_lost_is_repeated_only_for_reads(
    service: Service, graph: Graph, broken: Answer
) -> None:
    lost = iter([broken])
    service.outer = lambda request: next(lost, None)
    answers = graph.all([*moves(3), *reads(3)], Named)
    assert [type(answer) for answer in answers] == [OutcomeUnknown] * 3 + [Named] * 3
    assert [step["method"] for step in service.steps] == ["GET"] * 3
    assert "token-" not in str(answers[0])


def test_a_call_for_whose_sake_a_batch_is_refused_keeps_no_other_from_its_answer(
    service: Service, graph: Graph
) -> None:
    """A sender chooses part of what is asked: his own message alone may be lost by it."""

    def refuse_hostile(request: httpx.Request) -> Answer | None:
        is_hostile = b"hostile" in request.content or "hostile" in str(request.url)
        return httpx.Response(400, json={"error": {"code": "BadRequest"}}) if is_hostile else None

    service.outer = refuse_hostile
    service.direct = lambda request: httpx.Response(200, json={"id": "alone"})
    calls = [*reads(5), Call("GET", "/users/eve/hostile", "read", "eve"), *moves(5)]
    answers = graph.all(calls, Named)
    assert [type(answer) for answer in answers] == [*[Named] * 5, MailboxError, *[Named] * 5]
    paths = Counter(request.url.path for request in service.requests)
    del paths["/v1.0/$batch"]
    done = Counter(step["url"] for step in service.steps) + paths
    assert set(done.values()) == {1}, "nothing was done twice"


@pytest.mark.parametrize(("times_as_long", "seconds"), [(1, 60), (3, 180)])
def test_a_call_may_take_longer_than_others(
    service: Service, graph: Graph, times_as_long: float, seconds: float
) -> None:
    graph.make(Call("GET", "/slow", "wait", times_as_long=times_as_long))
    (request,) = service.requests
    assert set(request.extensions["timeout"].values()) == {seconds}


class Dripping(httpx.AsyncByteStream):
    """An answer that comes bit by bit, and never so slowly that a single wait is too long."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for byte in b'{"id": "1"}':
            await asyncio.sleep(0.05)
            yield bytes([byte])


@pytest.mark.parametrize(
    "call",
    [
        Call("POST", "/move", "move", "anna", {}, changing=True),
        Call("GET", "/large", "read", "anna"),
    ],
)
def test_a_change_is_over_in_its_time_and_a_large_answer_may_take_longer(
    service: Service, call: Call
) -> None:
    """A change that went on for longer than its lease would meet another worker's."""
    settings = SETTINGS.model_copy(update={"timeout_seconds": 0.2})
    service.direct = lambda request: httpx.Response(200, stream=Dripping())
    with closing(Graph(settings, lambda: NOW, Transport(service), sleep=service.sleep)) as graph:
        if call.changing:
            with pytest.raises(OutcomeUnknown):
                graph.make(call)
        else:
            assert graph.make(call).json() == {"id": "1"}
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(429, headers={"Retry-After": "0.5"}),
        httpx.Response(503),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("silence"),
        httpx.PoolTimeout("busy"),
        httpx.Response(401),
    ],
)
def test_a_batch_that_was_not_carried_out_is_made_again(
    service: Service, graph: Graph, refusal: Answer
) -> None:
    refusals = iter([refusal])
    service.outer = lambda request: next(refusals, None)
    answers = graph.all(moves(5), Named)
    assert [type(answer) for answer in answers] == [Named] * 5
    assert sorted(step["url"] for step in service.steps) == [call.path for call in moves(5)]


def test_a_batch_that_is_refused_is_refused_to_all(service: Service, graph: Graph) -> None:
    service.outer = lambda request: httpx.Response(400, json={"error": {"code": "BadRequest"}})
    answers = graph.all(moves(3), Named)
    assert [type(answer) for answer in answers] == [MailboxError] * 3
    assert len(service.requests) == 1 + 3  # each alone, lest it was for another's sake


# ---- tokens ------------------------------------------------------------------------------


def test_the_token_is_asked_for_once(service: Service, graph: Graph) -> None:
    for _ in range(3):
        graph.all(reads(50), Named)
    assert service.tokens == 1
    assert {request.headers["Authorization"] for request in service.requests} == {"Bearer token-1"}


def test_a_token_that_ends_in_the_middle_is_renewed_once_for_all(
    service: Service, graph: Graph
) -> None:
    def say(step: Inner) -> Inner:
        old = service.requests[-1].headers["Authorization"] == "Bearer token-1"
        return refused(401, "InvalidAuthenticationToken") if old else named(step)

    service.inner = say
    answers = graph.all(moves(60), Named)
    assert [type(answer) for answer in answers] == [Named] * 60
    assert service.tokens == 2


def test_a_token_that_stays_refused_is_told(service: Service, graph: Graph) -> None:
    service.inner = lambda step: refused(401, "InvalidAuthenticationToken")
    answers = graph.all(moves(5), Named)
    assert [type(answer) for answer in answers] == [AuthenticationFailed] * 5
    assert len(service.steps) == 10
    assert service.tokens <= 3


# ---- contents ----------------------------------------------------------------------------


def test_contents_come_in_order_each_by_itself(service: Service, graph: Graph) -> None:
    def say(request: httpx.Request) -> Answer:
        number = request.url.path.split("/")[-2]
        if number == "3":
            return httpx.Response(404, json={"error": {"code": "ErrorItemNotFound"}})
        return httpx.Response(200, content=f"raw {number}".encode())

    service.direct = say
    calls = [
        Call("GET", f"/users/u{n % 2}/messages/{n}/$value", "read", f"u{n % 2}") for n in range(20)
    ]
    contents = list(graph.contents(calls))
    assert contents[:3] == [b"raw 0", b"raw 1", b"raw 2"]
    assert isinstance(contents[3], MessageNotFound)
    assert contents[4:] == [f"raw {n}".encode() for n in range(4, 20)]
    assert service.most_at_once["u0"] <= 4
    assert service.most_at_once["all"] <= 8


def test_one_mailbox_is_read_four_messages_at_a_time(service: Service, graph: Graph) -> None:
    service.direct = lambda request: httpx.Response(200, content=b"raw")
    calls = [Call("GET", f"/users/u/messages/{n}/$value", "read", "u") for n in range(20)]
    assert list(graph.contents(calls)) == [b"raw"] * 20
    assert service.most_at_once["u"] == 4


def test_few_contents_are_read_ahead(service: Service, graph: Graph) -> None:
    contents = graph.contents(Call("GET", "/$value", "read") for _ in range(1000))
    next(contents)
    assert len(service.requests) <= 8


# ---- links -------------------------------------------------------------------------------


def test_a_link_is_followed_as_it_is(graph: Graph) -> None:
    path = "/users/a%40b/mailFolders('x')/messages/delta?$deltatoken=a%2Fb+c%3D%3D&x='1'"
    assert graph.path_of(f"https://graph.invalid:443/v1.0{path}") == path


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/users",
        "http://graph.invalid/v1.0/users",
        "https://graph.invalid:8443/v1.0/users",
        "https://graph.invalid@evil.example/v1.0/users",
        "//evil.example/v1.0/users",
        "https://graph.invalid/beta/users",
        "https://graph.invalid/v1.0",
        "https://[broken/",
        "",
    ],
)
def test_no_link_leads_elsewhere(graph: Graph, link: str) -> None:
    with pytest.raises(MailboxError, match="next page"):
        graph.path_of(link)


# ---- what cannot be reached --------------------------------------------------------------


def test_waits_add_up_to_no_more_than_the_settings_allow(service: Service, graph: Graph) -> None:
    service.outer = lambda request: httpx.Response(429, headers={"Retry-After": "1"})
    assert {type(answer) for answer in graph.all(moves(20), Named)} == {Throttled}
    assert sum(service.waits) <= SETTINGS.max_wait_seconds


def test_a_service_that_is_away_is_told_to_all(service: Service, graph: Graph) -> None:
    service.outer = lambda request: httpx.ConnectError("refused")
    answers = graph.all(moves(500), Named)
    assert {type(answer) for answer in answers} == {TenantUnreachable}
    assert len(service.requests) < 100


def test_a_share_of_the_rate_is_kept(service: Service) -> None:
    settings = SETTINGS.model_copy(update={"requests_per_second": 100.0})
    graph = Graph(settings, lambda: NOW, Transport(service), share=0.05, sleep=service.sleep)
    graph.all(reads(15), Named)
    graph.close()
    # Five at once, and so in each second; less the time that passed really.
    assert len(service.waits) == 2
    assert 0.5 < service.waits[0] <= 1.1
    assert 1.5 < service.waits[1] <= 2.1
