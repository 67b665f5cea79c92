"""PhishTank's online-valid, as CSV and JSON; see https://phishtank.org/developer_info.php.

The brand that a phish imitates is a tag, not a campaign: one brand is imitated by many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats.contents import json_of, text_of
from retract.indicators.formats.csv_table import misfit, rows_of
from retract.indicators.formats.records import entries, text_of_cell
from retract.indicators.listed import Entry, LeftOut, Rejected
from retract.model import ObservableType

_Found = tuple[str, Mapping[str, Any]] | Rejected

_REQUIRED: Final = frozenset({"phish_id", "url", "verified"})
_NO_BRAND: Final = "other"


def parse(data: bytes, _source: Source) -> Iterator[Entry]:
    """The entries of phish, verified and online. Raises FeedError when the data is no export."""
    text = text_of(data)
    is_json = text.lstrip()[:1] in ("{", "[")
    for found in _of_json(json_of(text)) if is_json else _of_csv(text):
        if isinstance(found, Rejected):
            yield found
        else:
            yield from _entries(*found)


def _entries(where: str, record: Mapping[str, Any]) -> Iterator[Entry]:
    if text_of_cell(record.get("verified")).lower() != "yes":
        yield LeftOut(where, "not verified to be phish")
        return
    if text_of_cell(record.get("online")).lower() == "no":
        yield LeftOut(where, "not online any more")
        return
    brand = text_of_cell(record.get("target"))
    cells = {
        "value": record.get("url"),
        "first_seen": record.get("submission_time"),
        "reference": record.get("phish_detail_url"),
        "tags": [brand] if brand.lower() != _NO_BRAND else [],
    }
    yield from entries(cells, ObservableType.URL, where)


def _of_json(whole: Any) -> Iterator[_Found]:
    if not isinstance(whole, list):
        raise FeedError("is JSON but no list as PhishTank writes it: check format and location")
    for number, record in enumerate(whole, start=1):
        where = f"entry {number}"
        yield (where, record) if isinstance(record, dict) else Rejected(where, "not an object")


def _of_csv(text: str) -> Iterator[_Found]:
    header: list[str] = []
    for row in rows_of(text):
        if isinstance(row, Rejected):
            yield row
        elif header:
            record = dict(zip(header, row.cells, strict=False))
            yield misfit(row, len(header)) or (f"line {row.line}", record)
        else:
            header = row.cells
            if not set(header) >= _REQUIRED:
                shown = ", ".join(header)[:200]
                raise FeedError(f"is no CSV of PhishTank: the header is {shown!r}; check format")
