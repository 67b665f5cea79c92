"""What a source delivered, before its format counts: is it data at all?"""

from __future__ import annotations

from retract.errors import FeedError

_HTML = ("<!doctype html", "<html", "<head", "<body", "<script", "<meta")
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


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
    start = text[:1024].lstrip().lower()
    if start.startswith("<?xml"):
        start = start.partition("?>")[2].lstrip()
    if start.startswith(_HTML):
        raise FeedError(
            "is an HTML page instead of data, perhaps of a login, an error or a moved feed: open "
            "the location in a browser and correct it"
        )
    return text
