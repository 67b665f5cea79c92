"""A call inside a batch: served by the same application, without a connection of its own.

By hand rather than through a client's in-process transport: a batch of twenty took five times
as long with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import Request

OUTER_SCOPE = "local_tenant.outer"
"""In the scope of an inner call: the scope of the batch it came in."""

_KEPT_IN_QUERIES = "%$&=+,;:@/?'()*!~-._"


@dataclass(frozen=True, slots=True)
class InnerAnswer:
    """What an inner call was answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


async def call_inside(
    outer: Request, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
) -> InnerAnswer:
    """Serve a call of the batch ``outer``, through the door as every call; ``target`` is its
    path with the query. An error of our own is answered with 500, as the server does."""
    url = urlsplit(target)
    scope: dict[str, Any] = {
        **{name: outer.scope[name] for name in ("type", "asgi", "http_version", "scheme")},
        **{name: outer.scope.get(name) for name in ("client", "server")},
        "root_path": "",
        "method": method,
        "path": unquote(url.path),
        "raw_path": quote(url.path, safe=_KEPT_IN_QUERIES).encode(),
        "query_string": quote(url.query, safe=_KEPT_IN_QUERIES).encode(),
        "headers": [
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            (b"content-length", str(len(body)).encode()),
        ],
        OUTER_SCOPE: outer.scope,
    }
    status, answered, chunks = 500, {}, []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status, answered
        if message["type"] == "http.response.start":
            status = message["status"]
            answered = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            chunks.append(message.get("body", b""))

    try:
        await outer.app(scope, receive, send)
    except Exception:  # noqa: BLE001  it was answered with 500, and logged, on its way here
        return InnerAnswer(500, {}, b"")
    return InnerAnswer(status, answered, b"".join(chunks))
