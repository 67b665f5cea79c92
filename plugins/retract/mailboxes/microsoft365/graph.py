"""Microsoft Graph behind a synchronous face: one call, page after page, or many at once."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Generic, TypeVar

import httpx
from pydantic import BaseModel, Field

from retract.errors import MailboxError, OutcomeUnknown
from retract.mailboxes.microsoft365.batches import Batches, Packing
from retract.mailboxes.microsoft365.calls import (
    Call,
    GraphAnswer,
    Reply,
    batch_of,
    replies_in,
    with_query,
)
from retract.mailboxes.microsoft365.refusals import nonsense, refusal
from retract.mailboxes.microsoft365.tokens import Tokens
from retract.mailboxes.microsoft365.told import unreachable
from retract.mailboxes.pace import Pace
from retract.mailboxes.settings import Microsoft365Settings

_VERSION = "/v1.0"
_CONTENTS_AT_ONCE = 8
_ONE_BY_ONE = Packing(batch_size=1, batches_at_once=_CONTENTS_AT_ONCE)
# Never on the wire: connecting, or waiting for a connection, came to nothing.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

A = TypeVar("A", bound=BaseModel)


class Page(GraphAnswer, Generic[A]):
    """A part of a listing."""

    value: list[A]
    next_link: str = Field(default="", alias="@odata.nextLink")


class Graph:
    """Graph v1.0 of one tenant, as one application. Not thread-safe.

    ``task`` says in every method, for people, what the call was for: "read the mail of …". A
    call is tried again where that is safe, for as long as the settings let it wait. Whatever
    else becomes of it is a `retract.errors.MailboxError`, raised by the methods for one call
    and returned by those for many.
    """

    def __init__(
        self,
        settings: Microsoft365Settings,
        clock: Callable[[], datetime],
        transport: httpx.MockTransport | None = None,
        share: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``share`` is the part of the application's calls in a second that are for this object."""
        self._door = _Door(settings, clock, transport)
        per_second = settings.requests_per_second * share
        pace = Pace(per_second, sleep)
        self._filled = Packing.for_pace(per_second)
        self._batches = Batches(self._door, pace, clock, settings.max_wait_seconds, sleep)
        self._runner = asyncio.Runner()
        self._root = httpx.URL(settings.graph_url)
        self._closed = False

    def close(self) -> None:
        """Release connections."""
        if not self._closed:
            self._closed = True
            self._runner.run(self._door.close())
            self._runner.close()

    def read(self, path: str, answer: type[A], task: str, **params: str) -> A:
        """One object."""
        call = Call("GET", with_query(path, **params), task)
        return _parsed(answer, self.make(call), call)

    def pages(self, path: str, answer: type[A], task: str, **params: str) -> Iterator[A]:
        """Every object of a listing, page after page."""
        path = with_query(path, **params)
        followed = {path}
        while path:
            call = Call("GET", path, task)
            page = _parsed(Page[answer], self.make(call), call)  # type: ignore[valid-type]
            yield from page.value
            # The link holds the whole query and is followed as it is.
            path = page.next_link and self.path_of(page.next_link)
            if path in followed:
                raise MailboxError(f"Microsoft Graph's pages go round in a circle: {task}")
            followed.add(path)

    def make(self, call: Call) -> Reply:
        """One call of any kind, a changing one once."""
        (reply,) = self._runner.run(self._batches.carry_out([call], _ONE_BY_ONE))
        if isinstance(reply, MailboxError):
            raise reply
        return reply

    def all(
        self, calls: Sequence[Call], answer: type[A], until: datetime | None = None
    ) -> list[A | MailboxError]:
        """What each call is answered, in their order; many are sent in one request.

        Never more than four calls to a mailbox are under way. None is begun after ``until``:
        what is left then is answered with Throttled.
        """
        replies = self._runner.run(self._batches.carry_out(calls, self._filled, until))
        return [
            reply if isinstance(reply, MailboxError) else _parsed_or_error(answer, reply, call)
            for call, reply in zip(calls, replies, strict=True)
        ]

    def contents(self, calls: Iterable[Call]) -> Iterator[bytes | MailboxError]:
        """The bytes of each, in their order. A handful are read at once and held in memory."""
        coming = iter(calls)
        while some := list(islice(coming, _CONTENTS_AT_ONCE)):
            # Not in batches: twenty large mails would come as one text.
            for reply in self._runner.run(self._batches.carry_out(some, _ONE_BY_ONE)):
                yield reply if isinstance(reply, MailboxError) else reply.content()

    def path_of(self, link: str) -> str:
        """The path of a Call that follows this link to a next page or to later changes.

        Raises MailboxError for a link to anywhere but this very service.
        """
        try:
            target = self._root.join(link)
        except httpx.InvalidURL:
            raise MailboxError("Microsoft Graph gave the next page no valid address") from None
        root = self._root
        if (target.scheme, target.host, target.port) != (root.scheme, root.host, root.port):
            raise MailboxError(
                f"Microsoft Graph named {target.scheme}://{target.host} as the place of the next "
                f"page: refused, because only {root.scheme}://{root.host} may see the token"
            )
        path = target.raw_path.decode("ascii")
        if not path.startswith(f"{_VERSION}/"):
            raise MailboxError(f"Microsoft Graph named a next page that is not below {_VERSION}")
        return path.removeprefix(_VERSION)


