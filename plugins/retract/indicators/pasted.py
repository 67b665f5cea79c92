"""Text pasted from a mail, a ticket or a report: which values are in it.

What an analyst holds is never a clean list: values stand defanged among words, in tables, behind
bullets and labels, as links of Markdown, HTML, Outlook or a chat. What is plainly a word is passed
over; what may have been meant as a value and is none is told, never lost.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from html import unescape
from typing import NamedTuple

from retract.indicators.pasted_word import (
    OTHER_HASHES,
    SCHEME,
    Odd,
    Value,
    bare,
    other_hash,
    parts,
    read_url,
    read_word,
)
from retract.model import ObservableType
from retract.observables import written
from retract.observables.refang import refang


class Found(NamedTuple):
    """One value, where it stands first."""

    line: int
    """From 1."""
    type: ObservableType
    value: str
    """Canonical for its type."""
    note: str = ""
    """How it was read, where that is not plain: "was wrapped by …"."""


class NotUnderstood(NamedTuple):
    """Something that looks as if it were meant as a value."""

    line: int
    text: str
    reason: str


class Pasted(NamedTuple):
    """What a text holds. ``found`` names each value once."""

    found: tuple[Found, ...]
    not_understood: tuple[NotUnderstood, ...]


_Said = Value | Odd
_Lines = dict[int, list[tuple[str, str]]]
"""By line: targets of links, each with the text that is shown for it."""

_SPLIT = re.compile(r"[\s\"<>|`“”„«»‹›]+")
_SPACED_MARK = re.compile(
    r"\s{0,3}(\[\.\]|\[dot\]|\(\.\)|\(dot\)|\{dot\}|\[at\]|\[@\]|\(at\)|\(@\))\s{0,3}",
    re.IGNORECASE,
)
_BULLET = re.compile(r"(?:[-*•·‣▪●○◦–—>#]+|\(?\w{1,3}[.)])\s+")
_ORNAMENT = re.compile(r"\(?\w{1,3}[.)]|[^\W\d_][\w-]*:")
_TARGET = rf"(?:{SCHEME}|mailto:)"
_HTML_LINK = re.compile(
    r"<a\s[^<>]{0,2000}?\bhref\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))[^<>]*>"
    r"(.{0,2000}?)</a\s*>",
    re.IGNORECASE | re.DOTALL,
)
_HTML_NOISE = re.compile(
    r"<!doctype[^<>]*>|\bxmlns(?::\w+)?\s*=\s*(?:\"[^\"]*\"|'[^']*')", re.IGNORECASE
)
_TAG = re.compile(r"<[^<>]*>")
_LINK = re.compile(
    # Markdown: [text](target "title")
    r"\[(?P<md_text>[^\[\]]*)\]\(\s*<?(?P<md>(?:[^\s()<>]|\([^\s()<>]*\))+)>?(?:\s+\"[^\"]*\")?\s*\)"
    # A chat: <target|text>
    rf"|<(?P<chat>{_TARGET}[^\s<>|]*)\|(?P<chat_text>[^<>]*)>"
    # Outlook: text<target>
    rf"|(?<![^\s<>\"|])(?P<mail_text>[^\s<>\"|]*+)<(?P<mail>{_TARGET}[^\s<>]*)>",
    re.IGNORECASE,
)
_RECIPIENTS = re.compile(
    r"(?:to|cc|bcc|an|à|para|aan|delivered-to|x-original-to)\s*:[^:/]*@", re.IGNORECASE
)
_TRACE = re.compile(r"(?:message-id|in-reply-to|references|received)\s*:", re.IGNORECASE)
_NO_SENDER = "names recipients, servers or messages; what shall be taken, write without this word"


def pasted(text: str, kind: written.AnyType = "auto") -> Pasted:
    """The values in a text. Never raises.

    With a ``kind``, each line is one value of that type; without one, names and patterns cannot be
    told from words, and are not found. A wrapped link counts as what it leads to.
    """
    read = _typed(kind, text) if kind != "auto" else _free(text)
    found: dict[tuple[ObservableType, str], Found] = {}
    not_understood: dict[tuple[str, str], NotUnderstood] = {}
    for line, said in read:
        if isinstance(said, Value):
            found.setdefault((said.type, said.value), Found(line, *said))
        else:
            told = NotUnderstood(line, said.word, said.reason)
            not_understood.setdefault((said.word, said.reason), told)
    return Pasted(tuple(found.values()), tuple(not_understood.values()))


def _typed(kind: ObservableType, text: str) -> Iterator[tuple[int, _Said]]:
    for number, line in enumerate(text.splitlines(), 1):
        value = _tidied(line).strip()
        if kind not in written.FREE_TEXTS:
            value = bare(_BULLET.sub("", value, count=1))
        elif kind in (ObservableType.FILE_NAME, ObservableType.DISPLAY_NAME):
            value = value.removeprefix("- ").removeprefix("* ").strip().strip('"“”„')
        if not value:
            continue
        try:
            if kind is ObservableType.URL:
                yield number, read_url(value)
            else:
                yield number, Value(*written.canonical(kind, value))
        except ValueError as error:
            yield number, Odd(value, str(error), certain=True)


def _free(text: str) -> Iterator[tuple[int, _Said]]:
    links: _Lines = {}
    text = _HTML_LINK.sub(lambda found: _taken_html(text, found, links), text)
    lines = _HTML_NOISE.sub(_blank, text).splitlines()
    delimiter = _delimiter(lines)
    in_header = False
    for number, raw in enumerate(lines, 1):
        line = _SPACED_MARK.sub(r"\1", _tidied(raw))
        if _TRACE.match(line) or _RECIPIENTS.match(refang(line)):
            in_header = True
            yield number, Odd(line.strip(), _NO_SENDER, certain=True)
        else:
            in_header = in_header and line[:1].isspace()
        if in_header:
            continue
        cells = [line] if delimiter is None else next(csv.reader([line], delimiter=delimiter), [])
        yield from ((number, said) for said in _line(cells, links.get(number, [])))


def _line(cells: list[str], links: list[tuple[str, str]]) -> list[_Said]:
    """What one line says. A vague suspicion is worth telling only where nothing was found."""
    words: list[str] = []
    for cell in cells:
        words += _SPLIT.split(_LINK.sub(lambda found: _taken(found, links), cell))
    said: list[_Said | None] = []
    for target, shown in links:
        said += _link(target, shown)
    alone = not links and sum(not _is_ornament(word) for word in words) == 1
    before = ""
    for chunk in words:
        for word in parts(chunk):
            if before in OTHER_HASHES:
                said.append(other_hash(before, word))
            else:
                said.append(read_word(word, alone=alone))
            before = bare(word).lower()
    told = [one for one in said if one is not None]
    if any(isinstance(one, Value) or one.certain for one in told):
        return [one for one in told if isinstance(one, Value) or one.certain]
    return told


def _link(target: str, shown: str) -> Iterable[_Said | None]:
    """A link's target. What is shown for it is bait where it names something else."""
    there = read_word(target)
    yield there
    for word in _SPLIT.split(shown):
        seen = read_word(word)
        if isinstance(seen, Value) and isinstance(there, Value):
            if seen.value not in there.value:
                yield Odd(word, "only shown: the link leads elsewhere", certain=True)
        elif isinstance(seen, Value):
            yield seen


