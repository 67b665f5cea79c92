"""A MISP feed: a folder with manifest.json and one file for each event.

The manifest names every event with the time of its last change, so that the next reading gets
those events alone that are new or changed.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import limits
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.fetching.http import HttpClient
from retract.indicators.fetching.progress import Progress
from retract.indicators.formats.misp_event import MANIFEST, address_of
from retract.indicators.wording import quoted

MAX_MISSING: Final = 0.5
"""Of the events that the manifest names; many feeds' manifest is a little ahead or behind."""

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_LONGEST_TIMESTAMP: Final = 20
_MISSING: Final = (404, 410)

log = logging.getLogger(__name__)


class MispFeedReading:
    """One reading of a feed: all its events, or those that changed since the last reading.

    With ``absence_revokes`` it is always all: only so is known what an event no longer holds.
    """

    def __init__(self, source: Source, last: Marks, credentials: Credentials) -> None:
        self._source, self._credentials = source, credentials
        self._known = _known(last.cursor)
        self._is_news = source.gives_news_only and bool(self._known)
        self._marks = last
        self._missing = 0

    @property
    def complete(self) -> bool:
        # What a missing event would list is not known to be gone.
        return not self._is_news and not self._missing

    def documents(self) -> Iterator[Document]:
        deadline = limits.SERVICE_DEADLINE
        with HttpClient(self._source, self._credentials, deadline=deadline) as client:
            manifest = _manifest(client, self._source)
            if manifest and manifest == self._known:
                raise Unchanged
            wanted = [uuid for uuid, time in manifest.items() if self._is_wanted(uuid, time)]
            if self._is_news and not wanted:
                raise Unchanged
            progress = Progress(self._source.name)
            missing: list[str] = []
            for number, uuid in enumerate(wanted, start=1):
                answer = client.get(_url(self._source, f"/{uuid}.json"), expected=(200, *_MISSING))
                if answer.status in _MISSING:
                    missing.append(uuid)
                else:
                    yield Document(f"{answer.host} event {uuid}", answer.body)
                progress.tell(f"{number:,} of {len(wanted):,} events")
        self._require_most(client.host, missing, len(wanted), len(manifest))
        if self._is_news and len(missing) == len(wanted):
            raise Unchanged
        self._missing = len(missing)
        # What is missing is asked for again next time.
        read = {uuid: time for uuid, time in manifest.items() if uuid not in set(missing)}
        self._marks = Marks(cursor=json.dumps(read, separators=(",", ":")))

    def marks(self) -> Marks:
        return self._marks

    def _is_wanted(self, uuid: str, time: str) -> bool:
        return not self._is_news or self._known.get(uuid) != time

    def _require_most(self, host: str, missing: list[str], asked: int, named: int) -> None:
        """Of all that the manifest names: news may be no more than what was missing before."""
        if not missing:
            return
        told = f"{len(missing):,} of {asked:,} events that the manifest of {host} names, as"
        if len(missing) > named * MAX_MISSING:
            raise FeedError(
                f"{told} {missing[0]}.json, are not there: correct the location, or tell the "
                "feed's publisher"
            )
        log.warning("%s: %s %s, are not there", self._source.name, told, missing[0])


def _manifest(client: HttpClient, source: Source) -> dict[str, str]:
    """The time of the last change of each event, by the event's UUID."""
    answer = client.get(_url(source, MANIFEST))
    stated = answer.json()
    if not isinstance(stated, dict):
        raise FeedError(
            f"manifest.json of {answer.host} is not the list of a feed's events: name the folder "
            "of a MISP feed"
        )
    if len(stated) > limits.MAX_DOCUMENTS:
        raise FeedError(
            f"{answer.host} lists more than {limits.MAX_DOCUMENTS:,} events: take a smaller feed"
        )
    manifest = {uuid: _timestamp(about) for uuid, about in stated.items() if _UUID.fullmatch(uuid)}
    if len(manifest) < len(stated):
        # A name becomes part of a URL: nothing else may.
        strange = next(name for name in stated if name not in manifest)
        told = f"{len(stated) - len(manifest):,} of {len(stated):,} names in its manifest"
        if len(manifest) < len(stated) * MAX_MISSING:
            raise FeedError(
                f"{told} are no UUIDs, as {quoted(strange, 60)!r}: name the folder of a MISP feed"
            )
        log.warning("%s: %s are no UUIDs, as %r", source.name, told, quoted(strange, 60))
    return manifest


def _timestamp(about: Any) -> str:
    stated = about.get("timestamp") if isinstance(about, dict) else None
    return str(stated)[:_LONGEST_TIMESTAMP] if isinstance(stated, str | int) else ""


def _known(cursor: str) -> Mapping[str, str]:
    """What the last reading read; nothing when it left no such thing."""
    try:
        known = json.loads(cursor)
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def _url(source: Source, name: str) -> str:
    """Of a file of the feed; a question in the location, which may hold a key, goes along."""
    _, question, query = source.location.partition("?")
    return f"{address_of(source)}{name}{question}{query}"
