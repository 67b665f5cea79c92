"""The app registration in Entra ID: what its clients may sign in with, and what they may do."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import SecretStr

TOKEN_EXCHANGE = "api://AzureADTokenExchange"  # noqa: S105  an audience
"""The audience that Microsoft recommends for federated credentials."""


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """Who of another issuer may sign in as the application. Compared with regard to case."""

    issuer: str
    subject: str
    audience: str = TOKEN_EXCHANGE


@dataclass(frozen=True, slots=True)
class MailboxGrant:
    """RBAC for Applications: a permission for some mailboxes, which no token tells of."""

    role: str
    """The permission of Graph that it stands for: Mail.ReadWrite."""
    mailboxes: frozenset[str]
    """Addresses in lower case."""


@dataclass
class MicrosoftApplication:
    """One app registration with its service principal. Tests may change it while it is used."""

    tenant_id: str
    client_id: str
    client_secret: SecretStr
    roles: tuple[str, ...]
    """Application permissions that an administrator consented to in Entra ID."""
    managed_identity: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The client id of the tenant's managed identity, which has the same permissions."""
    secret_expires_at: datetime | None = None
    certificates: list[x509.Certificate] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)
    issuer_keys: dict[str, list[RSAPublicKey]] = field(default_factory=dict)
    """What other issuers sign with, as their discovery documents would tell."""
    grants: list[MailboxGrant] = field(default_factory=list)

    def register_certificate(self, pem: bytes) -> None:
        """Raises ValueError for what is no certificate."""
        self.certificates.append(x509.load_pem_x509_certificate(pem))

    def trust(self, credential: FederatedCredential, key: RSAPublicKey) -> None:
        """Let the subject sign in with what its issuer signs with this key."""
        self.federated.append(credential)
        self.issuer_keys.setdefault(credential.issuer, []).append(key)

    def grant(self, role: str, mailboxes: Collection[str]) -> None:
        """As New-ManagementRoleAssignment with a scope does: for these mailboxes alone."""
        scope = frozenset(address.lower() for address in mailboxes)
        self.grants.append(MailboxGrant(role, scope))

    def may(self, roles: Collection[str], mailbox: str) -> bool:
        """Whether a grant lets the application do this in the mailbox, by its address."""
        return any(
            grant.role in roles and mailbox.lower() in grant.mailboxes for grant in self.grants
        )
