from __future__ import annotations

import pytest

from retract.indicators.hold_back.names import (
    HostPatterns,
    all_parents,
    listed_name,
    parents,
    without_www,
)


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        ("www.example.com", "example.com"),
        ("www.www.example.com", "example.com"),
        ("www.gov.uk", "www.gov.uk"),
        ("www.com", "www.com"),
        ("www.blogspot.com", "www.blogspot.com"),
        ("wwwx.example.com", "wwwx.example.com"),
        ("www", "www"),
        ("", ""),
    ],
)
def test_without_www(host, bare):
    assert without_www(host) == bare


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (".Example.COM", "example.com"),
        ("www.example.com", "example.com"),
        ("verify.namecheap.com.", "verify.namecheap.com"),
        ("AAA", "aaa"),
        ("163.com", "163.com"),
    ],
)
def test_an_entry_is_looked_up_in_one_form(entry, name):
    assert listed_name(entry) == name


def test_parents_have_a_dot_and_come_nearest_first():
    assert parents("a.b.example.com") == ["b.example.com", "example.com"]
    assert parents("example.com") == parents("com") == parents("") == []
    assert all_parents(["a.b.example.com", "c.example.com", "example.org"]) == {
        "b.example.com",
        "example.com",
    }


def test_patterns_name_hosts_and_touch_what_is_above_them():
    patterns = HostPatterns(["one.a.example", "*.all.a.example", "www.w.example"])

    def said(host: str) -> tuple[bool, bool]:
        return patterns.names(host, parents(host)), patterns.touches(host, parents(host))

    assert said("one.a.example") == (True, True)
    assert said("x.one.a.example") == (False, False)
    assert said("x.y.all.a.example") == (True, True)
    assert said("all.a.example") == (False, True)
    assert said("a.example") == (False, True)
    assert said("w.example") == (True, True)
    assert said("other.example") == (False, False)
