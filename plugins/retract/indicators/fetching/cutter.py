"""A deadline that holds whatever a server does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Any, Self


class Cutter:
    """Cuts every connection when the time is over; a context manager, entered when it begins.

    httpx limits the time of a single read: a server that sends a byte of its headers now and then
    would hold us for days.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_over = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        with self._lock:
            for one in self._sockets:
                one.close()
            self._sockets.clear()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """httpx's trace extension: it tells of each connection that is made."""
        if event.endswith("connect_tcp.complete"):
            own = info["return_value"].get_extra_info("socket")
            # A duplicate: TLS takes the socket over, and leaves this object empty.
            with self._lock:
                self._sockets.append(own.dup())
            if self._is_over:
                self._cut()

    def _cut(self) -> None:
        self._is_over = True
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
