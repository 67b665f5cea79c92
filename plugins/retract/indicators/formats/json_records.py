"""JSON: a list of objects whose keys are named, or one object a line.

``records`` leads to the list. Without it the document is the list, or an object that holds
nothing but the records: ``{"data": […]}``, or records by their ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats.contents import json_of, lines_of, text_of
from retract.indicators.formats.records import entries
from retract.indicators.listed import Entry, Rejected

_Record = tuple[str, Any]
"""Where it is, for messages, and the record."""

_SHOWN_KEYS: Final = 20


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The records' entries. Raises FeedError when the data is no such JSON.

    In a list of texts each text is a value. A key is looked for as it is written, then as a
    dotted path; where the path meets a list it goes through every item.
    """
    if source.columns is None:
        raise ValueError("a json source without columns")
    names = source.columns.model_dump(exclude_none=True)
    for found in _records(text_of(data), source.records, names["value"]):
        if isinstance(found, Rejected):
            yield found
            continue
        where, record = found
        if isinstance(record, dict):
            cells = {field: at(record, name) for field, name in names.items()}
        elif isinstance(record, str):
            cells = {"value": record}
        else:
            yield Rejected(where, "neither an object nor a text")
            continue
        yield from entries(cells, source.type, where)


def at(record: dict[str, Any], name: str) -> Any:
    """What the record holds under a key or dotted path; None when there is no such thing.

    Several things, met by going through a list, come as a list.
    """
    if name in record or "." not in name:
        return record.get(name)
    found = _flat(_reached(record, name))
    return found[0] if len(found) == 1 else found or None


def _reached(whole: Any, path: str) -> list[Any]:
    """What lies at the end of a dotted path; through lists it goes by every item."""
    found = [whole]
    for key in path.split("."):
        found = [one[key] for one in _flat(found) if isinstance(one, dict) and key in one]
    return found


def _flat(things: list[Any]) -> list[Any]:
    """With the items of lists instead of the lists."""
    return [item for thing in things for item in (thing if isinstance(thing, list) else (thing,))]


def _records(text: str, path: str | None, value: str) -> Iterator[_Record | Rejected]:
    if path is None and first_of_lines(text) is not None:
        yield from _lines(text)
        return
    whole = json_of(text)
    if whole is None:
        return
    records = _listed(whole, value) if path is None else _listed_at(whole, path, value)
    for number, record in enumerate(records, start=1):
        yield f"entry {number}", record


def first_of_lines(text: str) -> dict[str, Any] | None:
    """The first object of a text that has one object a line; None for any other text."""
    first, newline, _ = text.strip().partition("\n")
    if not newline or not first.startswith("{"):
        return None
    try:
        found = json_of(first)
    except FeedError:
        return None
    return found if isinstance(found, dict) else None


def _lines(text: str) -> Iterator[_Record | Rejected]:
    for number, line in lines_of(text):
        if not line or line.isspace():
            continue
        where = f"line {number}"
        try:
            yield where, json_of(line)
        except FeedError as error:
            if text.endswith(line):
                raise FeedError(f"ends in the middle of {where}: fetch it again") from error
            yield Rejected(where, "no readable JSON")


def _listed_at(whole: Any, path: str, value: str) -> list[Any]:
    found = _reached(whole, path)
    match found:
        case []:
            raise FeedError(f"has nothing at {path!r}; correct records: {_keys(whole)}")
        case [None]:
            return []
        case [dict() as by_id] if at(by_id, value) is None:
            return _flat(list(by_id.values()))
    return _flat(found)


def _listed(whole: Any, value: str) -> list[Any]:
    if isinstance(whole, list):
        return whole
    if isinstance(whole, dict):
        if at(whole, value) is not None:
            return [whole]
        inner = _flat(list(whole.values()))
        if len(whole) == 1 and isinstance(next(iter(whole.values())), list):
            return inner
        if all(isinstance(one, dict) and at(one, value) is not None for one in inner):
            return inner
    raise FeedError(
        "is JSON but no list of records: set records to the key that holds it, and the value "
        f"column to a key of a record; {_keys(whole)}"
    )


def _keys(whole: Any) -> str:
    if not isinstance(whole, dict):
        return f"it is a {type(whole).__name__}"
    shown = ", ".join(repr(key[:40]) for key in list(whole)[:_SHOWN_KEYS])
    return f"its keys are {shown}" if shown else "it has no keys"
