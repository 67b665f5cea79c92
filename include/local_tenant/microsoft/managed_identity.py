"""The endpoints that give a program in Azure its tokens: App Service's, and that of a machine.

After "How to use managed identities for App Service", its REST endpoint reference, and "How to
use managed identities on an Azure VM to acquire an access token". Plain HTTP, as in Azure.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from local_tenant.microsoft.identity import GRAPH_AUDIENCES, issue_token
from local_tenant.serving import serving
from local_tenant.state import TenantState
from local_tenant.tls import HOST

_APP_SERVICE = "/msi/token"
_MACHINE = "/metadata/identity/oauth2/token"


@contextmanager
def managed_identity(state: TenantState, *, app_service: bool = True) -> Iterator[dict[str, str]]:
    """Serve the tenant's managed identity until the block ends.

    Yields the environment by which a program finds it: of App Service, or else of a machine.
    """
    header = secrets.token_hex(16)
    with socket.create_server((HOST, 0)) as listening, serving(_make_app(state, header), listening):
        origin = f"http://{HOST}:{listening.getsockname()[1]}"
        if app_service:
            yield {"IDENTITY_ENDPOINT": f"{origin}{_APP_SERVICE}", "IDENTITY_HEADER": header}
        else:
            yield {"AZURE_POD_IDENTITY_AUTHORITY_HOST": origin}


def _make_app(state: TenantState, header: str) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get(_APP_SERVICE)
    async def app_service(request: Request) -> Response:
        given = request.headers.get("x-identity-header", "")
        if not hmac.compare_digest(given.encode(), header.encode()):
            return JSONResponse({"statusCode": 401, "message": "Unauthorized"}, 401)
        if request.query_params.get("api-version") != "2019-08-01":
            message = "The parameter 'api-version' has an invalid value."
            return JSONResponse({"statusCode": 400, "message": message}, 400)
        if not _is_known(state, request) or not _resource(state, request):
            message = "No Managed Identity found for specified ClientId/ResourceId/PrincipalId."
            return JSONResponse({"statusCode": 400, "message": message}, 400)
        return JSONResponse(_token(state, request))

    @app.get(_MACHINE)
    async def machine(request: Request) -> Response:
        if request.headers.get("metadata", "").lower() != "true":
            return _refused("bad_request_102", "Required metadata header not specified")
        if not request.query_params.get("api-version"):
            return _refused("invalid_request", "Required query variable 'api-version' is missing")
        if not request.query_params.get("resource"):
            return _refused("invalid_request", "Required query variable 'resource' is missing")
        if not _is_known(state, request):
            return _refused("invalid_request", "Identity not found")
        if not _resource(state, request):
            wanted = request.query_params["resource"]
            return _refused(
                "invalid_resource",
                f"AADSTS500011: The resource principal named {wanted} was not found in the "
                f"tenant named {state.microsoft.tenant_id}.",
            )
        return JSONResponse(
            _token(state, request) | {"expires_in": _seconds(state), "ext_expires_in": "86399"}
        )

    return app


def _refused(error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, 400)


def _is_known(state: TenantState, request: Request) -> bool:
    """The system-assigned identity unless another is named; there is but one."""
    wanted = request.query_params.get("client_id")
    others = {"mi_res_id", "msi_res_id", "object_id", "principal_id"} & set(request.query_params)
    return wanted in (None, state.microsoft.managed_identity) and not others


def _resource(state: TenantState, request: Request) -> str:
    """The audience asked for; empty when it is none of this tenant."""
    wanted = request.query_params.get("resource", "").rstrip("/")
    return wanted if wanted in (*GRAPH_AUDIENCES, state.origin) else ""


def _seconds(state: TenantState) -> str:
    return str(int(state.token_lifetime.total_seconds()))


def _token(state: TenantState, request: Request) -> dict[str, Any]:
    audience = _resource(state, request)
    identity = state.microsoft.managed_identity
    expires = state.clock() + state.token_lifetime
    return {
        "access_token": issue_token(state, audience, state.microsoft.roles, client_id=identity),
        "client_id": identity,
        "expires_on": str(int(expires.timestamp())),
        "not_before": str(int(state.clock().timestamp())),
        "resource": audience,
        "token_type": "Bearer",
    }
