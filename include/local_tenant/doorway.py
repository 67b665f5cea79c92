"""Leads every call through the tenant's door: outer ones, and those inside a batch."""

from __future__ import annotations

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local_tenant.state import TenantState, open_door


class Doorway:
    """ASGI middleware. Costs nothing as long as the door stands open."""

    def __init__(self, app: ASGIApp, state: TenantState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._state.door
        if scope["type"] != "http" or door is open_door:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await door(request, self._proceed)
        await response(scope, receive, send)

    async def _proceed(self, request: Request) -> Response:
        """The tenant's answer, whole. The door may have read the body before."""
        body = await request.body()
        response = Response()
        chunks: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.status_code = message["status"]
                response.raw_headers = list(message["headers"])
            else:
                chunks.append(message.get("body", b""))

        await self._app(request.scope, receive, send)
        response.body = b"".join(chunks)
        return response
