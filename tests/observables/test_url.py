"""Canonical URLs and lookup expressions, against everything that is published about them."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retract.observables.url import canonicalize, lookup_expressions, split_canonical

# All 33 of "URLs and Hashing", Safe Browsing API v4, section "Canonicalization":
# https://developers.google.com/safe-browsing/v4/urls-hashing
PUBLISHED_V4 = [
    ("http://host/%25%32%35", "http://host/%25"),
    ("http://host/%25%32%35%25%32%35", "http://host/%25%25"),
    ("http://host/%2525252525252525", "http://host/%25"),
    ("http://host/asdf%25%32%35asd", "http://host/asdf%25asd"),
    ("http://host/%%%25%32%35asd%%", "http://host/%25%25%25asd%25%25"),
    ("http://www.google.com/", "http://www.google.com/"),
    (
        "http://%31%36%38%2e%31%38%38%2e%39%39%2e%32%36/%2E%73%65%63%75%72%65/"
        "%77%77%77%2E%65%62%61%79%2E%63%6F%6D/",
        "http://168.188.99.26/.secure/www.ebay.com/",
    ),
    (
        "http://195.127.0.11/uploads/%20%20%20%20/.verify/.eBaysecure=updateuserdataxplimnbqmn"
        "-xplmvalidateinfoswqpcmlx=hgplmcx/",
        "http://195.127.0.11/uploads/%20%20%20%20/.verify/.eBaysecure=updateuserdataxplimnbqmn"
        "-xplmvalidateinfoswqpcmlx=hgplmcx/",
    ),
    (
        "http://host%23.com/%257Ea%2521b%2540c%2523d%2524e%25f%255E00%252611%252A22%252833%252944_55%252B",
        "http://host%23.com/~a!b@c%23d$e%25f^00&11*22(33)44_55+",
    ),
    ("http://3279880203/blah", "http://195.127.0.11/blah"),
    ("http://www.google.com/blah/..", "http://www.google.com/"),
    ("www.google.com/", "http://www.google.com/"),
    ("www.google.com", "http://www.google.com/"),
    ("http://www.evil.com/blah#frag", "http://www.evil.com/blah"),
    ("http://www.GOOgle.com/", "http://www.google.com/"),
    ("http://www.google.com.../", "http://www.google.com/"),
    ("http://www.google.com/foo\tbar\rbaz\n2", "http://www.google.com/foobarbaz2"),
    ("http://www.google.com/q?", "http://www.google.com/q?"),
    ("http://www.google.com/q?r?", "http://www.google.com/q?r?"),
    ("http://www.google.com/q?r?s", "http://www.google.com/q?r?s"),
    ("http://evil.com/foo#bar#baz", "http://evil.com/foo"),
    ("http://evil.com/foo;", "http://evil.com/foo;"),
    ("http://evil.com/foo?bar;", "http://evil.com/foo?bar;"),
    ("http://\x01\x80.com/", "http://%01%80.com/"),
    ("http://notrailingslash.com", "http://notrailingslash.com/"),
    ("http://www.gotaport.com:1234/", "http://www.gotaport.com/"),
    ("  http://www.google.com/  ", "http://www.google.com/"),
    ("http:// leadingspace.com/", "http://%20leadingspace.com/"),
    ("http://%20leadingspace.com/", "http://%20leadingspace.com/"),
    ("%20leadingspace.com/", "http://%20leadingspace.com/"),
    ("https://www.securesite.com/", "https://www.securesite.com/"),
    ("http://host.com/ab%23cd", "http://host.com/ab%23cd"),
    ("http://host.com//twoslashes?more//slashes", "http://host.com/twoslashes?more//slashes"),
]

# The examples in the rules of the v5 page:
# https://developers.google.com/safe-browsing/reference/URLs.and.Hashing
PUBLISHED_V5 = [
    ("http://[2001:0db8:0000::1]/", "http://[2001:db8::1]/"),
    ("http://[::ffff:1.2.3.4]/", "http://1.2.3.4/"),
    ("http://[64:ff9b::1.2.3.4]/", "http://1.2.3.4/"),
]


def test_the_list_is_whole() -> None:
    assert len(PUBLISHED_V4) == 33


@pytest.mark.parametrize(("url", "canonical"), PUBLISHED_V4 + PUBLISHED_V5)
def test_published_vectors(url: str, canonical: str) -> None:
    assert canonicalize(url) == canonical


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        # any legal spelling of an IPv4 address
        ("http://0303.0177.0.013/", "http://195.127.0.11/"),
        ("http://0xc37f000b/", "http://195.127.0.11/"),
        ("http://0xC3.0x7F.0.0x0b:8080/", "http://195.127.0.11/"),
        ("http://195.127.11/", "http://195.127.0.11/"),
        ("http://195.8323083/", "http://195.127.0.11/"),
        ("http://１９５.１２７.０.１１/", "http://195.127.0.11/"),
        ("http://256.1.1.1/", "http://256.1.1.1/"),
        ("http://1.2.3.4.5/", "http://1.2.3.4.5/"),
        ("http://08.1.1.1/", "http://08.1.1.1/"),
        ("http://99999999999999999999/", "http://99999999999999999999/"),
        # IPv6
        ("http://[2001:DB8:0:0:0:0:0:1]:443/x", "http://[2001:db8::1]/x"),
        ("http://[fe80::1%25eth0]/", "http://[fe80::1]/"),
        ("http://[not an address]/", ""),
        # IDN, as browsers map it
        ("http://Bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4"),
        ("http://☃.com/", "http://xn--n3h.com/"),
        ("http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"),
        ("http://ＥＶＩＬ。example/", "http://evil.example/"),
        ("http://ev\u00adil.example/", "http://evil.example/"),
        ("http://℀.com/", ""),
        # who is really asked
        ("https://www.bank.example@evil.example/x", "https://evil.example/x"),
        ("https://bank.example%2F@evil.example/x", "https://evil.example/x"),
        ("https://a:b@evil.example:8443/x", "https://evil.example/x"),
        ("https:\\\\evil.example\\a\\b?c\\d", "https://evil.example/a/b?c\\d"),
        ("https:/evil.example/x", "https://evil.example/x"),
        ("https:evil.example/x", "https://evil.example/x"),
        ("//evil.example/x", "http://evil.example/x"),
        ("HTTPS://EVIL.example/Path", "https://evil.example/Path"),
        ("evil.example:8080/x", "http://evil.example/x"),
        ("ftp://evil.example/x", "ftp://evil.example/x"),
        ("http://evil.example?q", "http://evil.example/?q"),
        # paths
        ("http://h.example/a/./b/../c/", "http://h.example/a/c/"),
        ("http://h.example/../../x", "http://h.example/x"),
        ("http://h.example/a/%2E%2E/b", "http://h.example/b"),
        ("http://h.example/a/..?b/../c", "http://h.example/?b/../c"),
        # no host, no URL
        ("", ""),
        ("http://", ""),
        ("http:///", ""),
        ("http://.../", ""),
        ("http://:80/", ""),
        ("mailto:a@b.example", ""),
        ("javascript://b.example/%0aalert(1)", ""),
        ("data:text/html,<a href=http://b.example>", ""),
        ("cid:image001.png@01D", ""),
        ("tel:+123456", ""),
        ("#top", ""),
        # not Unicode, still an answer
        ("http://h.example/\udce9\ud800", "http://h.example/%E9%EF%BF%BD"),
    ],
)
def test_the_rules_beyond_the_vectors(url: str, canonical: str) -> None:
    assert canonicalize(url) == canonical


# "Suffix/Prefix Expressions" of the v4 page, all four examples.
@pytest.mark.parametrize(
    ("url", "expressions"),
    [
        (
            "http://a.b.c/1/2.html?param=1",
            {
                "a.b.c/1/2.html?param=1",
                "a.b.c/1/2.html",
                "a.b.c/",
                "a.b.c/1/",
                "b.c/1/2.html?param=1",
                "b.c/1/2.html",
                "b.c/",
                "b.c/1/",
            },
        ),
        (
            "http://a.b.c.d.e.f.g/1.html",
            {
                "a.b.c.d.e.f.g/1.html",
                "a.b.c.d.e.f.g/",
                "c.d.e.f.g/1.html",
                "c.d.e.f.g/",
                "d.e.f.g/1.html",
                "d.e.f.g/",
                "e.f.g/1.html",
                "e.f.g/",
                "f.g/1.html",
                "f.g/",
            },
        ),
        ("http://1.2.3.4/1/", {"1.2.3.4/1/", "1.2.3.4/"}),
        # the same, said of the v5 page's example host
        (
            "http://a.b.example.com/",
            {"a.b.example.com/", "b.example.com/", "example.com/"},
        ),
    ],
)
def test_published_expressions(url: str, expressions: set[str]) -> None:
    found = lookup_expressions(url)
    assert set(found) == expressions
    assert len(found) == len(expressions)


def test_expressions_never_widen_to_a_public_suffix() -> None:
    assert lookup_expressions("http://x.tenant.blogspot.com/p") == [
        "x.tenant.blogspot.com/p",
        "x.tenant.blogspot.com/",
        "tenant.blogspot.com/p",
        "tenant.blogspot.com/",
    ]
    assert lookup_expressions("http://a.b.co.uk/") == ["a.b.co.uk/", "b.co.uk/"]
    assert lookup_expressions("http://blogspot.com/p") == ["blogspot.com/p", "blogspot.com/"]


def test_the_longest_url_has_thirty_expressions() -> None:
    found = lookup_expressions("http://a.b.c.d.e.f.g.example.com/1/2/3/4/5/6.html?q=1")
    assert len(found) == len(set(found)) == 30
    assert found[0] == "a.b.c.d.e.f.g.example.com/1/2/3/4/5/6.html?q=1"


_PIECES = st.sampled_from(
    [
        "http://", "https:", "//", "/", "\\", "@", ":", "?", "#", "%", "%2", "%25", "%2F", "%3A",
        "%40", "%5B", "[", "]", "::1", ".", "..", "%2e", "\t", " ", "%20", "%00", "é", "ü", "。",
        "\x80", "%80", "%C2%80", "xn--", "0x7f", "127", "com", "evil.example", "ＡＢ", "℀",
        "\udc80", "\ud800", "a", "1", "ß", "\u00ad", "I\u0307", "co.uk", "{", "|", "^",
    ]
)  # fmt: skip
ANY_URL = st.one_of(
    st.text(),
    st.lists(_PIECES, max_size=12).map("".join),
    st.lists(_PIECES, max_size=12).map(lambda pieces: "http://" + "".join(pieces)),
)


@given(ANY_URL)
@example(".%5B")
def test_total_and_idempotent(url: str) -> None:
    canonical = canonicalize(url)
    assert canonicalize(canonical) == canonical
    assert canonical.isascii()
    assert canonical.isprintable()


@given(ANY_URL)
def test_expressions_start_with_the_exact_one(url: str) -> None:
    canonical = canonicalize(url)
    expressions = lookup_expressions(url)
    if not canonical:
        assert expressions == []
        return
    host, path, query = split_canonical(canonical)
    assert expressions[0] == host + path + query == canonical.partition("://")[2]
    assert len(set(expressions)) == len(expressions) <= 30
    assert all("/" in expression for expression in expressions)
    assert lookup_expressions(canonical) == expressions


@pytest.mark.parametrize(
    "url",
    [
        "http://h.example/" + "%25" * 50_000,
        "http://h.example/%" + "25" * 100_000,
        "http://" + "a." * 100_000 + "example/",
        "http://" + "é" * 100_000 + ".example/",
        "http://h.example/" + "/.." * 100_000,
        "http://" + "9" * 100_000 + "/",
        "http://" + "@" * 100_000 + "h.example/",
        "[" * 100_000,
        "http://h.example/" + "a/" * 100_000,
    ],
    ids=["escapes", "nested escapes", "labels", "idn", "dots", "digits", "at", "brackets", "deep"],
)
def test_length_costs_time_in_proportion(url: str) -> None:
    started = time.process_time()
    lookup_expressions(url)
    assert time.process_time() - started < 1.0
