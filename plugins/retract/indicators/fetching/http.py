"""Requests to the server of a source, with limits on size, time, tries and redirects.

A source is written by strangers and may need a key: what a server sends is bounded before it is
kept, and no message, log line or exception repeats a secret, or more of a URL than its host.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx
import tenacity

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import limits
from retract.indicators.fetching.authorization import KEY, authorization
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.cutter import Cutter
from retract.indicators.fetching.progress import Progress
from retract.indicators.fetching.redaction import Redaction
from retract.indicators.fetching.unpack import gunzipped
from retract.indicators.formats.contents import json_of, text_of
from retract.indicators.wording import quoted
from retract.mailboxes.patience import parse_retry_after

MAX_REDIRECTS: Final = 5
ATTEMPTS: Final = 3
"""For one request; only what may pass by itself is tried again."""

_SECONDS_OF_SILENCE: Final = 60.0
_SECONDS_TO_CONNECT: Final = 10.0
_HEADERS: Final = {"User-Agent": "retract/0.1", "Accept": "*/*", "Accept-Encoding": "gzip"}
_KEEP_METHOD: Final = (307, 308)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    host: str
    """Of the last redirect; fit for messages."""
    status: int
    headers: httpx.Headers
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None when it is empty. Raises FeedError when it is something else."""
        try:
            return json_of(text_of(self.body))
        except FeedError as error:
            raise FeedError(f"what {self.host} answers {error}") from error


