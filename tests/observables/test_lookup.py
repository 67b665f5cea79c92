"""Indicators meet observables: the definition, its cases, and the join that must equal it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retract.model import RULE_TYPES
from retract.model import ObservableType as T
from retract.observables.lookup import Lookup, indicator_lookup, key, lookups_of, matches
from retract.observables.url import canonicalize


def join_finds(type_: T, observable: str, indicator: str) -> bool:
    """What the lake does: equal keys, equal texts, and exact-only indicators meet exact ones."""
    wanted = indicator_lookup(type_, indicator)
    return any(
        key(type_, seen.text) == key(type_, wanted.text)
        and seen.text == wanted.text
        and (seen.exact or not wanted.exact)
        for seen in lookups_of(type_, observable)
    )


@pytest.mark.parametrize(
    ("type_", "observable", "indicator", "expected"),
    [
        # a URL indicator means that URL
        (T.URL, "https://evil.example/login.php", "http://evil.example/login.php", True),
        (T.URL, "https://evil.example/login.php?id=7", "http://evil.example/login.php", True),
        (T.URL, "https://evil.example/login.php", "http://evil.example/login.php?id=7", False),
        (T.URL, "https://evil.example/other", "http://evil.example/login.php", False),
        (T.URL, "https://www.evil.example/login.php", "http://evil.example/login.php", True),
        (T.URL, "https://evil.example/login.php", "http://www.evil.example/login.php", False),
        (T.URL, "https://evil.example/Login.php", "https://evil.example/login.php", False),
        # … and what lies below it when it is a folder
        (T.URL, "https://evil.example/kit/a/b.html?x", "http://evil.example/kit/", True),
        (T.URL, "https://evil.example/kit", "http://evil.example/kit/", False),
        (T.URL, "https://evil.example/1/2/3/x", "http://evil.example/1/2/3/", True),
        (T.URL, "https://evil.example/1/2/3/4/x", "http://evil.example/1/2/3/4/", False),
        # … but a host root means that very page
        (T.URL, "https://evil.example/", "http://evil.example", True),
        (T.URL, "https://evil.example/login.php", "http://evil.example/", False),
        (T.URL, "https://evil.example/?id=7", "http://evil.example/", False),
        (T.URL, "https://www.evil.example/", "http://evil.example/", False),
        # … and never a shortener or a public suffix
        (T.URL, "https://t.co/abc", "https://t.co/xyz", False),
        (T.URL, "https://tenant.blogspot.com/p", "https://blogspot.com/p", False),
        (T.URL, "https://www.tenant.blogspot.com/p", "https://tenant.blogspot.com/p", True),
        (T.URL, "https://1.2.3.4/p", "https://2.3.4/p", False),
        # a domain indicator means the host and everything below it
        (T.DOMAIN, "evil.example", "EVIL.example.", True),
        (T.DOMAIN, "a.b.evil.example", "evil.example", True),
        (T.DOMAIN, "a.b.evil.example", "b.evil.example", True),
        (T.DOMAIN, "evil.example", "a.evil.example", False),
        (T.DOMAIN, "notevil.example", "evil.example", False),
        (T.DOMAIN, "tenant.blogspot.com", "blogspot.com", False),
        (T.DOMAIN, "shop.co.uk", "co.uk", False),
        (T.DOMAIN, "evil.com", "com", False),
        (T.DOMAIN, "bücher.example", "xn--bcher-kva.example", True),
        # addresses
        (T.EMAIL_ADDRESS, "Boss@Evil.example", "boss@evil.example", True),
        (T.EMAIL_ADDRESS, "boss@evil.example", "@evil.example", True),
        (T.EMAIL_ADDRESS, "boss@sub.evil.example", "@evil.example", False),
        (T.EMAIL_ADDRESS, "other@evil.example", "boss@evil.example", False),
        # the rest is exact
        (T.SHA256, "AB" * 32, "ab" * 32, True),
        (T.SHA256, "ab" * 32, "ab" * 31, False),
        (T.MD5, "ab" * 16, "ab" * 16, True),
        (T.DISPLAY_NAME, "IT  Support", "it support", True),
        (T.FILE_NAME, "Invoice.PDF", "invoice.pdf", True),
        (T.IP_ADDRESS, "1.2.3.4", "::ffff:1.2.3.4", True),
        (T.IP_ADDRESS, "1.2.3.4", "1.2.3.5", False),
        (T.IP_ADDRESS, "1.2.3.0/24", "1.2.3.0/24", False),
        # what is no value of its type meets nothing, not even itself
        (T.URL, "mailto:a@b.example", "mailto:a@b.example", False),
        (T.DOMAIN, "not a domain", "not a domain", False),
        (T.SHA1, "xyz", "xyz", False),
        (T.DISPLAY_NAME, " ", " ", False),
    ],
)
def test_matches(type_: T, observable: str, indicator: str, expected: bool) -> None:
    assert matches(type_, observable, indicator) is expected
    assert join_finds(type_, observable, indicator) is expected


@pytest.mark.parametrize(
    ("type_", "seen", "indicator", "expected"),
    [
        (T.IP_ADDRESS, "198.51.100.7", "198.51.100.0/24", True),
        (T.IP_ADDRESS, "198.51.100.7", "198.51.100.99/24", True),
        (T.IP_ADDRESS, "198.51.101.7", "198.51.100.0/24", False),
        (T.IP_ADDRESS, "::ffff:198.51.100.7", "198.51.100.0/31", False),
        (T.IP_ADDRESS, "::ffff:198.51.100.7", "64:ff9b::198.51.100.0/120", True),
        (T.IP_ADDRESS, "2001:db8:1::1", "2001:db8::/32", True),
        (T.IP_ADDRESS, "198.51.100.7", "2001:db8::/32", False),
        (T.IP_ADDRESS, "10.1.2.3", "10.0.0.0/8", False),
        (T.IP_ADDRESS, "172.16.0.1", "172.0.0.0/8", False),
        (T.IP_ADDRESS, "172.15.0.1", "172.0.0.0/8", True),
        (T.SUBJECT_PATTERN, "RE: Your  invoice 4711 is overdue", "*your invoice # is*", True),
        (T.SUBJECT_PATTERN, "RE: Your invoice 4711", "your invoice #", False),
        (T.SUBJECT_PATTERN, "invoice", "*invoice*", False),
        (T.DISPLAY_NAME_PATTERN, "IT\u200b Service Desk 24", "it service desk #", True),
    ],
)
def test_networks_and_campaign_rules_match_without_a_stored_lookup(
    type_: T, seen: str, indicator: str, expected: bool
) -> None:
    assert matches(type_, seen, indicator) is expected
    assert not join_finds(type_, seen, indicator)


# A small world, so that hosts are often related and paths often shared.
_LABELS = st.sampled_from(["a", "b", "www", "evil", "shop", "tenant"])
_SUFFIXES = st.sampled_from(["com", "co.uk", "blogspot.com", "example", "github.io"])
HOSTS = st.one_of(
    st.builds(
        lambda labels, suffix: ".".join([*labels, suffix]),
        st.lists(_LABELS, max_size=8),
        _SUFFIXES,
    ),
    st.sampled_from(["1.2.3.4", "[2001:db8::1]", "localhost"]),
)
_SEGMENTS = st.lists(st.sampled_from(["1", "2", "", "."]), max_size=6)
URLS = st.builds(
    lambda host, segments, slash, query: f"http://{host}/{'/'.join(segments)}{slash}{query}",
    HOSTS,
    _SEGMENTS,
    st.sampled_from(["", "/"]),
    st.sampled_from(["", "?", "?q=1", "?q=2"]),
)
ADDRESSES = st.builds(
    lambda local, host: f"{local}@{host}", st.sampled_from(["", "boss", "BOSS", "a"]), HOSTS
)


@given(URLS, URLS)
@example("http://a.a.a.a.a.a.evil.com/1/2?q=1", "http://a.a.a.evil.com/1/")
@example("http://a.a.a.a.a.a.evil.com/1/2?q=1", "http://a.a.a.a.evil.com/1/")
def test_the_join_equals_the_definition_for_urls(observable: str, indicator: str) -> None:
    assert join_finds(T.URL, observable, indicator) == matches(T.URL, observable, indicator)


# Any bytes a sender may put between the parts of a URL.
ROUGH_URLS = st.lists(
    st.sampled_from(
        [
            "http://", "https:", "/", "//", "..", ".", "?", "#", "%2e", "%2F", "%25", ":80", "@",
            "\\", "a", "b.evil.com", "evil.com", "co.uk", "1.2.3.4", "0x7f.1", "[::1]", "é", " ",
        ]
    ),
    max_size=10,
).map("".join)  # fmt: skip


@given(st.one_of(URLS, ROUGH_URLS, st.text()), st.one_of(URLS, ROUGH_URLS))
@example(";.0.0/0", "")
def test_what_a_url_is_looked_up_by_is_what_may_be_listed(url: str, other: str) -> None:
    """Each lookup, listed, meets the URL, by hash and by definition; a host's root only itself."""
    for found in lookups_of(T.URL, url):
        listed = f"http://{found.text}"
        met = matches(T.URL, url, listed)
        assert met is join_finds(T.URL, url, listed)
        if canonicalize(listed) != listed:  # a.0.0 is no address, but 0.0 would be one
            assert not met
            continue
        is_root = found.text.endswith("/") and found.text.count("/") == 1
        assert met or (is_root and not found.exact)
    assert matches(T.URL, url, other) is join_finds(T.URL, url, other)
    assert matches(T.URL, other, url) is join_finds(T.URL, other, url)


