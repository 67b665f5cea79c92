from __future__ import annotations

import gzip
import logging
import socket
import ssl
import threading
import time
import traceback
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import trustme
from tests.indicators.fetching.serving import Says

from retract.errors import FeedError
from retract.indicators.fetching import limits
from retract.indicators.fetching.credentials import NO_CREDENTIALS, Credentials
from retract.indicators.fetching.http import HttpClient

SECRET = "hunter2/ünd&mehr"
PLAIN_SECRET = "hunter2-und-mehr"
KEY = Credentials(password=SECRET)
OK = Says(b"evil.example\n")


@pytest.fixture
def get(source):
    """Asks once, as a source at that URL would."""

    def get(url: str, credentials: Credentials = NO_CREDENTIALS, **settings):
        options = {key: settings.pop(key) for key in ("deadline",) if key in settings}
        if credentials != NO_CREDENTIALS:
            settings.setdefault("connection", "feeds")
        with HttpClient(source(location=url, **settings), credentials, **options) as client:
            return client.get(url)

    return get


def raw(*parts: bytes, pause: float = 0.0):
    """Sends these bytes, with a pause before each, and hangs up."""

    def send(connection: socket.socket) -> None:
        for part in parts:
            time.sleep(pause)
            try:
                connection.sendall(part)
            except OSError:
                return

    return Says(raw=send)


# --- what passes by itself is tried again ---


@pytest.mark.parametrize("trouble", [Says(status=503), Says(status=429), raw(b"")])
def test_a_busy_server_is_asked_again(get, serve, soon, trouble):
    site = serve(lambda asked: trouble if len(site.asked) == 1 else OK)
    assert get(site.url).body == OK.body
    assert len(site.asked) == 2


@pytest.mark.parametrize(
    ("status", "problem", "requests"),
    [
        (500, "after 3 tries: HTTP 500", 3),
        (429, "after 3 tries: HTTP 429", 3),
        (404, "answers HTTP 404: correct the location", 1),
        (403, r"refuses access \(HTTP 403\): does the feed need a key", 1),
        (204, "answers HTTP 204", 1),
        (206, "answers HTTP 206", 1),
    ],
)
def test_an_error_of_the_server_is_a_clear_error(get, serve, soon, status, problem, requests):
    site = serve(lambda asked: Says(status=status))
    with pytest.raises(FeedError, match=problem) as caught:
        get(site.url + "/feed?token=hunter2")
    assert len(site.asked) == requests
    assert "hunter2" not in str(caught.value), "what follows the host is not repeated"


def test_refused_credentials_are_told_from_missing_ones(get, serve):
    site = serve(lambda asked: Says(status=401))
    with pytest.raises(FeedError, match="the credentials of the connection are wrong"):
        get(site.url, Credentials(password="x"))


def test_a_server_is_given_the_time_that_it_asks_for(get, serve, soon):
    busy = Says(status=429, headers={"Retry-After": "1"})
    site = serve(lambda asked: busy if len(site.asked) == 1 else OK)
    started = time.monotonic()
    assert get(site.url).body == OK.body
    assert time.monotonic() - started >= 1


def test_a_time_to_wait_may_be_a_date_by_the_servers_own_clock(get, serve, soon):
    wait = {"Date": "Thu, 01 Jan 2015 00:00:00 GMT", "Retry-After": "Thu, 01 Jan 2015 02:00:00 GMT"}
    busy = raw(
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in wait.items()).encode()
        + b"\r\n"
    )
    site = serve(lambda asked: busy)
    with pytest.raises(FeedError, match="wants to be left alone for 7200 seconds"):
        get(site.url)


def test_a_wait_beyond_the_deadline_is_not_begun(get, serve):
    site = serve(lambda asked: Says(status=429, headers={"Retry-After": "3600"}))
    started = time.monotonic()
    with pytest.raises(FeedError, match=r"left alone for 3600 seconds \(HTTP 429\)"):
        get(site.url)
    assert len(site.asked) == 1
    assert time.monotonic() - started < 5


def test_nobody_listening_is_a_clear_error(get, soon):
    port = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    url = f"http://127.0.0.1:{port.server_port}/feed"
    port.server_close()
    with pytest.raises(FeedError, match="may this machine reach it"):
        get(url)


