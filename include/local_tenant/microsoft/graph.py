"""Microsoft Graph v1.0: users, groups, their mail, and what was delivered.

After the reference pages of microsoft-graph-docs; the order of checks and the wording of
refusals as reported in its issue tracker.
"""

from __future__ import annotations

from fastapi import Request

from local_tenant.microsoft import (
    attachments,
    batch,
    changes,
    folders,
    groups,
    hunting,
    messages,
    users,
)
from local_tenant.microsoft.access import roles_of_caller
from local_tenant.microsoft.errors import GraphError, bad_request, not_emulated
from local_tenant.state import TenantState

PREFIX = "/v1.0"
PARTS = (users, groups, folders, messages, changes, attachments, hunting, batch)
"""The modules whose routers make up Graph, each below the prefix."""


def refusal(state: TenantState, request: Request, status: int) -> GraphError:
    """What Graph says to a path (404) or method (405) it does not have."""
    try:
        roles_of_caller(state, request)
    except GraphError as unauthenticated:
        return unauthenticated
    if status == 405:
        return GraphError(
            405,
            "Request_BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        )
    segments = [segment for segment in request.url.path.split("/") if segment][1:]
    if segments[:1] == ["me"]:
        return bad_request("/me request is only valid with delegated authentication flow.")
    # Resource names stand at every other place: users/{id}/messages/{id}/attachments/…
    names = segments[::2]
    unknown = next((name for name in names if name not in _SERVICE_SEGMENTS), None)
    if unknown is not None:
        return bad_request(f"Resource not found for the segment '{unknown}'.")
    return not_emulated(f"/{'/'.join(segments)}")


_SERVICE_SEGMENTS = {
    "attachments", "calendar", "calendars", "childFolders", "contacts", "copy", "createForward",
    "createReply", "createReplyAll", "events", "extensions", "forward", "groups",
    "inferenceClassification", "mailFolders", "mailboxSettings", "memberOf", "members",
    "messageRules", "messages", "move", "organization", "owners", "permanentDelete", "reply",
    "replyAll", "runHuntingQuery", "security", "send", "sendMail", "subscriptions",
    "transitiveMemberOf", "transitiveMembers", "translateExchangeIds", "users",
}  # fmt: skip
