"""Who may call Graph, for which mailbox, and how often."""

from __future__ import annotations

import asyncio
import math
import re
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from local_tenant.item_ids import owner_of_id
from local_tenant.mailbox import Folder, Hosting, Item, Mailbox, Provider
from local_tenant.microsoft.errors import (
    GraphError,
    access_denied,
    item_not_found,
    malformed_id,
    throttled,
    too_many_requests,
    unauthenticated,
)
from local_tenant.microsoft.identity import GRAPH_AUDIENCES
from local_tenant.state import TenantState

_READ_MAIL = {"Mail.ReadWrite", "Mail.Read"}
_WRITE_MAIL = {"Mail.ReadWrite"}
_JSON_TYPE = (
    "application/json;odata.metadata=minimal;odata.streaming=true;"
    "IEEE754Compatible=false;charset=utf-8"
)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def roles_of_caller(state: TenantState, request: Request) -> frozenset[str]:
    """The application permissions in the bearer token. Raises GraphError 401."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("Access token is empty.")
    if token.count(".") != 2:
        raise unauthenticated("IDX14100: JWT is not well formed, there are no dots (.).")
    try:
        claims = state.access_tokens.claims(token)
    except jwt.InvalidTokenError:
        raise unauthenticated("Access token validation failure. Invalid signature.") from None
    if claims.get("aud") not in (*GRAPH_AUDIENCES, state.origin):
        raise unauthenticated("Access token validation failure. Invalid audience.")
    expired = claims["exp"] <= state.clock().timestamp()
    if expired or state.access_tokens.is_revoked(token):
        raise unauthenticated("Lifetime validation failed, the token is expired.")
    return frozenset(claims.get("roles", ()))


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the Prefer header asks for."""

    immutable_ids: bool = False
    page_size: int | None = None

    @property
    def applied(self) -> str:
        """The Preference-Applied header."""
        return 'IdType="ImmutableId"' if self.immutable_ids else ""


def read_preferences(request: Request) -> Preferences:
    """Preferences nobody knows are ignored, as RFC 7240 wants it."""
    immutable, page_size = False, None
    for header in request.headers.getlist("prefer"):
        for preference in header.split(","):
            name, _, value = (part.strip() for part in preference.partition("="))
            if name.lower() == "idtype" and value.strip('"') == "ImmutableId":
                immutable = True
            elif name.lower() == "odata.maxpagesize" and value.isdecimal() and int(value):
                page_size = int(value)
    return Preferences(immutable, page_size)


@dataclass(frozen=True, slots=True)
class MailboxAccess:
    """A granted call to one mailbox, which holds one of its slots."""

    mailbox: Mailbox
    named: str
    """How the caller named the user: id or user principal name."""
    prefer: Preferences
    expired_delta_status: int

    def item(self, message_id: str) -> Item:
        """The message with this id, of the kind of id the call asked for.

        A classic id is taken either way; an immutable one only where the call opts in.
        Raises GraphError.
        """
        owner = owner_of_id(message_id)
        is_immutable = message_id.startswith("AAkALg")
        if owner is None or (is_immutable and not self.prefer.immutable_ids):
            raise malformed_id()
        if owner != self.mailbox.mailbox_id:
            raise GraphError(
                404,
                "ErrorInvalidMailboxItemId",
                f"Item '{message_id}' doesn't belong to the targeted mailbox "
                f"'{self.mailbox.address}'.",
            )
        known_as = message_id if is_immutable else self.mailbox.by_rest_id.get(message_id, "")
        item = self.mailbox.items.get(known_as)
        if item is None or item.removed is not None:
            raise item_not_found()
        return item

    def changeable_item(self, message_id: str) -> Item:
        """As `item`, but not one out of the owner's reach."""
        item = self.item(message_id)
        if self.mailbox.folders[item.folder_id].well_known in _LOCKED_FOLDERS:
            raise access_denied()
        return item

    def folder(self, name_or_id: str) -> Folder:
        """Raises GraphError."""
        folder = self.mailbox.folder(name_or_id)
        if folder is not None:
            return folder
        raise malformed_id() if owner_of_id(name_or_id) is None else item_not_found()

    def answer(self, body: dict[str, Any], status: int = 200) -> JSONResponse:
        return json_answer(body, status, self.prefer)

    def context(self, suffix: str) -> str:
        """The part of @odata.context that names the user's resource."""
        return f"users('{quote(self.named)}')/{suffix}"


_LOCKED_FOLDERS = {"recoverableitemspurges", "recoverableitemsdiscoveryholds"}


def json_answer(
    body: dict[str, Any], status: int = 200, prefer: Preferences | None = None
) -> JSONResponse:
    headers = {"request-id": str(uuid.uuid4()), "OData-Version": "4.0"}
    if prefer is not None and prefer.applied:
        headers["Preference-Applied"] = prefer.applied
    return JSONResponse(body, status, headers=headers, media_type=_JSON_TYPE)


def no_content(prefer: Preferences) -> Response:
    headers = {"Preference-Applied": prefer.applied} if prefer.applied else {}
    return Response(status_code=204, headers=headers)


Gate = Callable[[str, Request], AsyncIterator[MailboxAccess]]


def mailbox_gate(state: TenantState, *, writes: bool) -> Gate:
    """A dependency: lets a call into the mailbox its path names, one slot for as long as it runs.

    Checks in the service's order: token, permission, the application's request budget, mailbox,
    its request budget, concurrency.
    """
    needed = _WRITE_MAIL if writes else _READ_MAIL

    async def gate(user: str, request: Request) -> AsyncIterator[MailboxAccess]:
        # A grant of RBAC for Applications adds to what the token tells, and is Exchange's alone.
        allowed_everywhere = bool(roles_of_caller(state, request) & needed)
        if not allowed_everywhere and not state.microsoft.grants:
            raise access_denied()
        wait = state.app_requests.spend("")
        if wait is not None:
            raise too_many_requests(math.ceil(wait.total_seconds()))
        mailbox = _mailbox(state, user)
        if not allowed_everywhere and not state.microsoft.may(needed, mailbox.address):
            raise access_denied()
        wait = state.mailbox_requests.spend(mailbox.mailbox_id)
        if wait is not None:
            raise throttled(
                math.ceil(wait.total_seconds()),
                "Application is over its RequestsPerMailbox limit.",
            )
        with state.mailbox_slots.hold(mailbox.mailbox_id) as granted:
            if not granted:
                raise throttled(1, "Application is over its MailboxConcurrency limit.")
            await asyncio.sleep(state.settings.latency_seconds)
            yield MailboxAccess(
                mailbox, user, read_preferences(request), state.settings.expired_delta_status
            )

    return gate


def named_user(state: TenantState, user: str) -> Mailbox | None:
    """By id or user principal name: not by a mail address that is another name."""
    found = state.store.mailbox(Provider.MICROSOFT365, user)
    if found is None or not found.sign_in_name:
        return found
    names = (found.mailbox_id, found.sign_in_name.lower())
    return found if user.lower() in names else None


def _mailbox(state: TenantState, user: str) -> Mailbox:
    mailbox = named_user(state, user)
    if mailbox is None and _GUID.fullmatch(user):
        raise GraphError(404, "ResourceNotFound", "Resource could not be discovered.")
    if mailbox is None:
        raise GraphError(404, "ErrorInvalidUser", f"The requested user '{user}' is invalid.")
    if mailbox.hosting is not Hosting.CLOUD:
        raise GraphError(
            404,
            "MailboxNotEnabledForRESTAPI",
            "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
        )
    return mailbox
