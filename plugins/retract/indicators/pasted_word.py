"""One word of a pasted text: a value, an ordinary word, or something that wanted to be a value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from retract.model import ObservableType
from retract.observables import written
from retract.observables.domain import canonical_domain, has_known_suffix
from retract.observables.refang import refang
from retract.observables.rewriters import is_opaque
from retract.observables.text import is_bare_url, without_trailing
from retract.observables.url import canonicalize, split_canonical, unwrap


class Value(NamedTuple):
    """What a word names."""

    type: ObservableType
    value: str
    """Canonical for its type."""
    note: str = ""
    """What a person should know of how it was read."""


class Odd(NamedTuple):
    """A word that is no value though it may have been meant as one."""

    word: str
    reason: str
    certain: bool
    """Surely meant as one: defanged, with a scheme, a hash. Else it may be a file's name."""


SCHEME: Final = (
    r"[A-Za-z][A-Za-z0-9+*-]{1,15}(?:\[://\]|(?:\[:\]|:)(?:\[//\]|//|\\\\))"  # hxxp[:]// too
)
_SCHEME = re.compile(SCHEME)
_OPENERS: Final = {"(": ")", "[": "]", "{": "}"}
_LEADING = "'‘’*•·‣▪●○◦–—-#>=:,;!?./\\"
_TRAILING = "'‘’"
_LABEL = re.compile(r"([A-Za-z][\w-]{0,30})[:=](?!//|\\\\|\[//\])(?!\d{1,5}(?:/|$))")
_MARKS = re.compile(r"\[(?:\.|dot|@|at|:|://)\]|\((?:\.|dot|@|at)\)|\{(?:\.|dot)\}", re.IGNORECASE)
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:){9,}[0-9A-Fa-f]{2}")
_HASH_LENGTHS: Final = (32, 40, 64)
_SHORTEST_HASH: Final = 24
"""Shorter runs of hex digits are numbers of all kinds."""
_DOTTED_QUAD = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3})(?::\d{1,5})?(?:[/?].*)?")
_FOUR_NUMBERS = re.compile(r"\d{1,5}(?:\.\d{1,5}){3}")
_DOTTED_WORD = re.compile(r"[^\W_][\w-]*\.(?:[\w-]+\.)*[^\W\d_]{2,}(?:[:/?].*)?")

_NOT_WEB: Final = frozenset(
    {"about", "blob", "callto", "cid", "data", "file", "javascript", "sms", "tel", "vbscript"}
)
OTHER_HASHES: Final = frozenset(
    {"authentihash", "imphash", "ja3", "ja3s", "ja4", "jarm", "ssdeep", "tlsh", "vhash"}
)
"""What reports list beside hashes of files; some have the length of an MD5."""
_MOST_LABELS: Final = 3


def read_word(word: str, *, alone: bool = False) -> Value | Odd | None:
    """What a word without spaces is; None for an ordinary word.

    ``alone``: nothing else is on its line, so that even ``readme.md`` is meant as a domain.
    """
    address = word.strip("'‘’(),;.")
    if _is_ip(address):  # before its colons are taken for punctuation: 2001:db8::
        return _value_or_odd(ObservableType.IP_ADDRESS, address)
    text = bare(word)
    for _ in range(_MOST_LABELS):
        label = _label_of(text)
        if not label:
            break
        if label in _NOT_WEB:
            return None
        if label in OTHER_HASHES:
            return other_hash(label, text)
        text = bare(text[len(label) + 1 :])
        if label == "mailto":
            text = text.partition("?")[0]
    return _read(text, alone=alone) if text else None


def other_hash(label: str, text: str) -> Odd:
    """A hash of a kind that no attachment is looked up by."""
    return Odd(text, f"no {label} is computed of mail: MD5, SHA-1 and SHA-256 are", certain=True)


def parts(chunk: str) -> Iterator[str]:
    """A text without spaces at its commas and semicolons, where these do not belong to a URL."""
    current, at = "", 0
    for match in re.finditer(r"[,;]|$", chunk):
        piece, between = chunk[at : match.start()], chunk[at - 1 : at]
        at = match.end()
        if not current:
            current = piece
        elif _may_hold_commas(current) and not isinstance(read_word(piece), Value):
            current += between + piece
        else:
            yield current
            current = piece
    if current:
        yield current


def read_url(text: str) -> Value:
    """A URL as written, wrapped or not, as what it leads to. Raises ValueError."""
    outer = refang(text)
    inner = unwrap(outer)[-1]
    type_, value = written.canonical(ObservableType.URL, inner)
    if inner != outer:
        wrapper = split_canonical(canonicalize(outer))[0]
        return Value(type_, value, f"was wrapped by {wrapper}")
    if is_opaque(outer):
        return Value(type_, value, "wrapped: only the service that did it knows what is inside")
    return Value(type_, value)