@given(URLS)
def test_a_listed_url_meets_itself(url: str) -> None:
    assert matches(T.URL, url, url)
    assert join_finds(T.URL, url, url)


@given(HOSTS, HOSTS)
@example("a." * 30 + "evil.com", "a." * 15 + "evil.com")
@example("a." * 30 + "evil.com", "a." * 16 + "evil.com")
def test_the_join_equals_the_definition_for_domains(observable: str, indicator: str) -> None:
    expected = matches(T.DOMAIN, observable, indicator)
    assert join_finds(T.DOMAIN, observable, indicator) == expected


@given(ADDRESSES, ADDRESSES)
def test_the_join_equals_the_definition_for_addresses(observable: str, indicator: str) -> None:
    expected = matches(T.EMAIL_ADDRESS, observable, indicator)
    assert join_finds(T.EMAIL_ADDRESS, observable, indicator) == expected


IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(str)


@given(st.one_of(IPV4, IPV6), st.one_of(IPV4, IPV6))
@example("1.2.3.4", "::ffff:1.2.3.4")
@example("64:ff9b::1.2.3.4", "::ffff:1.2.3.4")
def test_the_join_equals_the_definition_for_ip_addresses(observable: str, indicator: str) -> None:
    expected = matches(T.IP_ADDRESS, observable, indicator)
    assert join_finds(T.IP_ADDRESS, observable, indicator) == expected
    assert join_finds(T.IP_ADDRESS, observable, observable)


