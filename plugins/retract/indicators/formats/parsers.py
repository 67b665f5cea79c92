"""Which parser reads which format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from retract.indicators.feeds import Format, Source
from retract.indicators.formats import csv_table, plain_list, stix_bundle
from retract.indicators.listed import Entry

Parser = Callable[[bytes, Source], Iterator[Entry]]
"""Yields a document's entries; raises FeedError when the whole is no such document."""

PARSERS: Final[Mapping[Format, Parser]] = {
    Format.PLAIN_LIST: plain_list.parse,
    Format.CSV: csv_table.parse,
    Format.STIX: stix_bundle.parse,
}
