"""How far a reading is, for whoever watches the log."""

from __future__ import annotations

import logging
import time
from typing import Final

_EVERY_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class Progress:
    """Tells the log how far a long reading is, every few seconds and not more."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._told_at = time.monotonic()

    def tell(self, state: str) -> None:
        """``state`` as in "12 MiB"; fit for messages."""
        now = time.monotonic()
        if now - self._told_at >= _EVERY_SECONDS:
            self._told_at = now
            log.info("%s: reading, %s so far", self._source, state)
