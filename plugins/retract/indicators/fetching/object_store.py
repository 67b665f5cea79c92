"""Documents in an object store: S3, Google Cloud Storage, Azure, by obstore.

Nothing that obstore says of an error is repeated: it holds URLs with signatures, and pages of what
the server answered.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

import obstore
from obstore.exceptions import (
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import ObjectStore, from_url

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import limits
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.fetching.progress import Progress
from retract.indicators.fetching.unpack import gathered, unpacked
from retract.indicators.wording import quoted

_Answer = TypeVar("_Answer")

_CLIENT_OPTIONS: Final = frozenset(
    {"allow_http", "proxy_url", "proxy_ca_certificate", "proxy_excludes", "root_certificate"}
)
_REFUSED_OPTIONS: Final = frozenset(
    {"allow_invalid_certificates", "connect_timeout", "default_content_type", "default_headers"}
    | {"http1_only", "http2_keep_alive_interval", "http2_keep_alive_timeout", "http2_only"}
    | {"http2_keep_alive_while_idle", "pool_idle_timeout", "pool_max_idle_per_host"}
    | {"randomize_addresses", "read_timeout", "timeout", "user_agent"}
)
"""Ours to set; and certificates are always verified."""

_RETRIES: Final = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
_CONNECT_TIMEOUT: Final = timedelta(seconds=10)
_STEP: Final = 1024 * 1024
_WILDCARDS: Final = frozenset("*?[")


class ObjectStoreReading:
    """One reading of an object, or of all objects that a pattern names, if any changed."""

    complete = True

    def __init__(self, source: Source, last: Marks, credentials: Credentials) -> None:
        self._source, self._last = source, last
        scheme, _, rest = source.location.partition("://")
        bucket, _, self._path = rest.partition("/")
        self._bucket = f"{scheme.lower()}://{bucket}"
        self._options = _options(scheme.lower(), credentials)
        self._marks = last

    def documents(self) -> Iterator[Document]:
        if not self._path or self._path.endswith("/"):
            raise FeedError(
                f"{self._source.location} is a folder: name an object in it, or write "
                f"{self._source.location.rstrip('/')}/*"
            )
        store = self._store()
        if _WILDCARDS.isdisjoint(self._path):
            yield from self._one(store)
        else:
            yield from self._many(store)

    def marks(self) -> Marks:
        return self._marks

    def _store(self) -> ObjectStore:
        refused = sorted(_REFUSED_OPTIONS.intersection(self._options))
        if refused:
            raise FeedError(f"the storage option {refused[0]} is not for feeds: take it out")
        client = {
            name: value.lower() == "true" if name == "allow_http" else value
            for name, value in self._options.items()
            if name in _CLIENT_OPTIONS
        }
        config = {
            name: value for name, value in self._options.items() if name not in _CLIENT_OPTIONS
        }
        options: dict[str, Any] = {
            "config": config,
            "client_options": {
                **client,
                "timeout": limits.DEADLINE,
                "connect_timeout": _CONNECT_TIMEOUT,
            },
            "retry_config": _RETRIES,
        }
        return self._asked(lambda: from_url(self._bucket, **options))

    def _one(self, store: ObjectStore) -> Iterator[Document]:
        etag, data = self._get(store, self._path, self._last.etag)
        content = hashlib.sha256(data).hexdigest()
        self._marks = Marks(etag=etag, content=content)
        if content == self._last.content:
            raise Unchanged
        yield from unpacked(_name(self._path), data)

    def _many(self, store: ObjectStore) -> Iterator[Document]:
        ends_at = time.monotonic() + limits.SERVICE_DEADLINE.total_seconds()
        found = self._asked(lambda: self._list(store, ends_at))
        listing = hashlib.sha256(json.dumps(found).encode()).hexdigest()
        if listing == self._last.etag:
            raise Unchanged
        progress = Progress(self._source.name)
        size = 0
        for number, (path, *_) in enumerate(found):
            progress.tell(f"{number} of {len(found)} objects")
            if time.monotonic() > ends_at:
                raise self._too_slow()
            _, data = self._get(store, path, "")
            size += len(data)
            if size > limits.MAX_READING_BYTES:
                raise FeedError(
                    f"{self._source.location} holds more than "
                    f"{limits.mebibytes(limits.MAX_READING_BYTES)}: write a narrower pattern"
                )
            yield from unpacked(_name(path), data)
        self._marks = Marks(etag=listing)

    def _list(self, store: ObjectStore, ends_at: float) -> list[tuple[str, str, int]]:
        """(path, what its version is known by, size) of the objects that the pattern names."""
        pattern = self._path.split("/")
        plain = next(n for n, part in enumerate(pattern) if not _WILDCARDS.isdisjoint(part))
        found: list[tuple[str, str, int]] = []
        for chunk in obstore.list(store, prefix="/".join(pattern[:plain]) or None, chunk_size=1000):
            for meta in chunk:
                if meta["size"] and _matches(meta["path"].split("/"), pattern):
                    version = meta["e_tag"] or meta["last_modified"].isoformat()
                    found.append((meta["path"], version, meta["size"]))
            if len(found) > limits.MAX_DOCUMENTS:
                raise FeedError(
                    f"{self._source.location} names more than {limits.MAX_DOCUMENTS} objects: "
                    "write a narrower pattern"
                )
            if time.monotonic() > ends_at:
                raise self._too_slow()
        if not found:
            raise FeedError(f"there is no object at {self._source.location}: correct the location")
        return sorted(found)

    def _get(self, store: ObjectStore, path: str, etag: str) -> tuple[str, bytes]:
        """The object's ETag and its bytes."""
        return self._asked(lambda: self._read(store, path, etag))

    def _read(self, store: ObjectStore, path: str, etag: str) -> tuple[str, bytes]:
        result = obstore.get(store, path, options={"if_none_match": etag} if etag else {})
        _require_size(path, result.meta["size"])
        data = gathered(_within_bounds(path, result.stream(min_chunk_size=_STEP)))
        return result.meta["e_tag"] or "", data

    def _asked(self, ask: Callable[[], _Answer]) -> _Answer:
        """The answer. Raises Unchanged, and FeedError for all that goes wrong."""
        try:
            return ask()
        except NotModifiedError:
            raise Unchanged from None
        except (BaseError, OSError, ValueError, TypeError) as error:
            reason = self._reason(error)
        except BaseException as error:
            # obstore's native part gives up where a setting is nonsense: no Exception of Python's.
            if type(error).__module__ != "pyo3_runtime":
                raise
            reason = self._misconfigured()
        raise FeedError(f"{self._source.location} {reason}")

    def _reason(self, error: Exception) -> str:
        text = str(error)
        if isinstance(error, UnknownConfigurationKeyError) or 'store: "Config"' in text:
            return self._misconfigured()
        if any(sign in text for sign in _NO_CREDENTIALS):
            return (
                "cannot be read, for there are no credentials: name a connection whose extras "
                "hold storage_options, or give this machine a role that may read it"
            )
        if isinstance(error, FileNotFoundError) or "404 Not Found" in text:
            return "is not there: correct the location"
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or any(
            sign in text for sign in ("403 Forbidden", "401 Unauthorized")
        ):
            return (
                "may not be read with these credentials: correct the connection, or allow them to "
                "read the object, and to list the bucket for a pattern"
            )
        if "configured region" in text:
            return "is in another region: correct aws_region in the storage options"
        if "timed out" in text or "TimedOut" in text:
            return f"did not deliver within {limits.DEADLINE.seconds} seconds: try again later"
        return (
            f"cannot be read ({type(error).__name__}): is its store up, may this machine reach it, "
            "and are the storage options right?"
        )

    def _misconfigured(self) -> str:
        known = ", ".join(quoted(name, 60) for name in sorted(self._options)) or "none"
        return f"cannot be opened with these storage options: correct one of {known}"

    def _too_slow(self) -> FeedError:
        minutes = limits.SERVICE_DEADLINE.total_seconds() / 60
        return FeedError(
            f"{self._source.location} took more than {minutes:.0f} minutes: write a narrower "
            "pattern"
        )


