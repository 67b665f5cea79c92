"""Fixtures that put a provider before the local tenant, or before a script of answers."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(Path(__file__).parent))  # for mailbox_bench

from mailbox_bench import (
    SECRET,
    Bench,
    Door,
    Script,
    Scripted,
    scripted_google_workspace,
    scripted_microsoft365,
    speak_httplib2,
)

from local_tenant.mailbox import Provider as TenantProvider
from local_tenant.server import RunningTenant, running_tenant
from local_tenant.state import TenantSettings, new_state
from retract.mailboxes.connect import open_mailboxes
from retract.mailboxes.protocol import MailboxProvider
from retract.mailboxes.settings import GoogleWorkspaceSettings, Microsoft365Settings
from retract.model import Copy, Mailbox, Provider


@pytest.fixture(scope="session")
def service_account() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return json.dumps(
        {
            "type": "service_account",
            "private_key_id": SECRET,
            "private_key": key.decode(),
            "client_email": "retract@project.iam.gserviceaccount.com",
            "token_uri": "https://google.invalid/token",
        }
    )


@pytest.fixture
def scripted(
    service_account: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Provider], Scripted]]:
    """Make a provider that talks to a script, and never really waits."""
    made: list[MailboxProvider] = []
    # google-auth waits by itself between tries for a token.
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)

    def make(provider: Provider, **settings: Any) -> Scripted:
        script = Script()
        mailboxes: MailboxProvider
        if provider is Provider.MICROSOFT365:
            mailboxes = scripted_microsoft365(script, settings)
        else:
            speak_httplib2(script, monkeypatch)
            # A script has an order.
            monkeypatch.setattr("retract.mailboxes.google_workspace.reading._READ_AT_ONCE", 1)
            mailboxes = scripted_google_workspace(service_account, script, settings)
        made.append(mailboxes)
        mailbox = Mailbox(provider, "work", "mailbox-1", "anna@north.example")
        copy = Copy(provider, "work", "mailbox-1", "anna@north.example", "message-1")
        return Scripted(mailboxes, script, mailbox, copy)

    yield make
    for mailboxes in made:
        mailboxes.close()


@pytest.fixture(scope="session")
def empty_tenant() -> Iterator[RunningTenant]:
    state = new_state(TenantSettings(latency_seconds=0))
    state.door = Door()
    with running_tenant(state) as tenant:
        yield tenant


@pytest.fixture(params=list(Provider))
def bench(request: pytest.FixtureRequest, empty_tenant: RunningTenant) -> Iterator[Bench]:
    """Each test of it runs once per provider, with a fresh mailbox."""
    provider: Provider = request.param
    state = empty_tenant.state
    domain = "north.example" if provider is Provider.MICROSOFT365 else "south.example"
    box = state.store.add_mailbox(TenantProvider(provider), f"user-{uuid.uuid4().hex}@{domain}")
    info = empty_tenant.info
    settings: Microsoft365Settings | GoogleWorkspaceSettings
    if provider is Provider.MICROSOFT365:
        names = ("tenant_id", "client_id", "client_secret", "authority_url", "graph_url", "ca_file")
        settings = Microsoft365Settings.model_validate({name: info[name] for name in names})
    else:
        names = ("service_account_file", "gmail_url", "directory_url", "ca_file")
        settings = GoogleWorkspaceSettings.model_validate(
            {name: info[name] for name in names}
            | {"admin_subject": info["google_admin"], "allow_hard_delete": True}
        )
    mailboxes = open_mailboxes(settings, "work", state.clock)
    door = state.door
    assert isinstance(door, Door)
    mailbox = Mailbox(provider, "work", box.mailbox_id, box.address)
    yield Bench(empty_tenant, door, mailboxes, mailbox, settings)
    door.fault = None
    mailboxes.close()
