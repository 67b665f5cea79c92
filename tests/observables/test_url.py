"""Canonical URLs and lookup expressions, against everything that is published about them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retract.observables.url import canonicalize, lookup_expressions, split_canonical

_PUBLISHED = json.loads(
    (Path(__file__).parent / "data" / "safe_browsing.json").read_text(encoding="utf-8")
)
"""All vectors of "URLs and Hashing", Safe Browsing v4, section "Canonicalization", and the examples
in the rules of the v5 page."""

# What the browsers' and Google's own client's test files hold beyond those 33, by component:
# Chromium v4_protocol_manager_util_unittest.cc; Firefox TestUrlClassifierUtils.cpp; Google's
# safebrowsing (Go) urls_test.go; Internet Archive test_canonicalizer.py; Yandex "URL and
# hashing". Those of KDE's urlhashingtest.cpp and Epiphany's ephy-gsb-utils-test.c are all above.
CHROMIUM = [
    ("http://www.google.com/blah#fraq", "http://www.google.com/blah"),
    (
        "http://host.com/%257Ea%2521b%2540c%2523d%2524e%25f%255E00%252611%252A22%252833%252944_55%252B",
        "http://host.com/~a!b@c%23d$e%25f^00&11*22(33)44_55+",
    ),
    ("http://host%7d.com//twoslashes?more//slashes", "http://host}.com/twoslashes?more//slashes"),
    ("http://host.com/abc?val=xyz#anything", "http://host.com/abc?val=xyz"),
    ("http://abc:def@host.com/xyz", "http://host.com/xyz"),
    ("http://host%7d.com/abc/%2e%2e%2fdef", "http://host}.com/def"),
    (
        "http://.......host...com.....//abc/////def%2F%2F%2Fxyz",
        "http://host.com/abc/def/xyz",
    ),
    ("ftp://host.com/foo?bar", "ftp://host.com/foo?bar"),
    ("data:text/html;charset=utf-8,%0D%0A", ""),
    ("javascript:alert()", ""),
    ("mailto:abc@example.com", ""),
]
FIREFOX_HOSTS = [
    ("123.123.0.0.1", "123.123.0.0.1"),
    ("255.0.0.1", "255.0.0.1"),
    ("12.0x12.01234", "12.18.2.156"),
    ("012.034.01.055", "10.28.1.45"),
    ("0x12.0x43.0x44.0x01", "18.67.68.1"),
    ("167838211", "10.1.2.3"),
    ("3279880203", "195.127.0.11"),
    ("0x12434401", "18.67.68.1"),
    ("413960661", "24.172.137.213"),
    ("03053104725", "24.172.137.213"),
    ("030.0254.0x89d5", "24.172.137.213"),
    ("1.234.4.0377", "1.234.4.255"),
    ("1.2.3.00x0", "1.2.3.00x0"),
    ("10.192.95.89 xyz", "10.192.95.89%20xyz"),
    ("1.2.3.0x0", "1.2.3.0"),
    ("1.2.3.4", "1.2.3.4"),
    ("0x0000059", "0.0.0.89"),
    ("0x00000059", "0.0.0.89"),
    ("1.2.0x12fc", "1.2.18.252"),
    ("1.012345", "1.0.20.229"),
    ("abcd123;[]", "abcd123;[]"),
    ("abc.123", "abc.123"),
    ("abc..123", "abc.123"),
    ("trailing.", "trailing"),
    ("i love trailing dots....", "i%20love%20trailing%20dots"),
    (".leading", "leading"),
    ("..leading", "leading"),
    (".dots.", "dots"),
    (".both.", "both"),
    (".both..", "both"),
    ("..both.", "both"),
    ("..both..", "both"),
    ("..a.b.c.d..", "a.b.c.d"),
    ("..127.0.0.1..", "127.0.0.1"),
    ("AB CD 12354", "ab%20cd%2012354"),
    ("\1\2\3\4\112\177", "%01%02%03%04j%7F"),
    ("%00", "%00"),
    # Internet Archive
    ("017.0.0.1", "15.0.0.1"),
    ("10.0.258", "10.0.1.2"),
    ("1.2.3.256", "1.2.3.256"),
    ("www.t%EF%BF%BD%04.82.net", "www.t%EF%BF%BD%04.82.net"),
    # Google's client
    ("4294967295", "255.255.255.255"),
    ("google.com.:8080", "google.com"),
    ("google...com", "google.com"),
    ("..google.com", "google.com"),
    ("192.168.0.1:80", "192.168.0.1"),
    ("some%1bhost.com", "some%1Bhost.com"),
    ("W!eird<>Ho$^.com", "w!eird<>ho$^.com"),
    ("i.have.way.too.many.dots.com", "i.have.way.too.many.dots.com"),
    ("www.ümlat.com", "www.xn--mlat-zra.com"),
    ("[2001:470:1:18::114]", "[2001:470:1:18::114]"),
    (
        "[FEDC:BA98:7654:3210:FEDC:BA98:7654:3210]:80",
        "[fedc:ba98:7654:3210:fedc:ba98:7654:3210]",
    ),
]
FIREFOX_PATHS = [
    ("", ""),
    ("%25", "%25"),
    ("%25%32%35", "%25"),
    ("asdf%25%32%35asd", "asdf%25asd"),
    ("%%%25%32%35asd%%", "%25%25%25asd%25%25"),
    ("%25%32%35%25%32%35%25%32%35", "%25%25%25"),
    (
        "%257Ea%2521b%2540c%2523d%2524e%25f%255E00%252611%252A22%252833%252944_55%252B",
        "~a!b@c%23d$e%25f^00&11*22(33)44_55+",
    ),
    (
        "%31%36%38%2e%31%38%38%2e%39%39%2e%32%36/%2E%73%65%63%75%72%65/%77%77%77%2E%65%62%61%79"
        "%2E%63%6F%6D/",
        "168.188.99.26/.secure/www.ebay.com/",
    ),
    (
        "195.127.0.11/uploads/%20%20%20%20/.verify/.eBaysecure=updateuserdataxplimnbqmn-xplmvali"
        "dateinfoswqpcmlx=hgplmcx/",
        "195.127.0.11/uploads/%20%20%20%20/.verify/.eBaysecure=updateuserdataxplimnbqmn-xplmvali"
        "dateinfoswqpcmlx=hgplmcx/",
    ),
    ("%00", "%00"),
    ("%", "%25"),
    ("%xx", "%25xx"),
    ("%%", "%25%25"),
    ("%%%", "%25%25%25"),
    ("%%%%", "%25%25%25%25"),
    ("%1", "%251"),
    ("%1z", "%251z"),
    ("a%1z", "a%251z"),
    ("abc%d%e%fg%hij%klmno%", "abc%25d%25e%25fg%25hij%25klmno%25"),
    ("blah//blah", "blah/blah"),
    # Internet Archive
    ("%!A%21%21%25", "%25!A!!%25"),
    ("%2", "%252"),
    ("%25%", "%25%25"),
    ("%2525", "%25"),
    ("%252525", "%25"),
    # Google's client
    ("foo.html", "foo.html"),
    ("foo/.././bar/./../foo.html", "foo.html"),
    ("a/b/", "a/b/"),
    ("a/b/c", "a/b/c"),
    ("/a//b///c////", "a/b/c/"),
    ("%1b", "%1B"),
]
GOOGLE = [
    ("http%3A%2F%2Fwackyurl.com:80/", "http://wackyurl.com/"),
    ("ftp://ftp.myfiles.com/", "ftp://ftp.myfiles.com/"),
    ("http://www.google.com/q?r?s%3F", "http://www.google.com/q?r?s?"),
    ("", ""),
    (":", ""),
    ("/asdf", ""),
    ("/blah", ""),
    ("#ref", ""),
    ("/blah#ref", ""),
    ("?query#ref", ""),
    ("/blah?query#ref", ""),
    ("/blah;param", ""),
    ("http://#ref", ""),
    ("http://?query#ref", ""),
    ("mailto:bryner@google.com", ""),
]
OTHERS = [
    ("Bücher.ch:8080", "http://xn--bcher-kva.ch/"),  # Internet Archive, which keeps the port
    ("☃.com", "http://xn--n3h.com/"),
    (
        "http://%32%31%33%2e%31%38%30%2e%32%31%30%2e5/%2e%73%65%63%75%72%65%2f%77%77%77%2e%6d%6f"
        "%69%6b%72%75%67%2e%72%75/",
        "http://213.180.210.5/.secure/www.moikrug.ru/",
    ),  # Yandex
]

# Vectors of these files that this program decides otherwise, and why.
NOT_FOLLOWED = [
    # An IPv4 number too large is cut to its bits by an old inet_aton. No browser goes there
    # today (URL standard, "IPv4 number parser"): it is a host name that does not exist.
    ("http://276.2.3/", "http://276.2.3/", "Firefox and Google's client: http://20.2.0.3/"),
    ("http://39024579298/", "http://39024579298/", "Internet Archive: http://22.11.210.226/"),
    # The same inet_aton stops reading at a space; a browser refuses a host with a space.
    ("http://10.192.95.89 xy/", "http://10.192.95.89%20xy/", "Firefox: http://10.192.95.89/"),
    # One spelling for an address: IPv4-compatible IPv6 is deprecated and none of v5's two.
    ("http://[::192.9.5.5]/ipng", "http://[::c009:505]/ipng", "Google's client: [::192.9.5.5]"),
    # Browsers forgive any number of slashes behind http: and ask the host "blah".
    ("http:///blah?query#ref", "http://blah/?query", "Google's client: no host"),
    ("http:///blah;param", "http://blah;param/", "Google's client: no host"),
    # A slash ends the host, whatever Firefox's function for hosts alone would keep.
    ("http://<>.AS/-+", "http://<>.as/-+", "Firefox: a host named <>.as/-+"),
    # The v4 page keeps a lone question mark; Chromium and Google's client drop it, or the query.
    ("http://www.google.com/q?", "http://www.google.com/q?", "Chromium: http://www.google.com/q"),
    # A port takes no part in matching; Internet Archive keeps the unusual ones.
    ("http://www.gotaport.com:1234/", "http://www.gotaport.com/", "…: keeps :1234"),
]


def test_the_list_is_whole() -> None:
    assert len(_PUBLISHED["v4"]) == 33


@pytest.mark.parametrize(("url", "canonical"), _PUBLISHED["v4"] + _PUBLISHED["v5"])
def test_published_vectors(url: str, canonical: str) -> None:
    assert canonicalize(url) == canonical


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        *CHROMIUM,
        *((f"http://{host}/", f"http://{canonical}/") for host, canonical in FIREFOX_HOSTS),
        *((f"http://host/{path}", f"http://host/{canonical}") for path, canonical in FIREFOX_PATHS),
        *GOOGLE,
        *OTHERS,
    ],
)
def test_the_vectors_of_other_clients(url: str, canonical: str) -> None:
    assert canonicalize(url) == canonical


@pytest.mark.parametrize(("url", "canonical", "theirs"), NOT_FOLLOWED)
def test_where_other_clients_are_not_followed(url: str, canonical: str, theirs: str) -> None:
    assert canonicalize(url) == canonical
    assert theirs


def test_every_byte_is_escaped_or_kept_as_published() -> None:
    """Firefox's tests of unescaping and escaping go through all bytes but the null byte."""
    for byte in range(1, 256):
        character = chr(byte)
        kept = 0x20 < byte < 0x7F and character not in "#%"
        expected = character if kept else f"%{byte:02X}"
        if character in "/\\.":
            continue  # resolved in a path; "?" ends it, and is the same in a query
        for escape in (f"%{byte:02X}", f"%{byte:02x}"):
            assert canonicalize(f"http://host/a{escape}b") == f"http://host/a{expected}b"


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


