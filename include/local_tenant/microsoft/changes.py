"""Graph's changes to a message: mark, move, delete for good."""

# No postponed annotations here: FastAPI could not see the dependencies, which are local.
import json
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from local_tenant.microsoft.access import MailboxAccess, mailbox_gate, no_content
from local_tenant.microsoft.errors import GraphError, bad_request, not_emulated
from local_tenant.microsoft.paging import context
from local_tenant.microsoft.resources import MESSAGE, message_json
from local_tenant.state import TenantState


class MoveRequest(BaseModel):
    """Body of message: move."""

    model_config = ConfigDict(extra="forbid")

    destinationId: str  # noqa: N815  the service's spelling


class FollowupFlag(BaseModel):
    """The part of followupFlag that is emulated."""

    model_config = ConfigDict(extra="forbid")

    flagStatus: Literal["notFlagged", "flagged"]  # noqa: N815


class MessageUpdate(BaseModel):
    """The part of a message's writable properties that is emulated."""

    model_config = ConfigDict(extra="forbid")

    isRead: bool | None = None  # noqa: N815
    flag: FollowupFlag | None = None


def make_router(state: TenantState) -> APIRouter:
    """PATCH, POST and DELETE of messages."""
    router = APIRouter(include_in_schema=False)
    writing = Annotated[MailboxAccess, Depends(mailbox_gate(state, writes=True))]

    @router.patch("/users/{user}/messages/{message_id}")
    async def update_message(access: writing, message_id: str, request: Request) -> Response:
        update = _read_body(MessageUpdate, await request.body(), MESSAGE.properties)
        with state.store.lock:
            item = access.changeable_item(message_id)
            state.store.update(
                access.mailbox,
                item,
                at=state.clock(),
                operation="update",
                status=200,
                read=update.isRead,
                flagged=None if update.flag is None else update.flag.flagStatus == "flagged",
            )
            body = context(state, access.context("messages/$entity"))
            immutable = access.prefer.immutable_ids
            return access.answer(body | message_json(item, None, immutable=immutable))

    @router.post("/users/{user}/messages/{message_id}/move")
    async def move_message(access: writing, message_id: str, request: Request) -> Response:
        wish = _read_body(
            MoveRequest, await request.body(), frozenset({"destinationId"}), action=True
        )
        with state.store.lock:
            item = access.changeable_item(message_id)
            folder = access.folder(wish.destinationId)
            state.store.move(
                access.mailbox, item, folder, at=state.clock(), operation="move", status=201
            )
            body = context(state, access.context("messages/$entity"))
            immutable = access.prefer.immutable_ids
            return access.answer(body | message_json(item, None, immutable=immutable), 201)

    @router.post("/users/{user}/messages/{message_id}/permanentDelete")
    async def permanently_delete(access: writing, message_id: str) -> Response:
        with state.store.lock:
            item = access.changeable_item(message_id)
            kept_in = "discoveryholds" if access.mailbox.on_hold else "purges"
            state.store.move(
                access.mailbox,
                item,
                access.mailbox.well_known(f"recoverableitems{kept_in}"),
                at=state.clock(),
                operation="permanentDelete",
                status=204,
            )
        return no_content(access.prefer)

    @router.delete("/users/{user}/messages/{message_id}")
    async def delete_message(_: writing) -> Response:
        raise not_emulated("message: delete, whose landing folder is not documented")

    @router.post("/users/{user}/messages")
    async def create_message(_: writing) -> Response:
        raise not_emulated("the creation of drafts")

    return router


Body = TypeVar("Body", bound=BaseModel)


def _read_body(
    model: type[Body], raw: bytes, known: frozenset[str], *, action: bool = False
) -> Body:
    """An action's parameters are taken in any case: Microsoft's SDKs write DestinationId.

    Raises GraphError: what the service refuses, or what it takes and we do not.
    """
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and "
            "payload is of valid JSON format."
        )
    if action:
        spelt = {name.lower(): name for name in known}
        found = {spelt.get(name.lower(), name): value for name, value in found.items()}
    for name in found:
        if name not in known and not name.startswith("@odata."):
            raise GraphError(
                400,
                "RequestBodyRead",
                f"The property '{name}' does not exist on type 'microsoft.graph.message'. Make "
                "sure to only use property names that are defined by the type or mark the type "
                "as open type.",
            )
    stated = {name: value for name, value in found.items() if not name.startswith("@odata.")}
    try:
        return model.model_validate(stated, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise GraphError(
                400, "ErrorInvalidParameter", f"The parameter '{where}' is required."
            ) from None
        if first["type"] == "extra_forbidden":
            raise not_emulated(f"changes of '{where}'") from None
        raise GraphError(
            400, "RequestBodyRead", f"Cannot convert the value of '{where}': {first['msg']}."
        ) from None