_NO_CREDENTIALS: Final = ("//169.254.", "//metadata", "token request", "MissingAccount")
"""Where the libraries look when they were given none."""


_LOGIN_OPTIONS: Final = {
    "s3": ("aws_access_key_id", "aws_secret_access_key"),
    "gs": ("", "google_service_account_key"),
    "az": ("azure_storage_account_name", "azure_storage_account_key"),
}


def _options(scheme: str, credentials: Credentials) -> dict[str, str]:
    """The storage options; a login and password are what the store asks for by these names."""
    stated = (credentials.login, credentials.password.get_secret_value())
    names = _LOGIN_OPTIONS["az" if scheme.startswith("abfs") else scheme]
    options = {name: value for name, value in zip(names, stated, strict=True) if name and value}
    for name, value in credentials.storage_options.items():
        options[name.lower()] = value.get_secret_value()
    return options


def _matches(path: list[str], pattern: list[str]) -> bool:
    """As in a file system: * stays within a folder, ** is any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[skipped:], pattern[1:]) for skipped in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _within_bounds(path: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        _require_size(path, size)
        yield chunk


def _require_size(path: str, size: int) -> None:
    if size > limits.MAX_BYTES:
        raise FeedError(
            f"{_name(path)} is larger than {limits.mebibytes(limits.MAX_BYTES)}: take a smaller "
            "feed, or divide the object"
        )


def _name(path: str) -> str:
    return quoted(path.rpartition("/")[2])
