"""How to reach a tenant: what a person writes down for a connection."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    model_validator,
)

from retract.mailboxes.clouds import CLOUDS, Cloud, cloud_at
from retract.observables.mime import TrustedHeaders
from retract.policy import SoftDeleteFolder


def _https_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an https:// address: tokens and secrets are sent there")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    return value.rstrip("/")


def _https_root(value: str) -> str:
    value = _https_url(value)
    if urlsplit(value).path:
        raise ValueError("must be the root of the service: leave out the path (and any version)")
    return value


def _as_json(value: object) -> object:
    return json.dumps(value) if isinstance(value, Mapping) else value


def _certificates(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=value)
    except OSError:
        raise ValueError("must be a readable file of certificates in PEM form") from None
    return value


Address = Annotated[str, Field(min_length=3, pattern=r"^[^@\s]+@[^@\s]+$")]
HttpsUrl = Annotated[str, AfterValidator(_https_url)]
"""An https address without a slash at its end."""
HttpsRoot = Annotated[str, AfterValidator(_https_root)]
"""The same without a path."""


class Watch(BaseModel):
    """Which mailboxes of a tenant are watched: all of them when none are named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addresses: tuple[Address, ...] = ()
    addresses_file: FilePath | None = None
    """One address a line; empty lines and those that begin with # are passed over."""
    groups: tuple[str, ...] = ()
    """Addresses or ids of groups: their members, those of groups inside them included."""
    exclude: tuple[Address, ...] = ()
    """Addresses that are left out all the same."""

    @property
    def everyone(self) -> bool:
        """Whether nothing narrows it."""
        return not (self.addresses or self.addresses_file or self.groups)

    def named(self) -> tuple[str, ...]:
        """The addresses that are named, each once, those of the file included. Raises OSError."""
        text = self.addresses_file.read_text("utf-8-sig") if self.addresses_file else ""
        lines = (line.strip() for line in text.splitlines())
        listed = (line for line in lines if line and not line.startswith("#"))
        return tuple({one.lower(): one for one in (*self.addresses, *listed)}.values())

    def excludes(self, *addresses: str) -> bool:
        """Whether one of them is left out, written in whatever case."""
        left_out = {address.lower() for address in self.exclude}
        return any(address.lower() in left_out for address in addresses)


class CollectFrom(StrEnum):
    """Where a connection's delivered mail is learnt from."""

    MAILBOXES = "mailboxes"
    """The mailboxes themselves, message by message."""
    ADVANCED_HUNTING = "advanced_hunting"
    """Microsoft Defender's tables of delivered mail. Microsoft 365 only."""
    GATEWAY_FILES = "gateway_files"
    """What a mail gateway writes down of what it delivered."""


class ConnectionSettings(BaseModel):
    """What both providers share."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ca_file: Annotated[FilePath, AfterValidator(_certificates)] | None = None
    """PEM bundle of the certificate authorities to trust, in place of the usual ones."""
    timeout_seconds: float = Field(default=60, gt=0)
    """How long one request may take to answer."""
    max_wait_seconds: float = Field(default=20, ge=0)
    """How long one call may wait in all when the provider asks for patience."""
    watch: Watch = Watch()
    collect_from: CollectFrom = CollectFrom.MAILBOXES
    gateway_files: str = ""
    """Where a mail gateway's files lie: a path with wildcards, for gateway_files only."""

    @model_validator(mode="after")
    def _knows_the_files(self) -> Self:
        if (self.collect_from is CollectFrom.GATEWAY_FILES) != bool(self.gateway_files):
            raise ValueError(
                "gateway_files names where the files lie, and belongs to "
                "collect_from: gateway_files: give both or neither"
            )
        return self


class SignIn(StrEnum):
    """How an application proves to Microsoft who it is: the setting that says so."""

    CLIENT_SECRET = "client_secret"  # noqa: S105 - a setting's name
    CERTIFICATE = "certificate_file"
    FEDERATED_TOKEN = "federated_token_file"  # noqa: S105 - a setting's name
    MANAGED_IDENTITY = "managed_identity"


