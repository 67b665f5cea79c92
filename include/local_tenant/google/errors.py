"""How Google's services refuse: the JSON error body, and the route class that writes it.

The bodies are those clients report from the live services; their machine-readable part is
``error.errors[0].reason``, and only that tells a quota refusal from a policy refusal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from local_tenant.google.fields import FieldMask, InvalidFieldMask

_STANDARD_PARAMETERS = {
    "$.xgafv",
    "access_token",
    "alt",
    "callback",
    "fields",
    "key",
    "oauth_token",
    "prettyPrint",
    "quotaUser",
    "uploadType",
    "upload_protocol",
    "userIp",
}
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
}


class GoogleError(Exception):
    """A refusal in the shape all of Google's JSON services share."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        domain: str = "global",
        status: str | None = None,
        short_message: str | None = None,
        where: dict[str, str] | None = None,
        details: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers
        error: dict[str, Any] = {
            "code": code,
            "message": message,
            "errors": [
                {
                    "message": short_message or message,
                    "domain": domain,
                    "reason": reason,
                    **(where or {}),
                }
            ],
            "status": status or _STATUS_NAMES[code],
        }
        if details:
            error["details"] = details
        self.body = {"error": error}

    def response(self) -> Response:
        return google_json(self.body, self.code, self.headers)


def google_json(
    body: dict[str, Any], code: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A JSON answer with Google's spelling of the media type."""
    return Response(
        json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n",
        code,
        headers,
        media_type="application/json; charset=UTF-8",
    )


def no_content() -> Response:
    return Response(status_code=204)


def missing_credentials() -> GoogleError:
    return GoogleError(
        401,
        "required",
        "Request is missing required authentication credential. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential. "
        "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        short_message="Login Required.",
        where={"location": "Authorization", "locationType": "header"},
        headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'},
    )


def invalid_credentials() -> GoogleError:
    return GoogleError(
        401,
        "authError",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential. "
        "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        short_message="Invalid Credentials",
        where={"location": "Authorization", "locationType": "header"},
        headers={
            "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        },
    )


def insufficient_scopes(service: str, method: str, needed: frozenset[str]) -> GoogleError:
    return GoogleError(
        403,
        "insufficientPermissions",
        "Request had insufficient authentication scopes.",
        short_message="Insufficient Permission",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "domain": "googleapis.com",
                "metadata": {"service": service, "method": method},
            }
        ],
        headers={
            "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", '
            f'error="insufficient_scope", scope="{" ".join(sorted(needed))}"'
        },
    )


def forbidden(message: str) -> GoogleError:
    return GoogleError(403, "forbidden", message)


def not_found() -> GoogleError:
    return GoogleError(404, "notFound", "Requested entity was not found.")


def invalid_argument(message: str) -> GoogleError:
    return GoogleError(400, "invalidArgument", message)


def failed_precondition(message: str) -> GoogleError:
    return GoogleError(400, "failedPrecondition", message, status="FAILED_PRECONDITION")


def too_many_concurrent_requests() -> GoogleError:
    return GoogleError(429, "rateLimitExceeded", "Too many concurrent requests for user.")


def quota_exceeded(limit: str, project_id: str) -> GoogleError:
    """``limit`` is the quota's name, such as "Queries per minute per user"."""
    # A 403, and only the reason tells it from a lack of permission. Retry-After is not sent.
    return GoogleError(
        403,
        "rateLimitExceeded",
        f"Quota exceeded for quota metric 'Queries' and limit '{limit}' of service "
        f"'gmail.googleapis.com' for consumer 'projects/{project_id}'.",
        domain="usageLimits",
    )


def not_emulated(what: str) -> GoogleError:
    """Ours, not Google's: the real service would have an answer, the local tenant has none."""
    return GoogleError(501, "notImplemented", f"The local tenant does not emulate {what}.")


class GoogleRoute(APIRoute):
    """Refuses in Google's words, refuses parameters the method does not have, obeys ``fields``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        own_parameters = {field.alias for field in self.dependant.query_params}

        async def handle_like_google(request: Request) -> Response:
            try:
                for name in request.query_params:
                    if name not in own_parameters | _STANDARD_PARAMETERS:
                        raise invalid_request(
                            f'Unknown name "{name}": Cannot bind query parameter. '
                            f"Field '{name}' could not be found in request message."
                        )
                response = await handle(request)
                mask = request.query_params.get("fields")
                if not mask or not response.body:
                    return response
                kept = FieldMask.parse(mask).apply(json.loads(bytes(response.body)))
                return google_json(kept, response.status_code)
            except GoogleError as error:
                return error.response()
            except InvalidFieldMask as error:
                return GoogleError(
                    400,
                    "invalidParameter",
                    f"Invalid field selection {error}",
                    where={"location": "fields", "locationType": "parameter"},
                ).response()
            except RequestValidationError as error:
                return _invalid(error).response()

        return handle_like_google


def invalid_request(problem: str) -> GoogleError:
    """The request does not fit the method's message."""
    return GoogleError(
        400,
        "badRequest",
        f"Invalid JSON payload received. {problem}",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"description": f"Invalid JSON payload received. {problem}"}],
            }
        ],
    )


def _invalid(error: RequestValidationError) -> GoogleError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "extra_forbidden":
        return invalid_request(f'Unknown name "{name}": Cannot find field.')
    return invalid_request(f"Invalid value at '{name}': {first['msg']}")