def bare(word: str) -> str:
    """Without bullets, quotes, brackets around it, and the punctuation of a sentence."""
    text = word
    for _ in range(8):  # "(«evil.example».)": each turn takes off one layer
        before = text
        text = without_trailing(text).rstrip(_TRAILING)
        kept = "*." if text.startswith("*.") else ""
        text = kept + text.removeprefix(kept).lstrip(_LEADING)
        closer = _OPENERS.get(text[:1])
        if closer is not None and text.count(text[0]) > text.count(closer):
            text = text[1:]
        elif closer is not None and _encloses(text, closer):
            text = text[1:-1]
        if text == before:
            break
    return text


def _encloses(text: str, closer: str) -> bool:
    """Whether the first character's counterpart is the last one: not in ``[::1]:80``."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character == text[0]) - (character == closer)
        if depth == 0:
            return at == len(text) - 1
    return False


def _label_of(text: str) -> str:
    """``url`` of ``URL:hxxp://…``; empty where the colon belongs to the value."""
    found = _LABEL.match(text)
    if found is None or _is_ip(text) or _FINGERPRINT.fullmatch(text):
        return ""
    return found[1].lower()


def _may_hold_commas(text: str) -> bool:
    return "/" in text


def _read(text: str, *, alone: bool) -> Value | Odd | None:
    plain = refang(text)
    if _SCHEME.match(text):
        return _value_or_odd(ObservableType.URL, text)
    if _HEX.fullmatch(plain):
        return _hash(plain)
    if _FINGERPRINT.fullmatch(plain):
        return Odd(text, "a certificate's fingerprint is seen in no mail", certain=True)
    if _is_ip(plain):
        return _value_or_odd(ObservableType.IP_ADDRESS, text)
    is_defanged = plain != text
    host = re.split(r"[/?]", plain, maxsplit=1)[0]
    if "@" in host:
        return _address(text, plain, is_defanged=is_defanged)
    if host == plain:
        return _domain(text, plain, is_defanged=is_defanged, alone=alone)
    if is_defanged or is_bare_url(plain) or _DOTTED_QUAD.fullmatch(plain):
        return _value_or_odd(ObservableType.URL, text)
    return _odd_word(text)


def _hash(plain: str) -> Value | Odd | None:
    if len(plain) in _HASH_LENGTHS:
        return _value_or_odd("auto", plain)
    if len(plain) < _SHORTEST_HASH or plain.isdigit():
        return None
    return Odd(plain, f"{len(plain)} hex digits are no MD5, SHA-1 or SHA-256", certain=True)


def _address(text: str, plain: str, *, is_defanged: bool) -> Value | Odd | None:
    local, _, domain = plain.rpartition("@")
    if "." not in domain:
        return None if not local or not is_defanged else _value_or_odd("auto", text)
    if is_defanged or has_known_suffix(canonical_domain(domain.partition(":")[0])):
        return _value_or_odd(ObservableType.EMAIL_ADDRESS, text)
    return Odd(text, "no such public suffix; if it is an address all the same, defang it", True)


def _domain(text: str, plain: str, *, is_defanged: bool, alone: bool) -> Value | Odd | None:
    name = plain.removeprefix("*.")
    host = name.partition(":")[0]
    if is_defanged:
        return _value_or_odd(ObservableType.DOMAIN, text)
    if "." in host and (is_bare_url(name) or (alone and has_known_suffix(canonical_domain(host)))):
        return _value_or_odd(ObservableType.DOMAIN, text)
    return _odd_word(text)


def _odd_word(text: str) -> Odd | None:
    if _FOUR_NUMBERS.fullmatch(text):
        return Odd(text, "no valid IP address", certain=True)
    if not _DOTTED_WORD.fullmatch(text):
        return None
    host = canonical_domain(re.split(r"[/?:]", text, maxsplit=1)[0])
    if host and has_known_suffix(host):
        reason = "a file's name or a domain? Defanged, or alone on its line, it is a domain"
    else:
        reason = "no such public suffix; defanged it is taken, and --type says what else it is"
    return Odd(text, reason, certain=False)


def _value_or_odd(kind: written.AnyType, text: str) -> Value | Odd:
    try:
        if kind is ObservableType.URL:
            return read_url(text)
        type_, value = written.canonical(kind, text)
        if type_ is ObservableType.DOMAIN and "." not in value:
            raise ValueError("a domain has a dot in it")
        return Value(type_, value)
    except ValueError as error:
        return Odd(text, str(error), certain=True)


def _is_ip(text: str) -> bool:
    """An address with or without port, or a network; words such as ``a::b`` are none."""
    plain = refang(text)
    if not any(character.isdigit() for character in plain):
        return False
    if plain.startswith("["):
        plain = plain[1:].partition("]")[0]
    elif plain.count(":") == 1:
        plain = re.sub(r":\d{1,5}$", "", plain)
    try:
        ip_network(plain, strict=False) if "/" in plain else ip_address(plain)
    except ValueError:
        return False
    return True
