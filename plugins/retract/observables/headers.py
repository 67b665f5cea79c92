"""Reading header blocks: the standard library's parser, with every value bounded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import HeaderParser
from email.policy import Compat32

from retract.observables.text import decode

MAX_HEADER_BLOCK = 256 * 1024
"""Bytes. Exchange and ARC headers with hundreds of recipients stay well below."""
_MAX_VALUE = 16 * 1024
_MAX_ENCODED = 4 * 1024
"""Characters of a value in which encoded words are decoded."""
_SPACES_AND_CONTROLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")
_PARSING_ERRORS = (ValueError, TypeError, LookupError, AttributeError, HeaderParseError)
"""What the standard library raises on headers made to break it."""

Headers = Message


class _Bounded(Compat32):
    """compat32, the one policy that takes any bytes, with values cut before they cost time."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_MAX_VALUE]

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value  # as it came, not wrapped in a Header object


_POLICY = _Bounded()


def parse_headers(block: bytes) -> Headers:
    """The headers in a block without a body. What is no header becomes the payload."""
    return HeaderParser(policy=_POLICY).parsestr(block.decode("ascii", "surrogateescape"))


def content_type(headers: Headers) -> str:
    """``type/subtype`` in lower case; the default where it is missing or broken."""
    try:
        return headers.get_content_type()
    except _PARSING_ERRORS:
        return "text/plain"


def charset(headers: Headers) -> str | None:
    """The declared character set, whatever it is worth."""
    try:
        found = headers.get_param("charset")
    except _PARSING_ERRORS:
        return None
    return found[2] if isinstance(found, tuple) else found


def boundary(headers: Headers) -> bytes | None:
    """The boundary of a multipart."""
    try:
        found = headers.get_boundary()
    except _PARSING_ERRORS:
        return None
    return found.encode("ascii", "surrogateescape") if found and found.isascii() else None


def file_name(headers: Headers) -> str:
    """The file name of a part, decoded; empty when it has none."""
    try:
        return decoded(headers.get_filename() or "")
    except _PARSING_ERRORS:
        return ""


def is_declared_attachment(headers: Headers) -> bool:
    """Whether Content-Disposition says attachment."""
    return raw(headers, "Content-Disposition").lstrip().lower().startswith("attachment")


def raw(headers: Headers, name: str) -> str:
    """The first header of that name as it came; empty when there is none."""
    return headers.get(name) or ""


def all_raw(headers: Headers, name: str) -> Sequence[str]:
    """Every header of that name, topmost first."""
    return headers.get_all(name) or ()


def text_of(headers: Headers, name: str) -> str:
    """The first header of that name, decoded."""
    return decoded(raw(headers, name))


def decoded(value: str) -> str:
    """A header value for people: encoded words and 8-bit bytes decoded, on one line.

    Never raises; what cannot be decoded stays as it is. No control characters and no lone
    surrogates: the result can be stored anywhere.
    """
    if "=?" in value and len(value) <= _MAX_ENCODED:
        try:
            value = "".join(
                decode(piece, coding) if isinstance(piece, bytes) else piece
                for piece, coding in decode_header(_repaired(value))
            )
        except _PARSING_ERRORS:
            value = _repaired(value)
    else:
        value = _repaired(value)
    value = _SPACES_AND_CONTROLS.sub(" ", value).strip()
    return _LONE_SURROGATES.sub("\ufffd", value)


def _repaired(value: str) -> str:
    """Raw 8-bit bytes as the text they were meant to be."""
    if value.isascii():
        return value
    try:
        return decode(value.encode("utf-8", "surrogateescape"), None)
    except UnicodeEncodeError:  # surrogates that never were bytes
        return value
