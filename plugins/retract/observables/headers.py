"""Reading header blocks: the standard library's parser, with every value bounded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import HeaderParser
from email.policy import Compat32
from typing import final

from retract.observables.text import decode

MAX_HEADER_BLOCK = 256 * 1024
"""Bytes. Exchange and ARC headers with hundreds of recipients stay well below."""
_ENCODINGS = frozenset({"base64", "quoted-printable", "x-uuencode", "uuencode", "uue", "x-uue"})
_MAX_VALUE = 16 * 1024
_MAX_ENCODED = 4 * 1024
"""Characters of a value in which encoded words are decoded."""
_SPACES_AND_CONTROLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")
_PARSING_ERRORS = (ValueError, TypeError, LookupError, AttributeError, HeaderParseError)
"""What the standard library raises on headers made to break it."""


class _Bounded(Compat32):
    """compat32, the one policy that takes any bytes, with values cut before they cost time."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_MAX_VALUE]

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value  # as it came, not wrapped in a Header object


_POLICY = _Bounded()


@final
class Headers:
    """The headers of a message or part. No method raises, whatever they hold."""

    __slots__ = ("_message", "_values", "content_type")

    def __init__(self, block: bytes, default_type: str = "text/plain") -> None:
        text = block.decode("ascii", "surrogateescape")
        self._message = HeaderParser(policy=_POLICY).parsestr(text)
        self._values: dict[str, list[str]] = {}
        for name, value in self._message.raw_items():
            self._values.setdefault(name.lower(), []).append(value)
        self._message.set_default_type(default_type)
        self.content_type = self._content_type()
        """``type/subtype`` in lower case; the default where it is missing or broken."""

    def __bool__(self) -> bool:
        return bool(self._values)

    def all(self, name: str) -> Sequence[str]:
        """Every header of that name as it came, topmost first."""
        return self._values.get(name.lower(), ())

    def first(self, name: str) -> str:
        """The topmost header of that name as it came; empty when there is none."""
        return next(iter(self.all(name)), "")

    def text(self, name: str) -> str:
        """The topmost header of that name, decoded."""
        return decoded(self.first(name))

    @property
    def charset(self) -> str | None:
        """The declared character set, whatever it is worth."""
        try:
            found = self._message.get_param("charset")
        except _PARSING_ERRORS:
            return None
        return found[2] if isinstance(found, tuple) else found

    @property
    def boundary(self) -> bytes | None:
        """The boundary of a multipart."""
        try:
            found = self._message.get_boundary()
            return found.encode("ascii", "surrogateescape") if found else None
        except _PARSING_ERRORS:
            return None

    @property
    def file_name(self) -> str:
        """The file name of a part, decoded; empty when it has none."""
        try:
            return decoded(self._message.get_filename() or "")
        except _PARSING_ERRORS:
            return ""

    @property
    def is_attachment(self) -> bool:
        """Whether Content-Disposition says so."""
        return self.first("Content-Disposition").lstrip().lower().startswith("attachment")

    def decode_body(self, body: bytes) -> bytes:
        """The body without its transfer encoding; as it is where that is broken."""
        encoding = self.first("Content-Transfer-Encoding").strip().lower()
        if encoding not in _ENCODINGS:
            return body
        part: Message = Message(policy=_POLICY)
        part["Content-Transfer-Encoding"] = encoding
        part.set_payload(body.decode("ascii", "surrogateescape"))
        try:
            content = part.get_payload(decode=True)
        except _PARSING_ERRORS:  # binascii.Error is a ValueError
            return body
        return content if isinstance(content, bytes) else body

    def _content_type(self) -> str:
        try:
            return self._message.get_content_type()
        except _PARSING_ERRORS:
            return self._message.get_default_type()


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
