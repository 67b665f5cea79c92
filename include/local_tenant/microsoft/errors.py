"""What Graph answers when it refuses: one exception, one body."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from fastapi.responses import JSONResponse


class GraphError(Exception):
    """A refusal with Graph's status, code and message."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def answer(self, now: datetime, client_request_id: str = "") -> JSONResponse:
        """The response as Graph writes it."""
        request_id = str(uuid.uuid4())
        client_request_id = client_request_id or request_id
        body = {
            "error": {
                "code": self.code,
                "message": self.message,
                "innerError": {
                    "date": f"{now:%Y-%m-%dT%H:%M:%S}",
                    "request-id": request_id,
                    "client-request-id": client_request_id,
                },
            }
        }
        headers = {"request-id": request_id, "client-request-id": client_request_id}
        return JSONResponse(body, self.status, headers={**headers, **self.headers})


def bad_request(message: str) -> GraphError:
    return GraphError(400, "BadRequest", message)


def not_emulated(what: str) -> GraphError:
    """The service could do this; the local tenant cannot, and says so rather than guess."""
    return GraphError(501, "NotEmulated", f"The local tenant does not emulate {what}.")


def unauthenticated(message: str) -> GraphError:
    return GraphError(
        401,
        "InvalidAuthenticationToken",
        message,
        {
            "WWW-Authenticate": 'Bearer realm="", '
            'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
            'client_id="00000003-0000-0000-c000-000000000000"'
        },
    )


def access_denied() -> GraphError:
    """Exchange's refusal: no role for mail, or an item nobody may change."""
    return GraphError(
        403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."
    )


def insufficient_privileges() -> GraphError:
    """The directory's refusal."""
    return GraphError(
        403,
        "Authorization_RequestDenied",
        "Insufficient privileges to complete the operation.",
    )


def resource_not_found(name: str) -> GraphError:
    """The directory has no such object."""
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{name}' does not exist or one of its queried reference-property objects are "
        "not present.",
    )


def item_not_found() -> GraphError:
    return GraphError(
        404,
        "ErrorItemNotFound",
        "The specified object was not found in the store., "
        "The process failed to get the correct properties.",
    )


def malformed_id() -> GraphError:
    return GraphError(400, "ErrorInvalidIdMalformed", "Id is malformed.")


def throttled(retry_after_seconds: int, message: str) -> GraphError:
    return GraphError(
        429, "ApplicationThrottled", message, {"Retry-After": str(retry_after_seconds)}
    )


def too_many_requests(retry_after_seconds: int) -> GraphError:
    """Graph's own limit, over all mailboxes."""
    return GraphError(
        429, "TooManyRequests", "Too many requests.", {"Retry-After": str(retry_after_seconds)}
    )


def sync_state_not_found(status: int = 410) -> GraphError:
    """A delta token that leads nowhere any more.

    "410 Gone", and for Outlook "a 40X-series error with error codes such as syncStateNotFound":
    the delta query overview, which promises neither for good.
    """
    return GraphError(
        status,
        "SyncStateNotFound" if status == 410 else "syncStateNotFound",
        "The sync state generation is not found; generation=1;[highest=2][2].",
    )
