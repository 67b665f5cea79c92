"""Graph's users: the directory of mailboxes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from local_tenant.mailbox import Provider
from local_tenant.microsoft.access import json_answer, named_user, roles_of_caller
from local_tenant.microsoft.errors import GraphError, insufficient_privileges, resource_not_found
from local_tenant.microsoft.odata import (
    Comparison,
    read_filter,
    read_options,
    read_select,
    read_top,
)
from local_tenant.microsoft.paging import context, cut_page, next_link
from local_tenant.microsoft.resources import USER, user_json, user_value
from local_tenant.state import TenantState

READ_USERS = frozenset(
    {"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
)


def make_router(state: TenantState) -> APIRouter:
    """GET /users and GET /users/{id}."""
    router = APIRouter(include_in_schema=False)

    @router.get("/users")
    async def list_users(request: Request) -> Response:
        _need_users(state, request)
        options = read_options(
            request.query_params, ("$select", "$filter", "$top", "$skiptoken", "$count")
        )
        select = read_select(options.get("$select"), USER)
        wanted = _user_filter(options.get("$filter"))
        top = read_top(
            options.get("$top"), default=100, largest=999, refusal="Request_UnsupportedQuery"
        )
        users = sorted(
            (
                user
                for user in state.store.mailboxes(Provider.MICROSOFT365)
                if all(test.holds(user_value(user, test.path)) for test in wanted)
            ),
            key=lambda user: user.mailbox_id,
        )
        page, token = cut_page(users, options, top, key=lambda user: user.mailbox_id)
        body = context(state, "users", select)
        body |= next_link(state, request, token)
        body["value"] = [user_json(user, select) for user in page]
        return json_answer(body)

    @router.get("/users/{user}")
    async def get_user(user: str, request: Request) -> Response:
        _need_users(state, request)
        options = read_options(request.query_params, ("$select",))
        select = read_select(options.get("$select"), USER)
        found = named_user(state, user)
        if found is None:
            raise resource_not_found(user)
        return json_answer(
            context(state, "users", select)
            | context(state, "users/$entity")
            | user_json(found, select)
        )

    return router


def _need_users(state: TenantState, request: Request) -> None:
    if not roles_of_caller(state, request) & READ_USERS:
        raise insufficient_privileges()


def _user_filter(text: str | None) -> tuple[Comparison, ...]:
    tests = read_filter(text, USER)
    for test in tests:
        if test.operator not in ("eq", "ne"):
            raise GraphError(
                400,
                "Request_UnsupportedQuery",
                "Unsupported or invalid query filter clause specified for property "
                f"'{test.path}' of resource 'User'.",
            )
    return tests