class _Door:
    """One HTTP request at a time of many: with a token, and with errors in our words."""

    def __init__(
        self,
        settings: Microsoft365Settings,
        clock: Callable[[], datetime],
        transport: httpx.MockTransport | None,
    ) -> None:
        self._root = f"{settings.graph_url}{_VERSION}"
        self._clock = clock
        # With a CA file of the settings' own nothing else is trusted, and never nothing.
        trust = (
            ssl.create_default_context(cafile=settings.ca_file)
            if settings.ca_file
            else httpx.create_ssl_context()
        )
        self._timeout = settings.timeout_seconds
        self._http = httpx.AsyncClient(verify=trust, transport=transport)
        self._sign_in = httpx.Client(verify=trust, timeout=self._timeout, transport=transport)
        self._token = _KeptToken(Tokens(settings, self._sign_in, clock))

    async def __call__(self, calls: Sequence[Call]) -> Sequence[Reply | None]:
        """A call alone goes as it is, several as a batch. See `batches.Exchange`."""
        alone = len(calls) == 1
        call = calls[0] if alone else batch_of(calls)
        token = await self._token.current()
        reply = await self._send(call, token)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            # Of a batch, too, nothing was carried out then.
            replies: Sequence[Reply | None] = [reply] * len(calls)
        elif alone:
            replies = [reply]
        elif reply.is_success:
            replies = replies_in(reply, len(calls))
        else:
            raise refusal(reply, call, self._clock())
        if any(reply and reply.status == HTTPStatus.UNAUTHORIZED for reply in replies):
            # It may have been revoked before its time, or its time is over.
            await self._token.forget(token)
        return replies

    async def close(self) -> None:
        self._sign_in.close()
        await self._http.aclose()

    async def _send(self, call: Call, token: str) -> Reply:
        url = self._root + call.path
        headers = {"Authorization": f"Bearer {token}", **call.headers}
        seconds = self._timeout * call.times_as_long
        try:
            # httpx counts each wait by itself; a change must be over before its lease is.
            async with asyncio.timeout(seconds if call.changing else None):
                response = await self._http.request(
                    call.method, url, headers=headers, json=call.body, timeout=seconds
                )
        except _NEVER_SENT as error:
            raise unreachable(url, error) from error
        except (httpx.RequestError, OSError) as error:  # OSError: out of time, or broken TLS
            raise OutcomeUnknown(type(error).__name__) from error
        return Reply(response.status_code, response.headers, response.content)


class _KeptToken:
    """The token in use. Asks for another one in a thread: msal waits for its answer."""

    # msal gives out no token that has less than five minutes to live.
    _GOOD_FOR_SECONDS = 60

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._kept = ""
        self._asked_at = 0.0
        self._lock = asyncio.Lock()  # msal is not made for threads

    async def current(self) -> str:
        async with self._lock:
            if not self._kept or time.monotonic() - self._asked_at > self._GOOD_FOR_SECONDS:
                self._kept = await asyncio.to_thread(self._tokens.current)
                self._asked_at = time.monotonic()
            return self._kept

    async def forget(self, token: str) -> None:
        async with self._lock:
            if token == self._kept:  # else somebody else got a fresh one already
                self._kept = ""
                await asyncio.to_thread(self._tokens.forget)


def _parsed(answer: type[A], reply: Reply, call: Call) -> A:
    try:
        return answer.model_validate(reply.json())
    except ValueError as error:
        raise nonsense(call) from error


def _parsed_or_error(answer: type[A], reply: Reply, call: Call) -> A | MailboxError:
    try:
        return _parsed(answer, reply, call)
    except MailboxError as error:
        return error