# "Suffix/Prefix Expressions" of the v4 page, and of the v5 page with its registrable domains.
EXPRESSIONS_V4 = [
    (
        "http://a.b.c/1/2.html?param=1",
        "a.b.c/1/2.html?param=1 a.b.c/1/2.html a.b.c/ a.b.c/1/"
        " b.c/1/2.html?param=1 b.c/1/2.html b.c/ b.c/1/",
    ),
    (
        "http://a.b.c.d.e.f.g/1.html",
        "a.b.c.d.e.f.g/1.html a.b.c.d.e.f.g/ c.d.e.f.g/1.html c.d.e.f.g/ d.e.f.g/1.html d.e.f.g/"
        " e.f.g/1.html e.f.g/ f.g/1.html f.g/",
    ),
    ("http://1.2.3.4/1/", "1.2.3.4/1/ 1.2.3.4/"),
]
EXPRESSIONS_V5 = [
    (
        "http://a.b.com/1/2.html?param=1",
        "a.b.com/1/2.html?param=1 a.b.com/1/2.html a.b.com/ a.b.com/1/"
        " b.com/1/2.html?param=1 b.com/1/2.html b.com/ b.com/1/",
    ),
    (
        "http://a.b.c.d.e.f.com/1.html",
        "a.b.c.d.e.f.com/1.html a.b.c.d.e.f.com/ c.d.e.f.com/1.html c.d.e.f.com/"
        " d.e.f.com/1.html d.e.f.com/ e.f.com/1.html e.f.com/ f.com/1.html f.com/",
    ),
    ("http://1.2.3.4/1/", "1.2.3.4/1/ 1.2.3.4/"),
    ("http://example.co.uk/1", "example.co.uk/1 example.co.uk/"),
    ("http://a.b.example.com/", "a.b.example.com/ b.example.com/ example.com/"),
]
# Chromium and KDE; Firefox TestURLsAndHashing.cpp; Google's client.
EXPRESSIONS_OF_OTHERS = [
    (
        "http://a.b/saw-cgi/eBayISAPI.dll/",
        "a.b/saw-cgi/eBayISAPI.dll/ a.b/saw-cgi/ a.b/",
    ),
    ("1.2.3.4/?query=string", "1.2.3.4/?query=string 1.2.3.4/"),
    (
        "http://a.b.c/1/2.html?param=1/2",
        "a.b.c/1/2.html?param=1/2 a.b.c/1/2.html a.b.c/1/ a.b.c/"
        " b.c/1/2.html?param=1/2 b.c/1/2.html b.c/1/ b.c/",
    ),
    (
        "http://a.b.c/1/2/3/4/5/",
        "a.b.c/1/2/3/4/5/ a.b.c/1/2/3/ a.b.c/1/2/ a.b.c/1/ a.b.c/"
        " b.c/1/2/3/4/5/ b.c/1/2/3/ b.c/1/2/ b.c/1/ b.c/",
    ),
    (
        "http://a.b.c.d.e/1.html",
        "a.b.c.d.e/1.html a.b.c.d.e/ b.c.d.e/1.html b.c.d.e/ c.d.e/1.html c.d.e/ d.e/1.html d.e/",
    ),
    (
        "http://b.c/1/2/3.html?param=1/2",
        "b.c/1/2/3.html?param=1/2 b.c/1/2/3.html b.c/1/2/ b.c/1/ b.c/",
    ),
    (
        "http://[2001:470:1:18::114]/a/b",
        "[2001:470:1:18::114]/a/b [2001:470:1:18::114]/a/ [2001:470:1:18::114]/",
    ),
    (
        "[2001:470:1:18::114]/a/b",
        "[2001:470:1:18::114]/a/b [2001:470:1:18::114]/a/ [2001:470:1:18::114]/",
    ),
    ("http://1.2.3.4/a/b", "1.2.3.4/a/b 1.2.3.4/a/ 1.2.3.4/"),
    ("http://a.b/", "a.b/"),
    ("http://b/", "b/"),
    (
        "http://a.com/a/b/c/d/e.html?123",
        "a.com/a/b/c/d/e.html?123 a.com/a/b/c/d/e.html a.com/ a.com/a/ a.com/a/b/ a.com/a/b/c/",
    ),
    # Below, Google's client looks up six parents where the pages say four, and knows no public
    # suffixes: with it, also d.e.f.g.h.i/ and c.d.e.f.g.h.i/, and kita.tokyo.jp/ and tokyo.jp/.
    (
        "http://a.b.c.d.e.f.g.h.i/",
        "a.b.c.d.e.f.g.h.i/ e.f.g.h.i/ f.g.h.i/ g.h.i/ h.i/",
    ),
    (
        "http://a.b.c.d.e.f.kita.tokyo.jp",
        "a.b.c.d.e.f.kita.tokyo.jp/ c.d.e.f.kita.tokyo.jp/ d.e.f.kita.tokyo.jp/"
        " e.f.kita.tokyo.jp/ f.kita.tokyo.jp/",
    ),
    ("http://a.b/?", "a.b/? a.b/"),  # … and drops an empty query
    ("/asdf", ""),
]


