"""A TAXII 2.1 collection, page by page; next time only what was added since.

OASIS TAXII 2.1, 10 June 2021: §3.5 paging, §4 discovery and API roots, §5.4 objects. What was read
last is known by when it was *added*, which has nothing to do with any time in the objects.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

import httpx

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import limits
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.fetching.http import Answer, HttpClient
from retract.indicators.fetching.progress import Progress
from retract.indicators.formats.foreign import items_of
from retract.indicators.wording import quoted

PAGE: Final = 1000
"""Objects asked for at a time; a server gives fewer if it likes, and the location may say else."""

MAX_PAGE: Final = 50_000
"""Asked for where one moment has more objects than fit on a page."""

MAX_IDLE_PAGES: Final = 50
"""On end that bring nothing new; then the server goes round in circles."""

OVERLAP: Final = timedelta(minutes=10)
"""Read again next time: what is added in one moment, or by a slow writer, may appear later."""

MAX_HELD: Final = 64 * 1024 * 1024
"""Bytes of news that are held until it is known whether they are those of the last reading."""

_TAXII: Final = "application/taxii+json"
_ACCEPT: Final = f"{_TAXII};version=2.1"
_JSON_TYPES: Final = (_TAXII, "application/json", "application/stix+json")
_EXPECTED: Final = (200, 206, 400, 404, 406, 413, 415, 416)
_ADDED_LAST: Final = "X-TAXII-Date-Added-Last"
_COLLECTION = re.compile(r"(?P<collection>.*/collections/[^/]+)(?:/objects)?/*")
_MAX_NEXT: Final = 4000
_LISTED_ROOTS: Final = 5
_LISTED_COLLECTIONS: Final = 10
_MILLISECOND: Final = timedelta(milliseconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)

log = logging.getLogger(__name__)


class TaxiiReading:
    """One reading of a collection: all of it, or what was added since the last reading.

    Objects that a server sends twice are given once. With ``absence_revokes`` it is always all.
    """

    def __init__(self, source: Source, last: Marks, credentials: Credentials) -> None:
        self._source, self._credentials = source, credentials
        self._cursor = _moment(last.cursor) if source.gives_news_only else None
        self._last = self._marks = last

    @property
    def complete(self) -> bool:
        return self._cursor is None

    def documents(self) -> Iterator[Document]:
        # No later than now, by our clock: a wrong date of theirs must not hide all that comes.
        started = datetime.now(UTC)
        deadline = limits.SERVICE_DEADLINE
        with HttpClient(self._source, self._credentials, deadline=deadline) as client:
            collection = _collection(self._source.location)
            if collection is None:
                raise _no_collection(client, self._source.location)
            pages = _Pages(client, collection, self._cursor, Progress(self._source.name))
            held, size = list[Document](), 0
            for page in pages:
                held.append(page)
                size += len(page.data)
                if self._cursor is None or size > MAX_HELD:
                    yield from held
                    held.clear()
        # What is read again is told once: else the last that was added would never end.
        is_known = size <= MAX_HELD and pages.digest == self._last.content
        if self._cursor is not None and (is_known or not pages.objects):
            raise Unchanged
        yield from held
        ends = [] if self._cursor is None else [self._cursor]
        if pages.added_last is not None:
            ends.append(min(pages.added_last, started) - OVERLAP)
        cursor = _timestamp(max(ends)) if ends else ""
        self._marks = Marks(cursor=cursor, content=pages.digest if cursor else "")

    def marks(self) -> Marks:
        return self._marks


class _Pages:
    """The pages of a collection, without what an earlier one had.

    A server leads on by ``next``, which belongs to the question that was asked first; or it says
    only that there is ``more``, and when the last object of the page was added. Then what was
    added at the same moment may be missing, so the next question begins a little before it.
    """

    def __init__(
        self, client: HttpClient, objects: httpx.URL, since: datetime | None, progress: Progress
    ) -> None:
        self._client, self._objects, self._since = client, objects, since
        self._progress = progress
        self._limit = int(limit) if (limit := objects.params.get("limit", "")).isdecimal() else PAGE
        self._next: str | None = None
        self._seen: set[bytes] = set()
        self._idle = 0
        self._largest = 0
        self._stuck_at = 0
        self.added_last: datetime | None = None
        """The latest that the server said."""

    @property
    def objects(self) -> int:
        """Different ones that came so far."""
        return len(self._seen)

    @property
    def digest(self) -> str:
        """Of the versions of objects that came so far, as hex, in whatever order they came."""
        return blake2b(b"".join(sorted(self._seen)), digest_size=32).hexdigest()

    def __iter__(self) -> Iterator[Document]:
        for number in range(1, limits.MAX_DOCUMENTS + 1):
            answer = self._ask()
            envelope = _envelope(answer)
            objects = envelope.get("objects", [])
            fresh = self._unseen(objects)
            if fresh:
                same = len(fresh) == len(objects)
                body = answer.body if same else _dumped({"objects": fresh})
                yield Document(f"{answer.host} page {number}", body)
            self._progress.tell(f"{self.objects:,} objects")
            last = _moment(answer.headers.get(_ADDED_LAST, ""))
            if last is not None:
                self.added_last = max(self.added_last or last, last)
            if envelope.get("more") is not True:
                return
            self._require_progress(bool(fresh))
            self._largest = max(self._largest, len(objects))
            if not self._leads_on(envelope.get("next"), last, len(objects), bool(fresh)):
                return
        raise FeedError(
            f"{self._client.host} has more than {limits.MAX_DOCUMENTS:,} pages: {_NARROWER}"
        )

    def _ask(self) -> Answer:
        params = {"limit": str(self._limit)}
        if self._since is not None:
            params["added_after"] = _timestamp(self._since)
        if self._next is not None:
            params["next"] = self._next
        url = self._objects.copy_merge_params(params)
        answer = self._client.get(str(url), headers={"Accept": _ACCEPT}, expected=_EXPECTED)
        _require_success(self._client, answer)
        return answer

    def _unseen(self, objects: list[Any]) -> list[Any]:
        fresh = []
        for thing in objects:
            identity = _identity(thing)
            if identity not in self._seen:
                self._seen.add(identity)
                fresh.append(thing)
        return fresh

    def _require_progress(self, fresh: bool) -> None:
        self._idle = 0 if fresh else self._idle + 1
        if self._idle > MAX_IDLE_PAGES:
            raise FeedError(
                f"{self._client.host} says that there is more, and gives the same again and again: "
                "tell its operator"
            )

    def _leads_on(self, following: object, last: datetime | None, size: int, fresh: bool) -> bool:
        """Set the next question; False when there is none, whatever the server says of more."""
        if isinstance(following, int) and not isinstance(following, bool):
            following = str(following)
        if isinstance(following, str) and following:
            if len(following) > _MAX_NEXT:
                raise FeedError(f"{self._client.host} sends a next that is too long to be one")
            self._next = following
            return True
        self._next = None
        if size == 0:
            return False
        if last is None:
            raise FeedError(
                f"{self._client.host} says that there is more, but not where: it sends neither "
                f"next nor {_ADDED_LAST}, as TAXII 2.1 asks of it; tell its operator"
            )
        for step in (_MILLISECOND, _MICROSECOND):
            if self._since is None or last - step > self._since:
                self._since, self._stuck_at = last - step, 0
                return True
        # All on this page was added in one moment, so there may be more of the same moment.
        if not fresh and size < self._largest:
            log.warning("%s says that there is more where nothing new is", self._client.host)
            return False
        if self._limit >= MAX_PAGE or size <= self._stuck_at:
            raise FeedError(
                f"{self._client.host} has more objects of one moment ({_timestamp(last)}) than it "
                f"gives at a time, and no next to reach the others: {_NARROWER}"
            )
        self._limit, self._stuck_at = min(self._limit * 4, MAX_PAGE), size
        return True


_NARROWER: Final = "add ?match[type]=indicator to the location, or name a smaller collection"


def _collection(location: str) -> httpx.URL | None:
    """Where the objects are; None when the location is not that of a collection."""
    path, question, query = location.partition("?")
    found = _COLLECTION.fullmatch(path)
    return found and httpx.URL(f"{found['collection']}/objects/{question}{query}")


def _envelope(answer: Answer) -> Mapping[str, Any]:
    envelope = _json(answer)
    if not isinstance(envelope, dict) or not isinstance(envelope.get("objects", []), list):
        raise FeedError(
            f"{answer.host} answers JSON that is no TAXII envelope: name a TAXII 2.1 collection"
        )
    return envelope


def _json(answer: Answer) -> Any:
    stated = answer.headers.get("Content-Type", "")
    kind, *parameters = (part.strip().lower() for part in stated.split(";"))
    versions = [part for part in parameters if part.startswith("version=")]
    if kind not in _JSON_TYPES or (kind == _TAXII and versions not in ([], ["version=2.1"])):
        raise FeedError(
            f"{answer.host} answers with {quoted(stated, 80) or 'no content type'} instead of "
            f"{_ACCEPT}: name the address of a TAXII 2.1 collection"
        )
    return answer.json() if answer.body else {}


def _identity(thing: Any) -> bytes:
    """Of a version of an object; of one without an id, all that it is."""
    if isinstance(thing, dict) and isinstance(thing.get("id"), str):
        thing = [thing["id"], thing.get("modified")]
    return blake2b(_dumped(thing), digest_size=12).digest()


def _dumped(thing: Any) -> bytes:
    try:
        return json.dumps(thing, sort_keys=True).encode()
    except RecursionError as error:
        raise FeedError("a page is JSON nested too deeply to hold STIX objects") from error


def _moment(text: str) -> datetime | None:
    """A timestamp; None when it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- when it is not as it should be ---


