"""Files of indicators as people have them at hand: what a file is shows in its content."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, Final

import yaml

from retract.errors import FeedConfigurationError, FeedError
from retract.indicators.feeds import Columns, FeedsFile, Format, Source
from retract.indicators.fetching import limits
from retract.indicators.fetching.document import Document
from retract.indicators.fetching.unpack import unpacked
from retract.indicators.formats.contents import json_of, lines_of, looks_like_json, text_of
from retract.indicators.formats.csv_table import rows_of
from retract.indicators.formats.json_records import first_of_lines
from retract.indicators.formats.records import NotInMail, text_of_cell, type_of
from retract.indicators.listed import Rejected
from retract.model import Disposition

SAMPLE: Final = 200
"""Lines, rows or records that are looked at."""

_VALUE_NAMES: Final = (
    *("indicator", "value", "ioc", "ioc_value", "url", "domain", "hostname"),
    *("ip", "ip_address", "sha256", "sha1", "md5", "hash", "observable"),
)
"""The names of columns and keys that hold values, the likeliest first."""
_TYPE_NAMES: Final = ("type", "indicator_type", "ioc_type", "kind")
_TABLES: Final = (".csv", ".tsv")
_JSON_FILES: Final = (".json", ".stix", ".ndjson", ".jsonl")
_PACKINGS: Final = (".gz", ".bz2", ".xz", ".zip")
_DELIMITERS: Final = ",;\t|"
_DEEPEST: Final = 4
"""Keys above a list of records."""

_TO_NOWHERE = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.1|::1?|0)\s+[^\s#]")

_Settings = dict[str, Any]
"""Those of a Source that tell its format."""

_Record = Mapping[str, Any]


def feeds_of_files(paths: Iterable[Path]) -> FeedsFile:
    """Sources for files of indicators as they come, all malicious.

    Raises FeedConfigurationError for a file that does not show how to read it.
    """
    sources: list[Source] = []
    for path in paths:
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", path.name).lstrip("_.-")[:50] or "feed"
        taken = {source.name.lower() for source in sources}
        unique = name if name.lower() not in taken else f"{name}-{len(sources) + 1}"
        sources.append(_source_of_file(path.absolute(), unique))
    return FeedsFile(sources=tuple(sources))


def sources_of_files(paths: Iterable[Path]) -> str:
    """A feeds file, as text, that names these files of indicators."""
    settings = feeds_of_files(paths).model_dump(
        mode="json", exclude_defaults=True, exclude_none=True
    )
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def settings_of(data: bytes, suffix: str = "") -> dict[str, Any]:
    """The settings of a Source that can read this: its format, and which columns to read.

    Raises FeedError when it is no data, or nothing in it shows where the values are.
    """
    text = text_of(data)
    if looks_like_json(text) or (suffix in _JSON_FILES and text.strip()):
        return _of_json(text)
    sample = list(islice(_stripped(text), SAMPLE))
    return (
        _of_columns(sample)
        or _of_lines(sample)
        or _of_table(text, sample, must_be=suffix in _TABLES)
        or {"format": Format.PLAIN_LIST}
    )


def _source_of_file(path: Path, name: str) -> Source:
    if not path.is_file():
        found = "a folder, not a file of indicators" if path.is_dir() else "there is no such file"
        raise FeedConfigurationError(f"{path}: {found}")
    try:
        document = _first_document(path)
    except FeedError as error:
        raise FeedConfigurationError(str(error)) from error
    except OSError as error:
        raise FeedConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        shown = settings_of(document.data, _suffix(document.name))
    except FeedError as error:
        raise FeedConfigurationError(f"{path} {error}") from error
    return Source(
        name=name,
        location=str(path),
        disposition=Disposition.MALICIOUS,
        confidence=80,
        **shown,
    )


def _first_document(path: Path) -> Document:
    """The file, unpacked; of an archive its first file."""
    with path.open("rb") as file:
        data = file.read(limits.MAX_BYTES + 1)
    if len(data) > limits.MAX_BYTES:
        size = limits.mebibytes(limits.MAX_BYTES)
        raise FeedError(f"{path} is larger than {size}: take a smaller feed")
    return next(unpacked(str(path), data), Document(path.name, b""))


def _suffix(name: str) -> str:
    """In lower case, and not that of the packing."""
    suffixes = [suffix.lower() for suffix in PurePath(name.rstrip("'\"")).suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in _PACKINGS), "")


# --- lines and tables ---


def _stripped(text: str) -> Iterator[str]:
    """Lines that are not blank; long ones cut."""
    return (line for _, whole in lines_of(text) if (line := whole[:4096].strip()))


def _of_columns(sample: Sequence[str]) -> _Settings | None:
    """The services whose tables are known by their columns, in a comment or the first row."""
    for line in sample:
        names = {cell.strip(' "') for cell in line.lstrip("# ").split(",")}
        if found := _service_of(names):
            return {"format": found}
        if not line.startswith("#"):
            break
    return None


def _service_of(names: Collection[str]) -> Format | None:
    if {"url", "url_status"} <= set(names):
        return Format.URLHAUS
    if "ioc_type" in names and ("ioc_value" in names or "threat_type" in names):
        return Format.THREATFOX
    if {"phish_id", "url", "verified"} <= set(names):
        return Format.PHISHTANK
    return None


def _of_lines(sample: Sequence[str]) -> _Settings | None:
    rules = [line for line in sample if not line.startswith(("!", "#", ";", "["))]
    is_headed = bool(sample) and sample[0].lower().startswith(
        ("!", "[adblock", "[adguard", "[ublo")
    )
    if is_headed or _are_most(rules, [line.startswith(("||", "@@")) for line in rules]):
        return {"format": Format.ADBLOCK}
    if _are_most(rules, [_TO_NOWHERE.match(line) is not None for line in rules]):
        return {"format": Format.HOSTS}
    return None


def _are_most(things: Sequence[object], are: Sequence[bool]) -> bool:
    return bool(things) and 2 * sum(are) > len(things)


def _of_table(text: str, sample: Sequence[str], *, must_be: bool) -> _Settings | None:
    first = next((line for line in sample if not line.startswith("#")), "")
    delimiter = max(_DELIMITERS, key=first.count)
    header = [cell.strip().strip('"') for cell in first.split(delimiter)]
    value = _named(header, _VALUE_NAMES)
    if value is None:
        if must_be and first:
            raise FeedError(
                f"shows no column to read: the first row names no column {_or(_VALUE_NAMES)}; "
                "rename one, or name the file in a feeds file and say under columns which one"
            )
        return None
    if not must_be and len(header) == 1:
        return None
    kind = _named(header, _TYPE_NAMES)
    if kind is not None:
        cells = _cells(text, delimiter, header.index(kind))
        kind = kind if _say_types(cells) else None
    columns = Columns(value=value, type=kind)
    return {"format": Format.CSV, "columns": columns, "delimiter": delimiter}


def _cells(text: str, delimiter: str, position: int) -> list[str]:
    """Those of one column, below the header."""
    rows = islice(rows_of(text, delimiter), 1, SAMPLE)
    return [
        row.cells[position]
        for row in rows
        if not isinstance(row, Rejected) and len(row.cells) > position
    ]


def _named(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The name, as it is written, that comes first among those wanted."""
    written = {name.strip().lower(): name for name in names}
    return next((written[word] for word in wanted if word in written), None)


