"""What the mail services show of a message's content: body, recipients, attachments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from functools import lru_cache

from local_tenant.content import Content, decoded_header


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the body."""

    name: str
    content_type: str
    data: bytes
    content_id: str
    is_inline: bool
    is_message: bool
    """An embedded message/rfc822: ``data`` is its bytes."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A message taken apart. What cannot be read is empty."""

    headers: tuple[tuple[str, str], ...]
    html: str | None
    text: str | None
    recipients: dict[str, tuple[tuple[str, str], ...]]
    """Lower-case header name → (display name, address) pairs."""
    sent_at: datetime | None
    attachments: tuple[Attachment, ...]


_RECIPIENT_HEADERS = ("to", "cc", "bcc", "reply-to", "sender")


@lru_cache(maxsize=256)
def parse(content: Content) -> Parsed:
    """Never raises, whatever the bytes."""
    try:
        message = message_from_bytes(content.raw, policy=policy.compat32)
    except RecursionError:  # parts nested a thousand deep: as much as the headers tell
        message = BytesHeaderParser(policy=policy.compat32).parsebytes(content.raw)
    html, text = None, None
    attachments = []
    for part in _leaves(message):
        kind = part.get_content_type()
        attached = part.get_content_disposition() == "attachment" or bool(_file_name(part))
        if kind == "text/html" and html is None and not attached:
            html = _text(part)
        elif kind == "text/plain" and text is None and not attached:
            text = _text(part)
        else:
            attachments.append(_attachment(part))
    return Parsed(
        tuple((name, decoded_header(value)) for name, value in message.items()),
        html,
        text,
        {name: _addresses(message, name) for name in _RECIPIENT_HEADERS},
        _sent_at(message),
        tuple(attachments),
    )


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that are not containers; an embedded message counts as one part."""
    waiting = [message]
    while waiting:
        part = waiting.pop(0)
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting[:0] = [child for child in part.get_payload() if isinstance(child, Message)]
        else:
            yield part


def _attachment(part: Message) -> Attachment:
    is_message = part.get_content_type() == "message/rfc822" and part.is_multipart()
    if is_message:
        data = _inner_bytes(part)
    else:
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
    content_id = decoded_header(part.get("Content-ID")).strip("<> ")
    return Attachment(
        _file_name(part) or ("message.eml" if is_message else "attachment"),
        part.get_content_type(),
        data,
        content_id,
        part.get_content_disposition() == "inline" or bool(content_id),
        is_message,
    )


def _inner_bytes(part: Message) -> bytes:
    inner = part.get_payload(0)
    try:
        return inner.as_bytes() if isinstance(inner, Message) else b""
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return b""  # the generator writes only what it could have parsed from clean bytes


def _file_name(part: Message) -> str:
    try:
        return decoded_header(part.get_filename())
    except (LookupError, TypeError, ValueError):
        return ""


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        text = data.decode(str(part.get_content_charset() or "utf-8"), "replace")
    except (LookupError, ValueError):
        text = data.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode("utf-8")


def _addresses(message: Message, name: str) -> tuple[tuple[str, str], ...]:
    values = [" ".join(str(value).split()) for value in message.get_all(name, [])]
    return tuple(
        (decoded_header(display), decoded_header(address))
        for display, address in getaddresses(values)
        if address
    )


def _sent_at(message: Message) -> datetime | None:
    try:
        sent_at = parsedate_to_datetime(str(message.get("Date")))
        aware = sent_at if sent_at.tzinfo else sent_at.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (OverflowError, TypeError, ValueError):
        return None
