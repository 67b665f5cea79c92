"""Get a source's bytes: from files, or over http(s) with limits on size, time and redirects."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import tenacity

from retract.errors import FeedError
from retract.indicators.feeds import Source

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of one document. The largest public URL feeds are below 100 MB."""

DEADLINE: Final = timedelta(minutes=3)
"""For one document, redirects included."""

MAX_REDIRECTS: Final = 5
ATTEMPTS: Final = 3

_TIMEOUT: Final = httpx.Timeout(30, connect=10)
_HEADERS: Final = {"User-Agent": "retract/0.1", "Accept": "*/*"}


class _Transient(Exception):
    """Worth another try."""


def documents(source: Source) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each document of the source; the name is fit for messages.

    Raises FeedError.
    """
    if source.is_remote:
        yield httpx.URL(source.location).host, _download(source.location)
        return
    for path in _files(source.location):
        yield path.name, _read(path)


def _files(location: str) -> list[Path]:
    if Path(location).is_file():
        return [Path(location)]
    # Path.glob takes no absolute pattern.
    found = (Path(path) for path in glob.glob(location, recursive=True))  # noqa: PTH207
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise FeedError(f"there is no file at {location}: correct the location")
    return files


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FeedError(f"{path.name} cannot be read: {error.strerror}") from error
    _require_size(len(data), path.name)
    return data


def _download(url: str) -> bytes:
    # Query strings may hold keys: messages name the host alone.
    host = httpx.URL(url).host
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Transient),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=5),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    try:
        with httpx.Client(timeout=_TIMEOUT, headers=_HEADERS, follow_redirects=False) as client:
            return retrying(_get, client, httpx.URL(url))
    except _Transient as error:
        raise FeedError(
            f"{host} cannot be read after {ATTEMPTS} tries: {error}; is it up, and may this "
            "machine reach it?"
        ) from error
    except httpx.HTTPError as error:
        raise FeedError(f"{host} cannot be read: {error}") from error


def _get(client: httpx.Client, url: httpx.URL) -> bytes:
    deadline = time.monotonic() + DEADLINE.total_seconds()
    for _ in range(MAX_REDIRECTS + 1):
        try:
            with client.stream("GET", url) as response:
                if response.has_redirect_location:
                    url = _redirected(url, response)
                    continue
                _require_success(response)
                return _body(response, deadline)
        except httpx.TransportError as error:
            raise _Transient(str(error) or type(error).__name__) from error
    raise FeedError(f"{url.host} redirects more than {MAX_REDIRECTS} times: correct the location")


def _redirected(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    target = url.join(response.headers["Location"])
    allowed = ("https",) if url.scheme == "https" else ("http", "https")
    if target.scheme not in allowed:
        raise FeedError(
            f"{url.host} redirects to {target.scheme}://{target.host}, which is not followed: only "
            f"{' or '.join(allowed)} is; correct the location if the new one is right"
        )
    return target


def _require_success(response: httpx.Response) -> None:
    status, host = response.status_code, response.url.host
    if status == 429 or status >= 500:
        raise _Transient(f"HTTP {status}")
    if status in (401, 403):
        raise FeedError(f"{host} refuses access (HTTP {status}): does the feed need a key?")
    if status != 200:
        raise FeedError(f"{host} answers HTTP {status}: correct the location")


def _body(response: httpx.Response, deadline: float) -> bytes:
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        _require_size(len(data), response.url.host)
        if time.monotonic() > deadline:
            raise FeedError(
                f"{response.url.host} did not deliver within {DEADLINE.seconds} seconds"
            )
    return bytes(data)


def _require_size(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise FeedError(f"{name} is larger than {MAX_BYTES // 2**20} MiB: take a smaller feed")
