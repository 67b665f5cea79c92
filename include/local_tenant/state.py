"""Everything the routers share: the store, the clock, the keys, the limits, the door for faults."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, SecretStr

from local_tenant.access_tokens import AccessTokens
from local_tenant.mailbox import Provider
from local_tenant.quota import Budget, Slots
from local_tenant.registration import MicrosoftApplication
from local_tenant.store import Store

Clock = Callable[[], datetime]
Next = Callable[[Request], Awaitable[Response]]
Door = Callable[[Request, Next], Awaitable[Response]]
"""Stands before every request, and may answer in its place, delay it, or spoil the answer."""


async def open_door(request: Request, proceed: Next) -> Response:
    """The door with no faults behind it."""
    return await proceed(request)


def system_clock() -> datetime:
    return datetime.now(UTC)


class TenantSettings(BaseModel):
    """How the tenant behaves. The limits are those the vendors document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    microsoft_domain: str = "north.example"
    google_domain: str = "south.example"
    seed: int = 0
    """Of the ids; the same seed and the same deliveries give the same ids."""
    latency_seconds: float = 0.001
    """How long a mailbox call holds its slot at least; concurrency limits need calls to overlap."""
    token_lifetime: timedelta = timedelta(hours=1)
    microsoft_roles: tuple[str, ...] = ("Mail.ReadWrite", "User.Read.All")
    """Application permissions that an administrator consented to at first."""
    microsoft_mailbox_concurrency: int = 4
    microsoft_mailbox_requests: int = 10_000
    """In ten minutes, per mailbox."""
    microsoft_app_requests: int = 130_000
    """In ten seconds, for the whole application; each call of a batch counts."""
    expired_delta_status: Literal[400, 404, 410] = 410
    """Which of the documented answers a delta token gets that leads nowhere any more."""
    hunting_calls: int = 45
    """Advanced hunting's, in a minute, for the whole tenant."""
    google_scopes: tuple[str, ...] = (
        "https://mail.google.com/",
        "https://www.googleapis.com/auth/gmail.modify",
        "https://www.googleapis.com/auth/gmail.readonly",
        "https://www.googleapis.com/auth/gmail.metadata",
        "https://www.googleapis.com/auth/gmail.insert",
        "https://www.googleapis.com/auth/gmail.labels",
        "https://www.googleapis.com/auth/admin.directory.user.readonly",
        "https://www.googleapis.com/auth/admin.directory.user",
        "https://www.googleapis.com/auth/admin.directory.group.member.readonly",
    )
    """Scopes the service account is authorised for by domain-wide delegation."""
    gmail_user_units: int = 6_000
    """Quota units in a minute, per user."""
    gmail_project_units: int = 1_200_000
    """Quota units in a minute, for the whole project."""
    gmail_user_concurrency: int = 20
    """Not documented as a number; batches above about 50 calls are reported to draw 429."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key with its id."""

    key_id: str
    private: rsa.RSAPrivateKey

    @staticmethod
    def generate() -> SigningKey:
        return SigningKey(
            uuid.uuid4().hex, rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    def private_pem(self) -> str:
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Google's kind of client; the key signs the client's assertions."""

    email: str
    client_id: str
    """The numeric id that domain-wide delegation is granted to."""
    project_id: str
    key: SigningKey

    def key_file(self, token_uri: str) -> dict[str, str]:
        """What a downloaded service-account key file holds, with this token URI."""
        return {
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": self.key.key_id,
            "private_key": self.key.private_pem(),
            "client_email": self.email,
            "client_id": self.client_id,
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }


@dataclass
class TenantState:
    """One running tenant."""

    store: Store
    settings: TenantSettings
    clock: Clock
    origin: str
    """https://127.0.0.1:port, no slash at the end; set when the port is known."""
    token_key: SigningKey
    """Signs the access tokens of both services."""
    access_tokens: AccessTokens
    microsoft: MicrosoftApplication
    service_account: ServiceAccount
    google_admin: str
    """Address of the administrator the service account may act for in the Directory."""
    token_lifetime: timedelta
    """Of tokens issued from now on."""
    app_requests: Budget
    mailbox_requests: Budget
    mailbox_slots: Slots
    gmail_user_units: Budget
    gmail_project_units: Budget
    gmail_user_slots: Slots
    door: Door = field(default=open_door)


def new_state(settings: TenantSettings | None = None, clock: Clock = system_clock) -> TenantState:
    """An empty tenant with its Google administrator, fresh keys and secrets."""
    settings = settings or TenantSettings()
    store = Store(settings.seed)
    google_admin = f"admin@{settings.google_domain}"
    store.add_mailbox(Provider.GOOGLE_WORKSPACE, google_admin, "Administrator", is_admin=True)
    minute = timedelta(minutes=1)
    token_key = SigningKey.generate()
    return TenantState(
        store=store,
        settings=settings,
        clock=clock,
        origin="https://127.0.0.1",
        token_key=token_key,
        access_tokens=AccessTokens(token_key.private, token_key.key_id),
        microsoft=MicrosoftApplication(
            str(uuid.uuid4()),
            str(uuid.uuid4()),
            SecretStr(f"local~{uuid.uuid4().hex}"),
            settings.microsoft_roles,
        ),
        service_account=ServiceAccount(
            "retract@local-tenant.iam.gserviceaccount.com",
            str(uuid.uuid4().int)[:21],
            "local-tenant",
            SigningKey.generate(),
        ),
        google_admin=google_admin,
        token_lifetime=settings.token_lifetime,
        app_requests=Budget(settings.microsoft_app_requests, timedelta(seconds=10), clock),
        mailbox_requests=Budget(settings.microsoft_mailbox_requests, timedelta(minutes=10), clock),
        mailbox_slots=Slots(settings.microsoft_mailbox_concurrency),
        gmail_user_units=Budget(settings.gmail_user_units, minute, clock),
        gmail_project_units=Budget(settings.gmail_project_units, minute, clock),
        gmail_user_slots=Slots(settings.gmail_user_concurrency),
    )
