"""Graph's groups, and who is in them."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request, Response

from local_tenant.groups import Group
from local_tenant.mailbox import Mailbox, Provider
from local_tenant.microsoft.access import json_answer, roles_of_caller
from local_tenant.microsoft.errors import GraphError, insufficient_privileges, resource_not_found
from local_tenant.microsoft.odata import (
    EntityType,
    read_count,
    read_filter,
    read_options,
    read_select,
    read_top,
)
from local_tenant.microsoft.paging import context, cut_page, next_link
from local_tenant.microsoft.resources import (
    GROUP,
    USER,
    Json,
    group_json,
    group_value,
    user_json,
)
from local_tenant.microsoft.users import READ_USERS
from local_tenant.state import TenantState

# "List group transitive members", its table of application permissions.
_READ_GROUPS = {
    "GroupMember.Read.All", "GroupMember.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All",
    "Directory.Read.All", "Directory.ReadWrite.All",
}  # fmt: skip
_USER_CAST, _GROUP_CAST = "microsoft.graph.user", "microsoft.graph.group"
_MEMBER = EntityType("microsoft.graph.directoryObject", USER.properties | GROUP.properties, {})


def make_router(state: TenantState) -> APIRouter:
    """GET of /groups and below."""
    router = APIRouter(include_in_schema=False)

    @router.get("/groups")
    async def list_groups(request: Request) -> Response:
        _need_groups(state, request)
        options = read_options(
            request.query_params, ("$select", "$filter", "$top", "$skiptoken", "$count")
        )
        select = read_select(options.get("$select"), GROUP)
        wanted = read_filter(options.get("$filter"), GROUP)
        for test in wanted:
            if test.operator != "eq":
                raise _unsupported(
                    "Unsupported or invalid query filter clause specified for property "
                    f"'{test.path}' of resource 'Group'."
                )
        groups = sorted(
            (
                group
                for group in state.store.groups(Provider.MICROSOFT365)
                if all(test.holds(group_value(group, test.path)) for test in wanted)
            ),
            key=lambda group: group.group_id,
        )
        page, token = cut_page(groups, options, _top(options), key=lambda group: group.group_id)
        body = context(state, "groups", select) | next_link(state, request, token)
        body["value"] = [group_json(group, select) for group in page]
        return json_answer(body)

    @router.get("/groups/{group}")
    async def get_group(group: str, request: Request) -> Response:
        _need_groups(state, request)
        options = read_options(request.query_params, ("$select",))
        select = read_select(options.get("$select"), GROUP)
        found = group_json(_group(state, group), select)
        return json_answer(context(state, "groups/$entity", select) | found)

    @router.get("/groups/{group}/members")
    @router.get("/groups/{group}/members/{cast}")
    async def list_members(group: str, request: Request, cast: str = "") -> Response:
        roles = _need_groups(state, request)
        members = list(_group(state, group).members.values())
        return _members(state, request, roles, members, cast)

    @router.get("/groups/{group}/transitiveMembers")
    @router.get("/groups/{group}/transitiveMembers/{cast}")
    async def list_transitive_members(group: str, request: Request, cast: str = "") -> Response:
        roles = _need_groups(state, request)
        members = _group(state, group).transitive_members()
        return _members(state, request, roles, members, cast)

    return router


def _need_groups(state: TenantState, request: Request) -> frozenset[str]:
    """The caller's roles. Raises GraphError where they do not reach the groups."""
    roles = roles_of_caller(state, request)
    if not roles & _READ_GROUPS:
        raise insufficient_privileges()
    return roles


def _group(state: TenantState, group: str) -> Group:
    """By id alone. Raises GraphError."""
    try:
        uuid.UUID(group)
    except ValueError:
        raise GraphError(
            400, "Request_BadRequest", f"Invalid object identifier '{group}'."
        ) from None
    found = state.store.group(Provider.MICROSOFT365, group)
    if found is None:
        raise resource_not_found(group)
    return found


def _members(
    state: TenantState,
    request: Request,
    roles: frozenset[str],
    members: list[Mailbox | Group],
    cast: str,
) -> Response:
    options = read_options(request.query_params, ("$select", "$top", "$skiptoken", "$count"))
    counted = read_count(options.get("$count"))
    eventual = request.headers.get("consistencylevel", "").lower() == "eventual"
    if cast:
        kind = {_USER_CAST: Mailbox, _GROUP_CAST: Group}.get(cast)
        if kind is None:
            raise _unsupported(f"The type '{cast}' is not supported as a member here.")
        # "To filter the results on the OData type … you must use the advanced query parameters.
        # That is, the ConsistencyLevel header set to eventual and the $count=true query string."
        # What the service says otherwise is not documented.
        if not (eventual and counted):
            raise _unsupported(
                "An OData cast is supported only with the request header 'ConsistencyLevel: "
                "eventual' and $count=true."
            )
        members = [member for member in members if isinstance(member, kind)]
    select = read_select(
        options.get("$select"), {_USER_CAST: USER, _GROUP_CAST: GROUP}.get(cast, _MEMBER)
    )
    members.sort(key=_member_id)
    page, token = cut_page(members, options, _top(options), key=_member_id)
    what = {_USER_CAST: "users", _GROUP_CAST: "groups"}.get(cast, "directoryObjects")
    body = context(state, what, select)
    if counted and eventual:
        body["@odata.count"] = len(members)
    body |= next_link(state, request, token)
    body["value"] = [_member_json(member, select, roles, typed=not cast) for member in page]
    return json_answer(body)


def _member_json(
    member: Mailbox | Group, select: tuple[str, ...] | None, roles: frozenset[str], *, typed: bool
) -> Json:
    """Without a permission for users, a user is an id: all other properties are null.

    "Limited information returned for inaccessible member objects", in the permissions overview.
    """
    if isinstance(member, Group):
        own = tuple(name for name in select if name in GROUP.properties) if select else None
        shown = group_json(member, own)
    else:
        own = tuple(name for name in select if name in USER.properties) if select else None
        shown = user_json(member, own)
        if not roles & READ_USERS:
            shown = {name: value if name == "id" else None for name, value in shown.items()}
    kind = "group" if isinstance(member, Group) else "user"
    return ({"@odata.type": f"#microsoft.graph.{kind}"} if typed else {}) | shown


def _member_id(member: Mailbox | Group) -> str:
    return member.group_id if isinstance(member, Group) else member.mailbox_id


def _top(options: dict[str, str]) -> int:
    return read_top(
        options.get("$top"), default=100, largest=999, refusal="Request_UnsupportedQuery"
    )


def _unsupported(message: str) -> GraphError:
    return GraphError(400, "Request_UnsupportedQuery", message)
