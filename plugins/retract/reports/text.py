"""Hostile text made fit to show: on a page, at a terminal, in a spreadsheet.

Subjects, names and links are written by attackers. Each function takes any text, never
raises, and applied to its own result changes nothing more.
"""

from __future__ import annotations

import re
from typing import Final

from retract.model import Provider

PROVIDER_NAMES: Final = {
    Provider.MICROSOFT365: "Microsoft 365",
    Provider.GOOGLE_WORKSPACE: "Google Workspace",
}

_JOINERS = "\u200c\u200d"

_SCHEME = re.compile(r"(h)tt(?=ps?\s*:)", re.IGNORECASE)
_DOT_BEFORE_A_LABEL = re.compile(r"(?<=[^\s.])[.\u3002\uff0e\uff61](?=[^\W\d_](?![\s.]|\[\.\]|$))")
_IP_ADDRESS = re.compile(r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])")

# A spreadsheet whose list separator is a semicolon splits there, inside quotation marks too.
_FORMULA = re.compile(r"(?:^|(?<=;))([\s\"]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")


def visible(text: str) -> str:
    """Every character shows: control, bidi and zero-width ones as ⟨U+202E⟩, on one line.

    The joiners that emoji and many scripts need stay, where what they follow is not ASCII.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _visible(character, before) for before, character in zip(" " + text, text, strict=False)
    )


def _visible(character: str, before: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        # Covers tabs, line breaks of every kind and the wide spaces.
        return " "
    if character in _JOINERS and before.isprintable() and not before.isascii():
        return character
    return f"⟨U+{ord(character):04X}⟩"


def defanged(text: str) -> str:
    """Visible, and no longer a link for anything that makes links of text: hxxps://evil[.]com."""
    text = _SCHEME.sub(
        lambda found: found[1] + ("XX" if found[0].isupper() else "xx"), visible(text)
    )
    text = _DOT_BEFORE_A_LABEL.sub("[.]", text)
    return _IP_ADDRESS.sub(r"\1[.]\2[.]\3[.]\4", text)


def spreadsheet_safe(text: str) -> str:
    """Visible, and never a formula: an apostrophe goes before what would begin one."""
    return _FORMULA.sub(r"\1'", visible(text))


def clipped(text: str, length: int) -> str:
    """At most ``length`` characters, the last of them … where some are left out."""
    return text if len(text) <= length else text[: length - 1] + "…"


def words(name: str) -> str:
    """A name of ours as people write it: ``already_there`` is "already there"."""
    return name.replace("_", " ")