@pytest.mark.parametrize(
    ("url", "expressions"), [*EXPRESSIONS_V4, *EXPRESSIONS_V5, *EXPRESSIONS_OF_OTHERS]
)
def test_published_expressions(url: str, expressions: str) -> None:
    found = lookup_expressions(url)
    assert sorted(found) == sorted(expressions.split())


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


# URLs as they are, most of them sound: what is canonical as it comes takes a way of its own.
_LABELS = st.text("abz09-_", min_size=1, max_size=5)
_NUMBERS = st.sampled_from(["0", "1", "01", "255", "256", "0x1f", "3279880203"])
_URL_HOSTS = st.one_of(
    st.lists(_LABELS, min_size=1, max_size=4).map(".".join),
    st.lists(_NUMBERS, min_size=1, max_size=5).map(".".join),
    st.sampled_from(["evil.example", "EVIL.example", "a..b", "[::1]", "xn--n3h.com", "é.example"]),
)
_URL_SEGMENTS = st.one_of(
    st.text("aZ0.~!$&'()*+,;=:@-_[]{}|^`\"<>", max_size=4),
    st.sampled_from(["", ".", "..", "...", ".a", "%2e", "%", " ", "\\", "é"]),
)
SOUND_URL = st.builds(
    lambda scheme, host, port, segments, query: f"{scheme}{host}{port}{segments}{query}",
    st.sampled_from(["http://", "https://", "HTTP://", "ftp://", "http:/", ""]),
    _URL_HOSTS,
    st.sampled_from(["", "", "", ":80", ":"]),
    st.lists(_URL_SEGMENTS.map("/".__add__), max_size=4).map("".join),
    st.sampled_from(["", "", "?", "?a=b&c[]=/../d", "?a?b//c", "?%41", "#a", "?a\\b"]),
)


