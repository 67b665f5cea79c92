"""The Date of each answer: by the tenant's clock, so that a client can tell how far it is off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def with_dates(app: ASGIApp, clock: Callable[[], datetime]) -> ASGIApp:
    """The application, its answers dated."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = format_datetime(clock().astimezone(UTC), usegmt=True)
                message["headers"] = [*message["headers"], (b"date", now.encode())]
            await send(message)

        await app(scope, receive, send_dated)

    return serve
