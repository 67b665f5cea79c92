from __future__ import annotations

import gzip
import io
import zipfile

import pytest
from tests.indicators.fetching.serving import Asked, Says

from retract.errors import FeedError
from retract.indicators.fetching.document import Marks

LIST = b"evil.example\nbad.example\n"


@pytest.fixture
def feed(serve):
    """A server that knows conditional requests, as RFC 9110 asks; ``feed.body`` may change."""

    def answer(asked: Asked) -> Says:
        etag, date = f'"{hash(site.body)}"', "Sat, 31 Jan 2026 08:00:00 GMT"
        if asked.headers.get("if-none-match") == etag:
            return Says(status=304)
        return Says(site.body, headers={"ETag": etag, "Last-Modified": date})

    site = serve(answer)
    site.body = LIST
    return site


def test_a_feed_is_fetched_once_and_then_only_when_it_changed(read, feed):
    first = read(feed.url + "/feed.txt")
    assert first.documents == [("127.0.0.1", LIST)]
    assert first.complete

    again = read(feed.url + "/feed.txt", first.marks)
    assert again.unchanged
    assert again.marks == first.marks
    assert feed.asked[-1].headers["if-modified-since"] == "Sat, 31 Jan 2026 08:00:00 GMT"

    feed.body = b"worse.example\n"
    third = read(feed.url + "/feed.txt", again.marks)
    assert third.data == [b"worse.example\n"]
    assert third.marks.etag != first.marks.etag


def test_the_first_reading_asks_without_conditions(read, feed):
    read(feed.url)
    assert not {"if-none-match", "if-modified-since"} & set(feed.asked[0].headers)


def test_last_modified_alone_is_enough(read, serve):
    def answer(asked: Asked) -> Says:
        date = "Sat, 31 Jan 2026 08:00:00 GMT"
        if asked.headers.get("if-modified-since") == date:
            return Says(status=304)
        return Says(LIST, headers={"Last-Modified": date})

    site = serve(answer)
    assert read(site.url, read(site.url).marks).unchanged


def test_a_server_without_conditional_requests_sends_the_same_bytes_which_are_no_change(
    read, serve
):
    site = serve(lambda asked: Says(LIST))
    first = read(site.url)
    assert (first.marks.etag, first.marks.last_modified) == ("", "")
    again = read(site.url, first.marks)
    assert again.unchanged
    assert again.marks == first.marks


def test_the_same_bytes_under_a_new_etag_are_no_change_and_the_new_etag_counts(read, serve):
    site = serve(lambda asked: Says(LIST, headers={"ETag": f'"{len(site.asked)}"'}))
    again = read(site.url, read(site.url).marks)
    assert again.unchanged
    assert again.marks.etag == '"2"'


def test_not_modified_without_having_been_asked_is_an_error(read, serve):
    site = serve(lambda asked: Says(status=304))
    with pytest.raises(FeedError, match="answers HTTP 304"):
        read(site.url)


@pytest.mark.parametrize("etag", ["x" * 5_000, '"\xe9"', '"a\tb"'])
def test_marks_that_could_not_be_sent_back_are_not_kept(read, serve, etag):
    site = serve(lambda asked: Says(LIST, headers={"ETag": etag}))
    assert read(site.url).marks.etag == ""


def test_a_packed_feed_is_unpacked_and_known_again(read, serve):
    site = serve(lambda asked: Says(gzip.compress(LIST, mtime=0)))
    first = read(site.url + "/feed.txt.gz")
    assert first.data == [LIST]
    assert read(site.url + "/feed.txt.gz", first.marks).unchanged


def test_an_archive_gives_its_files(read, serve):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writer:
        writer.writestr("csv.txt", LIST)
    site = serve(lambda asked: Says(packed.getvalue()))
    assert read(site.url + "/downloads/csv/").documents == [("127.0.0.1: csv.txt", LIST)]


def test_an_html_page_is_left_to_the_parser_to_refuse(read, serve):
    site = serve(lambda asked: Says(b"<!doctype html><title>Sign in</title>"))
    assert read(site.url).data == [b"<!doctype html><title>Sign in</title>"]


def test_an_empty_document_is_one(read, serve):
    site = serve(lambda asked: Says(b""))
    assert read(site.url).data == [b""]


def test_a_broken_archive_is_an_error_that_leaves_the_marks(read, serve):
    site = serve(lambda asked: Says(b"PK\x03\x04 and then nothing"))
    with pytest.raises(FeedError, match=r"127\.0\.0\.1 is a broken zip file"):
        read(site.url, Marks(etag='"old"'))