def _taken(found: re.Match[str], links: list[tuple[str, str]]) -> str:
    """Takes a link out of a line."""
    if found["md"] is not None:
        if (
            read_word(found["md"]) is None
            or not found["md_text"].strip(".@:/")
            or (found["md_text"].lower() in ("dot", "at"))
        ):
            return found[0]  # evil[.](com): defanged, no link
        links.append((found["md"], found["md_text"]))
    elif found["chat"] is not None:
        links.append((found["chat"], found["chat_text"]))
    else:
        links.append((found["mail"], found["mail_text"]))
    return " "


def _taken_html(text: str, found: re.Match[str], links: _Lines) -> str:
    """Takes an HTML link out of the text; the lines keep their numbers."""
    target = unescape(found[1] or found[2] or found[3] or "").strip()
    shown = unescape(_TAG.sub(" ", found[4]))
    links.setdefault(text.count("\n", 0, found.start()) + 1, []).append((target, shown))
    return _blank(found)


def _blank(found: re.Match[str]) -> str:
    return " " + "\n" * found[0].count("\n")


def _delimiter(lines: Iterable[str]) -> str | None:
    """What separates the cells, when every line has as many of them: the text is a table."""
    filled = [line for line in lines if line.strip()]
    if len(filled) < 2:
        return None
    for delimiter in (",", ";"):
        try:
            widths = {len(row) for row in csv.reader(filled, delimiter=delimiter)}
        except csv.Error:
            continue
        if len(widths) == 1 and widths.pop() > 1:
            return delimiter
    return None


def _tidied(line: str) -> str:
    """Without invisible characters, which chats and web pages put into what is copied."""
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        " " if category in ("Cc", "Zs", "Zl", "Zp") else character
        for character in line
        if (category := unicodedata.category(character)) != "Cf"
    )


def _is_ornament(word: str) -> bool:
    """Bullets, numbers of a list, labels: beside them a word is still alone on its line."""
    is_sign = not any(character.isalnum() for character in word)
    return is_sign or _ORNAMENT.fullmatch(word) is not None
