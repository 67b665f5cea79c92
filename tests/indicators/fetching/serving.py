"""A web server on loopback that says what a test wants, and remembers what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    target: str
    """Path and query, as they were sent."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


class Says(NamedTuple):
    """A response; its length is told unless the headers tell another."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed
    raw: Callable[[socket.socket], None] | None = None
    """Instead of all that: what to do with the connection."""


@dataclass
class Site:
    """A running server: ``answer`` is called for each request."""

    url: str
    answer: Callable[[Asked], Says]
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def site(answer: Callable[[Asked], Says]) -> Iterator[Site]:
    """Runs one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 64 * 1024
        disable_nagle_algorithm = True
        timeout = 10

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            running.asked.append(asked)
            said = running.answer(asked)
            if said.raw is not None:
                self.close_connection = True
                said.raw(self.connection)
                return
            # The base class would tell its own time beside the one that the headers tell.
            respond = self.send_response_only if "Date" in said.headers else self.send_response
            respond(said.status)
            for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        do_GET = do_HEAD = do_POST = handle_any  # noqa: N815  # the base class's names

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        # A client that hangs up is no error of the server's.
        def handle_error(self, *args: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    running = Site(f"http://127.0.0.1:{server.server_port}", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
