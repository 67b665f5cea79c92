"""Google's own client against the local tenant, every answer held to Google's own schema."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_auth_httplib2
import googleapiclient
import httplib2
import jsonschema
import pytest
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest, HttpRequest

from local_tenant.mailbox import Provider
from local_tenant.quota import Budget
from local_tenant.store import Store

if TYPE_CHECKING:
    from local_tenant.server import RunningTenant

USER = "ann@south.example"
MAIL = "https://mail.google.com/"
DIRECTORY = "https://www.googleapis.com/auth/admin.directory.user.readonly"

_DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
# What a JSON answer must look like where discovery only gives a format.
_FORMATS: dict[str, dict[str, Any]] = {
    "int64": {"type": "string", "pattern": "^-?[0-9]+$"},
    "uint64": {"type": "string", "pattern": "^[0-9]+$"},
    "uint32": {"type": "integer", "minimum": 0},
    "byte": {"type": "string", "pattern": "^[A-Za-z0-9_-]*={0,2}$"},
}


class Schemas:
    """The response schemas of one discovery document, with nothing allowed beside them."""

    def __init__(self, name: str) -> None:
        document = json.loads((_DOCUMENTS / name).read_text(encoding="utf-8"))
        self._definitions = {name: _strict(schema) for name, schema in document["schemas"].items()}
        self._responses = dict(_methods(document))
        jsonschema.Draft202012Validator.check_schema({"$defs": self._definitions})

    def check(self, method_id: str, answer: Any) -> None:
        """Raises jsonschema.ValidationError."""
        expected = self._responses[method_id]
        if expected is None:
            assert answer in ("", b"", None), f"{method_id} answers with no body"
            return
        schema = {"$ref": f"#/$defs/{expected}", "$defs": self._definitions}
        jsonschema.Draft202012Validator(schema).validate(answer)


def _methods(resource: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for method in resource.get("methods", {}).values():
        yield method["id"], method.get("response", {}).get("$ref")
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    if schema.get("type") == "any":
        return {}
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    strict = {name: schema[name] for name in ("type", "enum") if name in schema}
    if schema.get("type") == "array":
        strict["items"] = _strict(schema["items"])
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        strict["properties"] = {name: _strict(inner) for name, inner in properties.items()}
        more = schema.get("additionalProperties")
        strict["additionalProperties"] = _strict(more) if more else False
    return strict


_SCHEMAS = {
    ("gmail", "v1"): Schemas("gmail.v1.json"),
    ("admin", "directory_v1"): Schemas("admin.directory_v1.json"),
}


@pytest.fixture
def gmail_schemas() -> Schemas:
    return _SCHEMAS["gmail", "v1"]


Connect = Callable[..., Any]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Google's client, signed in as a delegated user, checking every answer's shape."""
    services: list[Any] = []

    def connect(
        tenant: RunningTenant,
        subject: str | None = USER,
        scopes: tuple[str, ...] = (MAIL,),
        api: tuple[str, str] = ("gmail", "v1"),
    ) -> Any:
        credentials = service_account.Credentials.from_service_account_file(
            str(tenant.connection.service_account_file), scopes=scopes, subject=subject
        )
        http = google_auth_httplib2.AuthorizedHttp(
            credentials, http=httplib2.Http(ca_certs=str(tenant.connection.ca_file), timeout=20)
        )

        def checked_request(http: Any, postproc: Any, uri: str, **more: Any) -> HttpRequest:
            def checked(response: Any, content: Any) -> Any:
                answer = postproc(response, content)
                _SCHEMAS[api].check(more["methodId"], answer)
                return answer

            return HttpRequest(http, checked, uri, **more)

        service = build(
            *api,
            http=http,
            requestBuilder=checked_request,
            static_discovery=True,
            client_options={"api_endpoint": tenant.connection.gmail_url},
        )
        services.append(service)
        return service

    yield connect
    for service in services:
        service.close()


