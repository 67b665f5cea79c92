"""What a source delivered, before its format counts: is it data at all?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from retract.errors import FeedError

_MARKUP = re.compile(r"\s*<(?:!|\?|[a-z][\w.-]*(?::[\w.-]+)?[\s/>])", re.IGNORECASE)
_HTML = re.compile(
    r"<(?:!doctype html|html)\b|\A\s*<(?:head|body|script|meta|title)\b", re.IGNORECASE
)
_JSON = re.compile(r"\s*(?:\{|\[\s*[\[{\"])")
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_DECODER: Final = json.JSONDecoder(parse_constant=lambda _: None)
"""NaN and Infinity, which JSON does not have but some writers write, state nothing."""
_WORDS: Final = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_NOT_SPACE = re.compile(r"\S")


def text_of(data: bytes) -> str:
    """The text; bytes that are not UTF-8 become lone surrogates, for each line to fail by itself.

    Raises FeedError for what is no feed: HTML, packed or binary data. Empty data is text.
    """
    for magic, name in _PACKED.items():
        if data.startswith(magic):
            raise FeedError(f"is packed with {name}: unpack it, or name the unpacked file")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            text = data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise FeedError("is broken UTF-16 text: save it as UTF-8") from error
    else:
        text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if "\x00" in text:
        raise FeedError("is binary data, no text: check that the location is the feed itself")
    if "\r" in text and "\n" not in text:  # as systems of the last century end lines
        text = text.replace("\r", "\n")
    start = text[:4096]
    if _MARKUP.match(start):
        what = "an HTML page" if _HTML.search(start) else "XML"
        raise FeedError(
            f"is {what} instead of data, perhaps of a login, an error or a moved feed: open the "
            "location in a browser and correct it"
        )
    return text


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of every line, one by one: a feed may be large."""
    number, start = 1, 0
    while (end := text.find("\n", start)) >= 0:
        yield number, text[start:end].removesuffix("\r")
        number, start = number + 1, end + 1
    if start < len(text):
        yield number, text[start:]


def looks_like_json(text: str) -> bool:
    """Whether it begins as an object, or as a list of objects, lists or texts."""
    return _JSON.match(text) is not None


def refuse_json(text: str, expected: str) -> None:
    """Raises FeedError when the text is JSON where a list of lines was expected."""
    if looks_like_json(text):
        raise FeedError(
            f"is JSON, not {expected}: set format to json, stix or misp, or correct the location"
        )


def json_of(text: str) -> Any:
    """The one value that the text is; None for blank text. Of a key written twice the last counts.

    Raises FeedError when it is no JSON, was cut off, or is made to exhaust who reads it.
    """
    start = _first_of(text)
    if start == len(text):
        return None
    value, end = json_at(text, start)
    if (rest := _first_of(text, end)) < len(text):
        raise FeedError(f"is no readable JSON at {_place(text, rest)}: more after its end")
    return value


def json_at(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that starts there, and where it ends. Raises FeedError as `json_of` does."""
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        reason = error.msg
        if _is_cut_off(text[error.pos : error.pos + 16].rstrip(), error.msg):
            reason = "ends in the middle: it was cut off, fetch it again"
        raise FeedError(f"is no readable JSON at {_place(text, error.pos)}: {reason}") from error
    except RecursionError as error:
        raise FeedError("is JSON nested too deeply to be a feed") from error
    except ValueError as error:  # Python refuses to read numbers of more than 4300 digits
        raise FeedError("is JSON with a number too long to be one: is it the feed?") from error


def _first_of(text: str, start: int = 0) -> int:
    """Where the first character that is no white space is, or the text's length."""
    found = _NOT_SPACE.search(text, start)
    return found.start() if found else len(text)


def _is_cut_off(rest: str, problem: str) -> bool:
    """Whether a text that is no JSON for this problem would be, had it not ended here."""
    if "Unterminated" in problem:
        return True
    return any(word.startswith(rest) for word in _WORDS) or (
        "escape" in problem and len(rest) < 6 and '"' not in rest
    )


def _place(text: str, position: int) -> str:
    column = position - text.rfind("\n", 0, position)
    return f"line {text.count(chr(10), 0, position) + 1} column {column}"
