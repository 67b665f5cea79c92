"""One spelling for what Graph takes in several: its paths, as clients write them.

Microsoft's SDKs write ``/v1.0//users`` (their base address ends with a slash), ``delta()`` for
``delta``, and ``graph.user`` for ``microsoft.graph.user``; the service takes all of them.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX = "/v1.0/"


class OneSpelling:
    """ASGI middleware: the application sees each path of Graph spelt one way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            scope["path"] = canonical(scope["path"])
        await self._app(scope, receive, send)


def canonical(path: str) -> str:
    """The path without empty segments, empty arguments and short names of types."""
    segments = (segment.removesuffix("()") for segment in path.split("/") if segment)
    named = (
        f"microsoft.{segment}" if segment.startswith("graph.") else segment for segment in segments
    )
    return "/" + "/".join(named)
