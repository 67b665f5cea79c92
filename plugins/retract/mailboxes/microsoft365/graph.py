"""Calls to Microsoft Graph: tokens, paging, short waits, and errors in the program's words."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Generic, TypeVar

import httpx
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
from retract.mailboxes.microsoft365.tokens import Tokens
from retract.mailboxes.microsoft365.told import first_line, unreachable
from retract.mailboxes.patience import Patience, parse_retry_after
from retract.mailboxes.settings import Microsoft365Settings

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
_NO_PERMISSION_ADVICE = (
    "grant the application Mail.ReadWrite and User.Read.All with an administrator's consent, "
    "and see that an access policy does not leave this mailbox out"
)

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
        self._tokens = Tokens(settings, self._http)
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
            raise unreachable(str(request.url), error) from error
        except httpx.RequestError as error:
            if changing:
                raise OutcomeUnknown(
                    f"the connection to Microsoft Graph broke during the call to {task}: it may "
                    f"have been carried out ({type(error).__name__})"
                ) from error
            raise unreachable(str(request.url), error) from error


_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def _refusal(response: httpx.Response, task: str, changing: bool, now: datetime) -> MailboxError:
    """The error for an answer that is not a success, chosen by the provider's own code."""
    status = response.status_code
    problem = _problem(response)
    code = problem.code or f"HTTP {status}"
    told = f"Microsoft Graph refused to {task}: {code} {first_line(problem.message)}".rstrip()
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
