"""Servers, and one way to open what they serve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.indicators.fetching.serving import Asked, Says, Site, site

from retract.indicators.feeds import Source
from retract.indicators.fetching import http
from retract.indicators.fetching.credentials import NO_CREDENTIALS, Credentials
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.fetching.open import open_source


class Read:
    """What a reading gave."""

    def __init__(self, source: Source, last: Marks, credentials: Credentials) -> None:
        reading = open_source(source, last, credentials)
        self.documents: list[Document] = []
        self.unchanged = False
        try:
            self.documents.extend(reading.documents())
        except Unchanged:
            self.unchanged = True
        self.complete = reading.complete
        self.marks = reading.marks()

    @property
    def data(self) -> list[bytes]:
        return [document.data for document in self.documents]


@pytest.fixture
def read(source) -> Callable[..., Read]:
    """Reads a location to its end, after what the last reading marked."""

    def read(
        location: object,
        last: Marks = Marks(),  # noqa: B008  # frozen
        credentials: Credentials = NO_CREDENTIALS,
        **settings: object,
    ) -> Read:
        if credentials != NO_CREDENTIALS:
            settings.setdefault("connection", "feeds")
        return Read(source(location=str(location), **settings), last, credentials)

    return read


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Asked], Says]], Site]]:
    """Starts servers that end with the test."""
    with ExitStack() as running:
        yield lambda answer: running.enter_context(site(answer))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    monkeypatch.setattr(http, "_own_pace", lambda state: 0.0)
