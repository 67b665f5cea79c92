"""Documents in files: a path, or a pattern that names many."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import limits
from retract.indicators.fetching.document import Document, Marks, Unchanged
from retract.indicators.fetching.progress import Progress
from retract.indicators.fetching.unpack import gathered, unpacked
from retract.indicators.wording import quoted

_STEP: Final = 1024 * 1024


class FilesReading:
    """One reading of the files at the source's location."""

    complete = True

    def __init__(self, source: Source, last: Marks) -> None:
        self._source, self._last = source, last
        self._marks = last

    def documents(self) -> Iterator[Document]:
        files = _files(self._source.location)
        if self._last.content and _digest(files) == self._last.content:
            raise Unchanged
        # Counted again: a file may be written between the two.
        whole = hashlib.sha256()
        progress = Progress(self._source.name)
        for number, path in enumerate(files):
            progress.tell(f"{number} of {len(files)} files")
            data = gathered(_chunks(path))
            whole.update(hashlib.sha256(data).digest())
            yield from unpacked(_name(path), data)
        self._marks = Marks(content=whole.hexdigest())

    def marks(self) -> Marks:
        return self._marks


def _files(location: str) -> list[Path]:
    try:
        files = _found(location)
    except OSError as error:
        raise FeedError(
            f"{location} cannot be read: {error.strerror or error}; is the path right, and may "
            "this process read its folders?"
        ) from error
    if not files:
        raise FeedError(f"there is no file at {location}: correct the location")
    return sorted(files)


def _found(location: str) -> list[Path]:
    if Path(location).is_file():
        return [Path(location)]
    if Path(location).is_dir():
        raise FeedError(f"{location} is a folder: name a file in it, or write {location}/*")
    files: list[Path] = []
    # Path.glob takes no absolute pattern.
    for found in glob.iglob(location, recursive=True):  # noqa: PTH207
        path = Path(found)
        if path.is_file():
            files.append(path)
        if len(files) > limits.MAX_DOCUMENTS:
            raise FeedError(
                f"{location} names more than {limits.MAX_DOCUMENTS} files: write a narrower pattern"
            )
    return files


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        one = hashlib.sha256()
        for chunk in _chunks(path):
            one.update(chunk)
        whole.update(one.digest())
    return whole.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    size = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_STEP):
                size += len(chunk)
                if size > limits.MAX_BYTES:
                    raise FeedError(
                        f"{_name(path)} is larger than {limits.mebibytes(limits.MAX_BYTES)}: take "
                        "a smaller feed, or divide the file"
                    )
                yield chunk
    except OSError as error:
        raise FeedError(
            f"{_name(path)} cannot be read: {error.strerror or error}; may this process read it, "
            "and is it still there?"
        ) from error


def _name(path: Path) -> str:
    return quoted(path.name)
