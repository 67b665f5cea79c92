"""Admin SDK Directory API: the users of the domain."""

from __future__ import annotations

import base64
import binascii
import hashlib
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from local_tenant.google import errors
from local_tenant.google.errors import GoogleError, GoogleRoute, google_json
from local_tenant.google.oauth import Caller, caller_of
from local_tenant.mailbox import Hosting, Mailbox, Provider
from local_tenant.state import TenantState

CUSTOMER_ID = "C0lca1tnt"
_ADMIN_SCOPES = frozenset(
    {
        "https://www.googleapis.com/auth/admin.directory.user",
        "https://www.googleapis.com/auth/admin.directory.user.readonly",
        "https://www.googleapis.com/auth/cloud-platform",
    }
)


class OrderBy(StrEnum):
    """What users can be sorted by."""

    EMAIL = "email"
    FAMILY_NAME = "familyName"
    GIVEN_NAME = "givenName"


class SortOrder(StrEnum):
    ASCENDING = "ASCENDING"
    DESCENDING = "DESCENDING"


def make_router(state: TenantState) -> APIRouter:
    """GET /admin/directory/v1/users and /users/{userKey}."""
    router = APIRouter(route_class=GoogleRoute)

    @router.get("/admin/directory/v1/users")
    async def list_users(
        request: Request,
        customer: str = "",
        domain: str = "",
        max_results: Annotated[int, Query(alias="maxResults", ge=1, le=500)] = 100,
        page_token: Annotated[str, Query(alias="pageToken")] = "",
        order_by: Annotated[OrderBy | None, Query(alias="orderBy")] = None,
        sort_order: Annotated[SortOrder, Query(alias="sortOrder")] = SortOrder.ASCENDING,
        query: str = "",
        show_deleted: Annotated[str, Query(alias="showDeleted")] = "false",
        _projection: Annotated[str, Query(alias="projection")] = "basic",
        _view_type: Annotated[str, Query(alias="viewType")] = "admin_view",
    ) -> Response:
        check_admin(state, caller_of(state, request.headers), "DirectoryUsers.List", _ADMIN_SCOPES)
        _check_domain(state, customer, domain)
        users = state.store.mailboxes(Provider.GOOGLE_WORKSPACE)
        if query:
            raise errors.not_emulated("the query of users.list")
        if show_deleted.lower() == "true":
            users = []
        # Without an order Google promises none; by id is the least helpful one.
        users.sort(
            key=lambda user: _sort_key(user, order_by), reverse=sort_order is SortOrder.DESCENDING
        )
        page = {"kind": "admin#directory#users", "etag": etag("users")}
        told = [_user(user) for user in users]
        return google_json(page | cut(told, "users", max_results, page_token))

    @router.get("/admin/directory/v1/users/{user_key}")
    async def get_user(
        request: Request,
        user_key: str,
        _projection: Annotated[str, Query(alias="projection")] = "basic",
        _view_type: Annotated[str, Query(alias="viewType")] = "admin_view",
    ) -> Response:
        caller = caller_of(state, request.headers)
        check_admin(state, caller, "DirectoryUsers.Get", _ADMIN_SCOPES)
        user = state.store.mailbox(Provider.GOOGLE_WORKSPACE, user_key)
        if user is None:
            raise GoogleError(404, "notFound", "Resource Not Found: userKey")
        return google_json(_user(user))

    return router


def check_admin(state: TenantState, caller: Caller, method: str, scopes: frozenset[str]) -> None:
    """Raises GoogleError unless an administrator asks, with one of the scopes."""
    if not caller.scopes & scopes:
        raise errors.insufficient_scopes(
            "admin.googleapis.com", f"ccc.hosted.frontend.directory.v1.{method}", scopes
        )
    user = state.store.mailbox(Provider.GOOGLE_WORKSPACE, caller.address)
    if user is None or not user.is_admin:
        raise errors.forbidden("Not Authorized to access this resource/api")


def cut(everything: list[Any], name: str, size: int, token: str) -> dict[str, Any]:
    """One page, under this name; with nothing on it, the name is left out."""
    start = _offset(token)
    page: dict[str, Any] = {}
    if everything[start : start + size]:
        page[name] = everything[start : start + size]
    if len(everything) > start + size:
        page["nextPageToken"] = _token(start + size)
    return page


def _check_domain(state: TenantState, customer: str, domain: str) -> None:
    if not customer and not domain:
        raise GoogleError(400, "badRequest", "Bad Request")
    if customer and customer not in ("my_customer", CUSTOMER_ID):
        raise GoogleError(400, "invalid", "Invalid Input: customer")
    if domain and domain.lower() != state.settings.google_domain:
        raise GoogleError(404, "notFound", "Domain not found.")


def _sort_key(user: Mailbox, order_by: OrderBy | None) -> tuple[str, str]:
    given_name, family_name = _names(user)
    first = {
        OrderBy.EMAIL: user.address,
        OrderBy.GIVEN_NAME: given_name,
        OrderBy.FAMILY_NAME: family_name,
        None: "",
    }[order_by]
    return first.lower(), user.mailbox_id


def _user(user: Mailbox) -> dict[str, Any]:
    given_name, family_name = _names(user)
    suspension = {} if user.enabled else {"suspensionReason": "ADMIN"}
    return {
        "kind": "admin#directory#user",
        "id": user.mailbox_id,
        "etag": etag(user.mailbox_id),
        "primaryEmail": user.address,
        "name": {
            "givenName": given_name,
            "familyName": family_name,
            "fullName": user.display_name,
        },
        "isAdmin": user.is_admin,
        "isDelegatedAdmin": False,
        "agreedToTerms": True,
        "suspended": not user.enabled,
        **suspension,
        "archived": user.archived,
        "changePasswordAtNextLogin": False,
        "ipWhitelisted": False,
        "emails": [
            {"address": user.address, "primary": True},
            *({"address": alias} for alias in user.aliases),
        ],
        **({"aliases": user.aliases} if user.aliases else {}),
        "customerId": CUSTOMER_ID,
        "orgUnitPath": "/",
        "isMailboxSetup": user.hosting is Hosting.CLOUD,
        "isEnrolledIn2Sv": False,
        "isEnforcedIn2Sv": False,
        "includeInGlobalAddressList": True,
    }


def _names(user: Mailbox) -> tuple[str, str]:
    """Given and family name; Google does not allow either to be empty."""
    given_name, _, family_name = user.display_name.rpartition(" ")
    return given_name or family_name, family_name


def etag(name: str) -> str:
    """Any name's."""
    return f'"{hashlib.sha256(name.encode()).hexdigest()[:43]}"'


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(f"~{offset}".encode()).decode()


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token).decode()
        return int(text.removeprefix("~"))
    except (ValueError, binascii.Error):
        raise GoogleError(400, "invalid", "Invalid Input: pageToken") from None
