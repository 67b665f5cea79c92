"""Calls to Microsoft Graph: tokens, paging, short waits, and errors in the program's words."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import msal
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retract.errors import (
    AuthenticationFailed,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    OutcomeUnknown,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.patience import Patience, parse_retry_after
from retract.mailboxes.settings import Microsoft365Settings

AUTHORITY_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
    }
)
"""Where the clouds that Microsoft itself knows give out tokens."""

_MESSAGE_CODES = frozenset({"ErrorItemNotFound", "ErrorFolderNotFound"})
_MAILBOX_CODES = frozenset(
    {
        "ErrorInvalidUser",
        "MailboxNotEnabledForRESTAPI",
        "MailboxNotSupportedForRESTAPI",
        "Request_ResourceNotFound",
        "ResourceNotFound",
    }
)
_TOKEN_ADVICE = {
    "AADSTS700016": "there is no such application in this tenant: check client_id and tenant_id",
    "AADSTS7000215": "the client secret is wrong: use the secret's value, not its id",
    "AADSTS7000222": "the client secret has expired: create a new one",
    "AADSTS90002": "there is no such tenant: check tenant_id",
    "AADSTS500011": "the tenant does not know the service: check graph_url and scope",
}
_TOKEN_CODE = re.compile(r"AADSTS\d+")
_NO_PERMISSION_ADVICE = (
    "grant the application Mail.ReadWrite and User.Read.All with an administrator's consent, "
    "and see that an access policy does not leave this mailbox out"
)
_TOLD_CHARACTERS = 300

A = TypeVar("A", bound=BaseModel)


class GraphAnswer(BaseModel):
    """What Graph sends. It adds properties at any time, so unknown ones are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Page(GraphAnswer, Generic[A]):
    value: list[A]
    next_link: str = Field(default="", alias="@odata.nextLink")


class _Problem(GraphAnswer):
    code: str = ""
    message: str = ""


class _Refusal(GraphAnswer):
    error: _Problem = _Problem()


