from __future__ import annotations

import pytest
from tests.indicators.formats.samples import FILTER_LIST

from retract.errors import FeedError


def test_rules_that_keep_from_opening_a_link_are_indicators(read):
    found = read("adblock", FILTER_LIST)

    assert found.values == [
        ("domain", "evil.example"),
        ("domain", "evil2.example"),
        ("domain", "evil3.example"),
        ("url", "http://evil.example/login.php?step=1"),
        ("url", "http://evil.example/folder/"),
        ("url", "http://evil.example/panel"),
        ("url", "https://exact.example/a"),
        ("url", "https://plain.example/kit.zip"),
        ("domain", "plain.example"),
        ("ip_address", "198.51.100.7"),
        ("ip_address", "2001:db8::7"),
        ("domain", "kit.example"),
        ("domain", "xn--bcher-kva.example"),
        ("url", "http://app.example/Path"),
    ]
    assert found.rejected == found.left_out == []


def test_a_whole_address_never_becomes_its_host(read):
    """A rule for one scheme and host says nothing of the sub-domains that a domain names."""
    assert read("adblock", "|https://exact.example^\n|https://exact.example/|").values == [
        ("url", "https://exact.example/"),
        ("url", "https://exact.example/"),
    ]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("@@||good.example^", "is an exception"),
        ("@@||good.example^$document", "is an exception"),
        ("##.banner", "hides or changes parts of a page"),
        ("example.org##.banner", "hides or changes"),
        ("example.org#@#.banner", "hides or changes"),
        ("example.org#?#div:has(> a)", "hides or changes"),
        ("example.org#$#body { overflow: auto }", "hides or changes"),
        ("example.org#%#window.x = 1", "hides or changes"),
        ('example.org$$script[tag-content="x"]', "hides or changes"),
        (r"/^https?:\/\/evil[0-9]+\.example\//", "a regular expression"),
        (r"/evil[0-9]{2}\.example/$document", "a regular expression"),
        ("||*.evil.example^", "a wildcard"),
        ("||evil.*^", "a wildcard"),
        ("||evil.example/*/kit^", "a wildcard"),
        ("*://evil.example/*", "a wildcard"),
        ("||evil.example^path", "a placeholder"),
        ("||evil.example/a^b", "a placeholder"),
        ("||evil.example:8080^", "one port of a host"),
        ("||evil.example:8080/", "one port of a host"),
        ("||evil.example^$third-party", "only in part: 'third-party"),
        ("||evil.example^$~third-party,document", "only in part: '~third-party"),
        ("||evil.example^$document,domain=a.example|b.example", "only in part: 'domain=a.example"),
        ("||evil.example^$~document", "only in part: '~document"),
        ("||evil.example^$dnstype=AAAA", "only in part: 'dnstype=aaaa'"),
        ("||evil.example^$denyallow=a.evil.example", "only in part: 'denyallow"),
        ("||evil.example^$removeparam=utm_source", "only in part: 'removeparam"),
        ("||evil.example^$badfilter", "only in part: 'badfilter"),
        ("||evil.example^$script,image", "for what a page asks for, not for links: 'script'"),
        ("/banner/ads.", "names no host"),
        ("-advert-", "names no host"),
        (".gif", "names no host"),
        ("||^", "names no host"),
        ("evil.example/kit.zip", "names no host"),
    ],
)
def test_other_rules_are_left_out_with_the_reason(read, rule, reason):
    found = read("adblock", f"||a.example^\n{rule}\n||b.example^\n")

    assert found.values == [("domain", "a.example"), ("domain", "b.example")]
    assert [where for where, _ in found.left_out] == ["line 2"]
    assert reason in found.left_out[0].reason


@pytest.mark.parametrize(
    ("blocked", "exception"),
    [
        ("||good.example^", "@@||good.example^"),
        ("||good.example^", "@@||good.example^$document"),
        ("||www.good.example^", "@@||good.example^"),
        ("||good.example/page", "@@||good.example^"),
        ("||good.example/page", "@@|http://good.example/page|"),
        ("||198.51.100.7/page", "@@||198.51.100.7^"),
        ("||good.example^", "||good.example^$badfilter"),
    ],
)
def test_what_the_list_excepts_is_not_listed_wherever_the_exception_stands(
    read, blocked, exception
):
    for text in (f"{blocked}\n{exception}\n", f"{exception}\n{blocked}\n"):
        found = read("adblock", text)
        assert found.listed == []
        assert "the list itself makes an exception of it" in {why for _, why in found.left_out}


@pytest.mark.parametrize(
    ("blocked", "exception"),
    [
        ("||evil.example^", "@@||good.evil.example^"),
        ("||evil.example^", "@@||vil.example^"),
        ("||evil.example^", "@@||evil.example^$generichide"),
        ("||evil.example^", "@@||evil.example^$script"),
        ("||evil.example^", "@@||evil.example/page"),
        ("||evil.example^", "@@||evil.example^$badfilter"),
        ("||evil.example^", "||evil.example^$script,badfilter"),
        ("||evil.example^$important", "@@||evil.example^"),
    ],
)
def test_an_exception_of_something_else_changes_nothing(read, blocked, exception):
    assert read("adblock", f"{exception}\n{blocked}\n").values == [("domain", "evil.example")]


def test_rules_that_depend_on_the_blocker_are_left_out(read):
    text = """\
!#if env_firefox
||a.example^
!#if ext_ublock
||b.example^
!#endif
||c.example^
!#endif
||d.example^
!#endif
!#include other.txt
||e.example^
"""
    found = read("adblock", text)
    assert found.values == [("domain", "d.example"), ("domain", "e.example")]
    assert {why for _, why in found.left_out} == {"stands between !#if and !#endif"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0.0.0.0 evil.example", "there is a space in it"),
        ("Too many requests, slow down", "there is a space in it"),
        ("||evil_example^", "not a valid domain"),
        ("||evil.example/" + "a" * 2**20, "longer than 16384"),
        ("||b\udce9zier.example^", "not UTF-8"),
        ("|https://", "not a valid url"),
    ],
)
def test_a_broken_line_is_rejected_alone(read, line, reason):
    text = f"||good.example^\r\n{line}\r\n||fine.example^\r\n"

    found = read("adblock", text.encode("utf-8", "surrogateescape"))

    assert found.values == [("domain", "good.example"), ("domain", "fine.example")]
    assert [where for where, _ in found.rejected] == ["line 2"]
    assert reason in found.rejected[0].reason


@pytest.mark.parametrize(
    "line", ["$a=" * 300_000, "||a.example^$" + "x," * 300_000, "@@" * 500_000, "|" * 2**20]
)
def test_a_line_of_a_megabyte_takes_no_long_time(read, line):
    found = read("adblock", f"||good.example^\n{line}\n")
    assert len(found.rejected) + len(found.left_out) == 1
    assert all(len(why) < 200 for _, why in (*found.rejected, *found.left_out))


def test_utf_16_and_a_missing_last_line_end_are_read(read):
    assert read("adblock", "||a.example^\r\n||b.example^".encode("utf-16")).values == [
        ("domain", "a.example"),
        ("domain", "b.example"),
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<html><body>moved</body></html>", "HTML page"),
        (b'{"message": "Not Found"}', "is JSON, not an adblock list"),
        (b"||evil.example^\n\x00", "binary data"),
    ],
)
def test_what_is_no_list_is_an_error(read, data, problem):
    with pytest.raises(FeedError, match=problem):
        read("adblock", data)
