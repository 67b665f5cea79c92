"""Secrets kept out of messages and logs."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Final, Self
from urllib.parse import quote

from retract.indicators.fetching.authorization import KEY

_LOGGERS: Final = (
    *("httpx", "httpcore.connection", "httpcore.proxy", "httpcore.socks"),
    *("httpcore.http11", "httpcore.http2"),
)
_URL: Final = re.compile(r"(https?://[^/?#\s\"']*)[^\s\"']*")


class Redaction(logging.Filter):
    """Takes secrets out of text; as a context manager also out of what httpx logs meanwhile.

    Of a URL, the log keeps the host alone.
    """

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""))}
        # The longest first: one may hold another.
        self._forms = sorted(forms, key=len, reverse=True)

    def redacted(self, text: str) -> str:
        """The text with ``{key}`` in the place of each secret, escaped for URLs or not."""
        for form in self._forms:
            text = text.replace(form, KEY)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        # A feeds file may hold a token in a URL's query, though it should not.
        message = _URL.sub(r"\1/…", self.redacted(record.getMessage()))
        record.msg, record.args = message, None
        return True

    def __enter__(self) -> Self:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)