# --- bodies that are not what they say ---


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nevil.example\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevil.\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: twelve\r\n\r\nevil.example\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nevil.example\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    ],
    ids=["cut off", "chunks cut off", "no length", "two lengths", "no HTTP", "endless headers"],
)
def test_an_answer_that_breaks_off_or_is_none_is_no_feed(get, serve, soon, answer):
    site = serve(lambda asked: raw(answer))
    with pytest.raises(FeedError, match="after 3 tries") as caught:
        get(site.url)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_body_is_never_longer_than_it_says(get, serve):
    site = serve(lambda asked: raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil.example\n"))
    assert get(site.url).body == b"evil."


def test_a_feed_may_be_packed_for_the_way(get, serve):
    packed = Says(gzip.compress(OK.body), headers={"Content-Encoding": "gzip"})
    site = serve(lambda asked: packed)
    assert get(site.url).body == OK.body
    assert site.asked[0].headers["accept-encoding"] == "gzip"


def test_what_was_packed_for_the_way_and_cut_off_is_no_feed(get, serve):
    packed = Says(gzip.compress(OK.body)[:-6], headers={"Content-Encoding": "gzip"})
    site = serve(lambda asked: packed)
    with pytest.raises(FeedError, match="sent a broken gzip stream, or it was cut off"):
        get(site.url)


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "deflate", "zstd"])
def test_codings_that_nobody_asked_for_are_refused(get, serve, coding):
    site = serve(lambda asked: Says(OK.body, headers={"Content-Encoding": coding}))
    with pytest.raises(FeedError, match=rf"was not asked for \({coding}\)"):
        get(site.url)


def test_a_bomb_on_the_way_is_left_before_it_goes_off(get, serve, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 10_000_000)
    packed = gzip.compress(b"x" * 11_000_000)
    site = serve(lambda asked: Says(packed, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(FeedError, match="larger than 9 MiB when it is unpacked"):
        get(site.url)


def test_a_too_large_answer_is_not_read_to_its_end(get, serve, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    sent = []

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while len(sent) < 10_000:
                connection.sendall(b"x" * 10_000)
                sent.append(1)
        except OSError:
            pass

    site = serve(lambda asked: Says(raw=send))
    with pytest.raises(FeedError, match="sends more than 1000 bytes"):
        get(site.url)
    assert len(sent) < 5_000

    site = serve(lambda asked: raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"))
    with pytest.raises(FeedError, match="sends more than 1000 bytes"):
        get(site.url)


def test_all_answers_of_a_reading_count_together(source, serve, monkeypatch):
    monkeypatch.setattr(limits, "MAX_READING_BYTES", 30)
    site = serve(lambda asked: OK)
    with HttpClient(source(location=site.url), NO_CREDENTIALS) as client:
        client.get(site.url)
        client.get(site.url)
        with pytest.raises(FeedError, match="more than 30 bytes in this reading"):
            client.get(site.url)


# --- time ---


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *([b"x"] * 30), pause=0.2),
        raw(b"HTTP/1.1 200 OK\r\n", *([b"X-Drip: y\r\n"] * 30), pause=0.2),
        raw(b"", *([b"H"] * 30), pause=0.2),
    ],
    ids=["body", "headers", "status line"],
)
def test_a_server_that_drips_is_left_at_the_deadline(get, serve, answer):
    site = serve(lambda asked: answer)
    started = time.monotonic()
    with pytest.raises(FeedError, match="did not deliver within 1 seconds"):
        get(site.url, deadline=timedelta(seconds=1))
    assert time.monotonic() - started < 3


def test_a_connection_that_stands_only_after_the_deadline_is_cut_at_once(source):
    with HttpClient(source(location="https://x.example"), NO_CREDENTIALS) as client:
        client._cutter._cut()
        one, other = socket.socketpair()
        with one, other:
            stream = SimpleNamespace(get_extra_info=lambda name: one)
            client._cutter.watch("connection.connect_tcp.complete", {"return_value": stream})
            assert other.recv(1) == b"", "hung up"


def test_a_server_that_says_nothing_is_left_at_the_deadline(get, serve):
    site = serve(lambda asked: raw(b"", pause=5))
    started = time.monotonic()
    with pytest.raises(FeedError, match="did not deliver within 1 seconds"):
        get(site.url, deadline=timedelta(seconds=1))
    assert time.monotonic() - started < 3


# --- redirects ---


def redirect(target: str, status: int = 302) -> Says:
    return Says(status=status, headers={"Location": target})


def test_redirects_are_followed_but_not_for_ever(get, serve):
    answers = {"/old": redirect("/new"), "/new": OK, "/loop": redirect("/loop")}
    site = serve(lambda asked: answers[asked.path])
    assert get(site.url + "/old").body == OK.body
    with pytest.raises(FeedError, match="redirects more than 5 times"):
        get(site.url + "/loop")
    assert len(site.asked) == 2 + 6


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("ftp://files.example/feed", "redirects to ftp://files.example, which is not followed"),
        ("file:///etc/passwd", "which is not followed"),
        ("javascript:alert(1)", "redirects to what is no URL"),
        ("gopher://x\x7f/", "Invalid URL in location header"),
        ("http://[::1", "Invalid URL in location header"),
        ("//", "redirects more than 5 times"),
        ("http://" + "x" * 60_000, "is no name of a server"),
    ],
)
def test_redirects_lead_to_the_web_only(get, serve, soon, target, problem):
    site = serve(lambda asked: redirect(target))
    with pytest.raises(FeedError, match=problem) as caught:
        get(site.url)
    assert len(str(caught.value)) < 600


