"""Graph's messages: list and read."""

# No postponed annotations here: FastAPI could not see the dependencies, which are local.
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from local_tenant.mailbox import Item
from local_tenant.microsoft import delta
from local_tenant.microsoft.access import MailboxAccess, mailbox_gate
from local_tenant.microsoft.errors import GraphError, bad_request, not_emulated
from local_tenant.microsoft.extended_properties import read_expand
from local_tenant.microsoft.odata import (
    Comparison,
    read_count,
    read_filter,
    read_options,
    read_select,
    read_top,
)
from local_tenant.microsoft.paging import context, cut_page, next_link
from local_tenant.microsoft.resources import MESSAGE, Json, message_json, message_value
from local_tenant.state import TenantState

_LIST_OPTIONS = ("$select", "$expand", "$filter", "$orderby", "$top", "$skiptoken", "$count")


def make_router(state: TenantState) -> APIRouter:
    """GET of /users/{id}/messages and below, and of a folder's messages."""
    router = APIRouter(include_in_schema=False)
    reading = Annotated[MailboxAccess, Depends(mailbox_gate(state, writes=False))]

    def list_items(
        access: MailboxAccess, request: Request, items: Iterable[Item], where: str
    ) -> Json:
        options = read_options(request.query_params, _LIST_OPTIONS)
        select = read_select(options.get("$select"), MESSAGE)
        expand = read_expand(options.get("$expand"))
        wanted = read_filter(options.get("$filter"), MESSAGE)
        ascending = _is_ascending(options.get("$orderby"), wanted)
        top = read_top(options.get("$top"), default=10, largest=1000)
        found = [
            item
            for item in items
            if all(test.holds(message_value(item, test.path)) for test in wanted)
        ]
        body = context(state, access.context(where), select)
        if read_count(options.get("$count")):
            body["@odata.count"] = len(found)
        found.sort(key=delta.item_key, reverse=not ascending)
        page, token = cut_page(found, options, top, key=delta.item_key, descending=not ascending)
        immutable = access.prefer.immutable_ids
        body |= next_link(state, request, token)
        body["value"] = [
            message_json(item, select, immutable=immutable, expand=expand) for item in page
        ]
        return body

    @router.get("/users/{user}/messages")
    async def list_messages(access: reading, request: Request) -> Response:
        with state.store.lock:
            items = [item for item in access.mailbox.reachable() if _is_listed(access, item)]
            return access.answer(list_items(access, request, items, "messages"))

    @router.get("/users/{user}/mailFolders/{folder}/messages")
    async def list_folder_messages(access: reading, folder: str, request: Request) -> Response:
        with state.store.lock:
            folder_id = access.folder(folder).folder_id
            items = [item for item in access.mailbox.reachable() if item.folder_id == folder_id]
            where = f"mailFolders('{quote(folder)}')/messages"
            return access.answer(list_items(access, request, items, where))

    @router.get("/users/{user}/messages/delta")
    async def mailbox_delta(_: reading) -> Response:
        raise bad_request(
            "Unsupported request: Change tracking is not supported against "
            "'microsoft.graph.message'."
        )

    @router.get("/users/{user}/messages/{message_id}")
    async def get_message(access: reading, message_id: str, request: Request) -> Response:
        options = read_options(request.query_params, ("$select", "$expand"))
        select = read_select(options.get("$select"), MESSAGE)
        expand = read_expand(options.get("$expand"))
        with state.store.lock:
            item = access.item(message_id)
            body = context(state, access.context("messages"), select)
            body["@odata.context"] += "/$entity"
            immutable = access.prefer.immutable_ids
            found = message_json(item, select, immutable=immutable, expand=expand)
            return access.answer(body | found)

    @router.get("/users/{user}/messages/{message_id}/$value")
    async def get_mime(access: reading, message_id: str) -> Response:
        return Response(access.item(message_id).content.raw, media_type="text/plain")

    return router


def _is_listed(access: MailboxAccess, item: Item) -> bool:
    """/messages covers every folder but Recoverable Items."""
    folder = access.mailbox.folders[item.folder_id]
    return not folder.well_known.startswith("recoverableitems")


def _is_ascending(orderby: str | None, wanted: tuple[Comparison, ...]) -> bool:
    """Whether to list oldest first. Raises GraphError for an order the filter forbids."""
    if orderby is None:
        return False
    name, _, direction = orderby.strip().partition(" ")
    direction = direction.strip().lower() or "asc"
    if name.split("/")[0] not in MESSAGE.properties or direction not in ("asc", "desc"):
        raise bad_request(f"Invalid $orderby clause: '{orderby}'.")
    if wanted and wanted[0].path != name:
        raise GraphError(
            400,
            "InefficientFilter",
            "The restriction or sort order is too complex for this operation.",
        )
    if name != "receivedDateTime":
        raise not_emulated(f"$orderby={orderby}")
    return direction == "asc"
