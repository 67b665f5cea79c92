"""Two kinds of service to put a provider before: the local tenant, and a script of answers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httplib2
import httpx
import pytest
from fastapi import Request, Response
from pydantic import SecretStr

from local_tenant.inner_calls import OUTER_SCOPE
from local_tenant.mailbox import Mailbox as TenantMailbox
from local_tenant.mailbox import Provider as TenantProvider
from local_tenant.server import RunningTenant
from local_tenant.state import Next
from retract.errors import MailboxError
from retract.mailboxes.connect import open_mailboxes
from retract.mailboxes.google_workspace.provider import GoogleWorkspace
from retract.mailboxes.microsoft365.provider import Microsoft365
from retract.mailboxes.protocol import MailboxProvider
from retract.mailboxes.settings import GoogleWorkspaceSettings, Microsoft365Settings
from retract.model import Action, Copy, Location, Mailbox, Place

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SECRET = "the-secret-nobody-may-see"

FaultyDoor = Callable[[Request, Next], Awaitable[Response]]
Answer = tuple[int, dict[str, str], Any] | Exception
"""Status, headers and JSON body; or what the network raises."""


@dataclass
class Script:
    """What the service answers, line by line; the last line again and again."""

    lines: list[Answer] = field(default_factory=list)
    token_lines: list[Answer] = field(default_factory=list)
    """What the token endpoint answers instead of a token."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(method, URL) of every call but those for tokens."""
    tokens: int = 0
    waits: list[float] = field(default_factory=list)
    """How long the provider would have waited, in seconds."""

    def answer(self, method: str, url: str) -> Answer:
        path = urlsplit(url).path
        if path.endswith("/.well-known/openid-configuration"):
            base = url.removesuffix("/v2.0/.well-known/openid-configuration")
            token = {"token_endpoint": f"{base}/oauth2/v2.0/token", "issuer": base}
            return 200, {}, {**token, "authorization_endpoint": f"{base}/oauth2/v2.0/authorize"}
        if path.endswith("/token"):
            self.tokens += 1
            token = {"access_token": f"token-{self.tokens}", "token_type": "Bearer"}
            good = (200, {}, {**token, "expires_in": 3600})
            return _next(self.token_lines) if self.token_lines else good
        self.calls.append((method, url))
        return _next(self.lines)


def locate(mailboxes: MailboxProvider, copy: Copy) -> Location | None:
    """Where one copy lies; its error raised."""
    (seen,) = mailboxes.locate([copy])
    if isinstance(seen, MailboxError):
        raise seen
    return seen


def retract(mailboxes: MailboxProvider, copy: Copy, action: Action) -> None:
    """One copy retracted; its error raised."""
    (refusal,) = mailboxes.retract([(copy, action)], mailboxes.now() + timedelta(minutes=5))
    if refusal is not None:
        raise refusal


def _next(lines: list[Answer]) -> Answer:
    return lines.pop(0) if len(lines) > 1 else lines[0]


@dataclass
class Scripted:
    """A provider, its script, and a copy to ask about."""

    mailboxes: MailboxProvider
    script: Script
    mailbox: Mailbox
    copy: Copy


def scripted_microsoft365(script: Script, settings: dict[str, Any]) -> Microsoft365:
    def handle(request: httpx.Request) -> httpx.Response:
        answer = script.answer(request.method, str(request.url))
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.Response(status, headers=headers, content=content)

    known = Microsoft365Settings(
        tenant_id="tenant-1",
        client_id="client-1",
        client_secret=SecretStr(SECRET),
        authority_url="https://login.invalid/{tenant_id}",
        graph_url="https://graph.invalid",
        **settings,
    )

    async def sleep(seconds: float) -> None:
        script.waits.append(seconds)
        await asyncio.sleep(0)

    transport = httpx.MockTransport(handle)
    return Microsoft365(known, "work", lambda: NOW, transport, sleep=sleep)


def scripted_google_workspace(
    service_account: str, script: Script, settings: dict[str, Any]
) -> GoogleWorkspace:
    known = GoogleWorkspaceSettings(
        service_account_info=SecretStr(service_account),
        admin_subject="admin@south.example",
        gmail_url="https://gmail.invalid",
        directory_url="https://directory.invalid",
        **{"max_wait_seconds": 20, **settings},
    )
    return GoogleWorkspace(
        known, "work", lambda: NOW, sleep=script.waits.append, seconds=lambda: sum(script.waits)
    )


