"""Graph's query options: read strictly, refused as the service refuses them.

Only what the service documents and the program may use is understood; the rest of what
the service can do is answered as not emulated.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ValidationError

from local_tenant.microsoft.errors import GraphError, bad_request, not_emulated

_KNOWN_OPTIONS = {
    "$apply", "$count", "$expand", "$filter", "$format", "$orderby", "$search", "$select",
    "$skip", "$top",
}  # fmt: skip
_STATE_OPTIONS = {"$skiptoken", "$deltatoken"}


@dataclass(frozen=True, slots=True)
class EntityType:
    """What the parser must know of a resource type."""

    name: str
    """As error messages spell it: microsoft.graph.message."""
    properties: frozenset[str]
    filterable: Mapping[str, type]
    """Property path → datetime, str or bool."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``path operator value``."""

    path: str
    operator: str
    value: datetime | str | bool

    def holds(self, actual: datetime | str | bool) -> bool:
        """Whether ``actual operator value``; strings compare without case, as Exchange does."""
        left, right = _comparable(actual), _comparable(self.value)
        return _OPERATORS[self.operator](left, right)


def _comparable(value: datetime | str | bool) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value).lower()


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "eq": str.__eq__,
    "ne": str.__ne__,
    "gt": str.__gt__,
    "ge": str.__ge__,
    "lt": str.__lt__,
    "le": str.__le__,
}


def read_options(query: Mapping[str, str], allowed: Collection[str]) -> dict[str, str]:
    """The ``$`` options, checked for being allowed here. Other parameters are left out."""
    options = {}
    for name, value in query.items():
        if f"${name.lower()}" in _KNOWN_OPTIONS:
            raise not_emulated(f"the query option '{name}' without its '$'")
        if not name.startswith("$"):
            continue
        if name not in _KNOWN_OPTIONS | _STATE_OPTIONS:
            raise bad_request(f"The query parameter '{name}' is not supported.")
        if name not in allowed:
            raise not_emulated(f"the query option '{name}' here")
        options[name] = value
    return options


def read_select(text: str | None, entity: EntityType) -> tuple[str, ...] | None:
    """The properties asked for, in the order asked; None means the default ones."""
    if text is None or not text.strip():
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in entity.properties:
            raise bad_request(
                "Parsing OData Select and Expand failed: "
                f"Could not find a property named '{name}' on type '{entity.name}'."
            )
    return names


def read_count(text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise bad_request(f"Invalid value '{text}' for $count query option found.")
    return text == "true"


def read_top(text: str | None, *, default: int, largest: int, refusal: str = "") -> int:
    """A page size between 1 and ``largest``."""
    if text is None:
        return default
    if not re.fullmatch(r"-?\d{1,18}", text) or int(text) < 0:
        raise bad_request(
            f"Invalid value '{text}' for $top query option found. "
            "The $top query option requires a non-negative integer value."
        )
    if not 1 <= int(text) <= largest:
        if refusal:
            raise GraphError(
                400,
                refusal,
                f"Invalid page size specified: '{text}'. "
                f"Must be between 1 and {largest} inclusive.",
            )
        raise bad_request(
            f"The limit of '{largest}' for Top query has been exceeded. "
            f"The value from the incoming request is '{text}'."
        )
    return int(text)


_LEXEME = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^']|'')*')
      | (?P<datetime>\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,12})?)?
            (?:Z|[+-]\d{2}:\d{2}))?)
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<word>[A-Za-z_@][\w@]*(?:/[A-Za-z_]\w*)*)
      | (?P<sign>[(),])
    )""",
    re.VERBOSE,
)


def read_filter(text: str | None, entity: EntityType) -> tuple[Comparison, ...]:
    """Comparisons joined by ``and``, in the order written."""
    if text is None:
        return ()
    lexemes = _lexemes(text)
    comparisons = []
    while True:
        if len(lexemes) < 3:
            raise _syntax_error(text, len(text))
        (kind, path, position), (_, operator, at), (value_kind, literal, _) = lexemes[:3]
        if kind != "word":
            raise _syntax_error(text, position)
        if operator == "(" or path == "not":
            raise not_emulated(f"functions and 'not' in $filter: {text}")
        if path.split("/")[0] not in entity.properties:
            raise GraphError(
                400,
                "RequestBroker--ParseUri",
                f"Could not find a property named '{path}' on type '{entity.name}'.",
            )
        if operator not in _OPERATORS:
            raise _syntax_error(text, at)
        if path not in entity.filterable:
            raise not_emulated(f"$filter on '{path}'")
        comparisons.append(
            Comparison(path, operator, _literal(value_kind, literal, operator, entity, path, text))
        )
        rest = lexemes[3:]
        if not rest:
            return tuple(comparisons)
        kind, joiner, position = rest[0]
        if kind == "word" and joiner == "or":
            raise not_emulated("'or' in $filter")
        if kind != "word" or joiner != "and":
            raise _syntax_error(text, position)
        lexemes = rest[1:]


def _lexemes(text: str) -> list[tuple[str, str, int]]:
    """(kind, text, position) of each."""
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _LEXEME.match(text, position)
        if match is None or match.lastgroup is None:
            raise _syntax_error(text, position)
        found.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return found


def _syntax_error(text: str, position: int) -> GraphError:
    return bad_request(f"Invalid filter clause: Syntax error at position {position} in '{text}'.")


_EDM = {datetime: "Edm.DateTimeOffset", str: "Edm.String", bool: "Edm.Boolean"}
_OPERATOR_KINDS = {
    "eq": "Equal",
    "ne": "NotEqual",
    "gt": "GreaterThan",
    "ge": "GreaterThanOrEqual",
    "lt": "LessThan",
    "le": "LessThanOrEqual",
}


def _literal(
    kind: str, literal: str, operator: str, entity: EntityType, path: str, text: str
) -> datetime | str | bool:
    wanted = entity.filterable[path]
    if wanted is datetime and kind == "datetime":
        try:
            moment = datetime.fromisoformat(literal)
        except ValueError:
            raise _syntax_error(text, text.find(literal)) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if wanted is str and kind == "string":
        return literal[1:-1].replace("''", "'")
    if wanted is bool and literal in ("true", "false"):
        return literal == "true"
    found = {"string": "Edm.String", "datetime": "Edm.DateTimeOffset", "number": "Edm.Int32"}.get(
        kind, "Edm.Boolean" if literal in ("true", "false") else ""
    )
    if not found:
        raise _syntax_error(text, text.find(literal))
    raise bad_request(
        "Invalid filter clause: A binary operator with incompatible types was detected. "
        f"Found operand types '{_EDM[wanted]}' and '{found}' "
        f"for operator kind '{_OPERATOR_KINDS[operator]}'."
    )


class PageToken(BaseModel, extra="forbid", frozen=True):
    """Where a listing stopped. Clients must treat it as opaque."""

    after: str = ""
    """Sort key of the last row handed out."""
    since: int = 0
    """Delta: the last change the client knows."""
    until: int = 0
    """Delta: the last change this round tells of."""
    count: int = 0
    """Delta: how many rows this round has handed out."""
    query: dict[str, str] = {}
    """Delta: the options of the first request of the round."""

    def encode(self) -> str:
        text = self.model_dump_json(exclude_defaults=True)
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(text: str) -> PageToken:
    """Raises GraphError for what no answer of ours ever held."""
    try:
        padded = text + "=" * (-len(text) % 4)
        return PageToken.model_validate(json.loads(base64.urlsafe_b64decode(padded)))
    except (ValidationError, ValueError, binascii.Error):
        raise bad_request("Badly formed token.") from None
