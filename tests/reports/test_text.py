"""Hostile text is fit to show, and what was harmless stays as it was."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retract.reports.text import clipped, defanged, spreadsheet_safe, visible, words

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)
HOSTILE_TEXT = st.text(
    st.sampled_from("aZ0 .:/@;,\t\r\n\"'=+-\u202e\u200b\u200d\u2066\x1b\x9b\u2028é的<&[]httpsw"),
    max_size=40,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gnp.exe\u202etxt.exe", "gnp.exe⟨U+202E⟩txt.exe"),
        ("\u2066isolated\u2069", "⟨U+2066⟩isolated⟨U+2069⟩"),
        ("Pay\u200bPal", "Pay⟨U+200B⟩Pal"),
        ("Pay\u200dPal", "Pay⟨U+200D⟩Pal"),
        ("soft\u00adhyphen", "soft⟨U+00AD⟩hyphen"),
        ("\x1b]0;title\x07", "⟨U+001B⟩]0;title⟨U+0007⟩"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("nul\x00", "nul⟨U+0000⟩"),
        ("two\r\nlines\u2028and\u2029more\x85\ttab", "two  lines and more  tab"),
        ("\ud800 alone", "⟨U+D800⟩ alone"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
    ],
)
def test_what_cannot_be_seen_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain, ASCII!",
        "Größe 5 €",
        "口座の確認",
        "עדכון חשבון",
        "می\u200cخواهم",
        "👩\u200d💻 works",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text


@given(ANY_TEXT)
def test_visible_text_holds_nothing_invisible(text: str) -> None:
    shown = visible(text)
    bad = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert bad <= {"\u200c", "\u200d"}
    shown.encode("utf-8")
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://evil.example/a.php?x=1", "hxxps://evil[.]example/a[.]php?x=1"),
        ("HTTP://EVIL.EXAMPLE", "HXXP://EVIL[.]EXAMPLE"),
        ("go to evil.com now", "go to evil[.]com now"),
        ("eve@mail.evil.co.uk", "eve@mail[.]evil[.]co[.]uk"),
        ("http://192.0.2.7:8080/", "hxxp://192[.]0[.]2[.]7:8080/"),
        ("evil。example", "evil[.]example"),
        ("xn--pypal-4ve.example", "xn--pypal-4ve[.]example"),
        ("http%3A//x http ://y", "http%3A//x hxxp ://y"),
        ("version 3.5, e.g. this. Then that... more", "version 3.5, e.g. this. Then that... more"),
    ],
)
def test_links_are_defanged(text: str, shown: str) -> None:
    assert defanged(text) == shown


# What makes links of plain text goes by a scheme, or by a name with a letter after a dot.
_LINKABLE = re.compile(r"https?:|[^\s.\[]\.[^\W\d_]{2}", re.IGNORECASE)


@example("0.A.A0")
@given(ANY_TEXT | HOSTILE_TEXT)
def test_nothing_is_left_to_make_a_link_of(text: str) -> None:
    shown = defanged(text)
    assert not _LINKABLE.search(shown)
    assert defanged(shown) == shown


@pytest.mark.parametrize(
    "payload",
    [
        "=cmd|' /C calc'!A0",
        '=HYPERLINK("http://evil.example","ok")',
        "+1+1",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(1+1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "  =1+1",
        '"=1+1',
        "＝1+1",
        "harmless;=1+1",
        'harmless; "=1+1',
        "a;b;@SUM(A1)",
    ],
)
def test_no_cell_is_a_formula(payload: str) -> None:
    safe = spreadsheet_safe(payload)
    for cell in safe.split(";"):
        assert not cell.lstrip(' "').startswith(("=", "+", "-", "@", "＝"))
    assert safe.replace("'", "") == visible(payload).replace("'", "")


@given(ANY_TEXT | HOSTILE_TEXT)
def test_any_text_is_safe_in_a_spreadsheet(text: str) -> None:
    safe = spreadsheet_safe(text)
    assert spreadsheet_safe(safe) == safe
    for cell in safe.split(";"):
        assert not re.match(r"[\s\"]*[=+\-@＝＋－＠]", cell)


def test_a_harmless_cell_stays_as_it_is() -> None:
    assert spreadsheet_safe("Re: a = b; 3-1 @ home") == "Re: a = b; 3-1 @ home"


def test_clipped_text_says_that_it_was_cut() -> None:
    assert clipped("abcdef", 6) == "abcdef"
    assert clipped("abcdefg", 6) == "abcde…"


def test_names_are_written_as_words() -> None:
    assert words("already_there") == "already there"
