"""Which parser reads which format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from retract.indicators.feeds import Format, Source
from retract.indicators.formats import (
    abuse_ch,
    adblock,
    csv_table,
    hosts_file,
    json_records,
    misp_event,
    phishtank,
    plain_list,
    stix_bundle,
)
from retract.indicators.listed import Entry

Parser = Callable[[bytes, Source], Iterator[Entry]]
"""Yields a document's entries; raises FeedError when the whole is no such document."""

PARSERS: Final[Mapping[Format, Parser]] = {
    Format.PLAIN_LIST: plain_list.parse,
    Format.HOSTS: hosts_file.parse,
    Format.ADBLOCK: adblock.parse,
    Format.CSV: csv_table.parse,
    Format.JSON: json_records.parse,
    Format.STIX: stix_bundle.parse,
    Format.MISP: misp_event.parse,
    Format.URLHAUS: abuse_ch.parse_urlhaus,
    Format.THREATFOX: abuse_ch.parse_threatfox,
    Format.PHISHTANK: phishtank.parse,
}
