"""The application: every service of the tenant on one origin."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from starlette.exceptions import HTTPException

from local_tenant import control
from local_tenant.doorway import Doorway
from local_tenant.google import batch, directory, gmail, groups, oauth
from local_tenant.microsoft import graph, identity
from local_tenant.microsoft.errors import GraphError
from local_tenant.microsoft.paths import OneSpelling
from local_tenant.state import TenantState


def make_app(state: TenantState) -> FastAPI:
    """The tenant as an ASGI application."""
    # Graph's paths must not answer to a slash too many with a redirect, nor show our own docs.
    app = FastAPI(title="Local tenant", openapi_url=None, redirect_slashes=False)
    for module in (control, oauth, batch, gmail, directory, groups, identity):
        app.include_router(module.make_router(state))
    for part in graph.PARTS:
        app.include_router(part.make_router(state), prefix=graph.PREFIX)

    app.add_middleware(Doorway, state=state)
    app.add_middleware(OneSpelling)

    @app.exception_handler(GraphError)
    async def graph_refusal(request: Request, error: GraphError) -> Response:
        return error.answer(state.clock(), request.headers.get("client-request-id", ""))

    @app.exception_handler(HTTPException)
    async def unknown_path_or_method(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith(f"{graph.PREFIX}/") and error.status_code in (404, 405):
            refusal = graph.refusal(state, request, error.status_code)
            return await graph_refusal(request, refusal)
        return await http_exception_handler(request, error)

    return app
