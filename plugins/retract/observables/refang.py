"""Undo what analysts do to values so that nobody clicks on them.

Own code, as ioc-fanger 5.1 also rewrites what was never defanged: real hosts such as
``x-dot-project.appspot.com`` become others, and ``hxxp`` or ``(at)`` in a path is changed.
"""

from __future__ import annotations

import re

_NEVER_DEFANGED = re.compile(
    r"(?:(?:https?|ftp)://)?[A-Z0-9._:@-]*[A-Z0-9._@-](?:[/?#][^\[]*)?", re.IGNORECASE
)
"""A cheap first look: nearly every value is one of these. What ends in a colon is a scheme."""
_COLON = r"(?::|\[:\]|\(:\)|\{:\})"
_SLASHES = r"(?:(?:/|\[/\]){2}|\[//\]|\(//\)|\\\\)"
_SCHEME = re.compile(
    r"(?P<name>h(?:[tx]{2}|\*\*|__)p|meow|f[tx]x?p)(?P<s>s?)"
    rf"(?:{_COLON}{_SLASHES}|\[://\]|\(://\)|\{{://\}})",
    re.IGNORECASE,
)
_INTACT = frozenset({"http://", "https://", "ftp://"})
_HOST_END = re.compile(r"\[/\]|[/?#]")
_SPACES = r"\s{0,3}"


def _mark(what: str) -> str:
    """A pattern for ``[what]``, ``(what)`` and ``{what}``, and for its last word among spaces."""
    inside = f"{_SPACES}(?:{what}){_SPACES}"
    word = what.rpartition("|")[2]
    brackets = rf"\[{inside}\]|\({inside}\)|\{{{inside}\}}"
    return rf"{_SPACES}(?:{brackets}){_SPACES}|\s{{1,3}}{word}\s{{1,3}}"


_DOT = re.compile(_mark(r"\.|dot") + r"|\[\.|\.\]|\\\.", re.IGNORECASE)
_AT = re.compile(_mark("@|at"), re.IGNORECASE)
_COLON_BEFORE_PORT = re.compile(r"\[:\]|\(:\)|\{:\}")
_FULLWIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(0x5E)} | {0x3002: 0x2E}
"""``／`` and the like, which some write in place of ASCII; and the ideographic full stop."""


def refang(text: str) -> str:
    """The value as it was before somebody defanged it; other values come back unchanged.

    Words such as ``[dot]`` count only in the host part: paths are the attacker's to write.
    """
    if _NEVER_DEFANGED.fullmatch(text):
        return text
    ascii_text = text.translate(_FULLWIDTH)  # character by character: positions stay the same
    scheme, start = "", 0
    if found := _SCHEME.match(ascii_text):
        start = found.end()
        scheme = found[0] if found[0].lower() in _INTACT else _scheme(found)
    end = _HOST_END.search(ascii_text, start)
    host_end = end.start() if end else len(text)
    host = _AT.sub("@", _DOT.sub(".", ascii_text[start:host_end]))
    host = _COLON_BEFORE_PORT.sub(":", host)
    if end is None:
        return scheme + host
    path = text[end.end() :].replace("[.]", ".").replace("[/]", "/")
    return scheme + host + end[0].strip("[]") + path


def _scheme(found: re.Match[str]) -> str:
    return "ftp://" if found["name"][0] in "fF" else f"http{found['s'].lower()}://"
