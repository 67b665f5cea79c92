from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.observables.refang import refang


@pytest.mark.parametrize(
    ("defanged", "value"),
    [
        ("hxxp://evil[.]example/a", "http://evil.example/a"),
        ("hXXps://evil[.]example", "https://evil.example"),
        ("h**p://evil.example", "http://evil.example"),
        ("hxtps://evil.example", "https://evil.example"),
        ("hxxps[:]//evil[.]example/x[.]php", "https://evil.example/x.php"),
        ("hxxps[://]evil(.)example", "https://evil.example"),
        ("fxp://evil{.}example/a", "ftp://evil.example/a"),
        ("evil[dot]example", "evil.example"),
        ("evil[.example", "evil.example"),
        ("bob[at]evil[.]example", "bob@evil.example"),
        ("bob(@)evil.example", "bob@evil.example"),
        ("203.0.113[.]7:8080/a", "203.0.113.7:8080/a"),
        ("evil\\.example", "evil.example"),
    ],
)
def test_the_usual_ways_to_defang_are_undone(defanged, value):
    assert refang(defanged) == value


@pytest.mark.parametrize(
    "value",
    [
        "https://0f12-dot-project.r.appspot.com/login",
        "https://a.example/hxxp/x(dot)y/b[at]c",
        "https://a.example/Foo_(bar)?u=http://b.example/a,b",
        "http://[2001:db8::1]/x",
        "evil.example",
        "bob@evil.example",
        "https://a.example/c:/users",
    ],
)
def test_what_is_not_defanged_comes_back_unchanged(value):
    assert refang(value) == value


@given(st.text())
def test_any_text_is_refanged_without_error(text):
    refang(text)
