"""abuse.ch: URLhaus and ThreatFox, as CSV and JSON exports and as answers of their APIs.

In the CSV exports the header stands in a comment, the number of columns changes over the years,
and what is absent is written ``None``. See https://urlhaus.abuse.ch/api/ and
https://threatfox.abuse.ch/api/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats.contents import json_of, lines_of, text_of
from retract.indicators.formats.csv_table import misfit, rows_of
from retract.indicators.formats.records import Cells, entries, tags_of, text_of_cell
from retract.indicators.listed import Entry, Rejected
from retract.model import ObservableType

_Record = Mapping[str, Any]
_Found = tuple[str, _Record] | Rejected

_NOTHING_SAID: Final = frozenset({"", "none", "null", "unknown malware", "unknown"})
_NO_RESULTS: Final = frozenset({"no_results", "no_result"})
_ABOUT_THE_KEY: Final = ("auth", "key", "forbidden")


@dataclass(frozen=True, slots=True)
class _Export:
    """What one of the services writes."""

    name: str
    required: frozenset[str]
    """Columns that show a row to be a header."""
    layouts: tuple[str, ...]
    """The columns of its CSV over the years, the latest first."""
    answer: str
    """The key that holds the records of an API's answer."""
    cells: Callable[[_Record], Cells]


def parse_urlhaus(data: bytes, _source: Source) -> Iterator[Entry]:
    """The URLs' entries. Raises FeedError when the data is no export of URLhaus.

    Threat and status of a URL are tags of it, as ``malware_download`` and ``offline``.
    """
    return _entries(data, _URLHAUS)


def parse_threatfox(data: bytes, _source: Source) -> Iterator[Entry]:
    """The indicators' entries. Raises FeedError when the data is no export of ThreatFox.

    The malware's name is the campaign; the type of threat is a tag, as ``botnet_cc``.
    """
    return _entries(data, _THREATFOX)


def _urlhaus_cells(record: _Record) -> Cells:
    return {
        "value": record.get("url"),
        "type": ObservableType.URL,
        "first_seen": _said(record, "dateadded", "date_added"),
        "reference": _said(record, "urlhaus_link", "urlhaus_reference"),
        "tags": _tags(record, "threat", "url_status"),
    }


def _threatfox_cells(record: _Record) -> Cells:
    number = _said(record, "ioc_id", "id")
    page = f"https://threatfox.abuse.ch/ioc/{number}/" if number.isdecimal() else ""
    return {
        "value": record.get("ioc_value") or record.get("ioc"),
        "type": _said(record, "ioc_type") or "none stated",
        "first_seen": _said(record, "first_seen_utc", "first_seen"),
        "confidence": _said(record, "confidence_level"),
        "campaign": _said(record, "malware_printable"),
        "reference": _said(record, "reference") or page,
        "tags": _tags(record, "threat_type"),
    }


_URLHAUS: Final = _Export(
    "URLhaus",
    required=frozenset({"url", "url_status"}),
    layouts=(
        "id dateadded url url_status last_online threat tags urlhaus_link reporter",
        "id dateadded url url_status threat tags urlhaus_link reporter",
    ),
    answer="urls",
    cells=_urlhaus_cells,
)
_THREATFOX: Final = _Export(
    "ThreatFox",
    required=frozenset({"ioc_value", "ioc_type"}),
    layouts=(
        "first_seen_utc ioc_id ioc_value ioc_type threat_type fk_malware malware_alias "
        "malware_printable last_seen_utc confidence_level is_compromised reference tags anonymous "
        "reporter",
        "first_seen_utc ioc_id ioc_value ioc_type threat_type fk_malware malware_alias "
        "malware_printable last_seen_utc confidence_level reference tags anonymous reporter",
    ),
    answer="data",
    cells=_threatfox_cells,
)


def _said(record: _Record, *names: str) -> str:
    """The first of these that says something; empty when none does."""
    for name in names:
        text = text_of_cell(record.get(name))
        if text.lower() not in _NOTHING_SAID:
            return text
    return ""


def _tags(record: _Record, *names: str) -> tuple[str, ...]:
    tags = [tag for tag in tags_of(record.get("tags")) if tag.lower() not in _NOTHING_SAID]
    tags += [said for name in names if (said := _said(record, name))]
    return tuple(dict.fromkeys(tags))


def _entries(data: bytes, export: _Export) -> Iterator[Entry]:
    text = text_of(data)
    is_json = text.lstrip()[:1] in ("{", "[")
    for found in _of_json(json_of(text), export) if is_json else _of_csv(text, export):
        if isinstance(found, Rejected):
            yield found
        else:
            where, record = found
            yield from entries(export.cells(record), "auto", where)


# --- JSON ---


def _of_json(whole: Any, export: _Export) -> Iterator[_Found]:
    if isinstance(whole, dict) and "query_status" in whole:
        records = _answered(whole, export)
    elif isinstance(whole, dict) and all(isinstance(one, list) for one in whole.values()):
        # An export: lists of one record by the id of the record.
        records = [
            {"id": number, **record} if isinstance(record, dict) else record
            for number, listed in whole.items()
            for record in listed
        ]
    elif isinstance(whole, list):
        records = whole
    else:
        raise FeedError(f"is JSON but no export of {export.name}: check format and location")
    for number, record in enumerate(records, start=1):
        if isinstance(record, dict):
            yield f"entry {number}", record
        else:
            yield Rejected(f"entry {number}", "not an object")


def _answered(answer: dict[str, Any], export: _Export) -> list[Any]:
    """The records of an API's answer. Raises FeedError when it is a refusal."""
    status = text_of_cell(answer["query_status"])
    records = answer.get(export.answer)
    if status in _NO_RESULTS:
        return []
    if status == "ok" and isinstance(records, list):
        return records
    if any(word in status.lower() for word in _ABOUT_THE_KEY):
        raise FeedError(
            f"is a refusal of {export.name}, {status[:60]!r}: put a valid Auth-Key of abuse.ch "
            "into the source's connection"
        )
    problem = f"says {status[:60]!r}" if status != "ok" else f"has no list of {export.answer!r}"
    raise FeedError(f"is an answer of {export.name} that {problem}: correct the location")


# --- CSV ---


def _of_csv(text: str, export: _Export) -> Iterator[_Found]:
    header = _header_in_comment(text, export)
    known = {len(names): names for names in (layout.split() for layout in export.layouts)}
    for row in rows_of(text, spaced=True):
        if isinstance(row, Rejected):
            yield row
            continue
        if export.required <= set(row.cells):
            header = row.cells
            continue
        found = len(row.cells)
        columns = header if len(header) == found else known.get(found, header)
        if not columns:
            raise FeedError(
                f"is no CSV of {export.name}: line {row.line} has {found} fields and no header "
                "stands above it; for its lists of plain text set format to plain_list or hosts"
            )
        record = dict(zip(columns, row.cells, strict=False))
        yield misfit(row, len(columns)) or (f"line {row.line}", record)


def _header_in_comment(text: str, export: _Export) -> list[str]:
    """The columns that a comment above the first row names; none when none does."""
    for _, line in lines_of(text):
        line = line.strip()
        if line and not line.startswith("#"):
            break
        cells = [cell.strip(' "') for cell in line.lstrip("# ").split(",")]
        if export.required <= set(cells):
            return cells
    return []