@pytest.fixture(scope="session")
def _server() -> Iterator[RunningTenant]:
    from local_tenant.server import running_tenant

    with running_tenant() as tenant:
        yield tenant


@pytest.fixture
def tenant(_server: RunningTenant) -> RunningTenant:
    """One server for all tests of this folder, emptied for each: starting one takes a while."""
    state = _server.state
    state.store = Store()
    state.store.add_mailbox(
        Provider.GOOGLE_WORKSPACE, state.google_admin, "Administrator", is_admin=True
    )
    for name in ("gmail_user_units", "gmail_project_units"):
        used = getattr(state, name)
        setattr(state, name, Budget(used.limit, used.window, state.clock))
    return _server


@pytest.fixture
def ann(tenant: RunningTenant) -> Any:
    """Ann's mailbox, empty."""
    return tenant.add_mailbox(USER, "Ann Archer")


@pytest.fixture
def messages(tenant: RunningTenant, ann: Any, connect: Connect) -> Any:
    """The messages resource of Gmail, for Ann, with full access."""
    return connect(tenant).users().messages()


@pytest.fixture
def deliver(tenant: RunningTenant, ann: Any) -> Callable[..., str]:
    """Delivers a message to Ann, so many minutes ago; its id."""

    def deliver(
        subject: str = "Hello", *, minutes: float = 0, raw: bytes = b"", **more: Any
    ) -> str:
        at = tenant.state.clock() - timedelta(minutes=minutes)
        raw = raw or make_message(subject)
        item = tenant.state.store.deliver(raw, [USER], at, **more)[0]
        return item.message_id

    return deliver


@pytest.fixture
def run_batch(tenant: RunningTenant) -> Callable[[list[HttpRequest]], list[Any]]:
    """One HTTP batch of these requests; each answer or HttpError, in order."""

    def run_batch(requests: list[HttpRequest]) -> list[Any]:
        answers: dict[str, Any] = {}
        sign_in(requests[0].http)
        batch = BatchHttpRequest(
            callback=lambda name, answer, error: answers.update({name: error or answer}),
            batch_uri=f"{tenant.connection.gmail_url}/batch/gmail/v1",
        )
        for number, request in enumerate(requests):
            batch.add(request, request_id=str(number))
        batch.execute()
        return [answers[str(number)] for number in range(len(requests))]

    return run_batch


def make_message(subject: str = "Hello", message_id: str = "") -> bytes:
    lines = [
        "From: =?utf-8?q?S=C3=A4m?= Sender <sam@sender.example>",
        f"To: Ann Archer <{USER}>",
        f"Subject: {subject}",
        f"Message-ID: {message_id or f'<{zlib.crc32(subject.encode()):x}@sender.example>'}",
        "Date: Sun, 01 Mar 2026 12:00:00 +0100",
        "",
        "Hello <b>Ann</b>",
        "",
    ]
    return "\r\n".join(lines).encode()


def sign_in(http: google_auth_httplib2.AuthorizedHttp) -> None:
    """Fetch a token now. The batch class would, over a transport that lacks our CA."""
    http.credentials.refresh(google_auth_httplib2.Request(http.http))


@dataclass(frozen=True)
class Refusal:
    """What an error answer says."""

    status: int
    reason: str
    message: str
    body: dict[str, Any]


@pytest.fixture
def refusal() -> Callable[[HttpRequest | HttpError], Refusal]:
    """Sends a request that must be refused, or reads an HttpError."""

    def refusal(request: HttpRequest | HttpError) -> Refusal:
        error = request
        if isinstance(request, HttpRequest):
            with pytest.raises(HttpError) as raised:
                request.execute()
            error = raised.value
        body = json.loads(error.content)["error"]
        assert body["code"] == error.resp.status
        assert {"code", "message", "errors", "status"} <= body.keys()
        return Refusal(error.resp.status, body["errors"][0]["reason"], body["message"], body)

    return refusal
