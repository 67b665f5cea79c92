"""Gmail: the labels of a mailbox."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from local_tenant.google import access
from local_tenant.google.access import Gmail
from local_tenant.google.errors import GoogleError, google_json, invalid_argument, not_found
from local_tenant.google.requests import LabelBody
from local_tenant.mailbox import Label, Mailbox
from local_tenant.state import TenantState

# Names that people report as refused: those of system labels, and these.
_RESERVED_LABEL_NAMES = frozenset({"drafts", "migrated", "muted", "pop", "imap", "read"})


def add_labels(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    """users.labels.list, get and create."""

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
