"""Google's partial responses: ``fields=messages(id,threadId),nextPageToken``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r"[A-Za-z0-9_@*-]+|[(),/]")


class InvalidFieldMask(ValueError):
    """The ``fields`` parameter cannot be read."""


@dataclass(frozen=True, slots=True)
class FieldMask:
    """Which fields to keep; a name without children keeps everything below it."""

    children: dict[str, FieldMask] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> FieldMask:
        """Raises InvalidFieldMask. Names that do not exist select nothing."""
        text = text.replace(" ", "")
        tokens = _TOKEN.findall(text)
        if "".join(tokens) != text:
            raise InvalidFieldMask(text)
        mask, rest = _parse_list(tokens, text)
        if rest:
            raise InvalidFieldMask(text)
        return mask

    def apply(self, value: Any) -> Any:
        if not self.children or "*" in self.children:
            return value
        if isinstance(value, list):
            return [self.apply(item) for item in value]
        if isinstance(value, dict):
            return {
                name: self.children[name].apply(item)
                for name, item in value.items()
                if name in self.children
            }
        return value


def _parse_list(tokens: list[str], text: str) -> tuple[FieldMask, list[str]]:
    children: dict[str, FieldMask] = {}
    while True:
        if not tokens or tokens[0] in "(),/":
            raise InvalidFieldMask(text)
        name, tokens = tokens[0], tokens[1:]
        path = [name]
        while tokens[:1] == ["/"]:
            if len(tokens) < 2 or tokens[1] in "(),/":
                raise InvalidFieldMask(text)
            path.append(tokens[1])
            tokens = tokens[2:]
        child = FieldMask()
        if tokens[:1] == ["("]:
            child, tokens = _parse_list(tokens[1:], text)
            if tokens[:1] != [")"]:
                raise InvalidFieldMask(text)
            tokens = tokens[1:]
        for inner in reversed(path[1:]):
            child = FieldMask({inner: child})
        children[path[0]] = _merged(children.get(path[0]), child)
        if tokens[:1] != [","]:
            return FieldMask(children), tokens
        tokens = tokens[1:]


def _merged(one: FieldMask | None, other: FieldMask) -> FieldMask:
    """``a/b,a/c`` keeps both; ``a,a/b`` keeps all of ``a``."""
    if one is None:
        return other
    if not one.children or not other.children:
        return FieldMask()
    names = one.children.keys() | other.children.keys()
    return FieldMask(
        {
            name: _merged(one.children.get(name), other.children[name])
            if name in other.children
            else one.children[name]
            for name in names
        }
    )