class Microsoft365Settings(ConnectionSettings):
    """A Microsoft 365 tenant, entered as an application (client credentials)."""

    tenant_id: str = ""
    """The directory (tenant) id, or one of the tenant's domain names."""
    client_id: str = ""
    client_secret: SecretStr | None = Field(default=None, min_length=1)
    certificate_file: FilePath | None = None
    """A private key and its certificate: PEM, or PFX."""
    certificate_password: SecretStr | None = Field(default=None, min_length=1)
    """What opens certificate_file, where something must."""
    federated_token_file: FilePath | None = None
    """A token of another issuer whom the application trusts; read anew at each sign-in, because
    workload identity in Kubernetes writes it anew every hour."""
    managed_identity: str | None = Field(default=None, min_length=1)
    """``system``, or the client id of a user-assigned identity of the Azure machine."""
    cloud: Cloud | None = None
    """Whose addresses ``authority_url`` and ``graph_url`` are; they may be named instead."""
    authority_url: HttpsUrl = CLOUDS[Cloud.GLOBAL].authority_url
    graph_url: HttpsRoot = CLOUDS[Cloud.GLOBAL].graph_url
    scope: str = ""
    """Of the access token; left empty, ``graph_url``/.default."""
    soft_delete_folder: SoftDeleteFolder = SoftDeleteFolder.DELETED_ITEMS
    trusted_headers: TrustedHeaders = TrustedHeaders()
    """Which headers of a message the tenant's own receivers wrote."""
    page_size: int = Field(default=100, ge=1, le=1000)
    """Messages a listing asks for at once; the service may answer a large one with 504."""
    requests_per_second: float = Field(default=2000, gt=0)
    """How many calls the whole application may make in a second, all workers together."""

    @model_validator(mode="before")
    @classmethod
    def _addresses_of_the_cloud(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not values.get("cloud"):
            return values
        for name in ("authority_url", "graph_url"):
            if name in values:
                raise ValueError(
                    f"cloud and {name} are both given: leave out {name}, which cloud decides"
                )
        facts = CLOUDS.get(values["cloud"])
        if facts is None:
            return values  # refused for its own field
        return {**values, "authority_url": facts.authority_url, "graph_url": facts.graph_url}

    @model_validator(mode="after")
    def _fits_together(self) -> Microsoft365Settings:
        given = [way for way in SignIn if getattr(self, way) is not None]
        if len(given) != 1:
            ways = ", ".join(SignIn)
            told = f"{' and '.join(given)} are given" if given else "none is given"
            raise ValueError(f"give exactly one way to sign in of {ways}: {told}")
        if self.certificate_password and given != [SignIn.CERTIFICATE]:
            raise ValueError("certificate_password belongs to a certificate_file")
        if given == [SignIn.MANAGED_IDENTITY]:
            if self.client_id:
                raise ValueError(
                    "client_id (or the login) is given beside managed_identity: write the client "
                    "id of a user-assigned identity as managed_identity itself"
                )
        else:
            absent = [name for name in ("tenant_id", "client_id") if not getattr(self, name)]
            if absent:
                raise ValueError(f"{' and '.join(absent)} must be given")
        cloud = cloud_at(self.graph_url)
        if (
            self.collect_from is CollectFrom.ADVANCED_HUNTING
            and cloud is not None
            and not CLOUDS[cloud].advanced_hunting
        ):
            raise ValueError("collect_from: advanced_hunting is not offered in this cloud")
        return self

    @property
    def sign_in(self) -> SignIn:
        """The one way that is given."""
        return next(way for way in SignIn if getattr(self, way) is not None)

    @property
    def authority(self) -> str:
        """The authority URL with the tenant's id in it."""
        return self.authority_url.replace("{tenant_id}", self.tenant_id)

    @property
    def token_scope(self) -> str:
        """The scope to ask a token for."""
        return self.scope or f"{self.graph_url}/.default"


class GoogleWorkspaceSettings(ConnectionSettings):
    """A Google Workspace customer, entered by a service account with domain-wide delegation."""

    service_account_file: FilePath | None = None
    service_account_info: Annotated[SecretStr, BeforeValidator(_as_json)] | None = None
    """The JSON text of the key file, where there is no file."""
    admin_subject: Address
    """The administrator in whose name the directory is read."""
    customer: str = "my_customer"
    gmail_url: HttpsRoot = "https://gmail.googleapis.com"
    directory_url: HttpsRoot = "https://admin.googleapis.com"
    allow_hard_delete: bool = False
    """Ask for the scope https://mail.google.com/, without which Gmail deletes nothing for good.
    The delegation must grant it."""
    trust_labels: bool = True
    """Whether Gmail's own labels tell the disposition at delivery."""
    trusted_headers: TrustedHeaders = TrustedHeaders()
    """Which headers of a message the customer's own receivers wrote."""
    page_size: int = Field(default=500, ge=1, le=500)
    """Messages a listing asks for at once."""
    user_units_per_minute: int = Field(default=6000, gt=0)
    """Gmail's quota units for one user: 15,000 for projects from before May 2026."""
    get_units: int = Field(default=20, gt=0)
    """Gmail's quota units for reading one message: 5 for projects from before May 2026."""
    project_units_per_minute: int = Field(default=1_200_000, gt=0)
    """Gmail's quota units for the whole project, all workers together."""
    max_wait_seconds: float = Field(default=65, ge=0)
    """Longer than a minute: Gmail's quotas are counted by the minute."""

    @model_validator(mode="after")
    def _one_key(self) -> GoogleWorkspaceSettings:
        if (self.service_account_file is None) == (self.service_account_info is None):
            raise ValueError("give either service_account_file or service_account_info")
        if self.collect_from is CollectFrom.ADVANCED_HUNTING:
            raise ValueError("collect_from: advanced_hunting is Microsoft 365 only")
        return self

    @property
    def gmail_scopes(self) -> tuple[str, ...]:
        """The scopes asked for in a user's name."""
        if self.allow_hard_delete:
            return ("https://mail.google.com/",)
        return ("https://www.googleapis.com/auth/gmail.modify",)

    def key(self) -> dict[str, Any]:
        """The service account's key. Raises ValueError or OSError where it cannot be read."""
        if self.service_account_file is not None:
            text = self.service_account_file.read_text(encoding="utf-8")
        else:
            text = self.service_account_info.get_secret_value() if self.service_account_info else ""
        key = json.loads(text)
        if not isinstance(key, dict):
            raise ValueError("a service account key is a JSON object")
        return key
