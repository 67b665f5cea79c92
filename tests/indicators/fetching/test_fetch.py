from __future__ import annotations

import gzip
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from retract.errors import FeedError
from retract.indicators.fetching import fetch
from retract.indicators.fetching.fetch import documents


@pytest.fixture
def get(source):
    return lambda location: list(documents(source(location=str(location))))


# --- files ---


def test_a_pattern_names_many_files_in_order(get, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", "other.csv"):
        (tmp_path / name).write_text(name, encoding="utf-8")

    assert get(tmp_path / "*.txt") == [("a.txt", b"a.txt"), ("b.txt", b"b.txt")]
    assert len(get(tmp_path / "**" / "*.txt")) == 3


def test_a_name_with_wildcard_characters_is_a_name_first(get, tmp_path):
    (tmp_path / "feed[1].txt").write_text("x", encoding="utf-8")
    assert get(tmp_path / "feed[1].txt") == [("feed[1].txt", b"x")]


def test_no_file_and_a_too_large_file_are_clear_errors(get, tmp_path, monkeypatch):
    with pytest.raises(FeedError, match=r"there is no file at .*none\.txt"):
        get(tmp_path / "none.txt")
    monkeypatch.setattr(fetch, "MAX_BYTES", 10)
    (tmp_path / "big.txt").write_bytes(b"x" * 11)
    with pytest.raises(FeedError, match=r"big\.txt is larger than"):
        get(tmp_path / "big.txt")


# --- http ---


def test_a_feed_is_fetched_and_unpacked(get, web):
    url = web.deliver("/feed?key=k", gzip.compress(b"evil.example\n"), Content_Encoding="gzip")
    assert get(url) == [("127.0.0.1", b"evil.example\n")]


def test_a_busy_server_is_asked_again(get, web):
    url = web.deliver("/feed", b"evil.example\n")
    good = web.answers["/feed"]

    def busy(request: BaseHTTPRequestHandler) -> None:
        web.answers["/feed"] = good
        request.send_response(503)
        request.send_header("Content-Length", "0")
        request.end_headers()

    web.answers["/feed"] = busy

    assert get(url)[0][1] == b"evil.example\n"
    assert len(web.requests) == 2


@pytest.mark.parametrize(
    ("status", "problem", "requests"),
    [
        (500, "after 3 tries: HTTP 500", 3),
        (429, "after 3 tries: HTTP 429", 3),
        (404, "answers HTTP 404: correct the location", 1),
        (403, r"refuses access \(HTTP 403\): does the feed need a key", 1),
        (204, "answers HTTP 204", 1),
    ],
)
def test_an_error_of_the_server_is_a_clear_error(get, web, status, problem, requests):
    url = web.deliver("/feed?key=hunter2", b"", status)
    with pytest.raises(FeedError, match=problem) as caught:
        get(url)
    assert len(web.requests) == requests
    assert "hunter2" not in str(caught.value), "a key in the URL is not repeated"


def test_an_answer_that_breaks_off_is_no_feed(get, web):
    url = web.deliver("/feed", b"evil.example\n", Content_Length="1000")
    with pytest.raises(FeedError, match="after 3 tries"):
        get(url)


def test_nobody_listening_is_a_clear_error(get, web):
    port = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    url = f"http://127.0.0.1:{port.server_port}/feed"
    port.server_close()
    with pytest.raises(FeedError, match="may this machine reach it"):
        get(url)


def test_a_too_large_answer_is_not_read_to_its_end(get, web, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 1000)
    with pytest.raises(FeedError, match="larger than"):
        get(web.deliver("/feed", gzip.compress(b"x" * 100_000), Content_Encoding="gzip"))


def test_redirects_are_followed_but_not_for_ever(get, web):
    web.deliver("/new", b"evil.example\n")
    assert get(web.deliver("/old", b"", 302, Location="/new"))[0][1] == b"evil.example\n"
    with pytest.raises(FeedError, match="redirects more than 5 times"):
        get(web.deliver("/loop", b"", 302, Location="/loop"))


def test_redirects_lead_to_the_web_only(get, web):
    with pytest.raises(FeedError, match=r"redirects to ftp://files\.example"):
        get(web.deliver("/feed", b"", 302, Location="ftp://files.example/feed"))
    with pytest.raises(FeedError, match="which is not followed"):
        get(web.deliver("/feed", b"", 302, Location="file:///etc/passwd"))


@pytest.fixture
def secure_url():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/plain")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/feed", authority
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_nobody_vouches_for_is_refused(get, secure_url):
    with pytest.raises(FeedError, match=r"(?i)certificate"):
        get(secure_url[0])


def test_https_does_not_fall_back_to_http(get, secure_url, tmp_path, monkeypatch):
    url, authority = secure_url
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(FeedError, match=r"redirects to http://127\.0\.0\.1, which is not followed"):
        get(url)
