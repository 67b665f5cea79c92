"""Admin SDK Directory API: who is in a group."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from local_tenant.google.directory import check_admin, cut, etag
from local_tenant.google.errors import GoogleError, GoogleRoute, google_json
from local_tenant.google.oauth import caller_of
from local_tenant.groups import Group
from local_tenant.mailbox import Mailbox, Provider
from local_tenant.state import TenantState

_SCOPES = frozenset(
    {
        "https://www.googleapis.com/auth/admin.directory.group",
        "https://www.googleapis.com/auth/admin.directory.group.readonly",
        "https://www.googleapis.com/auth/admin.directory.group.member",
        "https://www.googleapis.com/auth/admin.directory.group.member.readonly",
    }
)


def make_router(state: TenantState) -> APIRouter:
    """GET /admin/directory/v1/groups/{groupKey}/members."""
    router = APIRouter(route_class=GoogleRoute)

    @router.get("/admin/directory/v1/groups/{group_key}/members")
    async def list_members(
        request: Request,
        group_key: str,
        include_derived: Annotated[bool, Query(alias="includeDerivedMembership")] = False,
        max_results: Annotated[int, Query(alias="maxResults", ge=1)] = 200,
        page_token: Annotated[str, Query(alias="pageToken")] = "",
        roles: str = "",
    ) -> Response:
        caller = caller_of(state, request.headers)
        check_admin(state, caller, "DirectoryMembers.List", _SCOPES)
        group = state.store.group(Provider.GOOGLE_WORKSPACE, group_key)
        if group is None:
            raise GoogleError(404, "notFound", "Resource Not Found: groupKey")
        members = group.transitive_members() if include_derived else list(group.members.values())
        if roles and "MEMBER" not in roles.upper().split(","):
            members = []  # nobody owns or manages a group here
        members.sort(key=lambda member: member.address)
        page = {"kind": "admin#directory#members", "etag": etag(group.group_id)}
        return google_json(
            page | cut([_member(m) for m in members], "members", min(max_results, 200), page_token)
        )

    return router


def _member(member: Mailbox | Group) -> dict[str, Any]:
    is_group = isinstance(member, Group)
    suspended = isinstance(member, Mailbox) and not member.enabled
    member_id = member.group_id if isinstance(member, Group) else member.mailbox_id
    return {
        "kind": "admin#directory#member",
        "etag": etag(member_id),
        "id": member_id,
        "email": member.address,
        "role": "MEMBER",
        "type": "GROUP" if is_group else "USER",
        "status": "SUSPENDED" if suspended else "ACTIVE",
    }
