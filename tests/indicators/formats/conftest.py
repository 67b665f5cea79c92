"""A document read with the parser of its format, its entries by what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from retract.indicators.feeds import Source
from retract.indicators.formats.parsers import PARSERS
from retract.indicators.listed import LeftOut, Listed, Rejected


class Read(NamedTuple):
    listed: list[Listed]
    rejected: list[Rejected]
    left_out: list[LeftOut]

    @property
    def values(self) -> list[tuple[str, str]]:
        return [(one.type.value, one.value) for one in self.listed]


@pytest.fixture
def read(source: Callable[..., Source]) -> Callable[..., Read]:
    """Reads text or bytes as a format; further settings are those of the source."""

    def parse(format_: str, data: str | bytes, **settings: Any) -> Read:
        one = source(format=format_, **settings)
        raw = data.encode() if isinstance(data, str) else data
        found = Read([], [], [])
        for entry in PARSERS[one.format](raw, one):
            match entry:
                case Listed():
                    found.listed.append(entry)
                case Rejected():
                    found.rejected.append(entry)
                case LeftOut():
                    found.left_out.append(entry)
        return found

    return parse
