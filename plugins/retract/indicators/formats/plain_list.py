"""Plain lists: one value a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats.contents import text_of
from retract.indicators.listed import Entry, Listed, Rejected
from retract.observables.written import canonical

_COMMENT = re.compile(r"(?:^|\s)[#;].*")
"""From the start of a line or after a space: a # within a URL belongs to the URL."""
_JSON = re.compile(r"\s*(?:\{|\[\s*[\[{\"])")


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The list's entries. Raises FeedError when the data is no such list."""
    text = text_of(data)
    if _JSON.match(text):
        raise FeedError("is JSON, not a plain list: set format to stix, or correct the location")
    for number, line in enumerate(text.splitlines(), start=1):
        value = _COMMENT.sub("", line).strip()
        if not value:
            continue
        try:
            yield Listed(*canonical(source.type, value))
        except ValueError as error:
            yield Rejected(f"line {number}", str(error))
