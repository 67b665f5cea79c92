from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.model import ObservableType as Type
from retract.observables.lookup import canonical_value
from retract.observables.written import canonical


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("hxxps://Evil[.]example/A?b#c", Type.URL, "https://evil.example/A?b"),
        ("evil.example/path", Type.URL, "http://evil.example/path"),
        ("evil.example?x=1", Type.URL, "http://evil.example/?x=1"),
        ("//evil.example/path", Type.URL, "http://evil.example/path"),
        ("http://203.0.113.7:8080/a", Type.URL, "http://203.0.113.7/a"),
        ("ftp://evil.example/a", Type.URL, "ftp://evil.example/a"),
        ("EVIL.example.", Type.DOMAIN, "evil.example"),
        ("*.evil.example", Type.DOMAIN, "evil.example"),
        ("Bob@Evil.example", Type.EMAIL_ADDRESS, "bob@evil.example"),
        ("@evil.example", Type.EMAIL_ADDRESS, "@evil.example"),
        ("203.0.113.7", Type.IP_ADDRESS, "203.0.113.7"),
        ("2001:DB8::1", Type.IP_ADDRESS, "2001:db8::1"),
        ("A" * 32, Type.MD5, "a" * 32),
        ("A" * 40, Type.SHA1, "a" * 40),
        ("0" * 64, Type.SHA256, "0" * 64),
        # with a port, or as a network
        ("203.0.113.7:8080", Type.IP_ADDRESS, "203.0.113.7"),
        ("[2001:db8::1]:443", Type.IP_ADDRESS, "2001:db8::1"),
        ("evil.example:8443", Type.DOMAIN, "evil.example"),
        ("203.0.113.7/24", Type.IP_ADDRESS, "203.0.113.0/24"),
        ("203.0.113.7/32", Type.IP_ADDRESS, "203.0.113.7"),
        ("2001:db8::1/32", Type.IP_ADDRESS, "2001:db8::/32"),
        ("203[.]0[.]113[.]0/24", Type.IP_ADDRESS, "203.0.113.0/24"),
        ("203.0.113.7/a", Type.URL, "http://203.0.113.7/a"),
        # wrapped, or in a sentence
        ("<https://evil.example/a>", Type.URL, "https://evil.example/a"),
        ("<hxxps://evil[.]example/a>.", Type.URL, "https://evil.example/a"),
        ("“evil.example”,", Type.DOMAIN, "evil.example"),
        ("('evil.example');", Type.DOMAIN, "evil.example"),
        ("`203.0.113.7:80`.", Type.IP_ADDRESS, "203.0.113.7"),
        ("203.0.113.0/24,", Type.IP_ADDRESS, "203.0.113.0/24"),
        ("\ufeffevil.example\u200b", Type.DOMAIN, "evil.example"),
        ('"' + "A" * 40 + '",', Type.SHA1, "a" * 40),
        ("https://evil.example,", Type.URL, "https://evil.example/"),
        ("Bob Evil <Bob@Evil.example>", Type.EMAIL_ADDRESS, "bob@evil.example"),
        ("mailto:bob@evil.example?subject=a", Type.EMAIL_ADDRESS, "bob@evil.example"),
        # what belongs to a URL stays with it
        ("https://evil.example/a,", Type.URL, "https://evil.example/a,"),
        ("https://evil.example/a.", Type.URL, "https://evil.example/a."),
        ("https://evil.example/(a)", Type.URL, "https://evil.example/(a)"),
        ("https://evil.example/?a;", Type.URL, "https://evil.example/?a;"),
    ],
)
def test_the_type_shows_in_the_look(text, type_, value):
    assert canonical("auto", text) == (type_, value)


