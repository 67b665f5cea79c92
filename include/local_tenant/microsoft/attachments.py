"""Graph's attachments of a message."""

# No postponed annotations here: FastAPI could not see the dependencies, which are local.
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from local_tenant.mailbox import Item
from local_tenant.microsoft.access import MailboxAccess, mailbox_gate
from local_tenant.microsoft.errors import item_not_found, malformed_id
from local_tenant.microsoft.mime import parse
from local_tenant.microsoft.odata import read_options
from local_tenant.microsoft.paging import context
from local_tenant.microsoft.resources import attachment_id, attachment_json
from local_tenant.state import TenantState


def make_router(state: TenantState) -> APIRouter:
    """GET /users/{id}/messages/{id}/attachments and below."""
    router = APIRouter(include_in_schema=False)
    reading = Annotated[MailboxAccess, Depends(mailbox_gate(state, writes=False))]

    @router.get("/users/{user}/messages/{message_id}/attachments")
    async def list_attachments(access: reading, message_id: str, request: Request) -> Response:
        read_options(request.query_params, ())
        item = access.item(message_id)
        body = context(state, access.context(f"messages('{quote(message_id)}')/attachments"))
        body["value"] = [
            attachment_json(item, number, attachment)
            for number, attachment in enumerate(parse(item.content).attachments)
        ]
        return access.answer(body)

    @router.get("/users/{user}/messages/{message_id}/attachments/{attachment}")
    async def get_attachment(access: reading, message_id: str, attachment: str) -> Response:
        item = access.item(message_id)
        number = _attachment_number(item, attachment)
        what = access.context(f"messages('{quote(message_id)}')/attachments/$entity")
        return access.answer(
            context(state, what)
            | attachment_json(item, number, parse(item.content).attachments[number])
        )

    @router.get("/users/{user}/messages/{message_id}/attachments/{attachment}/$value")
    async def get_attachment_bytes(access: reading, message_id: str, attachment: str) -> Response:
        item = access.item(message_id)
        found = parse(item.content).attachments[_attachment_number(item, attachment)]
        return Response(found.data, media_type=found.content_type)

    return router


def _attachment_number(item: Item, wanted: str) -> int:
    for number in range(len(parse(item.content).attachments)):
        if attachment_id(item, number) == wanted:
            return number
    raise item_not_found() if wanted.startswith("AAkALg") else malformed_id()