def test_credentials_do_not_go_along_to_another_server(get, serve):
    other = serve(lambda asked: OK if "auth-key" not in asked.headers else Says(status=500))
    site = serve(lambda asked: redirect(other.url + "/signed?x=1"))
    assert get(site.url, Credentials(password="k3y"), format="urlhaus").body == OK.body
    assert site.asked[0].headers["auth-key"] == "k3y"
    assert not any("k3y" in value for value in other.asked[0].headers.values())


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(password="k3y"),
        Credentials(login="a", password="k3y"),
        Credentials(password="k3y", header="X-Own"),
    ],
)
def test_credentials_of_any_kind_stay_with_their_server(get, serve, credentials):
    other = serve(lambda asked: Says(status=401))
    site = serve(lambda asked: redirect("/again" if asked.path == "/" else other.url))
    with pytest.raises(FeedError, match=r"credentials are for 127\.0\.0\.1 alone"):
        get(site.url + "/", credentials)
    kept = set(site.asked[0].headers.items()) & set(site.asked[1].headers.items())
    assert {"authorization", "x-own"} & {name for name, _ in kept}, "the same server gets them"
    assert not {"authorization", "x-own"} & set(other.asked[0].headers)


def test_another_server_is_not_asked_of_ones_own_accord(source, serve):
    other = serve(lambda asked: OK)
    with (
        HttpClient(source(location="https://feeds.example/{key}", connection="x"), KEY) as client,
        pytest.raises(FeedError, match=r"leads to 127\.0\.0\.1, another server"),
    ):
        client.get(other.url + "/{key}")
    assert not other.asked


# --- questions by POST ---


def test_a_question_may_be_posted(source, serve):
    site = serve(lambda asked: Says(b'{"response": []}'))
    with HttpClient(source(location=site.url), NO_CREDENTIALS) as client:
        answer = client.post(site.url + "/attributes/restSearch", {"to_ids": True})
    assert answer.json() == {"response": []}
    [asked] = site.asked
    assert (asked.method, asked.body) == ("POST", b'{"to_ids": true}')
    assert asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_posted_question_is_not_lost_on_a_redirect(source, serve, status):
    site = serve(lambda asked: redirect("/new", status))
    with (
        HttpClient(source(location=site.url), NO_CREDENTIALS) as client,
        pytest.raises(FeedError, match="redirects a question"),
    ):
        client.post(site.url, {})


def test_a_posted_question_goes_along_where_the_server_says_so(source, serve):
    site = serve(lambda asked: redirect("/new", 307) if asked.path == "/" else OK)
    with HttpClient(source(location=site.url), NO_CREDENTIALS) as client:
        client.post(site.url + "/", [1])
    assert site.asked[1].body == b"[1]"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "what 127.0.0.1 answers is no readable JSON"),
        (b"<html>Sign in</html>", "what 127.0.0.1 answers is an HTML page"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 10_000, "too long to be one"),
    ],
)
def test_what_is_no_json_is_a_clear_error(get, serve, body, problem):
    site = serve(lambda asked: Says(body))
    with pytest.raises(FeedError, match=problem):
        get(site.url).json()


# --- secrets ---


