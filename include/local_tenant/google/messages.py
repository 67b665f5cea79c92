"""Messages as Gmail's API shows them."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Collection
from email import message_from_bytes, policy
from email.message import Message
from enum import StrEnum
from typing import Any

from local_tenant.content import decoded_header
from local_tenant.mailbox import Item

_SNIPPET_CHARACTERS = 200
_ATTACHMENT_ID_PREFIX = "ANGjdJ"


class Format(StrEnum):
    """How much of a message messages.get returns."""

    MINIMAL = "minimal"
    FULL = "full"
    RAW = "raw"
    METADATA = "metadata"


def message_reference(item: Item) -> dict[str, Any]:
    """What lists and history tell of a message."""
    return {"id": item.message_id, "threadId": item.thread_id}


def message_labels(item: Item) -> dict[str, Any]:
    """What the methods that change labels answer."""
    return message_reference(item) | ({"labelIds": sorted(item.labels)} if item.labels else {})


def message_resource(
    item: Item, form: Format, metadata_headers: Collection[str] = ()
) -> dict[str, Any]:
    """The Message resource in one of its formats."""
    parsed = message_from_bytes(item.content.raw, policy=policy.compat32)
    resource = message_labels(item) | {
        "snippet": _snippet(parsed),
        "sizeEstimate": len(item.content.raw),
        "historyId": str(item.changed),
        "internalDate": str(int(item.received_at.timestamp() * 1000)),
    }
    match form:
        case Format.RAW:
            resource["raw"] = _base64url(item.content.raw)
        case Format.METADATA:
            resource["payload"] = {
                "mimeType": parsed.get_content_type(),
                "headers": _headers(parsed, metadata_headers),
            }
        case Format.FULL:
            resource["payload"] = _part(parsed, "")
    return resource


def attachment_body(item: Item, attachment_id: str) -> dict[str, Any] | None:
    """The MessagePartBody behind an id that format=full gave; None for any other id."""
    parts = dict(_walk(message_from_bytes(item.content.raw, policy=policy.compat32), ""))
    for part_id, part in parts.items():
        if _attachment_id(part_id) == attachment_id:
            data = _payload(part)
            return {"size": len(data), "data": _base64url(data)}
    return None


def _walk(part: Message, part_id: str) -> list[tuple[str, Message]]:
    found = [(part_id, part)]
    for number, child in enumerate(_children(part)):
        found += _walk(child, f"{part_id}.{number}".lstrip("."))
    return found


def _part(part: Message, part_id: str) -> dict[str, Any]:
    children = _children(part)
    filename = _file_name(part)
    data = b"" if children else _payload(part)
    body: dict[str, Any] = {"size": len(data)}
    if filename and data:
        body["attachmentId"] = _attachment_id(part_id)
    elif data:
        body["data"] = _base64url(data)
    resource: dict[str, Any] = {
        "partId": part_id,
        "mimeType": part.get_content_type(),
        "filename": filename,
        "headers": _headers(part, ()),
        "body": body,
    }
    if children:
        resource["parts"] = [
            _part(child, f"{part_id}.{number}".lstrip(".")) for number, child in enumerate(children)
        ]
    return resource


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    if not isinstance(payload, list):
        return []
    return [child for child in payload if isinstance(child, Message)]


def _payload(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _headers(part: Message, wanted: Collection[str]) -> list[dict[str, str]]:
    names = {name.lower() for name in wanted}
    return [
        {"name": name, "value": decoded_header(value)}
        for name, value in part.items()
        if not names or name.lower() in names
    ]


def _file_name(part: Message) -> str:
    try:
        return decoded_header(part.get_filename())
    except (LookupError, TypeError, ValueError):
        return ""


def _snippet(parsed: Message) -> str:
    """The first words of the text, HTML-escaped as in the live answers."""
    for part in parsed.walk():
        if part.get_content_type() in ("text/plain", "text/html") and not _file_name(part):
            text = _payload(part)[: 20 * _SNIPPET_CHARACTERS].decode("utf-8", "replace")
            if part.get_content_type() == "text/html":
                text = html.unescape(re.sub(r"<[^>]*>", " ", text))
            return html.escape(" ".join(text.split())[:_SNIPPET_CHARACTERS])
    return ""


def _attachment_id(part_id: str) -> str:
    return _ATTACHMENT_ID_PREFIX + _base64url(f"part {part_id}".encode()).rstrip("=")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
