"""A message's bytes, and the headers that answers are made of."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from email.utils import getaddresses

_HEADER_BYTES = 256_000
"""Headers beyond this are not read: what the services show comes long before."""


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A message's bytes and the headers answers are made of. Shared by all its copies."""

    raw: bytes
    internet_message_id: str
    """With its angle brackets, as in the header; may be empty."""
    subject: str
    sender_name: str
    sender_address: str


def read_content(raw: bytes) -> Content:
    """The headers that answers are made of; whatever is unreadable is left empty."""
    headers = BytesHeaderParser(policy=policy.compat32).parsebytes(raw[:_HEADER_BYTES])
    sender = " ".join(str(headers.get("From") or "").split())
    name, address = (getaddresses([sender]) or [("", "")])[0]
    return Content(
        raw,
        decoded_header(headers.get("Message-ID")).strip(),
        decoded_header(headers.get("Subject")),
        decoded_header(name),
        address,
    )


def decoded_header(value: object) -> str:
    """A header as people read it, folded lines joined, RFC 2047 words decoded."""
    text = " ".join(str(value or "").split())
    with suppress(HeaderParseError, LookupError, ValueError):
        text = str(make_header(decode_header(text)))
    # A charset may decode to lone surrogates, which no JSON answer can carry.
    return text.encode("utf-8", "replace").decode("utf-8")
