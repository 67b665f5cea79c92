"""MAPI properties that Graph shows on request: $expand=singleValueExtendedProperties(…)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local_tenant.mailbox import Item
from local_tenant.microsoft.errors import GraphError, bad_request, not_emulated

_NAME = "singleValueExtendedProperties"
# The single values of "MAPI property types" in the extended-properties overview.
_TYPES = (
    "ApplicationTime|Binary|Boolean|CLSID|Currency|Double|Error|Float|Integer|Long|Null|Object|"
    "Short|String|SystemTime"
)
_TAG = re.compile(rf"({_TYPES}) 0x([0-9A-Fa-f]{{1,4}})")
_NAMED = re.compile(
    rf"({_TYPES}) "
    r"\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}? "
    r"(?:Name \S.*|Id (?:0x)?[0-9A-Fa-f]+)"
)
_TERM = re.compile(r"\(?\s*id\s+eq\s+'((?:[^']|'')*)'\s*\)?", re.IGNORECASE)
_EXPAND = re.compile(rf"\s*{_NAME}\s*(?:\((.*)\))?\s*", re.IGNORECASE | re.DOTALL)
_FILTER = re.compile(r"\s*\$filter\s*=\s*(.+?)\s*", re.DOTALL)

_VALUES: dict[tuple[str, int], Callable[[Item], str | None]] = {
    # PidTagLastVerbExecuted ([MS-OXOMSG] 2.2.1.41). A message nobody answered has none.
    ("Integer", 0x1081): lambda item: None if item.last_verb is None else str(item.last_verb.value),
    # PidTagLastVerbExecutionTime
    ("SystemTime", 0x1082): lambda item: (
        None if item.last_verb_at is None else f"{item.last_verb_at:%Y-%m-%dT%H:%M:%SZ}"
    ),
}


@dataclass(frozen=True, slots=True)
class PropertyId:
    """An extended property as a caller names it."""

    kind: str
    tag: int | None
    """None for a property with a name space, of which the tenant's messages have none."""
    text: str
    """As Graph writes it back: tags in lower-case hex without leading zeros."""


def read_expand(text: str | None) -> tuple[PropertyId, ...]:
    """The properties an ``$expand`` of messages asks for; none without it. Raises GraphError."""
    if text is None:
        return ()
    expanded = _EXPAND.fullmatch(text)
    if expanded is None:
        raise not_emulated(f"$expand={text}")
    inner = _FILTER.fullmatch(expanded[1] or "")
    if inner is None:
        # "Use a $filter and eq operator on the id property to specify the extended property."
        raise GraphError(
            400,
            "ErrorInvalidParameter",
            "Expand query option for singleValueExtendedProperties needs a $filter on id.",
        )
    ids = []
    for term in re.split(r"\s+or\s+", inner[1]):
        named = _TERM.fullmatch(term)
        if named is None:
            raise bad_request(f"Invalid filter clause: '{inner[1]}'.")
        ids.append(_property_id(named[1].replace("''", "'")))
    return tuple(dict.fromkeys(ids))


def _property_id(text: str) -> PropertyId:
    """Raises GraphError for what is in none of the documented forms."""
    tag = _TAG.fullmatch(text)
    if tag is not None:
        number = int(tag[2], 16)
        return PropertyId(tag[1], number, f"{tag[1]} {number:#x}")
    named = _NAMED.fullmatch(text)
    if named is not None:
        return PropertyId(named[1], None, text)
    # As reported in microsoft-graph-docs issue 2251.
    raise GraphError(
        400,
        "ErrorInvalidExtendedProperty",
        "The extended property attribute combination is invalid.",
    )


def extended_json(item: Item, wanted: tuple[PropertyId, ...]) -> dict[str, Any]:
    """The member to add to a message: left out when it has none of the properties."""
    found = []
    for property_id in wanted:
        read = _VALUES.get((property_id.kind, property_id.tag or 0))
        value = None if read is None else read(item)
        if value is not None:
            found.append({"id": property_id.text, "value": value})
    return {_NAME: found} if found else {}
