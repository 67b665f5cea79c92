"""Closing a connection in the middle of a call, as a broken gateway does."""

from __future__ import annotations

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_TRANSPORT = "local_tenant.transport"


def with_connections(app: ASGIApp) -> ASGIApp:
    """The application, able to close the connection a call came on, under uvicorn."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # ASGI knows no such thing; uvicorn's ``send`` is a method of what holds the connection.
        scope[_TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await app(scope, receive, send)

    return serve


class HangUp(Response):
    """No answer at all: the caller sees the connection end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope.get(_TRANSPORT)
        if transport is None:
            raise RuntimeError("there is no connection that could be closed")
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass
