"""Open a source: one reading of it, by the way its location and service say."""

from __future__ import annotations

from retract.errors import FeedError
from retract.indicators.feeds import OBJECT_STORES, Source
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Marks, Reading
from retract.indicators.fetching.files import FilesReading
from retract.indicators.fetching.web import WebReading


def open_source(source: Source, last: Marks, credentials: Credentials) -> Reading:
    """A reading of the source, that asks for what changed since ``last``.

    Nothing is read yet: `Reading.documents` does. Raises FeedError.
    """
    if source.service is not None:
        raise FeedError(f"the service {source.service} cannot be asked yet")
    if source.scheme in OBJECT_STORES:
        raise FeedError(f"{source.scheme}:// cannot be read yet")
    if source.is_remote:
        return WebReading(source, last, credentials)
    return FilesReading(source, last)
