from __future__ import annotations

import pytest

from retract.errors import FeedError
from retract.indicators.formats import plain_list

LIST = b"""\xef\xbb\xbf# Phishing URLs
; another way to comment

hxxps://evil[.]example/login#top
https://evil.example/a#b   # seen yesterday
  HTTP://EVIL.example:80/C  \r
to be confirmed
https://b\xe9zier.example/
"""


def test_one_value_a_line_with_comments_and_odd_spelling(source):
    parsed = plain_list.parse(LIST, source(type="url"))

    assert [listed.value for listed in parsed.indicators] == [
        "https://evil.example/login",
        "https://evil.example/a",
        "http://evil.example/C",
    ]
    assert [where for where, _ in parsed.rejected] == ["line 7", "line 8"]
    assert "not a valid url: 'to be confirmed'" in parsed.rejected[0].reason
    assert "not UTF-8" in parsed.rejected[1].reason


def test_the_type_decides_what_a_line_is(source):
    domains = plain_list.parse(b"evil.example\n", source(type="domain"))
    urls = plain_list.parse(b"evil.example\n", source(type="url"))

    assert domains.indicators[0].type == "domain"
    assert urls.indicators[0].value == "http://evil.example/"


def test_utf_16_with_a_byte_order_mark_is_read(source):
    parsed = plain_list.parse("https://evil.example/ä\n".encode("utf-16"), source())
    assert parsed.indicators[0].value == "https://evil.example/%C3%A4"


def test_an_empty_list_has_no_indicators(source):
    assert plain_list.parse(b"# nothing today\n\n", source()).indicators == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "HTML page instead of data"),
        (b'\n <?xml version="1.0"?>\n<html xmlns="x">', "HTML page instead of data"),
        (b'{"type": "bundle", "objects": []}', "is JSON, not a plain list"),
        (b'[{"url": "https://evil.example/"}]', "is JSON, not a plain list"),
        (b"\x1f\x8b\x08\x00\x00", "packed with gzip"),
        (b"PK\x03\x04\x14\x00", "packed with zip"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "binary data"),
        (b"\xff\xfea", "broken UTF-16"),
        (b"id,url,date\n1,https://evil.example/,2026\n2,https://b.example/,2026", "check format"),
        (b"Too many requests, slow down.\n", "1 unusable entries and 0 indicators"),
        (b"0.0.0.0 evil.example\n0.0.0.0 bad.example\n", "check format, type and columns"),
    ],
)
def test_what_is_no_list_is_an_error_that_says_what_to_do(source, data, problem):
    with pytest.raises(FeedError, match=problem):
        plain_list.parse(data, source(type="domain"))