def test_a_stated_type_wins_over_the_look():
    assert canonical(Type.URL, "evil.example") == (Type.URL, "http://evil.example/")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("auto", ""),
        ("auto", "to be confirmed"),
        ("auto", "n/a"),
        ("auto", "{"),
        ("auto", "<td>"),
        ("auto", "bob@"),
        (Type.URL, "to be confirmed"),
        (Type.URL, "localhost/x"),
        (Type.URL, "/wp-login.php"),
        (Type.URL, "javascript:alert(1)"),
        (Type.URL, "gopher://evil.example/"),
        (Type.URL, "https://"),
        (Type.DOMAIN, "http://evil.example/"),
        (Type.DOMAIN, "0.0.0.0 evil.example"),
        (Type.DOMAIN, "203.0.113.7"),
        (Type.EMAIL_ADDRESS, "evil.example"),
        (Type.IP_ADDRESS, "203.0.113.0/255.255.255.0"),
        (Type.SHA256, "0" * 40),
        (Type.MD5, "z" * 32),
        (Type.URL, "https://evil.example/" + "a" * 20_000),
        (Type.URL, "https://evil.example/\udce9"),
        (Type.FILE_NAME, "  "),
    ],
)
def test_what_is_no_such_indicator_is_refused_with_a_reason(kind, text):
    with pytest.raises(ValueError, match=r"\w"):
        canonical(kind, text)


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("auto", "198.51.100.7/255.255.255.0", "address/prefix length"),
        ("auto", "0.0.0.0/0", "too wide"),
        (Type.IP_ADDRESS, "10.0.0.0/8", "private"),
        (Type.SUBJECT_PATTERN, "*invoice*", "fewer than 8 letters"),
        (Type.DISPLAY_NAME_PATTERN, "support #1", "beside a digit"),
        (Type.DISPLAY_NAME, "\u200b", "empty"),
        (Type.DISPLAY_NAME, "a\x00b", "unprintable"),
    ],
)
def test_the_reason_says_what_to_change(kind, text, reason):
    with pytest.raises(ValueError, match=reason):
        canonical(kind, text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Type.SUBJECT_PATTERN, "  *Your  INVOICE # * ", "*your invoice # *"),
        (Type.DISPLAY_NAME_PATTERN, "IT\u200b Service?Desk", "it service?desk"),
        (Type.DISPLAY_NAME, "IT [dot] Support", "it [dot] support"),
        (Type.FILE_NAME, "(invoice).PDF", "(invoice).pdf"),
    ],
)
def test_names_and_rules_are_taken_as_they_are(kind, text, value):
    assert canonical(kind, text) == (kind, value)


def test_real_urls_and_domains_keep_their_meaning(shared_data):
    for name, kind in (("links", Type.URL), ("domains", Type.DOMAIN)):
        feed = shared_data / "feeds" / f"phishing_database_{name}.txt"
        for line in feed.read_text("utf-8").splitlines():
            try:
                assert canonical(kind, line) == (kind, canonical_value(kind, line))
            except ValueError:  # what names no public host: counted elsewhere
                continue


@given(st.sampled_from(["auto", *Type]), st.text())
def test_any_text_gives_an_indicator_or_a_reason(kind, text):
    try:
        type_, value = canonical(kind, text)
    except ValueError:
        return
    assert value
    assert kind in ("auto", type_)
    assert canonical(type_, value) == (type_, value), "a canonical value stays as it is"


def test_a_link_that_a_mail_gateway_wrapped_is_the_link_inside():
    wrapped = (
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.example%2Fa"
        "&data=05%7C01%7Cann%40good.example&reserved=0"
    )
    twice = f"https://urldefense.com/v3/__{wrapped}__;!!abc!def$"
    for text in (wrapped, twice, twice.replace("https", "hxxps", 1)):
        assert canonical("auto", text) == (Type.URL, "https://evil.example/a")


def test_what_a_redirector_leads_to_is_not_listed_with_it():
    text = "https://www.google.com/url?q=https://good.example/news/today"
    assert canonical("auto", text) == (Type.URL, text)
