"""Values as people write them, in lists, mails and settings: defanged, with ports, in any case."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Final, Literal

from retract.model import ObservableType
from retract.observables import lookup
from retract.observables.domain import canonical_domain
from retract.observables.host import is_ip_address
from retract.observables.refang import refang
from retract.observables.url import split_canonical

AnyType = ObservableType | Literal["auto"]
"""What a value is; "auto" leaves it to the look of each value."""

_HASH_OF_LENGTH: Final = {
    32: ObservableType.MD5,
    40: ObservableType.SHA1,
    64: ObservableType.SHA256,
}
_HEX = re.compile(r"[0-9A-Fa-f]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES: Final = frozenset({"http", "https", "ftp"})
_PORT = re.compile(r":\d{1,5}$")
_LONGEST: Final = 16 * 1024
"""Characters of one value; a longer one is no indicator but a broken line."""


def canonical(kind: AnyType, text: str) -> tuple[ObservableType, str]:
    """The type and canonical value of a value as people write it, defanged or not.

    Raises ValueError with the reason when it is no such value.
    """
    text = refang(text.strip())
    if not text:
        raise ValueError("empty")
    if len(text) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    if not text.isprintable():
        raise ValueError("unprintable characters, or not UTF-8")
    type_ = guess(text) if kind == "auto" else kind
    if type_ is ObservableType.DOMAIN:
        text = _PORT.sub("", text).removeprefix("*.").removeprefix(".")
    elif type_ is ObservableType.IP_ADDRESS:
        text = _without_port(text)
    value = lookup.canonical_value(type_, text)
    if not value or not _is_plausible(type_, text, value):
        shown = text if len(text) <= 60 else text[:57] + "…"
        raise ValueError(f"not a valid {type_.replace('_', ' ')}: {shown!r}")
    return type_, value


def guess(text: str) -> ObservableType:
    """The type a refanged value looks like. Never a display or file name: anything may be one."""
    if _HEX.fullmatch(text) and len(text) in _HASH_OF_LENGTH:
        return _HASH_OF_LENGTH[len(text)]
    if _is_ip_or_network(_without_port(text)):
        return ObservableType.IP_ADDRESS
    if "/" in text or "?" in text:
        return ObservableType.URL
    return ObservableType.EMAIL_ADDRESS if "@" in text else ObservableType.DOMAIN


def _without_port(text: str) -> str:
    """``198.51.100.7:8080`` and ``[2001:db8::1]:443`` without the port."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return _PORT.sub("", text) if text.count(":") == 1 else text


def _is_ip_or_network(text: str) -> bool:
    try:
        ip_network(text, strict=False) if "/" in text else ip_address(text)
    except ValueError:
        return False
    return True


def _is_plausible(type_: ObservableType, text: str, value: str) -> bool:
    """Canonicalization makes something of any text; a listed value has to name a real host."""
    match type_:
        case ObservableType.DOMAIN:
            return True
        case ObservableType.URL:
            scheme = _SCHEME.match(text)
            host = split_canonical(value)[0]
            if text.startswith("/") and not text.startswith("//"):
                return False  # a path, and not the host that a browser would make of it
            return (scheme is None or scheme[1].lower() in _SCHEMES) and _is_host(host)
        case ObservableType.EMAIL_ADDRESS:
            return _is_host(value.rpartition("@")[2])
        case _:
            return True


def _is_host(host: str) -> bool:
    return is_ip_address(host) or ("." in host and canonical_domain(host) == host)
