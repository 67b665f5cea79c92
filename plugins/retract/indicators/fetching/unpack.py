"""Packed documents: gzip, bzip2, xz and zip, unpacked within bounds."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Final, Protocol

from retract.errors import FeedError
from retract.indicators.fetching import limits
from retract.indicators.fetching.document import Document
from retract.indicators.wording import quoted

DATA_SUFFIXES: Final = frozenset(
    {".txt", ".list", ".lst", ".hosts", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".stix"}
)
"""Of the members of an archive that are read where it holds several files."""

_NOT_DATA: Final = frozenset({"readme", "license", "licence", "copying", "notice", "changelog"})
_STEP: Final = 256 * 1024
_NOT_ZERO: Final = re.compile(rb"[^\0]")
_MAX_STREAMS: Final = 10_000
_MAX_DICTIONARY: Final = 128 * 1024 * 1024
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_ENTRY: Final = b"PK\x01\x02"
_ZIP_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_ENCRYPTED: Final = 0x1
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, struct.error),
    *(ValueError, OverflowError, NotImplementedError, RuntimeError, MemoryError),
)


def unpacked(name: str, data: bytes) -> Iterator[Document]:
    """The documents in the bytes, by what the bytes are; unpacked data is its only document.

    A zip is its only file, or all files with one of DATA_SUFFIXES. Raises FeedError, which names
    the document: packed twice, encrypted, broken, or too much when it is unpacked.
    """
    packing = _packing_of(data)
    if packing is None:
        yield Document(name, data)
        return
    room = _Room(name, len(data))
    try:
        if packing == "zip":
            yield from _members(name, data, room)
        else:
            yield _single(name, gathered(_counted(_streams(data, _STREAMS[packing]), room)))
    except _BROKEN as error:
        raise FeedError(
            f"{name} is a broken {packing} file, or was cut off ({quoted(str(error), 80)}): fetch "
            "it again, or tell its publisher"
        ) from error


def gunzipped(name: str, data: bytes) -> bytes:
    """The bytes that a server packed for the way. Raises FeedError as `unpacked` does."""
    try:
        return gathered(_counted(_streams(data, _Gzip), _Room(name, len(data))))
    except _BROKEN as error:
        raise FeedError(
            f"{name} sent a broken gzip stream, or it was cut off ({quoted(str(error), 80)}): try "
            "again later"
        ) from error


def gathered(parts: Iterable[bytes]) -> bytes:
    """All parts in one; unlike a join, without holding them twice."""
    whole = io.BytesIO()
    for part in parts:
        whole.write(part)
    return whole.getvalue()


def _packing_of(data: bytes) -> str | None:
    if data.startswith(_ZIP):
        return "zip"
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)


def _single(name: str, data: bytes) -> Document:
    if _packing_of(data) is not None:
        raise FeedError(f"{name} is packed twice: unpack it once, and name what comes out")
    return Document(name, data)


@dataclass(slots=True)
class _Room:
    """What may still be unpacked of one document."""

    name: str
    packed: int
    unpacked: int = 0

    def take(self, size: int) -> None:
        self.unpacked += size
        if self.unpacked > limits.MAX_BYTES:
            raise FeedError(
                f"{self.name} is larger than {limits.mebibytes(limits.MAX_BYTES)} when it is "
                "unpacked: take a smaller feed"
            )
        if self.unpacked > max(limits.RATIO_FROM_BYTES, limits.MAX_UNPACKED_RATIO * self.packed):
            raise FeedError(
                f"{self.name} unpacks to more than {limits.MAX_UNPACKED_RATIO} times its size, as "
                "no data does: it is made to exhaust its reader; check where it comes from"
            )


def _counted(parts: Iterator[bytes], room: _Room) -> Iterator[bytes]:
    for part in parts:
        room.take(len(part))
        yield part


# --- gzip, bzip2, xz: one stream after another ---


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the face of bz2's and lzma's; it checks the checksum, too."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


_STREAMS: Final[dict[str, Callable[[], _Decompressor]]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MAX_DICTIONARY),
}
_MAGIC: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


def _streams(data: bytes, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    at = 0
    for _ in range(_MAX_STREAMS):
        stream = new()
        while not stream.eof:
            taken = data[at : at + _STEP] if stream.needs_input else b""
            at += len(taken)
            part = stream.decompress(taken, max_length=_STEP)
            if not part and not taken and not stream.eof:
                raise EOFError("it ends in the middle")
            yield part
        at -= len(stream.unused_data)
        # Tape drives and their heirs fill up with zeros; xz pads by rule.
        more = _NOT_ZERO.search(data, at)
        if more is None:
            return
        at = more.start()
    raise ValueError(f"more than {_MAX_STREAMS} streams")


# --- zip ---


def _members(name: str, data: bytes, room: _Room) -> Iterator[Document]:
    # Counted before the list of them is built: it takes twenty times the memory.
    if data.count(_ZIP_ENTRY) > limits.MAX_DOCUMENTS:
        raise FeedError(
            f"{name} is an archive of more than {limits.MAX_DOCUMENTS} files: take a smaller one"
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in _data_members(name, archive):
            shown = f"{name}: {quoted(member.filename, 100)}"
            if member.flag_bits & _ENCRYPTED:
                raise FeedError(f"{shown} is encrypted: name a feed that anyone may unpack")
            if member.compress_type not in _ZIP_METHODS:
                raise FeedError(f"{shown} is packed in a way that few can unpack: pack it as usual")
            with archive.open(member) as file:
                parts = iter(partial(file.read, _STEP), b"")
                yield _single(shown, gathered(_counted(parts, room)))


def _data_members(name: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    files = [member for member in archive.infolist() if _is_plain_file(member)]
    if len(files) == 1:
        return files
    found = [member for member in files if _is_data(PurePosixPath(member.filename.lower()))]
    if not found:
        what = ", ".join(quoted(member.filename, 40) for member in files[:5]) or "nothing"
        raise FeedError(
            f"{name} is an archive without a file of data: it holds {what}; read are "
            + " ".join(sorted(DATA_SUFFIXES))
        )
    return found


def _is_plain_file(member: zipfile.ZipInfo) -> bool:
    # What some systems add beside each file.
    path = PurePosixPath(member.filename)
    return not (member.is_dir() or path.name.startswith(".") or "__MACOSX" in path.parts)


def _is_data(path: PurePosixPath) -> bool:
    return path.suffix in DATA_SUFFIXES and path.stem not in _NOT_DATA
