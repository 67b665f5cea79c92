"""Gmail: what changed in a mailbox since a point in its history."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from local_tenant.google import access
from local_tenant.google.access import Gmail
from local_tenant.google.errors import google_json, invalid_argument, not_found
from local_tenant.google.lookup import MaxResults, PageToken, page_size
from local_tenant.google.messages import message_labels, message_reference
from local_tenant.google.requests import HistoryType
from local_tenant.mailbox import Change, ChangeKind, Mailbox
from local_tenant.state import TenantState


def add_history(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    """users.history.list."""

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
                size = page_size(max_results)
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
