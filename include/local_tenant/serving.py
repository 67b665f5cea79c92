"""An application behind a socket of this machine, served from a thread."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


class TenantDidNotStart(RuntimeError):
    """The server ended, or was silent, before it took connections."""


@contextmanager
def serving(
    app: ASGIApp, listening: socket.socket, context: ssl.SSLContext | None = None
) -> Iterator[None]:
    """The server is ready when the block begins, and gone when it has ended.

    Plain HTTP without a TLS context. Answers carry no Date but the application's own. Raises
    TenantDidNotStart.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        date_header=False,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
        # A TLS connection a client keeps open would hold the end up for half a minute.
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="local-tenant")
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise TenantDidNotStart("the local tenant did not start; see its log")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS)
