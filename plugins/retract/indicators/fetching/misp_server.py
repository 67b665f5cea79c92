"""A MISP server, asked over REST for the attributes that mail can show.

First all that is meant for detection in published events; next time only the events published
since. By the time of publication, as MISP sets it by its own clock: an attribute's own timestamp
may be older than the moment at which it could first be read, when its event was published later
or came from another server.

An attribute that is deleted, or no longer meant for detection, is withdrawn, unless the server
still lists the same value elsewhere: two of three attributes were never meant for detection, and
many of them name what another event does list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import limits
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.fetching.http import Answer, HttpClient, server_time
from retract.indicators.fetching.progress import Progress
from retract.indicators.formats.misp_event import SEARCH, TYPES, address_of, is_true, parts_of
from retract.indicators.wording import quoted

PAGE: Final = 1000
"""Attributes asked for at a time: for each one, MISP looks its sightings up by itself."""

VALUES: Final = 200
"""Values asked for at a time, whether they are still listed."""

OVERLAP: Final = timedelta(minutes=15)
"""Read again next time: an event may be published while we read."""

FILTERS: Final = frozenset(
    {"tags", "org", "category", "type", "threat_level_id", "eventinfo", "sharinggroup"}
)
"""What the location may narrow the reading to, after ?, by MISP's names."""

MAX_IDLE_PAGES: Final = 3
"""On end that bring nothing new; then the server does not page."""

_EXPECTED: Final = (200, 400, 403, 404, 405)
_Attribute = dict[str, Any]
_Thing = TypeVar("_Thing")


class MispServerReading:
    """One reading of a MISP server: all of it, or what was published since the last reading.

    With ``absence_revokes`` it is always all: only so is a deleted event known of.
    """

    def __init__(self, source: Source, last: Marks, credentials: Credentials) -> None:
        self._source, self._credentials = source, credentials
        since = last.cursor if source.gives_news_only else ""
        self._since = int(since) if since.isascii() and since.isdigit() else None
        self._marks = last

    @property
    def complete(self) -> bool:
        return self._since is None

    def documents(self) -> Iterator[Document]:
        if not self._credentials.password.get_secret_value():
            raise FeedError(
                "a MISP server tells nothing without a key: name a connection whose password is "
                "the key of a user who may use the API"
            )
        deadline = limits.SERVICE_DEADLINE
        with HttpClient(self._source, self._credentials, deadline=deadline) as client:
            search = _Search(client, self._source)
            try:
                yield from search.all() if self._since is None else search.news(self._since)
            except Unchanged:
                self._mark(search)
                raise
            self._mark(search)

    def _mark(self, search: _Search) -> None:
        began = int((search.began - OVERLAP).timestamp())
        self._marks = Marks(cursor=str(max(began, self._since or 0)))

    def marks(self) -> Marks:
        return self._marks


