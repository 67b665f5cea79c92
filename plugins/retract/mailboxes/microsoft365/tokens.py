"""Sign-in to Microsoft 365: the application's access token.

What msal is given: https://msal-python.readthedocs.io (ConfidentialClientApplication,
ManagedIdentityClient). Of a certificate it sends the SHA-256 thumbprint, which it computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msal

from retract.errors import (
    AuthenticationFailed,
    ConnectionSettingsError,
    MailboxError,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.clouds import AUTHORITY_HOSTS
from retract.mailboxes.microsoft365.certificate import SignInCertificate, read_certificate
from retract.mailboxes.microsoft365.told import first_line, origin, unreachable
from retract.mailboxes.patience import parse_retry_after
from retract.mailboxes.settings import Microsoft365Settings, SignIn

SYSTEM_IDENTITY = "system"
"""The setting ``managed_identity`` of a machine's own identity."""

_ADVICE = {
    "AADSTS50034": "check client_id and tenant_id",
    "AADSTS50013": (
        "the issuer's keys do not fit the token in federated_token_file: see that the issuer "
        "publishes its keys where Microsoft can read them"
    ),
    "AADSTS53003": "a Conditional Access policy for workload identities keeps it out",
    "AADSTS70021": (
        "the application trusts no issuer with the issuer, subject and audience of the token in "
        "federated_token_file: compare them with its federated credentials"
    ),
    "AADSTS70025": (
        "the application has no federated credential: add one for the issuer, subject and "
        "audience of the token in federated_token_file"
    ),
    "AADSTS700016": "there is no such application in this tenant: check client_id and tenant_id",
    "AADSTS700024": (
        "what was signed is not valid now: set the clock of this machine, and see that the token "
        "in federated_token_file is renewed"
    ),
    "AADSTS700027": (
        "the application does not know this certificate: upload the certificate (without its key) "
        "to the application's registration, and see that certificate_file is that one"
    ),
    "AADSTS700211": (
        "the application does not trust the issuer of the token in federated_token_file: compare "
        "it with its federated credentials"
    ),
    "AADSTS700212": (
        "the token in federated_token_file is for another audience than the application's "
        "federated credential names: have it issued for api://AzureADTokenExchange (in China "
        "api://AzureADTokenExchangeChina, in US Government clouds "
        "api://AzureADTokenExchangeUSGov)"
    ),
    "AADSTS700213": (
        "the subject of the token in federated_token_file is none that the application trusts: "
        "compare it with its federated credentials"
    ),
    "AADSTS7000112": "the application is disabled: enable it in Entra ID",
    "AADSTS7000215": "the client secret is wrong: use the secret's value, not its id",
    "AADSTS7000222": "the client secret has expired: create a new one",
    "AADSTS7000229": (
        "the application has no service principal in this tenant: have an administrator consent"
    ),
    "AADSTS90002": "there is no such tenant: check tenant_id, and that cloud is the tenant's",
    "AADSTS500011": "the tenant does not know the service: check graph_url and scope",
}
"""By error code: https://learn.microsoft.com/entra/identity-platform/reference-error-codes."""

_EXPIRED_CERTIFICATE = "the certificate has expired: make a new one and upload it"
_NO_ADVICE = {
    SignIn.CLIENT_SECRET: "check tenant_id, client_id and client_secret",
    SignIn.CERTIFICATE: "check tenant_id, client_id and certificate_file",
    SignIn.FEDERATED_TOKEN: "check tenant_id, client_id and federated_token_file",
    SignIn.MANAGED_IDENTITY: (
        "see that the identity in managed_identity is assigned to this machine, by its client id"
    ),
}
_CODE = re.compile(r"AADSTS\d+")
_FEDERATED_TOKEN_BYTES = 64 * 1024
_MACHINE_CONNECT_SECONDS = 3.0