class Graph:
    """Graph v1.0 of one tenant, as one application. Not thread-safe.

    ``task`` says in every method, for people, what the call was for: "read the mail of …".
    """

    def __init__(
        self,
        settings: Microsoft365Settings,
        clock: Callable[[], datetime],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._root = f"{settings.graph_url}/v1.0"
        self._clock = clock
        self._http = httpx.Client(
            # With a CA file of the settings' own nothing else is trusted, and never nothing.
            verify=ssl.create_default_context(cafile=settings.ca_file)
            if settings.ca_file
            else True,
            timeout=settings.timeout_seconds,
            transport=transport,
        )
        self._tokens = _Tokens(settings, self._http)
        self._patience = Patience(settings.max_wait_seconds)

    def close(self) -> None:
        """Release connections."""
        self._http.close()

    def read(self, path: str, answer: type[A], task: str, **params: str) -> A:
        """One object."""
        return _parse(answer, self._send("GET", self._root + path, task, params=params), task)

    def pages(self, path: str, answer: type[A], task: str, **params: str) -> Iterator[A]:
        """Every object of a listing, page after page."""
        url = self._root + path
        query: Mapping[str, str] | None = params
        followed: set[str] = set()
        while url:
            response = self._send("GET", url, task, params=query)
            page = _parse(_Page[answer], response, task)  # type: ignore[valid-type]
            yield from page.value
            # The link holds the whole query and is followed as it is.
            url, query = page.next_link and self._pinned(url, page.next_link), None
            if url in followed:
                raise MailboxError(f"Microsoft Graph's pages go round in a circle: {task}")
            followed.add(url)

    def content(self, path: str, task: str) -> bytes:
        """Bytes as they are."""
        return self._send("GET", self._root + path, task).content

    def change(
        self, method: str, path: str, task: str, body: Mapping[str, object] | None = None
    ) -> httpx.Response:
        """Change something, once. Raises OutcomeUnknown where it may have been done."""
        return self._send(method, self._root + path, task, body=body, changing=True)

    def _pinned(self, url: str, next_link: str) -> str:
        """Where the next page is: only ever at the service that the token is for."""
        try:
            target = httpx.URL(url).join(next_link)
        except httpx.InvalidURL:
            raise MailboxError("Microsoft Graph gave the next page no valid address") from None
        root = httpx.URL(self._root)
        if (target.scheme, target.host, target.port) != (root.scheme, root.host, root.port):
            raise MailboxError(
                f"Microsoft Graph named {target.scheme}://{target.host} as the place of the next "
                f"page: refused, because only {root.scheme}://{root.host} may see the token"
            )
        return str(target)

    def _send(
        self,
        method: str,
        url: str,
        task: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        changing: bool = False,
    ) -> httpx.Response:
        request = self._http.build_request(method, url, params=params or None, json=body)
        # Without it a move changes the id, and the copy is lost to us.
        request.headers["Prefer"] = 'IdType="ImmutableId"'
        return self._patience.call(lambda: self._send_once(request, task, changing))

    def _send_once(self, request: httpx.Request, task: str, changing: bool) -> httpx.Response:
        response = self._exchange(request, task, changing)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            # The token may have been revoked before its time: one fresh one, once.
            self._tokens.forget()
            response = self._exchange(request, task, changing)
        if response.is_success:
            return response
        raise _refusal(response, task, changing, self._clock())

    def _exchange(self, request: httpx.Request, task: str, changing: bool) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {self._tokens.current()}"
        try:
            return self._http.send(request)
        except _NEVER_SENT as error:
            raise _unreachable(str(request.url), error) from error
        except httpx.RequestError as error:
            if changing:
                raise OutcomeUnknown(
                    f"the connection to Microsoft Graph broke during the call to {task}: it may "
                    f"have been carried out ({type(error).__name__})"
                ) from error
            raise _unreachable(str(request.url), error) from error


class _Tokens:
    """The application's access token: asked for once, then kept by msal until it is old."""

    def __init__(self, settings: Microsoft365Settings, http: httpx.Client) -> None:
        self._settings = settings
        self._http = http
        self._app: Any = None

    def current(self) -> str:
        """A token good for now. Raises AuthenticationFailed, TenantUnreachable, Throttled."""
        settings = self._settings
        try:
            if self._app is None:
                self._app = self._sign_on()
            answer = self._app.acquire_token_for_client(scopes=[settings.token_scope])
        except (httpx.RequestError, OSError) as error:
            raise _unreachable(settings.authority, error) from error
        except (msal.exceptions.MsalError, RuntimeError) as error:
            raise TenantUnreachable(
                f"{_origin(settings.authority)} gives out no tokens now: {error}"
            ) from error
        except (ValueError, KeyError) as error:
            raise AuthenticationFailed(
                f"{settings.authority} is not an authority that gives out tokens: "
                "check tenant_id and authority_url"
            ) from error
        token = answer.get("access_token")
        if isinstance(token, str):
            return token
        raise _token_refusal(answer)

    def forget(self) -> None:
        """Ask for a fresh token the next time."""
        if self._app is not None:
            self._app.remove_tokens_for_client()

    def _sign_on(self) -> Any:
        settings = self._settings
        known = urlsplit(settings.authority).hostname in AUTHORITY_HOSTS
        # The one HTTP client for both keeps one answer to the question whom to trust: the
        # requests library, which msal would use, lets an environment variable override it.
        return msal.ConfidentialClientApplication(
            settings.client_id,
            client_credential=settings.client_secret.get_secret_value(),
            authority=settings.authority,
            # A private authority is unknown to Microsoft, who would be asked about it.
            instance_discovery=None if known else False,
            http_client=self._http,
        )


def _token_refusal(answer: Mapping[str, Any]) -> MailboxError:
    told = _short(str(answer.get("error_description") or answer.get("error") or "no reason given"))
    found = _TOKEN_CODE.search(told)
    code = found.group() if found else str(answer.get("error") or "")
    if answer.get("error") == "temporarily_unavailable":
        return Throttled(f"Microsoft gives out no tokens now: {told}", code=code)
    advice = _TOKEN_ADVICE.get(code, "check tenant_id, client_id and client_secret")
    return AuthenticationFailed(f"Microsoft refused the sign-in: {advice} ({told})", code=code)


_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def _unreachable(url: str, error: Exception) -> TenantUnreachable:
    told = str(error) or type(error).__name__
    advice = (
        "its certificate is not trusted: name the certificate authority in ca_file"
        if "CERTIFICATE_VERIFY_FAILED" in told
        else "check the network and the address in the connection"
    )
    return TenantUnreachable(f"no answer from {_origin(url)}: {advice} ({told})")


def _refusal(response: httpx.Response, task: str, changing: bool, now: datetime) -> MailboxError:
    """The error for an answer that is not a success, chosen by the provider's own code."""
    status = response.status_code
    problem = _problem(response)
    code = problem.code or f"HTTP {status}"
    told = f"Microsoft Graph refused to {task}: {code} {_short(problem.message)}".rstrip()
    match status:
        case 401:
            return AuthenticationFailed(f"{told}; a fresh token did not help", code=code)
        case 403:
            return PermissionDenied(f"{told}; {_NO_PERMISSION_ADVICE}", code=code)
        case 429 | 503:
            asked = parse_retry_after(response.headers.get("Retry-After"), now)
            return Throttled(told, retry_after=asked, code=code)
    if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
        if changing:
            return OutcomeUnknown(f"{told}; it may have been carried out", code=code)
        return TenantUnreachable(f"{told}; the service failed, try again later", code=code)
    if code in _MAILBOX_CODES:
        return MailboxUnavailable(
            f"{told}; there is no such mailbox, or it is inactive or on-premises", code=code
        )
    if code in _MESSAGE_CODES:
        return MessageNotFound(told, code=code)
    return MailboxError(told, code=code)


def _problem(response: httpx.Response) -> _Problem:
    try:
        return _Refusal.model_validate_json(response.content).error
    except ValidationError:
        return _Problem()


def _parse(answer: type[A], response: httpx.Response, task: str) -> A:
    try:
        return answer.model_validate(json.loads(response.content))
    except ValueError as error:
        raise MailboxError(
            f"Microsoft Graph answered the call to {task} with something else than it documents"
        ) from error


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _short(told: str) -> str:
    """The first line: Microsoft's go on with trace ids."""
    return told.partition("\n")[0].strip()[:_TOLD_CHARACTERS]
