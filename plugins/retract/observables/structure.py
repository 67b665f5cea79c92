"""The parts of a message, in bounded time.

The standard library reads headers, parameters and transfer encodings here, but not the
tree: its parser recurses, and its time grows with nesting times lines, both of which the
sender chooses. Splitting at boundaries from the outside in costs one scan per level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from retract.observables.headers import MAX_HEADER_BLOCK, Headers

MAX_PARTS = 1_000
MAX_DEPTH = 32

_HEADERS_END = re.compile(rb"\n\r?\n|\r\r")
_NO_HEADER_LINE = re.compile(rb"^(?![\x21-\x39\x3b-\x7e]*:|[\t ]|\r?$)", re.MULTILINE)
_CONTAINERS = frozenset({"message/rfc822", "message/global", "message/news"})


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of the tree, or the top of a message attached to another."""

    headers: Headers
    type: str
    content: bytes
    """Decoded from its transfer encoding."""
    is_attached: bool
    """Whether it belongs to a message attached to the one that was delivered."""
    is_message: bool = False
    """Whether these are the headers of an attached message; its parts follow."""


@dataclass(frozen=True, slots=True)
class _Pending:
    block: bytes
    default_type: str
    depth: int
    is_attached: bool
    is_message: bool


def split_headers(block: bytes, default_type: str = "text/plain") -> tuple[Headers, bytes, bool]:
    """Headers, body, and whether the header block was too long and was cut."""
    if block.startswith((b"From ", b">From ")):  # an mbox separator, no header
        block = block.partition(b"\n")[2]
    if block.startswith((b"\n", b"\r\n")):
        return Headers(b"", default_type), block.lstrip(b"\r\n"), False
    end = _HEADERS_END.search(block, 0, MAX_HEADER_BLOCK)
    if end is not None:
        head, body, was_cut = block[: end.start()], block[end.end() :], False
    else:
        head, body = block[:MAX_HEADER_BLOCK], block[MAX_HEADER_BLOCK:]
        was_cut = bool(body)
    stray = _NO_HEADER_LINE.search(head)
    if stray is not None:  # there the headers end, as the standard library sees it, too
        head, body = head[: stray.start()], head[stray.start() :] + b"\n\n" + body
    return Headers(head, default_type), body, was_cut


def walk(headers: Headers, body: bytes, problems: list[str]) -> Iterator[Part]:
    """Every leaf in reading order, attached messages opened. Says in ``problems`` what it cut."""
    pending: list[_Pending] = []
    yield from _open(headers, body, _Pending(b"", "text/plain", 0, False, False), pending, problems)
    seen = 1
    while pending:
        if seen >= MAX_PARTS:
            problems.append(f"more than {MAX_PARTS} parts: the rest was not read")
            return
        seen += 1
        step = pending.pop()
        part_headers, part_body, was_cut = split_headers(step.block, step.default_type)
        if was_cut:
            problems.append("a part's headers are too long: the rest counts as its body")
        yield from _open(part_headers, part_body, step, pending, problems)


def _open(
    headers: Headers, body: bytes, step: _Pending, pending: list[_Pending], problems: list[str]
) -> Iterator[Part]:
    """Yield a leaf, or put the children of a container on the stack."""
    kind = headers.content_type
    if step.is_message:
        yield Part(headers, "", b"", step.is_attached, is_message=True)
    is_multipart = kind.startswith("multipart/")
    is_container = not is_multipart and (
        kind in _CONTAINERS or headers.file_name.lower().endswith(".eml")
    )
    if (is_multipart or is_container) and step.depth >= MAX_DEPTH:
        problems.append(f"nested deeper than {MAX_DEPTH}: the inside was read as text")
        kind, is_multipart, is_container = "text/plain", False, False
    if is_multipart:
        children = _children(headers, body)
        if children:
            default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
            pending.extend(
                _Pending(child, default, step.depth + 1, step.is_attached, False)
                for child in reversed(children)
            )
            return
        problems.append("a multipart without parts was read as text")
        kind = "text/plain"
    content = headers.decode_body(body)
    yield Part(headers, kind, content, step.is_attached)
    if is_container and content:
        pending.append(_Pending(content, "text/plain", step.depth + 1, True, True))


def _children(headers: Headers, body: bytes) -> list[bytes]:
    """The blocks between a multipart's boundaries; at most MAX_PARTS of them.

    A closing boundary ends nothing while the same boundary opens more parts behind it:
    some readers go on there.
    """
    mark = headers.boundary
    if mark is None:
        return []
    separator = re.compile(
        rb"^--" + re.escape(mark) + rb"(?P<closing>--)?[ \t]*\r?(?:\n|\Z)", re.MULTILINE
    )
    blocks: list[bytes] = []
    start: int | None = None
    for match in islice(separator.finditer(body), MAX_PARTS):
        if start is not None:
            blocks.append(body[start : match.start()].removesuffix(b"\n").removesuffix(b"\r"))
        start = None if match["closing"] else match.end()
    if start is not None:
        blocks.append(body[start:])
    return [block for block in blocks if block.strip()]
