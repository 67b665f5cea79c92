from __future__ import annotations

import time

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
        ("evil [.] example", "evil.example"),
        ("evil [ dot ] example", "evil.example"),
        ("evil DOT example", "evil.example"),
        ("bob at evil dot example", "bob@evil.example"),
        ("bob [@] evil [.] example", "bob@evil.example"),
        ("bob{at}evil{dot}example", "bob@evil.example"),
        ("meow://evil.example/x", "http://evil.example/x"),
        ("meows://evil.example/x", "https://evil.example/x"),
        ("https[:]//www[.]evil[.]example[/]login[.]php", "https://www.evil.example/login.php"),
        ("https[:][/][/]evil.example", "https://evil.example"),
        ("https(:)//evil.example", "https://evil.example"),
        ("hxxps:\\\\evil[.]example\\a", "https://evil.example\\a"),
        ("h__p://evil.example", "http://evil.example"),
        ("ftp[:]//evil.example/a", "ftp://evil.example/a"),
        ("evil[.]example[:]8080/x", "evil.example:8080/x"),
        ("evil[.]example?x=(dot)", "evil.example?x=(dot)"),
        ("2001[:]db8[:][:]1", "2001:db8::1"),
        ("198[.]51[.]100[.]0/24", "198.51.100.0/24"),
        ("ｈｔｔｐｓ：／／ｅｖｉｌ．example／a", "https://evil.example/a"),
        ("evil。example", "evil.example"),
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
        "HTTPS://A.example/B",
        "https://a.example/a dot b/c at d",
        "https://a.example/search?q=evil(dot)example",
        "https://a.example/ａ／ｂ",
        "[2001:db8::1]:443",
        "198.51.100.0/24",
        "a.at",
        "dot.example",
    ],
)
def test_what_is_not_defanged_comes_back_unchanged(value):
    assert refang(value) == value


def test_real_urls_and_domains_come_back_unchanged(shared_data):
    feeds = sorted((shared_data / "feeds").glob("*.txt"))
    values = [line for feed in feeds for line in feed.read_text("utf-8").splitlines()]
    assert len(values) > 8_000
    assert [value for value in values if refang(value) != value] == []


DOTS = st.sampled_from(["[.]", "(.)", "{.}", "[dot]", "(DOT)", " [.] ", " dot ", "．", "[.", "\\."])
SCHEMES = st.sampled_from(["hxxp://", "hXXp[:]//", "http[://]", "meow://", "h**p://", "http:[//]"])


@given(
    st.lists(st.sampled_from(["evil", "a-dot-b", "at", "x1"]), min_size=2, max_size=5),
    st.data(),
    st.sampled_from(["", "/", "/a/b.php?c=(dot)&d=[at]", "?a b"]),
)
def test_what_was_defanged_in_any_mixed_way_is_undone(labels, data, rest):
    host = labels[0] + "".join(data.draw(DOTS) + label for label in labels[1:])
    assert refang(data.draw(SCHEMES) + host + rest) == f"http://{'.'.join(labels)}{rest}"


@pytest.mark.parametrize("unit", [" ", "[", "[.]", "(dot", " dot", "\\", "：", "http:[", "[/]"])
def test_length_costs_time_in_proportion(unit):
    started = time.process_time()
    refang(unit * 100_000)
    refang("hxxp://" + unit * 100_000)
    assert time.process_time() - started < 1.0


@given(st.text())
def test_any_text_is_refanged_without_error(text):
    refang(text)
