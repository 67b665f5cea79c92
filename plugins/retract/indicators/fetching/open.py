"""Open a source: one reading of it, by the way its location and service say."""

from __future__ import annotations

from collections.abc import Iterator

from retract.indicators.feeds import Source
from retract.indicators.fetching import fetch
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Document, Marks, Reading


def open_source(source: Source, last: Marks, credentials: Credentials) -> Reading:
    """A reading of the source, that asks for what changed since ``last``."""
    return _WholeReading(source)


class _WholeReading:
    """Every document, each time."""

    complete = True

    def __init__(self, source: Source) -> None:
        self._source = source

    def documents(self) -> Iterator[Document]:
        for name, data in fetch.documents(self._source):
            yield Document(name, data)

    def marks(self) -> Marks:
        return Marks()
