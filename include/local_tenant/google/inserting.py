"""Gmail: putting messages into a mailbox by API."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from local_tenant.google import access, errors
from local_tenant.google.access import Gmail, Session
from local_tenant.google.errors import google_json, invalid_argument
from local_tenant.google.lookup import check_id, check_labels
from local_tenant.google.messages import message_labels
from local_tenant.google.requests import InternalDateSource, MessageBody
from local_tenant.state import TenantState

_NOT_INSERTABLE_LABELS = frozenset({"CHAT", "DRAFT"})


def add_inserting(router: APIRouter, gmail: Gmail, state: TenantState) -> None:
    """users.messages.insert and import."""

    def put_in(
        session: Session, body: MessageBody, source: InternalDateSource, operation: str
    ) -> Response:
        mailbox = session.mailbox
        raw = _decoded_raw(body.raw)
        check_labels(mailbox, body.label_ids, _NOT_INSERTABLE_LABELS)
        if body.thread_id is not None:
            check_id(body.thread_id, "Invalid threadId value")
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
        raise errors.invalid_request(
            "Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed"
        ) from None


def _date_header(raw: bytes) -> datetime | None:
    try:
        date = message_from_bytes(raw, policy=policy.compat32)["Date"]
        sent_at = parsedate_to_datetime(str(date))
    except (TypeError, ValueError, OverflowError):
        return None
    return sent_at if sent_at.tzinfo else sent_at.replace(tzinfo=UTC)
