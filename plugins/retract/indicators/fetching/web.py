"""A document at an http(s) URL, asked for only if it changed."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator
from typing import Final

from retract.indicators.feeds import Source
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.fetching.http import Answer, HttpClient
from retract.indicators.fetching.unpack import unpacked

_MAX_VALIDATOR: Final = 1000
_NOT_MODIFIED: Final = 304
_SHOWN: Final = frozenset(string.printable) - frozenset(string.whitespace) | {" "}


class WebReading:
    """One reading of the document at the source's location.

    A server that knows no conditional requests sends it again: the same bytes are no change.
    """

    complete = True

    def __init__(self, source: Source, last: Marks, credentials: Credentials) -> None:
        self._source, self._last, self._credentials = source, last, credentials
        self._marks = last

    def documents(self) -> Iterator[Document]:
        conditions = _conditions(self._last)
        with HttpClient(self._source, self._credentials) as client:
            answer = client.get(
                self._source.location,
                headers=conditions,
                expected=(200, _NOT_MODIFIED) if conditions else (200,),
            )
        if answer.status == _NOT_MODIFIED:
            raise Unchanged
        self._marks = _marks(answer)
        if self._marks.content == self._last.content:
            raise Unchanged
        yield from unpacked(answer.host, answer.body)

    def marks(self) -> Marks:
        return self._marks


def _conditions(last: Marks) -> dict[str, str]:
    conditions = {"If-None-Match": last.etag, "If-Modified-Since": last.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _marks(answer: Answer) -> Marks:
    return Marks(
        etag=_validator(answer, "ETag"),
        last_modified=_validator(answer, "Last-Modified"),
        content=hashlib.sha256(answer.body).hexdigest(),
    )


def _validator(answer: Answer, header: str) -> str:
    """The header's value if it can be sent back; else nothing."""
    value = answer.headers.get(header, "").strip()
    return value if len(value) <= _MAX_VALIDATOR and _SHOWN.issuperset(value) else ""
