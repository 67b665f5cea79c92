"""Graph's mail folders, and the changes in them."""

# No postponed annotations here: FastAPI could not see the dependencies, which are local.
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from local_tenant.mailbox import Folder
from local_tenant.microsoft import delta
from local_tenant.microsoft.access import MailboxAccess, mailbox_gate
from local_tenant.microsoft.odata import read_filter, read_options, read_select, read_top
from local_tenant.microsoft.paging import context, cut_page, next_link
from local_tenant.microsoft.resources import FOLDER, Json, folder_json
from local_tenant.state import TenantState


def make_router(state: TenantState) -> APIRouter:
    """GET of /users/{id}/mailFolders and below, but for the messages in them."""
    router = APIRouter(include_in_schema=False)
    reading = Annotated[MailboxAccess, Depends(mailbox_gate(state, writes=False))]

    def list_folders(access: MailboxAccess, request: Request, parent: Folder, where: str) -> Json:
        options = read_options(request.query_params, ("$select", "$filter", "$top", "$skiptoken"))
        select = read_select(options.get("$select"), FOLDER)
        wanted = read_filter(options.get("$filter"), FOLDER)
        top = read_top(options.get("$top"), default=10, largest=1000)
        hidden = request.query_params.get("includeHiddenFolders", "false").lower() == "true"
        folders = sorted(
            (
                folder
                for folder in access.mailbox.folders.values()
                if folder.parent_id == parent.folder_id
                and (hidden or not folder.hidden)
                and all(test.holds(folder.display_name) for test in wanted)
            ),
            key=_folder_key,
        )
        page, token = cut_page(folders, options, top, key=_folder_key)
        return (
            context(state, access.context(where), select)
            | next_link(state, request, token)
            | {"value": [folder_json(access.mailbox, folder, select) for folder in page]}
        )

    @router.get("/users/{user}/mailFolders")
    async def list_top_folders(access: reading, request: Request) -> Response:
        with state.store.lock:
            root = access.mailbox.well_known("msgfolderroot")
            return access.answer(list_folders(access, request, root, "mailFolders"))

    @router.get("/users/{user}/mailFolders/delta")
    async def folder_delta(access: reading, request: Request) -> Response:
        with state.store.lock:
            link = f"{state.origin}{quote(request.url.path)}"
            body = delta.folder_changes(access, request.query_params, link)
            return access.answer(context(state, access.context("mailFolders")) | body)

    @router.get("/users/{user}/mailFolders/{folder}")
    async def get_folder(access: reading, folder: str, request: Request) -> Response:
        options = read_options(request.query_params, ("$select",))
        select = read_select(options.get("$select"), FOLDER)
        with state.store.lock:
            body = context(state, access.context("mailFolders") + "/$entity")
            return access.answer(body | folder_json(access.mailbox, access.folder(folder), select))

    @router.get("/users/{user}/mailFolders/{folder}/childFolders")
    async def list_child_folders(access: reading, folder: str, request: Request) -> Response:
        with state.store.lock:
            where = f"mailFolders('{quote(folder)}')/childFolders"
            return access.answer(list_folders(access, request, access.folder(folder), where))

    @router.get("/users/{user}/mailFolders/{folder}/messages/delta")
    async def message_delta(access: reading, folder: str, request: Request) -> Response:
        with state.store.lock:
            body = delta.changes(
                access,
                access.folder(folder),
                request.query_params,
                link=f"{state.origin}{quote(request.url.path)}",
            )
            return access.answer(context(state, "Collection(message)") | body)

    return router


def _folder_key(folder: Folder) -> str:
    return f"{folder.display_name.lower()}|{folder.folder_id}"
