"""Open a source: one reading of it, by the way its location and service say."""

from __future__ import annotations

from retract.indicators.feeds import OBJECT_STORES, Service, Source
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Marks, Reading
from retract.indicators.fetching.files import FilesReading
from retract.indicators.fetching.misp_feed import MispFeedReading
from retract.indicators.fetching.misp_server import MispServerReading
from retract.indicators.fetching.object_store import ObjectStoreReading
from retract.indicators.fetching.taxii import TaxiiReading
from retract.indicators.fetching.web import WebReading


def open_source(source: Source, last: Marks, credentials: Credentials) -> Reading:
    """A reading of the source, that asks for what changed since ``last``.

    Nothing is asked yet: `Reading.documents` does that.
    """
    if source.service is Service.TAXII:
        return TaxiiReading(source, last, credentials)
    if source.service is Service.MISP_SERVER:
        return MispServerReading(source, last, credentials)
    if source.service is Service.MISP_FEED:
        return MispFeedReading(source, last, credentials)
    if source.scheme in OBJECT_STORES:
        return ObjectStoreReading(source, last, credentials)
    if source.is_remote:
        return WebReading(source, last, credentials)
    return FilesReading(source, last)