def _require_success(client: HttpClient, answer: Answer) -> None:
    if answer.status in (200, 206):
        return
    host, status = answer.host, answer.status
    if status in (406, 415):
        reason = "does not speak TAXII 2.1: name the address of a TAXII 2.1 server"
    elif status == 404:
        reason = (
            "knows no such collection, or does not show it to these credentials: correct the "
            "location, or ask its operator"
        )
    else:
        reason = (
            "does not take the question: correct what follows ? in the location, or ask for less "
            "at a time, as ?limit=100"
        )
    said = _said(client, answer)
    raise FeedError(f"{host} (HTTP {status}) {reason}" + (f"; it says: {said}" if said else ""))


def _said(client: HttpClient, answer: Answer) -> str:
    """What a TAXII error message says."""
    try:
        message = answer.json()
    except FeedError:
        return ""
    if not isinstance(message, dict):
        return ""
    said = (message.get("title"), message.get("description"))
    return client.without_secrets(": ".join(one for one in said if isinstance(one, str)))


def _no_collection(client: HttpClient, location: str) -> FeedError:
    """What to name instead: the location may be a server's discovery or an API root."""
    found = list(islice(_collections(client, location), _LISTED_COLLECTIONS))
    hint = "name a collection, as https://…/collections/<id>/"
    if found:
        hint = f"name one of its collections: {'; '.join(found)}"
    return FeedError(f"the location is no TAXII collection: {hint}")