class Tokens:
    """The application's access token: asked for once, then kept by msal until it is old.

    msal remembers refusals for up to an hour. Here each failure makes it forget everything, so
    that what a person mends (a secret, a file, an assignment) counts at the next try. A
    certificate that was renewed on disk is read before a refusal is told.

    Raises ConnectionSettingsError where the certificate cannot be read.
    """

    def __init__(
        self, settings: Microsoft365Settings, http: httpx.Client, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._http = _Remembering(
            _MachineHttp(settings.timeout_seconds)
            if settings.sign_in is SignIn.MANAGED_IDENTITY
            else http
        )
        self._source: Callable[[], Mapping[str, Any]] | None = None
        self._forget: Callable[[], object] = lambda: None
        if settings.certificate_file:
            certificate_of(settings)

    def current(self) -> str:
        """A token good for now. Raises AuthenticationFailed, TenantUnreachable, Throttled."""
        is_renewable = self._source is not None
        try:
            return self._asked()
        except AuthenticationFailed:
            if not is_renewable:
                raise
            return self._asked()

    def forget(self) -> None:
        """Ask for a fresh token the next time."""
        self._forget()

    def _asked(self) -> str:
        try:
            answer = self._answer()
            token = answer.get("access_token")
            if isinstance(token, str):
                return token
            raise self._refusal(answer)
        except MailboxError:
            self._source = None
            raise

    def _answer(self) -> Mapping[str, Any]:
        authority = self._settings.authority
        try:
            if self._source is None:
                self._source = self._sign_on()
            return self._source()
        except (httpx.RequestError, OSError) as error:
            if self._settings.sign_in is SignIn.MANAGED_IDENTITY:
                raise _no_identity_endpoint(error) from error
            raise unreachable(authority, error) from error
        except (msal.exceptions.MsalError, RuntimeError, ValueError, KeyError) as error:
            raise self._unusable(error) from error

    def _sign_on(self) -> Callable[[], Mapping[str, Any]]:
        settings = self._settings
        if settings.managed_identity:
            return self._sign_on_as_machine(settings.managed_identity)
        # The one HTTP client for both keeps one answer to the question whom to trust: the
        # requests library, which msal would use, lets an environment variable override it.
        known = urlsplit(settings.authority).hostname in AUTHORITY_HOSTS
        application = msal.ConfidentialClientApplication(
            settings.client_id,
            client_credential=self._credential(),
            authority=settings.authority,
            # A private authority is unknown to Microsoft, who would be asked about it.
            instance_discovery=None if known else False,
            http_client=self._http,
        )
        self._forget = application.remove_tokens_for_client
        return lambda: application.acquire_token_for_client(scopes=[settings.token_scope])

    def _sign_on_as_machine(self, identity: str) -> Callable[[], Mapping[str, Any]]:
        machine = msal.ManagedIdentityClient(
            msal.SystemAssignedManagedIdentity()
            if identity == SYSTEM_IDENTITY
            else msal.UserAssignedManagedIdentity(client_id=identity),
            http_client=self._http,
        )
        resource = self._settings.token_scope.removesuffix("/.default")

        def forget() -> None:
            self._source = None  # msal has no other way to drop a machine's token

        self._forget = forget
        return lambda: machine.acquire_token_for_client(resource=resource)

    def _credential(self) -> object:
        """What msal calls ``client_credential``."""
        settings = self._settings
        if settings.client_secret:
            return settings.client_secret.get_secret_value()
        if settings.federated_token_file:
            file = settings.federated_token_file
            return {"client_assertion": lambda: _federated_token(file)}
        try:
            certificate = certificate_of(settings)
        except ConnectionSettingsError as error:
            raise AuthenticationFailed(str(error)) from error
        if certificate.valid_until <= self._clock():
            raise AuthenticationFailed(
                f"{_EXPIRED_CERTIFICATE} ({settings.certificate_file} was valid until "
                f"{certificate.valid_until:%Y-%m-%d})"
            )
        # Without a thumbprint msal computes the one by SHA-256.
        return {
            "private_key": certificate.private_key,
            "public_certificate": certificate.certificate,
        }

    def _refusal(self, answer: Mapping[str, Any]) -> MailboxError:
        told = first_line(
            str(answer.get("error_description") or answer.get("error") or "no reason given")
        )
        found = _CODE.search(told)
        code = found.group() if found else str(answer.get("error") or "")
        if self._http.asks_for_patience or answer.get("error") == "temporarily_unavailable":
            return self._patience(told, code)
        advice = _ADVICE.get(code, _NO_ADVICE[self._settings.sign_in])
        if code == "AADSTS700027" and "expired" in told:
            advice = _EXPIRED_CERTIFICATE
        return AuthenticationFailed(f"Microsoft refused the sign-in: {advice} ({told})", code=code)

    def _unusable(self, error: Exception) -> MailboxError:
        """The error for an answer that msal cannot read. Its own words may quote the answer."""
        if self._http.asks_for_patience:
            return self._patience(f"HTTP {self._http.status}", "")
        authority = self._settings.authority
        if self._settings.sign_in is SignIn.MANAGED_IDENTITY:
            return _no_identity_endpoint(error)
        if isinstance(error, (ValueError, KeyError)) and self._http.status < 500:
            return AuthenticationFailed(
                f"{authority} is not an authority that gives out tokens: check tenant_id, and "
                "cloud or authority_url"
            )
        return TenantUnreachable(
            f"{origin(authority)} gives out no tokens now (HTTP {self._http.status}): "
            "try again later"
        )

    def _patience(self, told: str, code: str) -> Throttled:
        asked = parse_retry_after(self._http.retry_after, self._clock())
        return Throttled(
            f"Microsoft gives out no tokens now: {told}", retry_after=asked, code=code or None
        )


def certificate_of(settings: Microsoft365Settings) -> SignInCertificate:
    """What a sign-in with a certificate signs with. Raises ConnectionSettingsError."""
    if settings.certificate_file is None:
        raise ConnectionSettingsError("certificate_file is not given")
    password = settings.certificate_password
    return read_certificate(
        settings.certificate_file, password.get_secret_value() if password else ""
    )


def _federated_token(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            token = opened.read(_FEDERATED_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        token = ""
    if token.count(".") != 2:
        raise AuthenticationFailed(
            f"federated_token_file: {file} holds no token: see that whoever writes it "
            "(workload identity in Kubernetes) does, and that this user may read it"
        )
    return token


def _no_identity_endpoint(error: Exception) -> TenantUnreachable:
    return TenantUnreachable(
        "no managed identity: nothing on this machine gives out tokens. It must be in Azure (or "
        "connected by Azure Arc) with an identity assigned; otherwise sign in with a certificate "
        f"({type(error).__name__})"
    )


class _MachineHttp:
    """Asks the machine's own endpoint for a token, as ManagedIdentityClient wants to.

    It is specified as plain http on the machine or its link, where nobody else listens, and a
    proxy would be somebody else: none is used.
    """

    def __init__(self, timeout_seconds: float) -> None:
        connect = min(timeout_seconds, _MACHINE_CONNECT_SECONDS)
        self._timeout = httpx.Timeout(timeout_seconds, connect=connect)

    def get(self, url: str, **asked: Any) -> httpx.Response:
        return httpx.get(url, timeout=self._timeout, trust_env=False, **asked)

    def post(self, url: str, **asked: Any) -> httpx.Response:
        return httpx.post(url, timeout=self._timeout, trust_env=False, **asked)


class _Remembering:
    """The HTTP client that msal is given. Keeps what msal does not tell of the last answer."""

    def __init__(self, http: httpx.Client | _MachineHttp) -> None:
        self._http = http
        self.status = 0
        self.retry_after: str | None = None

    @property
    def asks_for_patience(self) -> bool:
        return self.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

    def get(self, url: str, **asked: Any) -> httpx.Response:
        return self._kept(self._http.get(url, **asked))

    def post(self, url: str, data: Any = None, **asked: Any) -> httpx.Response:
        if isinstance(data, Mapping):
            # An assertion that msal signs is bytes, of which httpx would send the repr.
            data = {k: v.decode() if isinstance(v, bytes) else v for k, v in data.items()}
        return self._kept(self._http.post(url, data=data, **asked))

    def close(self) -> None:
        """Nothing: whoever made the client closes it."""

    def _kept(self, response: httpx.Response) -> httpx.Response:
        self.status = response.status_code
        self.retry_after = response.headers.get("Retry-After")
        return response
