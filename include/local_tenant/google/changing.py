"""Gmail: changing the labels of messages, trashing and deleting them."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter, Request, Response

from local_tenant.google import access
from local_tenant.google.access import Gmail, Session
from local_tenant.google.errors import google_json, invalid_argument, no_content
from local_tenant.google.lookup import check_id, check_labels, item_of
from local_tenant.google.messages import message_labels
from local_tenant.google.requests import BatchDeleteBody, BatchModifyBody, ModifyBody
from local_tenant.mailbox import Item, Mailbox
from local_tenant.state import TenantState

_LARGEST_BATCH = 1000
_MOST_LABELS_A_CALL = 100
# "Users cannot apply or remove the DRAFTS or SENT labels", says the Label resource.
_UNTOUCHABLE_LABELS = frozenset({"SENT", "DRAFT", "CHAT"})


def add_changing(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    """users.messages.modify, batchModify, trash, untrash, delete and batchDelete."""

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
            check_ids(body.ids)
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
            check_ids(body.ids)
            with state.store.lock:
                for item in _present(session.mailbox, body.ids):
                    delete(session, item, "messages.batchDelete")
            return no_content()

    @router.post("/messages/{message_id}/modify")
    async def modify(request: Request, user_id: str, message_id: str, body: ModifyBody) -> Response:
        async with gmail.call(request, user_id, access.MODIFY_MESSAGE) as session:
            _check_label_changes(session.mailbox, body)
            with state.store.lock:
                item = item_of(session.mailbox, message_id)
                relabel(session, item, "messages.modify", body.add_label_ids, body.remove_label_ids)
                return google_json(message_labels(item))

    @router.post("/messages/{message_id}/trash")
    async def trash(request: Request, user_id: str, message_id: str) -> Response:
        async with gmail.call(request, user_id, access.TRASH_MESSAGE) as session:
            with state.store.lock:
                item = item_of(session.mailbox, message_id)
                relabel(session, item, "messages.trash", ["TRASH"], ["INBOX"])
                return google_json(message_labels(item))

    @router.post("/messages/{message_id}/untrash")
    async def untrash(request: Request, user_id: str, message_id: str) -> Response:
        async with gmail.call(request, user_id, access.UNTRASH_MESSAGE) as session:
            with state.store.lock:
                item = item_of(session.mailbox, message_id)
                # INBOX does not come back: the message lands among "all mail".
                relabel(session, item, "messages.untrash", [], ["TRASH"])
                return google_json(message_labels(item))

    @router.delete("/messages/{message_id}")
    async def delete_message(request: Request, user_id: str, message_id: str) -> Response:
        async with gmail.call(request, user_id, access.DELETE_MESSAGE) as session:
            with state.store.lock:
                delete(session, item_of(session.mailbox, message_id), "messages.delete")
            return no_content()


def check_ids(ids: list[str]) -> None:
    if not ids:
        raise invalid_argument("No message ids specified.")
    if len(ids) > _LARGEST_BATCH:
        raise invalid_argument(f"Too many message ids specified. Max: {_LARGEST_BATCH}")
    for message_id in ids:
        check_id(message_id, "Invalid ids value")


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
    check_labels(mailbox, [*add, *remove], _UNTOUCHABLE_LABELS)
