"""Strangers' words made fit for messages and tables."""

from __future__ import annotations


def quoted(text: str, length: int = 200) -> str:
    """Strangers' text on one line, printable, storable, and at most ``length`` characters."""
    if len(text) > length:
        text = text[: length - 1] + "…"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
