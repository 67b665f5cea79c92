"""Links and visible text of an HTML body.

The HTML parser's time grows with the square of a tag's attributes and of open elements, so
what could be built to exploit that is read flat instead: attributes and text by pattern, in
linear time. Both ways find the same links in ordinary mail.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from retract.observables.text import MAX_URL_IN_TEXT, is_bare_url

MAX_PIECES_FOR_THE_PARSER = 20_000
"""Tags, or gaps in which an attribute could start: at most 0.7 s of parsing."""
_SURELY_FEW_CHARACTERS = 2 * MAX_PIECES_FOR_THE_PARSER
"""HTML this short cannot hold more pieces: each takes two characters."""
_GAPS = re.compile(r"[\s/\"']+")

# Where a click or a look leads, most telling first: the number of URLs kept is bounded.
_LINKS = (
    ("a", "href"),
    ("area", "href"),
    ("form", "action"),
    ("button", "formaction"),
    ("input", "formaction"),
    ("iframe", "src"),
    ("frame", "src"),
    ("object", "data"),
    ("embed", "src"),
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("input", "src"),
    ("body", "background"),
    ("table", "background"),
    ("td", "background"),
)
_LINK_ELEMENTS = ",".join(f"{tag}[{attribute}]" for tag, attribute in _LINKS)
_RANK = {pair: rank for rank, pair in enumerate(_LINKS)}
_ATTRIBUTES_OF: dict[str, tuple[str, ...]] = {
    tag: tuple(attribute for other, attribute in _LINKS if other == tag)
    for tag in {tag for tag, _ in _LINKS}
}
_INVISIBLE = ["head", "script", "style", "template", "title"]

_REFRESH = re.compile(r"url\s{0,9}=\s{0,9}['\"]?([^'\"]+)", re.IGNORECASE)
_WITH_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}:|[/\\]{2}", re.IGNORECASE)
_NOT_FETCHED = ("data:", "cid:", "mailto:", "tel:", "about:", "#")

_FLAT_ATTRIBUTE = re.compile(
    r"\b(?:href|src|action|formaction|background|data)\s{0,9}=\s{0,9}"
    rf"(?:\"([^\"]{{1,{MAX_URL_IN_TEXT}}})|'([^']{{1,{MAX_URL_IN_TEXT}}})"
    rf"|([^\s\"'<>]{{1,{MAX_URL_IN_TEXT}}}))",
    re.IGNORECASE,
)
_FLAT_BASE = re.compile(
    r"<base\b[^<>]{0,200}?href\s{0,9}=\s{0,9}[\"']?([^\"'<>\s]+)", re.IGNORECASE
)
# What is never closed hides the rest, as in a browser; so no text is scanned twice.
_FLAT_HIDDEN = re.compile(
    r"<(script|style)\b.*?(?:</\1|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL
)
_FLAT_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, slots=True)
class HtmlContent:
    """What HTML shows and where it leads."""

    links: tuple[str, ...]
    """Absolute targets as written, each once, clicks before pictures."""
    text: str
    pieces: int
    """What the parser was asked to handle; 0 when read flat."""


def read_html(markup: str, allowance: int = MAX_PIECES_FOR_THE_PARSER) -> HtmlContent:
    """Links and visible text. ``allowance`` is how many pieces may go to the parser."""
    markup = markup.replace("\x00", "\ufffd")
    pieces = _count_pieces(markup)
    if pieces <= min(allowance, MAX_PIECES_FOR_THE_PARSER):
        try:
            return _read_tree(markup, pieces)
        except (SelectolaxError, ValueError, RuntimeError):
            pass
    return _read_flat(markup)


def looks_like_html(text: str) -> bool:
    """Whether text that is not declared as HTML is HTML all the same."""
    start = text[:2_000].lower()
    return "<html" in start or "<!doctype html" in start or "<a href" in start or "<body" in start


def _count_pieces(markup: str) -> int:
    if len(markup) <= _SURELY_FEW_CHARACTERS:
        return len(markup) // 2
    tags = markup.count("<")
    if tags > MAX_PIECES_FOR_THE_PARSER:
        return tags
    return max(tags, len(_GAPS.findall(markup)))


def _read_tree(markup: str, pieces: int) -> HtmlContent:
    tree = LexborHTMLParser(markup)
    base_node = tree.css_first("base[href]")
    base = (base_node.attributes.get("href") or "").strip() if base_node else ""
    ranked: list[tuple[int, str]] = []
    for node in tree.css(_LINK_ELEMENTS):
        tag = node.tag or ""
        attributes = node.attributes
        for attribute in _ATTRIBUTES_OF.get(tag, ()):
            value = attributes.get(attribute)
            if value:
                ranked.append((_RANK[tag, attribute], value))
    ranked.sort(key=lambda pair: pair[0])
    values = [value for _, value in ranked]
    for node in tree.css("meta[http-equiv][content]"):
        refresh = _REFRESH.search(node.attributes.get("content") or "")
        if refresh:
            values.insert(0, refresh[1])
    if base:
        values.append(base)
    tree.strip_tags(_INVISIBLE)
    text = tree.body.text(separator=" ") if tree.body else ""
    return HtmlContent(tuple(_absolute(values, base)), text, pieces)


def _read_flat(markup: str) -> HtmlContent:
    base_match = _FLAT_BASE.search(markup)
    base = html.unescape(base_match[1]) if base_match else ""
    values = [
        html.unescape(match[1] or match[2] or match[3])
        for match in _FLAT_ATTRIBUTE.finditer(markup)
    ]
    text = html.unescape(_FLAT_TAG.sub(" ", _FLAT_HIDDEN.sub(" ", markup)))
    return HtmlContent(tuple(_absolute(values, base)), text, 0)


def _absolute(values: list[str], base: str) -> Iterator[str]:
    for value in dict.fromkeys(values):
        target = value[: MAX_URL_IN_TEXT * 2].strip()
        if not target or target[:7].lower().startswith(_NOT_FETCHED):
            continue
        if _WITH_SCHEME.match(target):
            yield target
        elif base:
            try:
                yield urljoin(base, target)
            except ValueError:
                continue
        elif is_bare_url(target):
            yield target
