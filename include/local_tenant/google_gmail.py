"""The Gmail API, version 1: profile, messages, labels and history of delegated users."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from local_tenant import google_access as access
from local_tenant import google_errors
from local_tenant.google_access import Gmail, Session
from local_tenant.google_errors import (
    GoogleError,
    GoogleRoute,
    google_json,
    invalid_argument,
    no_content,
    not_found,
)
from local_tenant.google_messages import (
    Format,
    attachment_body,
    message_labels,
    message_reference,
    message_resource,
)
from local_tenant.google_requests import (
    BatchDeleteBody,
    BatchModifyBody,
    HistoryType,
    InternalDateSource,
    LabelBody,
    MessageBody,
    ModifyBody,
)
from local_tenant.google_search import parse_search
from local_tenant.state import TenantState
from local_tenant.store import Change, ChangeKind, Item, Label, Mailbox

_LARGEST_PAGE = 500
_LARGEST_BATCH = 1000
_MOST_LABELS_A_CALL = 100
_LARGEST_ID = 2**63 - 1
# "Users cannot apply or remove the DRAFTS or SENT labels", says the Label resource.
_UNTOUCHABLE_LABELS = frozenset({"SENT", "DRAFT", "CHAT"})
_NOT_INSERTABLE_LABELS = frozenset({"CHAT", "DRAFT"})
_HIDDEN_UNLESS_ASKED = frozenset({"SPAM", "TRASH"})
# Names that people report as refused: those of system labels, and these.
_RESERVED_LABEL_NAMES = frozenset({"drafts", "migrated", "muted", "pop", "imap", "read"})

MaxResults = Annotated[int, Query(alias="maxResults", ge=0, lt=2**32)]
PageToken = Annotated[str, Query(alias="pageToken")]


def make_router(state: TenantState) -> APIRouter:
    """Everything under /gmail/v1/users/{userId}."""
    router = APIRouter(prefix="/gmail/v1/users/{user_id}", route_class=GoogleRoute)
    gmail = Gmail(state)
    _add_reading(router, gmail, state)
    _add_changing(router, gmail, state)
    _add_inserting(router, gmail, state)
    _add_labels(router, gmail, state)
    _add_history(router, gmail, state)
    return router


# ---- reading -----------------------------------------------------------------------------


def _add_reading(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
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
                raise google_errors.forbidden("Metadata scope does not support 'q' parameter")
            with state.store.lock:
                found = _found(session.mailbox, q, label_ids or [], everywhere=include_spam_trash)
            return google_json(_message_page(found, _page_size(max_results), page_token))

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
                raise google_errors.forbidden(
                    f"Metadata scope doesn't allow format {wanted.upper()}"
                )
            with state.store.lock:
                item = _item(session.mailbox, message_id)
                return google_json(message_resource(item, wanted, metadata_headers or ()))

    @router.get("/messages/{message_id}/attachments/{attachment_id}")
    async def get_attachment(
        request: Request, user_id: str, message_id: str, attachment_id: str
    ) -> Response:
        async with gmail.call(request, user_id, access.GET_ATTACHMENT) as session:
            body = attachment_body(_item(session.mailbox, message_id), attachment_id)
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


def _page_size(max_results: int) -> int:
    """More than the maximum is taken for the maximum, and nothing for the default."""
    return min(max_results or 100, _LARGEST_PAGE)


def _format(name: str) -> Format:
    try:
        return Format(name.lower())
    except ValueError:
        raise google_errors.invalid_request(
            f"Invalid value at 'format' (type.googleapis.com/gmail.Format), \"{name}\""
        ) from None


def _item(mailbox: Mailbox, message_id: str) -> Item:
    """A message still in the mailbox. Raises GoogleError 400 or 404."""
    _check_id(message_id, "Invalid id value")
    item = mailbox.items.get(message_id)
    if item is None or item.removed is not None:
        raise not_found()
    return item


def _check_id(message_id: str, problem: str) -> None:
    """Ids are positive 64-bit numbers in hex; anything else is refused before looking."""
    if not re.fullmatch("[0-9a-f]{1,16}", message_id) or int(message_id, 16) > _LARGEST_ID:
        raise invalid_argument(problem)


# ---- changing ----------------------------------------------------------------------------


def _add_changing(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    def relabel(
        session: Session,
        item: Item,
        operation: str,
        add: Collection[str],
        remove: Collection[str],
        status: int = 200,
    ) -> None:
        state.store.relabel(
            session.mailbox,
            item,
            at=state.clock(),
            operation=operation,
            status=status,
            add=add,
            remove=remove,
        )

    def delete(session: Session, item: Item, operation: str) -> None:
        state.store.remove(session.mailbox, item, at=state.clock(), operation=operation, status=204)

    @router.post("/messages/batchModify")
    async def batch_modify(request: Request, user_id: str, body: BatchModifyBody) -> Response:
        async with gmail.call(request, user_id, access.BATCH_MODIFY) as session:
            _check_ids(body.ids)
            _check_label_changes(session.mailbox, body)
            with state.store.lock:
                for item in _present(session.mailbox, body.ids):
                    relabel(
                        session,
                        item,
                        "messages.batchModify",
                        body.add_label_ids,
                        body.remove_label_ids,
                        204,
                    )
            return no_content()

    @router.post("/messages/batchDelete")
    async def batch_delete(request: Request, user_id: str, body: BatchDeleteBody) -> Response:
        async with gmail.call(request, user_id, access.BATCH_DELETE) as session:
            _check_ids(body.ids)
            with state.store.lock:
                for item in _present(session.mailbox, body.ids):
                    delete(session, item, "messages.batchDelete")
            return no_content()

    @router.post("/messages/{message_id}/modify")
    async def modify(request: Request, user_id: str, message_id: str, body: ModifyBody) -> Response:
        async with gmail.call(request, user_id, access.MODIFY_MESSAGE) as session:
            _check_label_changes(session.mailbox, body)
            with state.store.lock:
                item = _item(session.mailbox, message_id)
                relabel(session, item, "messages.modify", body.add_label_ids, body.remove_label_ids)
                return google_json(message_labels(item))

    @router.post("/messages/{message_id}/trash")
    async def trash(request: Request, user_id: str, message_id: str) -> Response:
        async with gmail.call(request, user_id, access.TRASH_MESSAGE) as session:
            with state.store.lock:
                item = _item(session.mailbox, message_id)
                relabel(session, item, "messages.trash", ["TRASH"], ["INBOX"])
                return google_json(message_labels(item))

    @router.post("/messages/{message_id}/untrash")
    async def untrash(request: Request, user_id: str, message_id: str) -> Response:
        async with gmail.call(request, user_id, access.UNTRASH_MESSAGE) as session:
            with state.store.lock:
                item = _item(session.mailbox, message_id)
                # INBOX does not come back: the message lands among "all mail".
                relabel(session, item, "messages.untrash", [], ["TRASH"])
                return google_json(message_labels(item))

    @router.delete("/messages/{message_id}")
    async def delete_message(request: Request, user_id: str, message_id: str) -> Response:
        async with gmail.call(request, user_id, access.DELETE_MESSAGE) as session:
            with state.store.lock:
                delete(session, _item(session.mailbox, message_id), "messages.delete")
            return no_content()


def _check_ids(ids: list[str]) -> None:
    if not ids:
        raise invalid_argument("No message ids specified.")
    if len(ids) > _LARGEST_BATCH:
        raise invalid_argument(f"Too many message ids specified. Max: {_LARGEST_BATCH}")
    for message_id in ids:
        _check_id(message_id, "Invalid ids value")


def _present(mailbox: Mailbox, ids: list[str]) -> list[Item]:
    """The batch methods pass over ids that lead nowhere, and do not say so."""
    items = (mailbox.items.get(message_id) for message_id in dict.fromkeys(ids))
    return [item for item in items if item is not None and item.removed is None]


def _check_label_changes(mailbox: Mailbox, body: ModifyBody) -> None:
    add, remove = body.add_label_ids, body.remove_label_ids
    if not add and not remove:
        raise invalid_argument("No label add or removes specified")
    if max(len(add), len(remove)) > _MOST_LABELS_A_CALL:
        raise invalid_argument(f"Too many labels specified. Max: {_MOST_LABELS_A_CALL}")
    if set(add) & set(remove):
        raise invalid_argument("Cannot both add and remove the same label")
    _check_labels(mailbox, [*add, *remove], _UNTOUCHABLE_LABELS)


def _check_labels(mailbox: Mailbox, label_ids: list[str], refused: Collection[str]) -> None:
    for label_id in label_ids:
        if label_id in refused or label_id not in mailbox.labels:
            raise invalid_argument(f"Invalid label: {label_id}")


# ---- inserting ---------------------------------------------------------------------------


def _add_inserting(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    def put_in(
        session: Session, body: MessageBody, source: InternalDateSource, operation: str
    ) -> Response:
        mailbox = session.mailbox
        raw = _decoded_raw(body.raw)
        _check_labels(mailbox, body.label_ids, _NOT_INSERTABLE_LABELS)
        if body.thread_id is not None:
            _check_id(body.thread_id, "Invalid threadId value")
        received_at = state.clock()
        if source is InternalDateSource.DATE_HEADER:
            received_at = _date_header(raw) or received_at
        with state.store.lock:
            item = state.store.insert(
                mailbox,
                raw,
                received_at.replace(microsecond=0),
                body.label_ids,
                at=state.clock(),
                operation=operation,
                status=200,
                thread_id=body.thread_id,
            )
            return google_json(message_labels(item))

    @router.post("/messages")
    async def insert(
        request: Request,
        user_id: str,
        body: MessageBody,
        source: Annotated[
            InternalDateSource, Query(alias="internalDateSource")
        ] = InternalDateSource.RECEIVED_TIME,
    ) -> Response:
        async with gmail.call(request, user_id, access.INSERT_MESSAGE) as session:
            return put_in(session, body, source, "messages.insert")

    @router.post("/messages/import")
    async def import_message(
        request: Request,
        user_id: str,
        body: MessageBody,
        source: Annotated[
            InternalDateSource, Query(alias="internalDateSource")
        ] = InternalDateSource.DATE_HEADER,
        _never_mark_spam: Annotated[bool, Query(alias="neverMarkSpam")] = False,
        _process_for_calendar: Annotated[bool, Query(alias="processForCalendar")] = False,
    ) -> Response:
        async with gmail.call(request, user_id, access.IMPORT_MESSAGE) as session:
            return put_in(session, body, source, "messages.import")


def _decoded_raw(raw: str) -> bytes:
    if not raw:
        raise invalid_argument(
            "'raw' RFC822 payload message string or uploading message via /upload/* URL required"
        )
    try:
        return base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise google_errors.invalid_request(
            "Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed"
        ) from None


def _date_header(raw: bytes) -> datetime | None:
    try:
        date = message_from_bytes(raw, policy=policy.compat32)["Date"]
        sent_at = parsedate_to_datetime(str(date))
    except (TypeError, ValueError, OverflowError):
        return None
    return sent_at if sent_at.tzinfo else sent_at.replace(tzinfo=UTC)


# ---- labels ------------------------------------------------------------------------------


def _add_labels(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    @router.get("/labels")
    async def list_labels(request: Request, user_id: str) -> Response:
        async with gmail.call(request, user_id, access.LIST_LABELS) as session:
            labels = list(session.mailbox.labels.values())
            return google_json({"labels": [_label_resource(label) for label in labels]})

    @router.get("/labels/{label_id}")
    async def get_label(request: Request, user_id: str, label_id: str) -> Response:
        async with gmail.call(request, user_id, access.GET_LABEL) as session:
            label = session.mailbox.labels.get(label_id)
            if label is None:
                raise not_found()
            with state.store.lock:
                return google_json(_label_resource(label) | _counts(session.mailbox, label_id))

    @router.post("/labels")
    async def create_label(request: Request, user_id: str, body: LabelBody) -> Response:
        async with gmail.call(request, user_id, access.CREATE_LABEL) as session:
            name = body.name.strip()
            with state.store.lock:
                taken = {
                    label.name.lower(): label for label in session.mailbox.labels.values()
                }.get(name.lower())
                reserved = name.lower() in _RESERVED_LABEL_NAMES
                if not name or reserved or (taken and taken.system):
                    raise invalid_argument("Invalid label name")
                if taken:
                    raise GoogleError(409, "aborted", "Label name exists or conflicts")
                label = state.store.add_label(session.mailbox, name)
            return google_json(
                _label_resource(label)
                | {
                    "messageListVisibility": body.message_list_visibility,
                    "labelListVisibility": body.label_list_visibility,
                }
            )


def _label_resource(label: Label) -> dict[str, Any]:
    return {
        "id": label.label_id,
        "name": label.name,
        "type": "system" if label.system else "user",
    }


def _counts(mailbox: Mailbox, label_id: str) -> dict[str, int]:
    items = [item for item in mailbox.reachable() if label_id in item.labels]
    unread = [item for item in items if not item.is_read]
    return {
        "messagesTotal": len(items),
        "messagesUnread": len(unread),
        "threadsTotal": len({item.thread_id for item in items}),
        "threadsUnread": len({item.thread_id for item in unread}),
    }


# ---- history -----------------------------------------------------------------------------


def _add_history(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    @router.get("/history")
    async def list_history(
        request: Request,
        user_id: str,
        start_history_id: Annotated[str, Query(alias="startHistoryId")] = "",
        max_results: MaxResults = 100,
        page_token: PageToken = "",
        label_id: Annotated[str, Query(alias="labelId")] = "",
        history_types: Annotated[list[HistoryType] | None, Query(alias="historyTypes")] = None,
    ) -> Response:
        async with gmail.call(request, user_id, access.LIST_HISTORY) as session:
            if not start_history_id:
                raise invalid_argument("Missing required parameter: startHistoryId")
            after = _number(page_token or start_history_id)
            with state.store.lock:
                changes = session.mailbox.changes_after(after)
                if changes is None:
                    raise not_found()
                records = [
                    (change.change_id, record)
                    for change in changes
                    if (record := _record(session.mailbox, change, history_types, label_id))
                ]
                size = _page_size(max_results)
                page: dict[str, Any] = {}
                if records[:size]:
                    page["history"] = [record for _, record in records[:size]]
                if len(records) > size:
                    page["nextPageToken"] = str(records[size - 1][0])
                return google_json(page | {"historyId": str(session.mailbox.last_change)})


def _number(value: str) -> int:
    if not value.isdigit() or int(value) >= 2**64:
        raise invalid_argument("Invalid startHistoryId")
    return int(value)


_HISTORY_FIELDS: dict[HistoryType, tuple[str, Callable[[Change], Collection[str]]]] = {
    HistoryType.LABEL_ADDED: ("labelsAdded", lambda change: change.labels_added),
    HistoryType.LABEL_REMOVED: ("labelsRemoved", lambda change: change.labels_removed),
}


def _record(
    mailbox: Mailbox, change: Change, types: list[HistoryType] | None, label_id: str
) -> dict[str, Any] | None:
    """One History record; None when it was not asked for."""
    item = mailbox.items[change.message_id]
    if label_id and label_id not in item.labels | change.labels_added | change.labels_removed:
        return None
    wanted = set(types or HistoryType)
    told: dict[str, Any] = {}
    if change.kind is ChangeKind.ADDED and HistoryType.MESSAGE_ADDED in wanted:
        message = message_reference(item) | {"labelIds": sorted(change.labels_added)}
        told["messagesAdded"] = [{"message": message}]
    if change.kind is ChangeKind.REMOVED and HistoryType.MESSAGE_DELETED in wanted:
        told["messagesDeleted"] = [{"message": message_labels(item)}]
    if change.kind is ChangeKind.RELABELLED:
        for kind, (name, labels) in _HISTORY_FIELDS.items():
            if kind in wanted and labels(change):
                told[name] = [{"message": message_labels(item), "labelIds": sorted(labels(change))}]
    if not told:
        return None
    return {"id": str(change.change_id), "messages": [message_reference(item)]} | told
