"""What a feed states: its indicators, canonical, and what in it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

from retract.indicators.refang import refang
from retract.model import Disposition, ObservableType
from retract.observables import lookup
from retract.observables.domain import canonical_domain
from retract.observables.host import is_ip_address
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
_LONGEST: Final = 16 * 1024
"""Characters of one value; a longer one is no indicator but a broken line."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One indicator as a feed states it. None where the source's own setting counts."""

    type: ObservableType
    value: str
    """Canonical for its type."""
    disposition: Disposition | None = None
    confidence: int | None = None
    """0 to 100."""
    campaign: str | None = None
    reference: str | None = None
    first_seen: datetime | None = None
    expires_at: datetime | None = None
    revoked: bool = False


class Rejected(NamedTuple):
    """Something in a feed that is no indicator we can use."""

    where: str
    """A line number or an object's id."""
    reason: str


@dataclass(slots=True)
class ParsedFeed:
    """Everything a snapshot of a feed holds."""

    indicators: list[Listed] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def canonical(kind: AnyType, text: str) -> tuple[ObservableType, str]:
    """The type and canonical value of a value as people write it, defanged or not.

    Raises ValueError with the reason when it is no such indicator.
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
        text = text.removeprefix("*.").removeprefix(".")
    value = lookup.canonical_value(type_, text)
    if not value or not _is_plausible(type_, text, value):
        shown = text if len(text) <= 60 else text[:57] + "…"
        raise ValueError(f"not a valid {type_.replace('_', ' ')}: {shown!r}")
    return type_, value


def guess(text: str) -> ObservableType:
    """The type a refanged value looks like. Never a display or file name: anything may be one."""
    if _HEX.fullmatch(text) and len(text) in _HASH_OF_LENGTH:
        return _HASH_OF_LENGTH[len(text)]
    try:
        ip_address(text)
    except ValueError:
        pass
    else:
        return ObservableType.IP_ADDRESS
    if "/" in text or "?" in text:
        return ObservableType.URL
    return ObservableType.EMAIL_ADDRESS if "@" in text else ObservableType.DOMAIN


def _is_plausible(type_: ObservableType, text: str, value: str) -> bool:
    """Canonicalization makes something of any text; an indicator has to name a real host."""
    match type_:
        case ObservableType.DOMAIN:
            return True
        case ObservableType.URL:
            scheme = _SCHEME.match(text)
            host = split_canonical(value)[0]
            return (scheme is None or scheme[1].lower() in _SCHEMES) and _is_host(host)
        case ObservableType.EMAIL_ADDRESS:
            return _is_host(value.rpartition("@")[2])
        case _:
            return True


def _is_host(host: str) -> bool:
    return is_ip_address(host) or ("." in host and canonical_domain(host) == host)
