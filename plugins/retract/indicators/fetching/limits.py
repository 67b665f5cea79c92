"""How much a reading may take: sources are written by strangers, and may be broken or hostile."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of one document, packed and unpacked. The largest public URL feeds are below 100 MB."""

MAX_READING_BYTES: Final = 2 * 1024 * 1024 * 1024
"""Of all documents of one reading, as they are delivered."""

MAX_DOCUMENTS: Final = 10_000
"""Files, objects, pages or members of an archive that one reading may have."""

DEADLINE: Final = timedelta(minutes=3)
"""For one document over the network: tries, waits and redirects included."""

SERVICE_DEADLINE: Final = timedelta(minutes=30)
"""For a reading that asks a service, or lists an object store, again and again."""

MAX_UNPACKED_RATIO: Final = 200
"""Of unpacked to packed bytes; JSON and lists pack to a thirtieth at best."""

RATIO_FROM_BYTES: Final = 32 * 1024 * 1024
"""Less than this may unpack at any ratio."""


def mebibytes(size: int) -> str:
    """As messages say it: ``256 MiB``."""
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size} bytes"