def _say_types(cells: Sequence[str]) -> bool:
    """Whether these are types of indicators; a column of that name may say something else."""
    stated = [cell for cell in cells if cell]
    return not stated or _are_most(stated, [_is_type(cell) for cell in stated])


def _is_type(word: str) -> bool:
    try:
        type_of(word)
    except NotInMail:
        return True
    except ValueError:
        return False
    return True


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


# --- JSON ---


def _of_json(text: str) -> _Settings:
    whole = first_of_lines(text) or json_of(text)
    if isinstance(whole, dict):
        if whole.get("type") == "bundle" or isinstance(whole.get("objects"), list):
            return {"format": Format.STIX}
        if "query_status" in whole:
            return {"format": Format.THREATFOX if "data" in whole else Format.URLHAUS}
    if _is_misp(whole):
        return {"format": Format.MISP}
    found = list(islice(_lists(whole, ()), 2))
    if len(found) != 1:
        raise FeedError(_unclear(whole, found))
    path, record = found[0]
    if service := _service_of(record):
        return {"format": service}
    columns = Columns(value=_value_key(record) or _VALUE_NAMES[0], type=_type_key(record))
    return {"format": Format.JSON, "columns": columns, "records": ".".join(path) or None}


def _is_misp(whole: Any) -> bool:
    """An event or its attributes, alone, in a list, or as a server answers."""
    if isinstance(whole, dict):
        whole = whole.get("response", whole)
    first = whole[0] if isinstance(whole, list) and whole else whole
    return isinstance(first, dict) and ("Event" in first or "Attribute" in first)


def _lists(whole: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], _Record]]:
    """Where lists of records are, each with its first record; a text is a record of a value."""
    if isinstance(whole, dict) and _value_key(whole):
        yield path, whole
    elif isinstance(whole, list):
        if whole and isinstance(whole[0], str):
            yield path, {}
        elif (record := _first_with_value(whole)) is not None:
            yield path, record
    elif isinstance(whole, dict):
        inner = [one for value in whole.values() for one in _as_list(value)]
        if all(isinstance(one, dict) and _value_key(one) for one in inner) and inner:
            yield path, inner[0]
        elif len(path) < _DEEPEST:
            for key, value in whole.items():
                if isinstance(value, dict | list) and "." not in key:
                    yield from _lists(value, (*path, key))


def _first_with_value(records: Sequence[Any]) -> _Record | None:
    sample = (one for one in records[:SAMPLE] if isinstance(one, dict))
    return next((one for one in sample if _value_key(one)), None)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _value_key(record: _Record) -> str | None:
    texts = [key for key, value in record.items() if isinstance(value, str | list) and value]
    return _named(texts, _VALUE_NAMES)


def _type_key(record: _Record) -> str | None:
    kind = _named(record, _TYPE_NAMES)
    return kind if kind is not None and _is_type(text_of_cell(record[kind])) else None


def _unclear(whole: Any, found: Sequence[tuple[tuple[str, ...], _Record]]) -> str:
    if found:
        places = " and ".join(repr(".".join(path)[:80]) for path, _ in found)
        return f"holds lists at {places}: name it in a feeds file and say under records which one"
    first = whole[0] if isinstance(whole, list) and whole else whole
    keys = ", ".join(repr(key[:40]) for key in list(first)[:20]) if isinstance(first, dict) else ""
    return (
        f"shows no key {_or(_VALUE_NAMES)} whose values to read: name the file in a feeds file and "
        f"say under records and columns which ones; its keys are {keys or 'none'}"
    )
