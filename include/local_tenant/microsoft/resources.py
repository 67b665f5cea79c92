"""The JSON of users, messages, folders and attachments, shaped as Graph documents them."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from local_tenant.groups import Group, GroupKind
from local_tenant.mailbox import Folder, Hosting, Item, Mailbox
from local_tenant.microsoft.extended_properties import PropertyId, extended_json
from local_tenant.microsoft.mime import Attachment, parse
from local_tenant.microsoft.odata import EntityType

Json = dict[str, Any]

_BY_DEFAULT_NOT = frozenset({"internetMessageHeaders"})


def _always(value: object) -> Callable[[object], Any]:
    """The same for every resource: nothing here ever makes it otherwise."""
    return lambda _: value


def timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


# ---- users -----------------------------------------------------------------------------

# Microsoft 365 E3, by its product page's GUID.
_LICENCE = "05e9a617-0261-4cee-bb44-138d3ef5d965"


def _has_address(user: Mailbox) -> bool:
    return user.guest or user.hosting is not Hosting.UNLICENSED


_USER: dict[str, Callable[[Mailbox], Any]] = {
    "businessPhones": _always([]),
    "displayName": lambda user: user.display_name,
    "givenName": lambda user: user.display_name.partition(" ")[0] or None,
    "jobTitle": _always(None),
    "mail": lambda user: user.address if _has_address(user) else None,
    "mobilePhone": _always(None),
    "officeLocation": _always(None),
    "preferredLanguage": _always(None),
    "surname": lambda user: user.display_name.partition(" ")[2] or None,
    "userPrincipalName": lambda user: user.sign_in_name or user.address,
    "id": lambda user: user.mailbox_id,
    # Only when selected:
    "accountEnabled": lambda user: user.enabled,
    "mailNickname": lambda user: user.address.partition("@")[0],
    "proxyAddresses": lambda user: (
        [f"SMTP:{user.address}", *(f"smtp:{alias}" for alias in user.aliases)]
        if _has_address(user)
        else []
    ),
    "userType": lambda user: "Guest" if user.guest else "Member",
    "assignedLicenses": lambda user: (
        [{"disabledPlans": [], "skuId": _LICENCE}]
        if user.hosting is Hosting.CLOUD and not user.shared
        else []
    ),
    # "null if this object has never been synced": the user resource's page
    "onPremisesSyncEnabled": lambda user: True if user.synchronised else None,
}
_USER_DEFAULT = tuple(_USER)[:11]
USER = EntityType(
    "microsoft.graph.user",
    frozenset(_USER),
    {
        "accountEnabled": bool,
        "id": str,
        "mail": str,
        "onPremisesSyncEnabled": bool,
        "userPrincipalName": str,
        "userType": str,
    },
)


def user_json(user: Mailbox, select: tuple[str, ...] | None) -> Json:
    return {name: _USER[name](user) for name in select or _USER_DEFAULT}


def user_value(user: Mailbox, path: str) -> str | bool:
    """A filterable property."""
    value: str | bool | None = _USER[path](user)
    return "" if value is None else value


# ---- groups ----------------------------------------------------------------------------

_GROUP: dict[str, Callable[[Group], Any]] = {
    "id": lambda group: group.group_id,
    "description": _always(None),
    "displayName": lambda group: group.display_name,
    "groupTypes": lambda group: ["Unified"] if group.kind is GroupKind.MICROSOFT365 else [],
    "mail": lambda group: group.address if group.takes_mail else None,
    "mailEnabled": lambda group: group.takes_mail,
    "mailNickname": lambda group: group.address.partition("@")[0],
    "proxyAddresses": lambda group: [f"SMTP:{group.address}"] if group.takes_mail else [],
    "securityEnabled": lambda group: (
        group.kind in (GroupKind.SECURITY, GroupKind.MAIL_ENABLED_SECURITY)
    ),
}
GROUP = EntityType(
    "microsoft.graph.group",
    frozenset(_GROUP),
    {"displayName": str, "id": str, "mail": str, "mailEnabled": bool, "securityEnabled": bool},
)


def group_json(group: Group, select: tuple[str, ...] | None) -> Json:
    return {name: _GROUP[name](group) for name in select or _GROUP}


def group_value(group: Group, path: str) -> str | bool:
    """A filterable property."""
    value: str | bool | None = _GROUP[path](group)
    return "" if value is None else value


# ---- messages --------------------------------------------------------------------------


def _person(name: str, address: str) -> Json:
    return {"emailAddress": {"name": name or address, "address": address}}


def _people(item: Item, header: str) -> list[Json]:
    return [_person(*pair) for pair in parse(item.content).recipients[header]]


def _from(item: Item) -> Json | None:
    content = item.content
    if not content.sender_address and not content.sender_name:
        return None
    return _person(content.sender_name, content.sender_address)


def _body(item: Item) -> Json:
    parsed = parse(item.content)
    if parsed.html is not None:
        return {"contentType": "html", "content": parsed.html}
    # "this operation returns message bodies in only HTML format": its documentation
    text = html.escape(parsed.text or "", quote=False)
    return {"contentType": "html", "content": f"<html><body><pre>{text}</pre></body></html>"}


def _preview(item: Item) -> str:
    parsed = parse(item.content)
    text = parsed.text
    if text is None:
        text = html.unescape(re.sub(r"<[^>]*>", " ", (parsed.html or "")[:20_000]))
    return " ".join(text.split())[:255]


def _sent(item: Item) -> str:
    return timestamp(parse(item.content).sent_at or item.received_at)


def change_key(item: Item) -> str:
    """Another value after every change."""
    number = item.changed.to_bytes(8, "big")
    return base64.b64encode(b"\x09\x00\x00\x00\x16\x00\x00\x00" + number + b"\x00\x00").decode()


def _web_link(item: Item) -> str:
    link = f"https://outlook.office365.com/owa/?ItemID={quote(item.rest_id, safe='')}"
    return f"{link}&exvsurl=1&viewmodel=ReadMessageItem"


_MESSAGE: dict[str, Callable[[Item], Any]] = {
    "createdDateTime": lambda item: timestamp(item.received_at),
    "lastModifiedDateTime": lambda item: timestamp(item.modified_at),
    "changeKey": change_key,
    "categories": _always([]),
    "receivedDateTime": lambda item: timestamp(item.received_at),
    "sentDateTime": _sent,
    "hasAttachments": lambda item: any(
        not attachment.is_inline for attachment in parse(item.content).attachments
    ),
    "internetMessageId": lambda item: item.content.internet_message_id,
    "subject": lambda item: item.content.subject,
    "bodyPreview": _preview,
    "importance": _always("normal"),
    "parentFolderId": lambda item: item.folder_id,
    "conversationId": lambda item: item.thread_id,
    "isDeliveryReceiptRequested": _always(None),
    "isReadReceiptRequested": _always(False),
    "isRead": lambda item: item.is_read,
    "isDraft": lambda item: item.draft,
    "webLink": _web_link,
    "inferenceClassification": _always("focused"),
    "body": _body,
    "sender": lambda item: next(iter(_people(item, "sender")), _from(item)),
    "from": _from,
    "toRecipients": lambda item: _people(item, "to"),
    "ccRecipients": lambda item: _people(item, "cc"),
    "bccRecipients": lambda item: _people(item, "bcc"),
    "replyTo": lambda item: _people(item, "reply-to"),
    "flag": lambda item: {"flagStatus": "flagged" if item.is_flagged else "notFlagged"},
    "internetMessageHeaders": lambda item: [
        {"name": name, "value": value} for name, value in parse(item.content).headers
    ],
}
MESSAGE = EntityType(
    "microsoft.graph.message",
    frozenset(_MESSAGE) | {"id"},
    {"receivedDateTime": datetime, "internetMessageId": str, "isRead": bool, "subject": str},
)
_FILTER_VALUES: dict[str, Callable[[Item], datetime | str | bool]] = {
    "receivedDateTime": lambda item: item.received_at,
    "internetMessageId": lambda item: item.content.internet_message_id,
    "isRead": lambda item: item.is_read,
    "subject": lambda item: item.content.subject,
}


def message_json(
    item: Item,
    select: tuple[str, ...] | None,
    *,
    immutable: bool,
    expand: tuple[PropertyId, ...] = (),
) -> Json:
    """The etag and the id are always there."""
    names = select or [name for name in _MESSAGE if name not in _BY_DEFAULT_NOT]
    return {
        "@odata.etag": f'W/"{change_key(item)}"',
        "id": message_id(item, immutable=immutable),
        **{name: _MESSAGE[name](item) for name in names if name != "id"},
        **extended_json(item, expand),
    }


def message_id(item: Item, *, immutable: bool) -> str:
    return item.message_id if immutable else item.rest_id


def message_value(item: Item, path: str) -> datetime | str | bool:
    """A filterable property."""
    return _FILTER_VALUES[path](item)


# ---- folders ---------------------------------------------------------------------------


def _inside(mailbox: Mailbox, folder: Folder) -> list[Item]:
    return [
        item
        for item in mailbox.items.values()
        if item.folder_id == folder.folder_id and item.removed is None
    ]


_FOLDER: dict[str, Callable[[Mailbox, Folder], Any]] = {
    "id": lambda _, folder: folder.folder_id,
    "displayName": lambda _, folder: folder.display_name,
    "parentFolderId": lambda _, folder: folder.parent_id or folder.folder_id,
    "childFolderCount": lambda mailbox, folder: sum(
        child.parent_id == folder.folder_id for child in mailbox.folders.values()
    ),
    "unreadItemCount": lambda mailbox, folder: sum(
        not item.is_read for item in _inside(mailbox, folder)
    ),
    "totalItemCount": lambda mailbox, folder: len(_inside(mailbox, folder)),
    "sizeInBytes": lambda mailbox, folder: sum(
        len(item.content.raw) for item in _inside(mailbox, folder)
    ),
    "isHidden": lambda _, folder: folder.hidden,
}
FOLDER = EntityType("microsoft.graph.mailFolder", frozenset(_FOLDER), {"displayName": str})


def folder_json(mailbox: Mailbox, folder: Folder, select: tuple[str, ...] | None) -> Json:
    """The id is always there."""
    names = dict.fromkeys(("id", *(select or _FOLDER)))
    return {name: _FOLDER[name](mailbox, folder) for name in names}


# ---- attachments -----------------------------------------------------------------------


def attachment_id(item: Item, number: int) -> str:
    """Unique in the mailbox, and the same as long as the item is."""
    return f"{item.message_id}BEgAQ{number:04d}"


def attachment_json(item: Item, number: int, attachment: Attachment) -> Json:
    kind = "itemAttachment" if attachment.is_message else "fileAttachment"
    shown: Json = {
        "@odata.type": f"#microsoft.graph.{kind}",
        "@odata.mediaContentType": attachment.content_type,
        "id": attachment_id(item, number),
        "lastModifiedDateTime": timestamp(item.received_at),
        "name": attachment.name,
        "contentType": None if attachment.is_message else attachment.content_type,
        "size": len(attachment.data),
        "isInline": attachment.is_inline,
    }
    if not attachment.is_message:
        shown["contentId"] = attachment.content_id or None
        shown["contentLocation"] = None
        shown["contentBytes"] = base64.b64encode(attachment.data).decode()
    return shown
