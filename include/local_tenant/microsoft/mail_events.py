"""What Defender for Office 365 notes of delivered mail: the tables that advanced hunting asks.

After the reference pages of EmailEvents, EmailUrlInfo and EmailAttachmentInfo in the advanced
hunting schema. URLs are found by a plain search of the body: good enough for the tenant's mail.
"""

from __future__ import annotations

import hashlib
import html
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from local_tenant.content import Content
from local_tenant.mailbox import Item, Mailbox, Provider
from local_tenant.microsoft.kql import Column, Table
from local_tenant.microsoft.mime import Attachment, parse
from local_tenant.places import Place
from local_tenant.store import Store

KEPT = timedelta(days=30)
"""Older rows are gone."""

_NAMESPACE = uuid.UUID("6f1f6f53-7d0e-4a4f-8a43-0f6d8b8f6a11")
_URL = re.compile(r"https?://[^\s\"'<>()\[\]{}]{1,2000}", re.IGNORECASE)
_SEARCHED_CHARACTERS = 500_000
_THREATS = {
    "HPHISH": "Phish", "HPHSH": "Phish", "PHSH": "Phish", "SPOOF": "Phish", "MALW": "Malware",
    "HSPM": "Spam", "SPM": "Spam",
}  # fmt: skip
_LOCATIONS = {
    Place.JUNK: "Junk",
    Place.TRASH: "Deleted items",
    Place.RECOVERABLE: "Deleted items",
    Place.PURGED: "Deleted items",
    Place.GONE: "Deleted items",
}


class _Event(NamedTuple):
    """A message delivered to one mailbox."""

    mailbox: Mailbox
    item: Item
    store: Store


class _Link(NamedTuple):
    event: _Event
    url: str


class _File(NamedTuple):
    event: _Event
    attachment: Attachment


def tables(store: Store, start: datetime, end: datetime) -> dict[str, Callable[[], Table]]:
    """The tables by name, with the rows of that time; they are read as they are asked for."""
    return {
        "EmailEvents": lambda: Table(_EVENT_COLUMNS, _events(store, start, end)),
        "EmailUrlInfo": lambda: Table(_LINK_COLUMNS, _links(store, start, end)),
        "EmailAttachmentInfo": lambda: Table(_FILE_COLUMNS, _files(store, start, end)),
    }


def _events(store: Store, start: datetime, end: datetime) -> Iterator[_Event]:
    for mailbox in store.mailboxes(Provider.MICROSOFT365):
        for item in list(mailbox.items.values()):
            if item.delivered_to in ("inbox", "junkemail") and start <= item.received_at <= end:
                yield _Event(mailbox, item, store)


def _links(store: Store, start: datetime, end: datetime) -> Iterator[_Link]:
    """Once a message, however many it went to."""
    seen: set[str] = set()
    for event in _events(store, start, end):
        if event.item.delivery_id not in seen:
            seen.add(event.item.delivery_id)
            yield from (_Link(event, url) for url in _urls(event.item.content))


def _files(store: Store, start: datetime, end: datetime) -> Iterator[_File]:
    for event in _events(store, start, end):
        for attachment in parse(event.item.content).attachments:
            yield _File(event, attachment)


@lru_cache(maxsize=4096)
def _urls(content: Content) -> tuple[str, ...]:
    parsed = parse(content)
    text = html.unescape((parsed.html or "")[:_SEARCHED_CHARACTERS])
    text += " " + (parsed.text or "")[:_SEARCHED_CHARACTERS]
    return tuple(dict.fromkeys(url.rstrip(".,;:!?") for url in _URL.findall(text)))


@lru_cache(maxsize=4096)
def _headers(content: Content) -> dict[str, str]:
    return {name.lower(): value for name, value in parse(content).headers}


def _network_message_id(event: _Event) -> str:
    """Exchange's own name for the message, the same in all mailboxes."""
    stamped = _headers(event.item.content).get("x-ms-exchange-organization-network-message-id")
    return stamped or str(uuid.uuid5(_NAMESPACE, event.item.delivery_id))


def _forefront(event: _Event, field: str) -> str:
    report = _headers(event.item.content).get("x-forefront-antispam-report", "")
    fields = dict(part.strip().partition(":")[::2] for part in report.split(";"))
    return fields.get(field, "")


def _sending_ip(event: _Event) -> str:
    address = _forefront(event, "CIP")
    return "" if ":" in address else address


def _return_path(event: _Event) -> str:
    return _headers(event.item.content).get("return-path", "").strip("<> ")


def _was_junked(event: _Event) -> bool:
    return event.item.delivered_to == "junkemail"


def _latest_location(event: _Event) -> str:
    return _LOCATIONS.get(event.store.place(event.item), "Inbox/Folder")


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


_EVENT_COLUMNS: dict[str, Column] = {
    "Timestamp": Column(datetime, lambda event: event.item.received_at),
    "NetworkMessageId": Column(str, _network_message_id),
    "InternetMessageId": Column(str, lambda event: event.item.content.internet_message_id),
    "SenderMailFromAddress": Column(str, _return_path),
    "SenderFromAddress": Column(str, lambda event: event.item.content.sender_address),
    "SenderDisplayName": Column(str, lambda event: event.item.content.sender_name),
    "SenderMailFromDomain": Column(str, lambda event: _domain(_return_path(event))),
    "SenderFromDomain": Column(str, lambda event: _domain(event.item.content.sender_address)),
    "SenderIPv4": Column(str, _sending_ip),
    "RecipientEmailAddress": Column(str, lambda event: event.mailbox.address),
    "RecipientObjectId": Column(str, lambda event: event.mailbox.mailbox_id),
    "Subject": Column(str, lambda event: event.item.content.subject),
    "EmailDirection": Column(str, lambda _: "Inbound"),
    "DeliveryAction": Column(str, lambda event: "Junked" if _was_junked(event) else "Delivered"),
    "DeliveryLocation": Column(str, lambda event: "Junk" if _was_junked(event) else "Inbox/Folder"),
    "ThreatTypes": Column(str, lambda event: _THREATS.get(_forefront(event, "CAT"), "")),
    "AttachmentCount": Column(int, lambda event: len(parse(event.item.content).attachments)),
    "UrlCount": Column(int, lambda event: len(_urls(event.item.content))),
    "LatestDeliveryLocation": Column(str, _latest_location),
}


def _of_the_event(names: tuple[str, ...]) -> dict[str, Column]:
    """The columns that a table shares with EmailEvents."""

    def shared(column: Column) -> Column:
        return Column(column.kind, lambda row: column.read(row.event))

    return {name: shared(_EVENT_COLUMNS[name]) for name in names}


_LINK_COLUMNS: dict[str, Column] = {
    **_of_the_event(("Timestamp", "NetworkMessageId")),
    "Url": Column(str, lambda link: link.url),
    "UrlDomain": Column(str, lambda link: _host(link.url)),
    "UrlLocation": Column(str, lambda _: "Body"),
}
_FILE_COLUMNS: dict[str, Column] = {
    **_of_the_event(
        (
            "Timestamp",
            "NetworkMessageId",
            "SenderFromAddress",
            "SenderDisplayName",
            "RecipientEmailAddress",
            "RecipientObjectId",
            "ThreatTypes",
        )
    ),
    "FileName": Column(str, lambda file: file.attachment.name),
    "FileType": Column(str, lambda file: file.attachment.name.rpartition(".")[2]),
    "SHA256": Column(str, lambda file: hashlib.sha256(file.attachment.data).hexdigest()),
    "FileSize": Column(int, lambda file: len(file.attachment.data)),
}