@given(st.one_of(ANY_URL, SOUND_URL))
@example(".%5B")
@example("http%3A%2F%2F%41.example%23/a")
def test_total_and_idempotent(url: str) -> None:
    canonical = canonicalize(url)
    assert canonicalize(canonical) == canonical
    assert canonical.isascii()
    assert canonical.isprintable()
    assert canonical == "" or canonical.count("/") >= 3
    assert "#" not in canonical


@given(SOUND_URL)
@example("http://evil.example/a/..")
@example("http://evil.example/a/.?b")
@example("http://evil.example/.../a")
@example("http://1.2.3.04/")
@example("http://evil.0x1/")
def test_what_is_canonical_as_it_comes_is_so_by_the_rules(url: str) -> None:
    # The space in front makes it take the long way.
    assert canonicalize(url) == canonicalize(" " + url)


def test_canonicalizing_real_urls_twice_changes_nothing(shared_data: Path) -> None:
    lines = (shared_data / "feeds" / "phishing_database_links.txt").read_text("utf-8").splitlines()
    for line in lines:
        canonical = canonicalize(line)
        assert canonicalize(canonical) == canonical == canonicalize(" " + line)
        assert lookup_expressions(line)[0] == canonical.partition("://")[2]


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
        "http://" + "a." * 100_000 + "1/",
        "http://h.example" + "/.a" * 100_000 + "\\",
        "http%3A" + "%2F" * 100_000,
    ],
    ids=[
        "escapes",
        "nested escapes",
        "labels",
        "idn",
        "dots",
        "digits",
        "at",
        "brackets",
        "deep",
        "labels and a number",
        "nearly plain",
        "escaped scheme",
    ],
)
def test_length_costs_time_in_proportion(url: str) -> None:
    started = time.process_time()
    lookup_expressions(url)
    assert time.process_time() - started < 1.0
