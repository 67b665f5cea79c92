"""A signed-in Graph client over TLS, and messages to deliver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import msal
import pytest
import requests

if TYPE_CHECKING:
    from local_tenant.server import RunningTenant

USER = "anna@north.example"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that a test turns."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(START + timedelta(days=1))


@pytest.fixture
def sign_in() -> Iterator[Callable[[RunningTenant], dict[str, Any]]]:
    """Sign in with msal, as the program does; the token response or the refusal."""
    sessions: list[requests.Session] = []

    def sign_in(tenant: RunningTenant, **changes: Any) -> dict[str, Any]:
        session = requests.Session()
        sessions.append(session)
        session.trust_env = False
        session.verify = str(tenant.connection.ca_file)
        client = msal.ConfidentialClientApplication(
            changes.get("client_id", tenant.connection.client_id),
            client_credential=changes.get("client_secret", tenant.connection.client_secret),
            authority=changes.get("authority", tenant.connection.authority_url),
            instance_discovery=False,
            http_client=session,
        )
        scope = changes.get("scope", "https://graph.microsoft.com/.default")
        answer: dict[str, Any] = client.acquire_token_for_client([scope])
        return answer

    yield sign_in
    for session in sessions:
        session.close()


@pytest.fixture
def graph_of(
    sign_in: Callable[[RunningTenant], dict[str, Any]],
) -> Iterator[Callable[[RunningTenant], httpx.Client]]:
    """A client of the tenant's Graph v1.0, signed in; it asks for classic ids."""
    clients: list[httpx.Client] = []

    def graph_of(tenant: RunningTenant) -> httpx.Client:
        token = sign_in(tenant)["access_token"]
        client = tenant.http_client(headers={"Authorization": f"Bearer {token}"})
        client.base_url = httpx.URL(f"{tenant.info['graph_url']}/v1.0/")
        clients.append(client)
        return client

    yield graph_of
    for client in clients:
        client.close()


@pytest.fixture
def graph(tenant: RunningTenant, graph_of: Callable[[RunningTenant], httpx.Client]) -> httpx.Client:
    """A client of the fresh tenant, in which Anna has a mailbox."""
    tenant.add_mailbox(USER, "Anna Archer")
    return graph_of(tenant)


@pytest.fixture
def deliver(tenant: RunningTenant) -> Callable[..., str]:
    """Delivers a message to Anna; its immutable id."""

    def deliver(subject: str = "Hello", hours: int = 0, **more: Any) -> str:
        raw = make_message(subject, **more)
        return tenant.deliver(raw, [USER], START + timedelta(hours=hours))[0].message_id

    return deliver


def make_message(
    subject: str = "Hello", message_id: str = "<1@sender.example>", body: str = "Hello Anna"
) -> bytes:
    lines = [
        "From: Sam Sender <sam@sender.example>",
        f"To: Anna Archer <{USER}>",
        f"Subject: {subject}",
        f"Message-ID: {message_id}",
        "Date: Sun, 01 Mar 2026 12:00:00 +0100",
        "",
        body,
        "",
    ]
    return "\r\n".join(lines).encode()
