"""Files that appear whole or not at all, however their writer ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write to a file beside ``path``, and put it in its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        yield file
    partial.replace(path)


def write_text_whole(path: Path, text: str) -> None:
    """Write text as UTF-8, with its own line ends on every system."""
    with whole_file(path) as file:
        file.write(text.encode())