def _collections(client: HttpClient, location: str) -> Iterator[str]:
    """Title and URL of the collections below a discovery, an API root or a list of collections."""
    base = httpx.URL(location.partition("?")[0])
    answer = _resource(client, base)
    roots: list[httpx.URL] = []
    if "api_roots" in answer or "default" in answer:
        stated = [answer.get("default"), *items_of(answer, "api_roots")]
        written = dict.fromkeys(one for one in stated if isinstance(one, str))
        for one in islice(written, _LISTED_ROOTS):
            try:
                roots.append(base.join(one if one.endswith("/") else one + "/"))
            except httpx.InvalidURL:
                continue
    elif "collections" not in answer:
        roots.append(base if base.path.endswith("/") else base.join(base.path + "/"))
    if "collections" in answer:
        yield from _titles(client, base, answer)
    for root in roots:
        if not client.is_home(root):
            yield client.without_secrets(f"those of another server, {root}")
            continue
        yield from _titles(client, root.join("collections/"), None)


def _titles(client: HttpClient, url: httpx.URL, answer: Mapping[str, Any] | None) -> Iterator[str]:
    for one in items_of(_resource(client, url) if answer is None else answer, "collections"):
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            base = url if url.path.endswith("/") else url.join(url.path + "/")
            title = quoted(str(one.get("title", "")), 60)
            where = str(base.copy_with(query=None)) + quoted(one["id"], 60) + "/"
            yield client.without_secrets(f"{title} {where}".strip())


def _resource(client: HttpClient, url: httpx.URL) -> Mapping[str, Any]:
    answer = client.get(str(url), headers={"Accept": _ACCEPT}, expected=_EXPECTED)
    if answer.status != 200:
        return {}
    found = _json(answer)
    return found if isinstance(found, dict) else {}
