"""Gmail: the profile, and finding and reading messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from local_tenant.google import access, errors
from local_tenant.google.access import Gmail
from local_tenant.google.errors import google_json, invalid_argument
from local_tenant.google.lookup import MaxResults, PageToken, item_of, page_size
from local_tenant.google.messages import (
    Format,
    attachment_body,
    message_reference,
    message_resource,
)
from local_tenant.google.search import parse_search
from local_tenant.mailbox import Item, Mailbox
from local_tenant.state import TenantState

_HIDDEN_UNLESS_ASKED = frozenset({"SPAM", "TRASH"})


def add_reading(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    """users.getProfile; users.messages.list and get; users.messages.attachments.get."""

    @router.get("/profile")
    async def get_profile(request: Request, user_id: str) -> Response:
        async with gmail.call(request, user_id, access.GET_PROFILE) as session:
            with state.store.lock:
                items = list(session.mailbox.reachable())
                return google_json(
                    {
                        "emailAddress": session.mailbox.address,
                        "messagesTotal": len(items),
                        "threadsTotal": len({item.thread_id for item in items}),
                        "historyId": str(session.mailbox.last_change),
                    }
                )

    @router.get("/messages")
    async def list_messages(
        request: Request,
        user_id: str,
        max_results: MaxResults = 100,
        page_token: PageToken = "",
        q: str = "",
        label_ids: Annotated[list[str] | None, Query(alias="labelIds")] = None,
        include_spam_trash: Annotated[bool, Query(alias="includeSpamTrash")] = False,
    ) -> Response:
        async with gmail.call(request, user_id, access.LIST_MESSAGES) as session:
            if "q" in request.query_params and session.metadata_only:
                raise errors.forbidden("Metadata scope does not support 'q' parameter")
            with state.store.lock:
                found = _found(session.mailbox, q, label_ids or [], everywhere=include_spam_trash)
            return google_json(_message_page(found, page_size(max_results), page_token))

    @router.get("/messages/{message_id}")
    async def get_message(
        request: Request,
        user_id: str,
        message_id: str,
        form: Annotated[str, Query(alias="format")] = "full",
        metadata_headers: Annotated[list[str] | None, Query(alias="metadataHeaders")] = None,
    ) -> Response:
        async with gmail.call(request, user_id, access.GET_MESSAGE) as session:
            wanted = _format(form)
            if session.metadata_only and wanted in (Format.FULL, Format.RAW):
                raise errors.forbidden(f"Metadata scope doesn't allow format {wanted.upper()}")
            with state.store.lock:
                item = item_of(session.mailbox, message_id)
                return google_json(message_resource(item, wanted, metadata_headers or ()))

    @router.get("/messages/{message_id}/attachments/{attachment_id}")
    async def get_attachment(
        request: Request, user_id: str, message_id: str, attachment_id: str
    ) -> Response:
        async with gmail.call(request, user_id, access.GET_ATTACHMENT) as session:
            body = attachment_body(item_of(session.mailbox, message_id), attachment_id)
            if body is None:
                raise invalid_argument("Invalid attachment token")
            return google_json(body)


def _found(
    mailbox: Mailbox, query: str, label_ids: Collection[str], *, everywhere: bool
) -> list[Item]:
    """Newest first."""
    search = parse_search(query, mailbox)
    wanted = set(label_ids)
    for label_id in wanted:
        if label_id not in mailbox.labels:
            raise invalid_argument(f"Invalid label: {label_id}")
    everywhere = everywhere or search.everywhere or bool(wanted & _HIDDEN_UNLESS_ASKED)
    return [
        item
        for item in mailbox.reachable()
        if wanted <= item.labels
        and (everywhere or not item.labels & _HIDDEN_UNLESS_ASKED)
        and search(item)
    ]


def _message_page(found: list[Item], size: int, token: str) -> dict[str, Any]:
    """A page continues after the last message shown, whatever happened in between."""
    estimate = len(found)
    if token:
        last_shown = _position_of(token)
        found = [item for item in found if _position(item) < last_shown]
    page: dict[str, Any] = {}
    if found[:size]:
        page["messages"] = [message_reference(item) for item in found[:size]]
    if len(found) > size:
        page["nextPageToken"] = _token_of(_position(found[size - 1]))
    return page | {"resultSizeEstimate": estimate}


def _position(item: Item) -> tuple[int, str]:
    return int(item.received_at.timestamp()), item.message_id


def _token_of(position: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(f"{position[0]}/{position[1]}".encode()).decode()


def _position_of(token: str) -> tuple[int, str]:
    try:
        seconds, _, message_id = base64.urlsafe_b64decode(token).decode().partition("/")
        return int(seconds), message_id
    except (ValueError, binascii.Error):
        raise invalid_argument("Invalid pageToken") from None


def _format(name: str) -> Format:
    try:
        return Format(name.lower())
    except ValueError:
        raise errors.invalid_request(
            f"Invalid value at 'format' (type.googleapis.com/gmail.Format), \"{name}\""
        ) from None
