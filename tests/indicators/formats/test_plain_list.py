from __future__ import annotations

import pytest

from retract.errors import FeedError

LIST = b"""\xef\xbb\xbf# Phishing URLs
; another way to comment

hxxps://evil[.]example/login#top
https://evil.example/a#b   # seen yesterday
  HTTP://EVIL.example:80/C  \r
to be confirmed
https://b\xe9zier.example/
"""


def test_one_value_a_line_with_comments_and_odd_spelling(read):
    found = read("plain_list", LIST, type="url")

    assert found.values == [
        ("url", "https://evil.example/login"),
        ("url", "https://evil.example/a"),
        ("url", "http://evil.example/C"),
    ]
    assert [where for where, _ in found.rejected] == ["line 7", "line 8"]
    assert "not a valid url: 'to be confirmed'" in found.rejected[0].reason
    assert "not UTF-8" in found.rejected[1].reason


def test_the_type_decides_what_a_line_is(read):
    assert read("plain_list", "evil.example\n", type="domain").values == [
        ("domain", "evil.example")
    ]
    assert read("plain_list", "evil.example\n", type="url").values == [
        ("url", "http://evil.example/")
    ]


def test_without_a_type_each_line_shows_its_own(read):
    mixed = (
        f"evil.example\nhttps://evil.example/x\n{'ab' * 32}\n198.51.100.7:8080\nboss@evil.example"
    )

    assert [kind for kind, _ in read("plain_list", mixed).values] == [
        "domain",
        "url",
        "sha256",
        "ip_address",
        "email_address",
    ]


def test_networks_are_values(read):
    networks = "198.51.100.0/24\n2001:db8::/32\n"
    assert read("plain_list", networks, type="ip_address").values == [
        ("ip_address", "198.51.100.0/24"),
        ("ip_address", "2001:db8::/32"),
    ]


def test_utf_16_with_a_byte_order_mark_is_read(read):
    found = read("plain_list", "https://evil.example/ä\r\n".encode("utf-16"))
    assert found.values == [("url", "https://evil.example/%C3%A4")]


def test_an_empty_list_has_no_indicators(read):
    assert read("plain_list", b"# nothing today\n\n") == read("plain_list", b"") == ([], [], [])


def test_a_line_of_a_megabyte_is_rejected_alone_and_not_repeated(read):
    found = read("plain_list", "a.example\nhttps://evil.example/" + "a" * 2**20 + "\nb.example\n")

    assert found.values == [("domain", "a.example"), ("domain", "b.example")]
    assert found.rejected == [("line 2", "longer than 16384 characters")]


def test_a_last_line_that_was_cut_off_is_read_as_it_is(read):
    """Nothing tells: the jump guard and the number of rejected lines have to."""
    assert read("plain_list", "https://a.example/x\nhttps://b.exam").values[-1] == (
        "url",
        "https://b.exam/",
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "HTML page instead of data"),
        (b'{"type": "bundle", "objects": []}', "is JSON, not a plain list: set format to json"),
        (b'[{"url": "https://evil.example/"}]', "is JSON, not a plain list"),
        (b'\n[ "https://evil.example/"]', "is JSON, not a plain list"),
        (b"\x1f\x8b\x08\x00\x00", "packed with gzip"),
        (b"a.example\n\x00\x00\x00\x00\n", "binary data"),
    ],
)
def test_what_is_no_list_is_an_error_that_says_what_to_do(read, data, problem):
    with pytest.raises(FeedError, match=problem):
        read("plain_list", data)
