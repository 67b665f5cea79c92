from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.model import ObservableType as Type
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


@given(st.sampled_from(["auto", *Type]), st.text())
def test_any_text_gives_an_indicator_or_a_reason(kind, text):
    try:
        type_, value = canonical(kind, text)
    except ValueError:
        return
    assert value
    assert kind in ("auto", type_)
    assert canonical(type_, value) == (type_, value), "a canonical value stays as it is"
