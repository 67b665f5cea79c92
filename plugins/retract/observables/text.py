"""Text of a message: decoding it, the URLs a reader sees in it, and its fingerprint.

Everything here takes time linear in the text, whatever the text is.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice

from retract.observables.domain import canonical_domain, has_known_suffix

MAX_URL_IN_TEXT = 16 * 1024
"""Characters."""
_SLOW_OR_SENSELESS_CODECS = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)
_WITH_SCHEME = re.compile(
    rf"(?:https?|ftp):[/\\]{{1,4}}[^\s<>\"\x00-\x20]{{1,{MAX_URL_IN_TEXT}}}", re.IGNORECASE
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_TRAILING = frozenset(".,;:!?'`*~|\\，。、；：！？）」』】》’”…")
_BRACKETS = {")": "(", "]": "[", "}": "{"}

_LAST_LABEL = re.compile(r"\.(?:[a-z]{2,24}|[A-Z]{2,24})(?![\w@-]|\.\w)")
_HOST_BACKWARDS = re.compile(r"[\w.-]{1,253}")
_NEVER_BEFORE_A_HOST = frozenset("@/\\:%=&#?+~")
_AFTER_HOST = re.compile(r"(?::\d{1,5})?(?:[/?][^\s<>\"\x00-\x20]{0,4096})?")
_FILE_ENDINGS = frozenset(
    {"cc", "md", "mov", "pl", "pm", "ps", "py", "rs", "sh", "so", "st", "zip"}
)
"""Top-level domains that are more often the end of a file's name."""

_FINGERPRINT_CHARACTERS = 200_000
_FINGERPRINT_WORDS = 5_000
_FEWEST_WORDS = 5
"""Below this, messages that have nothing in common would look alike."""
_WORD = re.compile(r"(?<![\w@/.:=&?%-])[^\W\d_]++(?![\w@/=%-]|[.:][\w/])")


def decode(data: bytes, charset: str | None) -> str:
    """The text in the declared character set, or else UTF-8, or else Windows-1252."""
    codec = _codec(charset)
    for name in (codec, "utf-8"):
        if name is not None:
            try:
                return data.decode(name)
            except (ValueError, LookupError):  # UnicodeError is a ValueError
                continue
    if codec is not None and codec != "ascii":
        try:
            return data.decode(codec, "replace")
        except (ValueError, LookupError):
            pass
    return data.decode("cp1252", "replace")


def urls_in_text(text: str) -> Iterator[str]:
    """URLs with a scheme as written, without the punctuation of the sentence around them."""
    for match in _WITH_SCHEME.finditer(text):
        url = without_trailing(match[0])
        yield url
        # In scripts without spaces the sentence runs on behind the URL.
        beyond = _NOT_ASCII.search(url)
        if beyond and "." in url[: beyond.start()]:
            yield without_trailing(url[: beyond.start()])


def bare_urls_in_text(text: str) -> Iterator[str]:
    """What mail clients turn into links without a scheme: ``www.a.example``, ``a.example/b``.

    With care: the top-level domain must exist, and must not look like a file's ending or
    like the start of the next sentence ("done.So").
    """
    for match in _LAST_LABEL.finditer(text):
        reach = text[max(0, match.start() - 253) : match.start()]
        backwards = _HOST_BACKWARDS.match(reach[::-1])
        if backwards is None:
            continue
        start = match.start() - backwards.end()
        if start > 0 and text[start - 1] in _NEVER_BEFORE_A_HOST:
            continue
        host = text[start : match.end()].lstrip(".-")
        tail_match = _AFTER_HOST.match(text, match.end())
        tail = without_trailing(tail_match[0]) if tail_match else ""
        if _is_plausible(host, has_path=len(tail) > 1):
            yield host + tail


def is_bare_url(text: str) -> bool:
    """Whether a link target without a scheme names a host rather than a file beside the page."""
    host = re.split(r"[/?#:\\]", text, maxsplit=1)[0]
    return "." in host and _is_plausible(host, has_path="/" in text)


def fingerprint(text: str) -> str:
    """SHA-256 of the message's words: equal for the copies of one campaign.

    Source: the visible text of the HTML body, or the plain text where there is no HTML.
    Method: NFKC and case folding; the first 5,000 words of letters only, joined by single
    spaces. What is part of a number, an address or a link is left out: it may be made for
    one recipient. Empty for fewer than five words.
    """
    normal = unicodedata.normalize("NFKC", text[:_FINGERPRINT_CHARACTERS]).casefold()
    words = [match[0] for match in islice(_WORD.finditer(normal), _FINGERPRINT_WORDS)]
    if len(words) < _FEWEST_WORDS:
        return ""
    joined = " ".join(words)
    return hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()


def without_trailing(url: str) -> str:
    """Without closing punctuation; a closing bracket stays when it was opened in the URL."""
    surplus = {close: url.count(close) - url.count(open_) for close, open_ in _BRACKETS.items()}
    end = len(url)
    while end:
        last = url[end - 1]
        if last in surplus:
            if surplus[last] <= 0:
                break
            surplus[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return url[:end]


def _codec(charset: str | None) -> str | None:
    if not charset:
        return None
    try:
        name = codecs.lookup(charset.strip("\"' ")).name
    except (LookupError, ValueError, TypeError):  # ValueError: a null character in the name
        return None
    return None if name in _SLOW_OR_SENSELESS_CODECS else name


def _is_plausible(host: str, *, has_path: bool) -> bool:
    domain = canonical_domain(host)
    if not domain or "." not in domain or not has_known_suffix(domain):
        return False
    if domain.startswith("www.") or has_path:
        return True
    last = host.rpartition(".")[2]
    if last.isupper() and not host.isupper():
        return False
    return last.lower() not in _FILE_ENDINGS
