"""Plain lists: one value a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from retract.indicators.feeds import Source
from retract.indicators.formats.contents import lines_of, refuse_json, text_of
from retract.indicators.listed import Entry, Listed, Rejected
from retract.observables.written import canonical

_COMMENT = re.compile(r"(?:^|\s)[#;].*")
"""From the start of a line or after a space: a # within a URL belongs to the URL."""


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The list's entries. Raises FeedError when the data is no such list."""
    text = text_of(data)
    refuse_json(text, "a plain list")
    for number, line in lines_of(text):
        value = _COMMENT.sub("", line) if "#" in line or ";" in line else line
        if not value or value.isspace():
            continue
        try:
            yield Listed(*canonical(source.type, value))
        except ValueError as error:
            yield Rejected(f"line {number}", str(error))