@given(st.sampled_from(list(T)), st.text(), st.text())
@example(T.SUBJECT_PATTERN, "00000000", "00000000")
def test_any_text_has_an_answer(type_: T, observable: str, indicator: str) -> None:
    expected = matches(type_, observable, indicator)
    assert join_finds(type_, observable, indicator) == (expected and type_ not in RULE_TYPES)
    lookups = lookups_of(type_, observable)
    assert [lookup.exact for lookup in lookups] == [True, *[False] * (len(lookups) - 1)][
        : len(lookups)
    ]
    assert all(lookup.text for lookup in lookups)


def test_an_invalid_indicator_has_the_empty_lookup() -> None:
    assert indicator_lookup(T.DOMAIN, "no domain") == Lookup("", exact=True)


def test_the_key_is_signed_64_bits_of_sha256() -> None:
    digest = hashlib.sha256(b"url\x1fevil.example/x").digest()
    assert key(T.URL, "evil.example/x") == int.from_bytes(digest[:8], "big", signed=True)
    keys = [key(T.URL, str(number)) for number in range(1000)]
    assert min(keys) < 0 < max(keys)
    assert all(-(2**63) <= one < 2**63 for one in keys)


def test_the_type_is_part_of_the_key() -> None:
    assert key(T.MD5, "ab" * 16) != key(T.FILE_NAME, "ab" * 16)