def speak_httplib2(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    def request(
        self: httplib2.Http, uri: str, method: str = "GET", **rest: Any
    ) -> tuple[httplib2.Response, bytes]:
        answer = script.answer(method, uri)
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lower = {name.lower(): value for name, value in headers.items()}
        return httplib2.Response({"status": str(status), **lower}), content

    monkeypatch.setattr(httplib2.Http, "request", request)


class Door:
    """Stands before the tenant: counts what comes, and may answer in the tenant's place."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        """(method, path with query)"""
        self.sent: list[tuple[str, str]] = []
        """The same without the calls inside batches."""
        self.fault: FaultyDoor | None = None

    async def __call__(self, request: Request, proceed: Next) -> Response:
        self.requests.append((request.method, f"{request.url.path}?{request.url.query}"))
        if OUTER_SCOPE not in request.scope:
            self.sent.append(self.requests[-1])
        if self.fault is not None and not request.url.path.startswith("/_tenant"):
            return await self.fault(request, proceed)
        return await proceed(request)


@dataclass
class Bench:
    """A provider before a mailbox of its own in the running tenant."""

    tenant: RunningTenant
    door: Door
    mailboxes: MailboxProvider
    mailbox: Mailbox
    settings: Microsoft365Settings | GoogleWorkspaceSettings

    @property
    def now(self) -> datetime:
        return self.tenant.state.clock().replace(microsecond=0)

    @property
    def box(self) -> TenantMailbox:
        """The mailbox as the tenant sees it."""
        found = self.tenant.state.store.mailbox(self.tenant_provider, self.mailbox.mailbox_id)
        assert found is not None
        return found

    @property
    def tenant_provider(self) -> TenantProvider:
        return TenantProvider(self.mailbox.provider)

    def with_settings(self, **changes: Any) -> MailboxProvider:
        """Another provider before the same tenant. The caller closes it."""
        settings = self.settings.model_copy(update=changes)
        return open_mailboxes(settings, "work", self.mailboxes.now)

    def deliver(self, subject: str = "hello", at: datetime | None = None, **placement: Any) -> Copy:
        """One message into the mailbox, now unless told otherwise."""
        raw = (
            f"From: Mallory <mallory@evil.example>\r\nTo: {self.mailbox.address}\r\n"
            f"Subject: {subject}\r\nMessage-ID: <{uuid.uuid4()}@evil.example>\r\n\r\n"
            "See https://evil.example/login\r\n"
        ).encode()
        (item,) = self.tenant.state.store.deliver(
            raw, [self.mailbox.address], at or self.now, **placement
        )
        return Copy(
            self.mailbox.provider,
            self.mailbox.connection,
            self.mailbox.mailbox_id,
            self.mailbox.address,
            item.message_id,
            item.content.internet_message_id,
        )

    def deliver_to(self, place: Place, subject: str, at: datetime) -> Copy:
        """One message straight into a place."""
        folders = {Place.INBOX: "inbox", Place.JUNK: "junkemail", Place.TRASH: "deleteditems"}
        labels = {Place.INBOX: ["INBOX"], Place.JUNK: ["SPAM"], Place.TRASH: ["TRASH"]}
        return self.deliver(subject, at, folder=folders[place], labels=labels[place])

    def outcome(self, copy: Copy) -> dict[str, Any]:
        """The copy as the tenant itself tells of it."""
        (found,) = (c for c in self.tenant.copies() if c["message_id"] == copy.message_id)
        return found

    def changes(self) -> list[dict[str, Any]]:
        """Every call that changed something in this mailbox."""
        return [e for e in self.tenant.audit() if e["mailbox"] == self.mailbox.address]


def other_mailboxes(bench: Bench, count: int) -> list[Bench]:
    """More mailboxes of the tenant, behind the same provider."""
    domain = bench.mailbox.address.partition("@")[2]
    store = bench.tenant.state.store
    boxes = [
        store.add_mailbox(bench.tenant_provider, f"user-{uuid.uuid4().hex}@{domain}")
        for _ in range(count)
    ]
    return [
        dataclasses.replace(
            bench, mailbox=Mailbox(bench.mailbox.provider, "work", box.mailbox_id, box.address)
        )
        for box in boxes
    ]
