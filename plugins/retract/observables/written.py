"""Values as people write them, in lists, mails and settings: defanged, with ports, in any case."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Final, Literal

from retract.model import RULE_TYPES, ObservableType
from retract.observables import lookup
from retract.observables.campaign_rule import problem_with
from retract.observables.domain import canonical_domain
from retract.observables.host import is_ip_address
from retract.observables.network import problem_with_network
from retract.observables.refang import refang
from retract.observables.url import unwrap

AnyType = ObservableType | Literal["auto"]
"""What a value is; "auto" leaves it to the look of each value."""

FREE_TEXTS: Final = RULE_TYPES | {ObservableType.DISPLAY_NAME, ObservableType.FILE_NAME}
"""The types whose values may be any text: nothing in them is defanged, and none is guessed."""

_HASH_OF_LENGTH: Final = {
    32: ObservableType.MD5,
    40: ObservableType.SHA1,
    64: ObservableType.SHA256,
}
_HEX = re.compile(r"[0-9A-Fa-f]+")
_LIKE_IP = re.compile(r"[0-9A-Fa-f:./]+")
_SCHEMES: Final = frozenset({"http", "https", "ftp"})
_PORT = re.compile(r":\d{1,5}$")
_NAMED_ADDRESS = re.compile(r"[^<>]*<([^<>@\s]+@[^<>@\s]+)>")
_OPENERS: Final = "<\"'`“„‘«("
_WRAPPED_IN: Final = frozenset({"<>", '""', "''", "``", "“”", "„“", "‘’", "«»", "()"})
_HOLDS_A_VALUE = re.compile(r"[.:]")
_SENTENCE_MARKS: Final = ".,;"
_INVISIBLE: Final = "\ufeff\u00ad\u200b\u200c\u200d\u2060"
_LONGEST: Final = 16 * 1024
"""Characters of one value; a longer one is no indicator but a broken line."""
_SHOWN: Final = 60


def canonical(kind: AnyType, text: str) -> tuple[ObservableType, str]:
    """The type and canonical value of a value as people write it, defanged or not.

    Around it may be quotes, brackets ``<…>`` and ``(…)``, and behind all but the path of a URL
    the marks that end a sentence. Of a link that a mail gateway wrapped, as whoever copies it out
    of a mail does, the link inside counts; what a redirector leads to does not, or a listed
    redirect to a good page would list that page.

    Raises ValueError with the reason when it is no such value.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    if kind != "auto" and kind in FREE_TEXTS:
        return kind, _free_text(kind, text)
    text = refang(_unwrapped(text))
    if not text:
        raise ValueError("empty")
    if not text.isprintable():
        raise ValueError("unprintable characters, or not UTF-8")
    type_ = guess(text) if kind == "auto" else kind
    text = _alone(type_, text)
    if type_ is ObservableType.URL:
        text = unwrap(text, of_gateways=True)[-1]
    value = lookup.canonical_value(type_, text)
    if not value or not _is_plausible(type_, value):
        raise ValueError(_problem(type_, text))
    return type_, value


def guess(text: str) -> ObservableType:
    """The type a refanged value looks like. Never one of FREE_TEXTS: any text may be one."""
    if "://" in text:
        return ObservableType.URL
    text = text.rstrip(_SENTENCE_MARKS)
    if _HEX.fullmatch(text) and len(text) in _HASH_OF_LENGTH:
        return _HASH_OF_LENGTH[len(text)]
    if _is_ip_or_network(_without_port(text)):
        return ObservableType.IP_ADDRESS
    if text.startswith("mailto:") or _NAMED_ADDRESS.fullmatch(text):
        return ObservableType.EMAIL_ADDRESS
    if "/" in text or "?" in text:
        return ObservableType.URL
    return ObservableType.EMAIL_ADDRESS if "@" in text else ObservableType.DOMAIN


def _free_text(kind: ObservableType, text: str) -> str:
    value = lookup.canonical_value(kind, text)
    if not value:
        raise ValueError(problem_with(text) if kind in RULE_TYPES else "empty")
    if not value.isprintable():
        raise ValueError("unprintable characters, or not UTF-8")
    return value


def _unwrapped(text: str) -> str:
    """Without what stands around a value, layer by layer."""
    text = text.strip().strip(_INVISIBLE)
    while text and text[0] in _OPENERS:
        inner = text.rstrip(_SENTENCE_MARKS)
        if len(inner) < 2 or inner[0] + inner[-1] not in _WRAPPED_IN:
            break
        if inner[0] == "<" and not _HOLDS_A_VALUE.search(inner):  # a tag of HTML
            break
        text = inner[1:-1].strip()
    return text


def _alone(type_: ObservableType, text: str) -> str:
    """Without what people write with a value of this type, such as a port."""
    match type_:
        case ObservableType.URL:
            # Behind a path such a mark may belong to the URL.
            has_path = "/" in text.partition("://")[2] or "?" in text
            return text if has_path else text.rstrip(_SENTENCE_MARKS)
        case ObservableType.DOMAIN:
            text = _PORT.sub("", text.rstrip(_SENTENCE_MARKS))
            return text.removeprefix("*.").removeprefix(".")
        case ObservableType.EMAIL_ADDRESS:
            text = text.rstrip(_SENTENCE_MARKS)
            if text.startswith("mailto:"):
                return text[len("mailto:") :].partition("?")[0]
            named = _NAMED_ADDRESS.fullmatch(text)
            return named[1] if named else text
        case ObservableType.IP_ADDRESS:
            return _without_port(text.rstrip(_SENTENCE_MARKS))
        case _:
            return text.rstrip(_SENTENCE_MARKS)


def _without_port(text: str) -> str:
    """``198.51.100.7:8080`` and ``[2001:db8::1]:443`` without the port."""
    if text.startswith("["):
        address, _, behind = text[1:].partition("]")
        return address + (behind if behind.startswith("/") else "")
    return _PORT.sub("", text) if text.count(":") == 1 else text


def _is_ip_or_network(text: str) -> bool:
    if not _LIKE_IP.fullmatch(text):
        return False
    try:
        ip_network(text, strict=False) if "/" in text else ip_address(text)
    except ValueError:
        return False
    return True


def _is_plausible(type_: ObservableType, value: str) -> bool:
    """Canonicalization makes something of any text; a listed value has to name a real host."""
    if type_ is ObservableType.URL:
        scheme, _, rest = value.partition("://")
        return scheme in _SCHEMES and _is_host(rest.partition("/")[0])
    if type_ is ObservableType.EMAIL_ADDRESS:
        return _is_host(value.rpartition("@")[2])
    return True


def _is_host(host: str) -> bool:
    return is_ip_address(host) or ("." in host and canonical_domain(host) == host)


def _problem(type_: ObservableType, text: str) -> str:
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "…"
    problem = f"not a valid {type_.replace('_', ' ')}: {shown!r}"
    if type_ is ObservableType.IP_ADDRESS and "/" in text:
        problem += f": {problem_with_network(text)}"
    return problem
