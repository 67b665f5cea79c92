"""What getting a source gives: documents one by one, and marks for the next time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict


class Document(NamedTuple):
    """One file, page or event of a source."""

    name: str
    """Fit for messages: never a URL's query, which may hold a key."""
    data: bytes
    """Unpacked."""


class Marks(BaseModel):
    """Where a reading ended: what the next one asks with. Empty: nothing is known yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    etag: str = ""
    last_modified: str = ""
    content: str = ""
    """A digest of all that was delivered, as hex: the same bytes are no change."""
    cursor: str = ""
    """A service's own: where its next news begin."""


class Unchanged(Exception):
    """The source has nothing that the last reading did not have."""


class Reading(Protocol):
    """One reading of a source that is under way."""

    @property
    def complete(self) -> bool:
        """Whether the documents are all that the source lists, or only what is new since."""

    def documents(self) -> Iterator[Document]:
        """The documents, got one by one, once.

        Raises Unchanged before the first, and FeedError.
        """

    def marks(self) -> Marks:
        """For the next reading; true once the documents are exhausted."""
