"""Sources to read, and a web server that delivers them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl
import pytest

from retract.indicators.feeds import FeedsFile, Source
from retract.indicators.hold_back.rules import NO_HOLD_BACK, HoldBack
from retract.indicators.merge import merge
from retract.indicators.refresh import read_source

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def source() -> Callable[..., Source]:
    """Makes a source; what is not said is unimportant."""

    def make(**settings: Any) -> Source:
        usual = {
            "name": "list",
            "format": "plain_list",
            "location": "/nowhere",
            "disposition": "malicious",
            "confidence": 80,
        }
        return Source.model_validate(usual | settings)

    return make


@pytest.fixture
def listed_now() -> Callable[..., pl.DataFrame]:
    """Reads the sources as a preview does: into a frame, without a lake."""

    def read(feeds: FeedsFile, now: datetime, hold_back: HoldBack = NO_HOLD_BACK) -> pl.DataFrame:
        snapshots = [read_source(one, now) for one in feeds.enabled]
        return merge(None, snapshots, now, feeds.enabled, hold_back=hold_back)

    return read


class WebServer:
    """Answers by path with what a test put there; counts the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []

    def deliver(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        """Answer this path with a body; returns its URL."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(body)

        self.answers[path] = answer
        return self.url + path


@pytest.fixture
def web() -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(self.path)
            server.answers[self.path](self)

        def log_message(self, *args: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = WebServer(f"http://127.0.0.1:{listener.server_port}")
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield server
    listener.shutdown()
    thread.join()
    listener.server_close()