class HttpClient:
    """One reading's requests to the server that its source names; a context manager.

    It waits, in all, not beyond the deadline, and takes not more than limits.MAX_READING_BYTES.
    URLs may hold ``{key}``, which becomes the password on the way. They must be of the server in
    the source's location. Credentials do not go along with a redirect to another scheme, host or
    port. Everything that goes wrong raises FeedError.
    """

    def __init__(
        self,
        source: Source,
        credentials: Credentials,
        *,
        deadline: timedelta = limits.DEADLINE,
    ) -> None:
        self._source = source
        self._key = credentials.password.get_secret_value()
        self._authorization = authorization(source, credentials)
        carried = (value.rpartition(" ")[2] for value in self._authorization.values())
        self._redaction = Redaction([*carried, self._key])
        self._seconds = deadline.total_seconds()
        self._deadline = time.monotonic() + self._seconds
        self._cutter = Cutter(self._seconds)
        self._bytes = 0
        self._progress = Progress(source.name)
        if KEY in urlsplit(source.location).netloc:
            raise FeedError("{key} stands in the location's host: it may stand after it only")
        self._home = _url(source.location)
        self._http = _client()
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._opened.enter_context(self._redaction)
        self._opened.callback(self._http.close)
        self._opened.enter_context(self._cutter)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def host(self) -> str:
        """The server's name; fit for messages."""
        return _host(self._home)

    def is_home(self, url: httpx.URL) -> bool:
        """Whether the URL is of the source's own server: no other is asked."""
        return _origin(url) == _origin(self._home)

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] = (200,),
    ) -> Answer:
        """The answer to a GET. Raises FeedError for a status that is not ``expected``."""
        return self._ask("GET", url, headers or {}, None, expected)

    def post(
        self,
        url: str,
        body: object,
        *,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] = (200,),
    ) -> Answer:
        """The answer to a POST of ``body`` as JSON: a question, that is safe to ask again."""
        content = json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self._ask("POST", url, sent, content, expected)

    def without_secrets(self, text: str) -> str:
        """A server's words made fit for messages: on one line, short, and without the secrets."""
        return quoted(self._redaction.redacted(text).replace(quote(KEY), KEY))

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        expected: Collection[int],
    ) -> Answer:
        target = self._keyed(url)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            wait=_wait,
            stop=lambda state: (
                state.attempt_number >= ATTEMPTS or state.upcoming_sleep >= self._left()
            ),
            reraise=True,
        )
        try:
            return retrying(self._follow, method, target, headers, content, expected)
        except _Transient as error:
            problem = self._gave_up(error, retrying.statistics["attempt_number"])
        except httpx.HTTPError as error:
            problem = FeedError(f"{self.host} cannot be read: {self.without_secrets(str(error))}")
        except FeedError as error:
            problem = error
        # Not chained: httpx's errors know the whole URL and all headers. And a server may repeat
        # a secret wherever it likes, even in the name of a host.
        raise FeedError(self._redaction.redacted(str(problem)))

    def _follow(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        expected: Collection[int],
    ) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            own = self._authorization if self.is_home(url) else {}
            request = self._http.build_request(
                method,
                url,
                headers={**headers, **own},
                content=content,
                timeout=httpx.Timeout(
                    min(_SECONDS_OF_SILENCE, max(self._left(), 0.1)), connect=_SECONDS_TO_CONNECT
                ),
                extensions={"trace": self._cutter.watch},
            )
            with self._exchange(request) as response:
                if response.has_redirect_location:
                    url = self._redirected(url, response, method)
                    continue
                self._require(response, expected)
                return Answer(
                    _host(url), response.status_code, response.headers, self._body(response)
                )
        raise FeedError(
            f"{_host(url)} redirects more than {MAX_REDIRECTS} times: correct the location"
        )

    @contextlib.contextmanager
    def _exchange(self, request: httpx.Request) -> Iterator[httpx.Response]:
        host = _host(request.url)
        if self._left() <= 0:
            raise self._too_slow(host)
        try:
            response = self._sent(request)
            try:
                yield response
            finally:
                response.close()
        except httpx.TransportError as error:
            if self._left() <= 0:
                raise self._too_slow(host) from None
            raise _Transient(self.without_secrets(str(error) or type(error).__name__)) from None

    def _sent(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request, stream=True)
        except (httpx.InvalidURL, ValueError):
            # A host name that is none; or httpx looked ahead to where a redirect leads.
            raise FeedError(
                f"{_host(request.url)} is no name of a server, or redirects to what is no URL: "
                "correct the location"
            ) from None

    def _redirected(self, url: httpx.URL, response: httpx.Response, method: str) -> httpx.URL:
        host = _host(url)
        try:
            target = url.join(response.headers["Location"]).copy_with(userinfo=b"", fragment=None)
        except httpx.InvalidURL:
            raise FeedError(f"{host} redirects to what is no URL: correct the location") from None
        to = quoted(f"{target.scheme}://{_host(target)}")
        allowed = ("https",) if url.scheme == "https" else ("http", "https")
        if target.scheme not in allowed or not target.host:
            raise FeedError(
                f"{host} redirects to {to}, which is not followed: only {' or '.join(allowed)} "
                "is; correct the location if the new one is right"
            )
        if method != "GET" and response.status_code not in _KEEP_METHOD:
            raise FeedError(
                f"{host} redirects a question to {to}, where it would be lost: correct the "
                "location if the new one is right"
            )
        return target

    def _require(self, response: httpx.Response, expected: Collection[int]) -> None:
        status, host = response.status_code, _host(response.url)
        if status in expected:
            return
        if status == 429 or status >= 500:
            raise _Transient(f"HTTP {status}", _retry_after(response.headers))
        if status in (401, 403):
            raise self._refused(status, response.url)
        raise FeedError(f"{host} answers HTTP {status}: correct the location")

    def _refused(self, status: int, url: httpx.URL) -> FeedError:
        refuses = f"{_host(url)} refuses access (HTTP {status})"
        if not self._authorization and KEY not in self._source.location:
            return FeedError(f"{refuses}: does the feed need a key? Name a connection that has it")
        if not self.is_home(url):
            return FeedError(
                f"{refuses}: {self.host} redirects there, and credentials are for {self.host} "
                "alone; correct the location if the new one is right"
            )
        return FeedError(
            f"{refuses}: the credentials of the connection are wrong, have expired, or may not "
            "read this"
        )

    def _body(self, response: httpx.Response) -> bytes:
        host = _host(response.url)
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            raise FeedError(
                f"{host} packs its answer in a way that it was not asked for "
                f"({self.without_secrets(coding)}): tell its publisher"
            )
        stated = response.headers.get("Content-Length", "")
        if stated.isascii() and stated.isdigit():
            self._require_size(int(stated[:20]), host)
        body = io.BytesIO()
        # Raw: httpx would unpack any number of codings on top of each other, without a bound.
        for chunk in response.iter_raw():
            body.write(chunk)
            self._bytes += len(chunk)
            self._require_size(body.tell(), host)
            self._progress.tell(limits.mebibytes(self._bytes))
            if self._left() <= 0:
                raise self._too_slow(host)
        packed = body.getvalue()
        return gunzipped(host, packed) if packed and coding.endswith("gzip") else packed

    def _require_size(self, size: int, host: str) -> None:
        if size > limits.MAX_BYTES:
            raise FeedError(
                f"{host} sends more than {limits.mebibytes(limits.MAX_BYTES)}: it is larger than "
                "any feed; take a smaller one"
            )
        if self._bytes > limits.MAX_READING_BYTES:
            raise FeedError(
                f"{host} sent more than {limits.mebibytes(limits.MAX_READING_BYTES)} in this "
                "reading: take a smaller feed"
            )

    def _keyed(self, url: str) -> httpx.URL:
        url = url.replace(quote(KEY), KEY)
        if KEY in url and not self._key:
            raise FeedError(
                "{key} in the location stands for the password of the source's connection, and "
                "there is none: give the Airflow connection one (a preview asks no connection)"
            )
        target = _url(url.replace(KEY, quote(self._key, safe="")))
        if not self.is_home(target):
            raise FeedError(
                f"{self.host} leads to {_host(target)}, another server, which is not asked: "
                "correct the location"
            )
        return target

    def _gave_up(self, error: _Transient, attempts: int) -> FeedError:
        if error.retry_after is not None and error.retry_after >= self._left():
            return FeedError(
                f"{self.host} wants to be left alone for {error.retry_after:.0f} seconds "
                f"({error}): read it less often"
            )
        tries = f"{attempts} tries" if attempts > 1 else "one try"
        return FeedError(
            f"{self.host} cannot be read after {tries}: {error}; is it up, and may this machine "
            "reach it?"
        )

    def _too_slow(self, host: str) -> FeedError:
        return FeedError(
            f"{host} did not deliver within {self._seconds:.0f} seconds: try again later, or take "
            "a smaller feed"
        )

    def _left(self) -> float:
        return self._deadline - time.monotonic()


class _Transient(Exception):
    """Worth another try."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def _client() -> httpx.Client:
    try:
        return httpx.Client(headers=_HEADERS, follow_redirects=False)
    except (ValueError, ImportError, OSError, httpx.InvalidURL):
        # Not chained: a proxy's URL may hold a password.
        raise FeedError(
            "the proxy or the certificates that this process's environment names cannot be used: "
            "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE or SSL_CERT_DIR"
        ) from None


def _url(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL:
        raise FeedError("the location is no URL that can be asked: correct it") from None


def _host(url: httpx.URL) -> str:
    return quoted(url.raw_host.decode("ascii", "replace"))


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port or {"https": 443, "http": 80}.get(url.scheme)


_own_pace = tenacity.wait_random_exponential(multiplier=0.5, max=5)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _Transient) else None
    return max(asked or 0.0, _own_pace(state))


def _retry_after(headers: httpx.Headers) -> float | None:
    """In seconds. A date counts from the server's own clock, where it tells it."""
    return parse_retry_after(headers.get("Retry-After"), server_time(headers) or datetime.now(UTC))


def server_time(headers: httpx.Headers) -> datetime | None:
    """What time it is for the server (UTC); None where it does not tell."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