def test_the_key_stands_in_the_url_only_on_the_way(get, serve, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")  # Airflow, where it is imported, quiets it
    site = serve(lambda asked: OK)
    get(site.url + "/data/{key}/feed.csv?again={key}&token=in-the-file", KEY)
    assert site.asked[0].target == (
        "/data/hunter2%2F%C3%BCnd%26mehr/feed.csv?again=hunter2%2F%C3%BCnd%26mehr&token=in-the-file"
    )
    assert f'HTTP Request: GET {site.url}/… "HTTP/1.1 200 OK"' in caplog.text
    assert "hunter2" not in caplog.text
    assert "in-the-file" not in caplog.text


@pytest.mark.parametrize(
    "location", ["/{key}/feed", "/feed?key={key}", "/feed"], ids=["path", "query", "header"]
)
@pytest.mark.parametrize(
    "answer",
    [
        lambda asked: Says(status=500),
        lambda asked: Says(status=403),
        lambda asked: Says(status=418),
        lambda asked: raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        lambda asked: raw(f"{PLAIN_SECRET} is no status line\r\n\r\n".encode()),
        lambda asked: redirect(f"ftp://{PLAIN_SECRET}.example/"),
        lambda asked: redirect(f"http://127.0.0.1:1/{PLAIN_SECRET}"),
        lambda asked: redirect(asked.target),
        lambda asked: Says(b"", headers={"Content-Encoding": PLAIN_SECRET}),
        lambda asked: Says(f"<html>{PLAIN_SECRET}".encode()),
    ],
)
def test_no_error_and_no_log_line_holds_a_secret(get, serve, soon, caplog, location, answer):
    caplog.set_level(logging.DEBUG)
    site = serve(answer)
    with pytest.raises(FeedError) as caught:
        get(site.url + location, Credentials(login="ann", password=PLAIN_SECRET)).json()
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    # The tracebacks quote this file's own lines.
    told = "\n".join(line for line in told.splitlines() if "PLAIN_SECRET" not in line)
    assert PLAIN_SECRET not in told
    assert "YW5uOm" not in told, "nor its Basic form"


def test_a_location_may_not_have_its_key_in_the_host(get):
    with pytest.raises(FeedError, match="stands in the location's host"):
        get("https://{key}.feeds.example/", Credentials(password="x"))


def test_a_key_that_is_missing_is_a_clear_error(get):
    with pytest.raises(FeedError, match="give the Airflow connection one"):
        get("https://feeds.example/{key}", connection="feeds")


def test_a_proxy_with_a_password_that_is_wrong_is_not_repeated(get, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "nonsense://user:hunter2@proxy.example")
    with pytest.raises(FeedError, match="correct HTTP_PROXY") as caught:
        get("https://feeds.example/")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_proxy_from_the_environment_is_used(get, serve, monkeypatch):
    proxy = serve(lambda asked: OK)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert get("http://feeds.example/{key}", Credentials(password="k3y")).body == OK.body
    assert proxy.asked[0].target == "http://feeds.example/k3y"


def test_filters_and_sockets_do_not_outlive_the_reading(get, serve):
    site = serve(lambda asked: OK)
    get(site.url)
    assert not logging.getLogger("httpx").filters
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


# --- TLS ---


@contextmanager
def secure_server(answer):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/feed", authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def trusted(tmp_path, monkeypatch):
    def trust(authority: trustme.CA) -> None:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    return trust


def to_plain_http(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", "http://127.0.0.1:1/plain")
    request.send_header("Content-Length", "0")
    request.end_headers()


def test_a_certificate_nobody_vouches_for_is_refused(get, soon):
    with (
        secure_server(to_plain_http) as (url, _),
        pytest.raises(FeedError, match=r"(?i)certificate"),
    ):
        get(url)


def test_https_does_not_fall_back_to_http(get, trusted):
    with secure_server(to_plain_http) as (url, authority):
        trusted(authority)
        with pytest.raises(FeedError, match=r"redirects to http://127\.0\.0\.1, which is not"):
            get(url)


def test_a_server_that_drips_over_tls_is_left_at_the_deadline(get, trusted):
    def drip(request: BaseHTTPRequestHandler) -> None:
        for _ in range(30):
            time.sleep(0.2)
            request.wfile.write(b"H")

    with secure_server(drip) as (url, authority):
        trusted(authority)
        started = time.monotonic()
        with pytest.raises(FeedError, match="did not deliver within 1 seconds"):
            get(url, deadline=timedelta(seconds=1))
        assert time.monotonic() - started < 3
