"""Links and visible text of HTML, by tree and flat."""

from __future__ import annotations

import time

import pytest

from retract.observables.html import read_html

PAGE = """<!doctype html><html><head><title>T</title><style>a{background:url(//s.example)}</style>
<script>var u = "http://script.example/"</script>
<link rel="stylesheet" href="https://l.example/c.css"></head>
<body background="https://bg.example/b.png">
<!-- <a href="https://comment.example/">no</a> -->
<img src="https://i.example/p.png?a=1&amp;b=2">
<a href="https://a.example/x?y=1&amp;z=2">Pay http://shown.example/now here</a>
<map><area href="//area.example/"></map>
<form action="https://f.example/post"><button formaction="https://b.example/">Go</button></form>
<iframe src='https://frame.example/'></iframe>
<a href="mailto:a@b.example">m</a><a href="#top">t</a><a href="index.html">i</a>
<a href=" www.bare.com/login ">b</a><img src="cid:1"><img src="data:image/png;base64,AAAA">
<p>Visible &eacute; text</p></body></html>"""


def test_links_are_found_clicks_first() -> None:
    content = read_html(PAGE)
    assert content.pieces > 0
    assert content.links == (
        "https://a.example/x?y=1&z=2",
        "www.bare.com/login",
        "//area.example/",
        "https://f.example/post",
        "https://b.example/",
        "https://frame.example/",
        "https://l.example/c.css",
        "https://i.example/p.png?a=1&b=2",
        "https://bg.example/b.png",
    )


def test_text_is_what_a_reader_sees() -> None:
    text = read_html(PAGE).text
    assert "Pay http://shown.example/now here" in text
    assert "Visible é text" in text
    for hidden in ("script.example", "background", "comment.example"):
        assert hidden not in text


def test_flat_reading_finds_the_same_links() -> None:
    flat = read_html(PAGE, allowance=0)
    assert flat.pieces == 0
    # What is in comments counts too, when nobody builds the tree.
    assert set(flat.links) == {*read_html(PAGE).links, "https://comment.example/"}
    assert "Visible é text" in flat.text
    assert "script.example" not in flat.text


@pytest.mark.parametrize("allowance", [0, 20_000])
def test_relative_links_follow_the_base(allowance: int) -> None:
    page = '<base href="https://evil.example/kit/"><a href="../login.php?a">x</a><a href="/b">y</a>'
    assert set(read_html(page, allowance).links) == {
        "https://evil.example/login.php?a",
        "https://evil.example/b",
        "https://evil.example/kit/",
    }


def test_a_refresh_is_a_link() -> None:
    page = "<meta http-equiv=refresh content=\"0; URL='https://evil.example/go'\">"
    assert read_html(page).links == ("https://evil.example/go",)


@pytest.mark.parametrize(
    "page",
    [
        "<a " + " ".join(f"a{number}" for number in range(300_000)) + ">",
        "<a " + " ".join(f'a{number}=">"' for number in range(200_000)) + ">",
        "<div>" * 500_000,
        "<font a>" * 100_000 + "<p>x</p>" * 100_000,
        "<" * 2_000_000,
        "<!--" * 500_000,
        "<script" * 300_000,
        "<script>" * 300_000,
        "href=" * 400_000,
        'href="' * 400_000,
        "<base " * 300_000,
        "<a href='http://x.example/" + "a" * 3_000_000,
        "&#" * 1_000_000,
        "\x00\ud800" * 100_000,
    ],
    ids=[
        "attributes", "quoted attributes", "depth", "reconstruction", "openings", "comments",
        "script starts", "scripts", "unquoted", "quotes", "bases", "long", "entities", "no text",
    ],
)  # fmt: skip
def test_no_html_takes_long(page: str) -> None:
    started = time.process_time()
    read_html(page)
    assert time.process_time() - started < 4.0