class _Search:
    """One reading's questions, which all see each attribute once."""

    def __init__(self, client: HttpClient, source: Source) -> None:
        self._client = client
        self._url = address_of(source) + SEARCH
        self._narrowed = _narrowed(source.location)
        self._progress = Progress(source.name)
        self._seen: set[str] = set()
        self.began = datetime.now(UTC)
        """By the server's clock, once it has answered."""

    def all(self) -> Iterator[Document]:
        for page in self._pages({"to_ids": 1}):
            yield _document(self._client.host, page)

    def news(self, since: int) -> Iterator[Document]:
        """What was published since: what is listed now, then what is withdrawn.

        Raises Unchanged when there is nothing.
        """
        withdrawn: dict[str, _Attribute] = {}
        listed: set[str] = set()
        pages = 0
        # Of what is deleted, too; and without to_ids, whatever it is.
        for page in self._pages({"publish_timestamp": since, "deleted": [0, 1]}):
            pages += 1
            active = [one for one in page if _is_listed(one)]
            listed.update(value for one in active for value in _values(one))
            withdrawn |= {_identity(one): one for one in page if not _is_listed(one)}
            if active:
                yield _document(self._client.host, active)
        if not pages:
            raise Unchanged
        doubtful = {value for one in withdrawn.values() for value in _values(one)} - listed
        yield from self._still_listed(sorted(doubtful))
        # What a document before lists all the same stays: a snapshot holds what is in force.
        for batch in _batches(list(withdrawn.values()), PAGE):
            yield _document(self._client.host, [{**one, "deleted": True} for one in batch])

    def _still_listed(self, values: list[str]) -> Iterator[Document]:
        # MISP would take these for a pattern, or for its contrary.
        askable = [value for value in values if value.strip("%") == value and value[0] != "!"]
        for batch in _batches(askable, VALUES):
            for page in self._pages({"value": batch, "to_ids": 1}):
                yield _document(self._client.host, page)

    def _pages(self, question: Mapping[str, Any]) -> Iterator[list[_Attribute]]:
        """What is new on each page, until one is empty.

        A page may be short though others follow: MISP takes out what its allowed lists name.
        """
        idle = 0
        for number in range(1, limits.MAX_DOCUMENTS + 1):
            stated = self._ask({**question, "page": number}, is_first=not self._seen)
            if not stated:
                return
            fresh = [one for one in stated if _identity(one) not in self._seen]
            self._seen.update(_identity(one) for one in fresh)
            self._progress.tell(f"{len(self._seen):,} attributes")
            idle = 0 if fresh else idle + 1
            if idle > MAX_IDLE_PAGES:
                raise FeedError(
                    f"{self._client.host} gives the same page again and again: is it MISP 2.4 or "
                    "later?"
                )
            if fresh:
                yield fresh
        raise FeedError(
            f"{self._client.host} has more than {limits.MAX_DOCUMENTS:,} pages: narrow the "
            "location, as ?tags=… does"
        )

    def _ask(self, question: Mapping[str, Any], *, is_first: bool) -> list[_Attribute]:
        body = {
            "returnFormat": "json",
            "published": 1,
            "type": list(TYPES),
            "includeEventTags": 1,
            "includeSightings": 1,
            "limit": PAGE,
            "order": "Attribute.id asc",
            **self._narrowed,
            **question,
        }
        answer = self._client.post(
            self._url, body, headers={"Accept": "application/json"}, expected=_EXPECTED
        )
        if is_first:
            self.began = server_time(answer.headers) or self.began
        return _attributes(self._client, answer)


def _narrowed(location: str) -> dict[str, list[str]]:
    """The filters after ? in a location. Raises FeedError for one that is not known."""
    narrowed: dict[str, list[str]] = {}
    for name, value in parse_qsl(urlsplit(location).query, keep_blank_values=True):
        if name not in FILTERS or not value:
            raise FeedError(
                f"the location narrows by {quoted(name, 40)!r}: after ? it may name "
                + ", ".join(sorted(FILTERS))
            )
        narrowed.setdefault(name, []).append(value)
    return narrowed


def _attributes(client: HttpClient, answer: Answer) -> list[_Attribute]:
    if answer.status != 200:
        raise _refusal(client, answer)
    document = answer.json()
    response = document.get("response") if isinstance(document, dict) else None
    found = response.get("Attribute") if isinstance(response, dict) else response
    if not isinstance(found, list):
        raise FeedError(
            f"{answer.host} answers JSON that lists no attributes: name the address of a MISP "
            "server, as https://misp.example/"
        )
    return [one for one in found if isinstance(one, dict)]


def _refusal(client: HttpClient, answer: Answer) -> FeedError:
    try:
        document = answer.json()
    except FeedError:
        document = None
    said = document.get("message") if isinstance(document, dict) else None
    says = f"; it says: {client.without_secrets(said)}" if isinstance(said, str) and said else ""
    refuses = f"{answer.host} refuses the question (HTTP {answer.status})"
    if answer.status == 404:
        return FeedError(f"{refuses}: name the address of a MISP server alone{says}")
    if answer.status == 400:
        return FeedError(f"{refuses}: correct what follows ? in the location{says}")
    return FeedError(
        f"{refuses}: the password of the connection has to be the key of a user who may use the "
        f"API{says}"
    )


def _is_listed(attribute: _Attribute) -> bool:
    return is_true(attribute.get("to_ids")) and not is_true(attribute.get("deleted"))


def _identity(attribute: _Attribute) -> str:
    known = attribute.get("uuid") or attribute.get("id")
    return str(known or [attribute.get("type"), attribute.get("value")])[:1000]


def _values(attribute: _Attribute) -> Iterator[str]:
    """Its values as MISP keeps them; none of a type that is not used."""
    kind, value = attribute.get("type"), attribute.get("value")
    if isinstance(kind, str) and kind in TYPES and isinstance(value, str) and value.strip():
        yield from (text for _, text in parts_of(kind, value) if text)


def _document(host: str, attributes: Iterable[_Attribute]) -> Document:
    listed = {"response": {"Attribute": list(attributes)}}
    return Document(f"what {host} answers", json.dumps(listed).encode())


def _batches(things: Sequence[_Thing], size: int) -> Iterator[Sequence[_Thing]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
