"""URLs in plain text, decoding, and the fingerprint."""

from __future__ import annotations

import pytest

from retract.observables.text import (
    bare_urls_in_text,
    decode,
    fingerprint,
    is_bare_url,
    urls_in_text,
)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("See http://a.example/b.", ["http://a.example/b"]),
        ("See <https://a.example/b?c=d&e> now", ["https://a.example/b?c=d&e"]),
        ('"http://a.example/b"', ["http://a.example/b"]),
        ("(http://a.example/b)", ["http://a.example/b"]),
        ("http://a.example/w(iki), so", ["http://a.example/w(iki)"]),
        ("[x](http://a.example/b)!!", ["http://a.example/b"]),
        ("*http://a.example/b*", ["http://a.example/b"]),
        ("http://a.example/b#frag…", ["http://a.example/b#frag"]),
        ("HTTPS://A.example and ftp://b.example/", ["HTTPS://A.example", "ftp://b.example/"]),
        ("http:\\\\a.example\\b", ["http:\\\\a.example\\b"]),
        ("请访问http://a.example/b进行", ["http://a.example/b进行", "http://a.example/b"]),
        ("见 http://a.example/b。", ["http://a.example/b"]),
        ("http://bücher.example/", ["http://bücher.example/"]),
        ("no links: a/b, http:, //, a@b.example", []),
    ],
)
def test_urls_with_a_scheme(text: str, urls: list[str]) -> None:
    assert list(urls_in_text(text)) == urls


def test_a_urldefense_link_is_kept_whole() -> None:
    url = "https://urldefense.com/v3/__https://a.example/*b__;Iw!!foo!bar$"
    assert list(urls_in_text(f"Click {url} now")) == [url]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("go to www.a.com now", ["www.a.com"]),
        ("go to a.com/login.", ["a.com/login"]),
        ("a.b.co.uk:8080/x?y", ["a.b.co.uk:8080/x?y"]),
        ("(EVIL.COM)", ["EVIL.COM"]),
        ("evil.com.", ["evil.com"]),
        ("www.a.zip and b.zip/x", ["www.a.zip", "b.zip/x"]),
        # sentences, files, addresses, parts of other URLs
        ("done.So what", []),
        ("archive.zip script.py notes.md", []),
        ("e.g. v1.2.3 file.unknowntld", []),
        ("joe@evil.com", []),
        ("http://evil.com/a.com/b.com?c.com", []),
        ("evil.co.uk.", ["evil.co.uk"]),
        ("1.2.3.4", []),
    ],
)
def test_bare_urls(text: str, urls: list[str]) -> None:
    assert list(bare_urls_in_text(text)) == urls


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("www.a.com", True),
        ("a.com/login", True),
        ("a.com", True),
        ("index.html", False),
        ("images/a.png", False),
        ("page.php?x=y", False),
        ("notes.md", False),
    ],
)
def test_link_targets_without_a_scheme(target: str, expected: bool) -> None:
    assert is_bare_url(target) is expected


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        ("é".encode(), "utf-8", "é"),
        (b"\xe9", "iso-8859-1", "é"),
        (b"\xe9", None, "é"),
        ("é".encode(), "us-ascii", "é"),
        (b"\xe9", "utf-8", "\ufffd"),
        ("你好".encode("gb18030"), "gb18030", "你好"),
        (b"a", "no-such-charset", "a"),
        (b"a", "a\x00b", "a"),
        (b"61", "hex", "61"),
        (b"a", "punycode", "a"),
        (b"a", "idna", "a"),
        (b"\x81", None, "\ufffd"),
    ],
)
def test_decode(data: bytes, charset: str | None, text: str) -> None:
    assert decode(data, charset) == text


LETTER = "Dear {name}, your parcel {number} is waiting. Pay at https://{host}/pay/{number} today!"


def test_a_campaign_has_one_fingerprint() -> None:
    one = fingerprint(LETTER.format(name="ann@a.example", number="A1", host="x.example"))
    two = fingerprint(LETTER.format(name="bob.b@c.example", number="B2", host="y.example"))
    assert one == two
    assert len(one) == 64
    assert one != fingerprint(LETTER.replace("parcel", "invoice"))


def test_white_space_case_and_width_do_not_count() -> None:
    words = "Your account is locked now"
    assert fingerprint(words) == fingerprint("  YOUR\n account is ｌｏｃｋｅｄ now ")


def test_too_few_words_have_no_fingerprint() -> None:
    assert fingerprint("Hello there, see below") == ""
    assert fingerprint("") == ""
