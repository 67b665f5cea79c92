"""How an indicator meets an observable: by equal lookups, so that a hash join can find it.

An observable has several lookups, an indicator exactly one. They meet when the texts are
equal and, for an indicator that is exact only, when the observable's lookup is exact too.
``matches`` says the same without lookups, and is what the join is held to.

Networks and campaign rules are no observable's stored lookup: what they meet is found when it
is matched, by `retract.observables.network` and `retract.observables.campaign_rule`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from retract.model import RULE_TYPES, ObservableType
from retract.observables.address import canonical_address, canonical_name
from retract.observables.campaign_rule import canonical_rule, rule_matches
from retract.observables.domain import canonical_domain, registrable_domain, widened_hosts
from retract.observables.host import canonical_ip, is_ip_address
from retract.observables.network import canonical_network, is_in_network
from retract.observables.url import (
    canonicalize,
    exact_expression,
    lookup_expressions,
    split_canonical,
)

_HASH_LENGTHS = {ObservableType.MD5: 32, ObservableType.SHA1: 40, ObservableType.SHA256: 64}
_HEX = re.compile(r"[0-9a-f]+")
_MAX_PARENT_DOMAINS = 16
"""Parents of an observed host that a domain indicator can name, nearest the registrable
domain first: nobody lists deeper ones, and each costs a row."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One text under which an observable is found, or an indicator is kept."""

    text: str
    exact: bool
    """Of an observable: this is the value itself, not something wider.
    Of an indicator: only an exact lookup may meet it."""


@lru_cache(maxsize=65_536)
def canonical_value(type: ObservableType, value: str) -> str:  # noqa: A002 - the model's word
    """The value in the one form its type has; empty when it is none of that type."""
    match type:
        case ObservableType.URL:
            return canonicalize(value)
        case ObservableType.DOMAIN:
            return canonical_domain(value)
        case ObservableType.EMAIL_ADDRESS:
            return _canonical_address_or_domain(value)
        case ObservableType.DISPLAY_NAME | ObservableType.FILE_NAME:
            return canonical_name(value)
        case ObservableType.IP_ADDRESS:
            return canonical_ip(value) or canonical_network(value)
        case ObservableType.SUBJECT_PATTERN | ObservableType.DISPLAY_NAME_PATTERN:
            return canonical_rule(value)
        case ObservableType.MD5 | ObservableType.SHA1 | ObservableType.SHA256:
            digest = value.strip().lower()
            fits = len(digest) == _HASH_LENGTHS[type] and _HEX.fullmatch(digest)
            return digest if fits else ""


def lookups_of(type: ObservableType, value: str) -> tuple[Lookup, ...]:  # noqa: A002
    """Every lookup of an observable, its exact one first; none when it can be no observable."""
    canonical = canonical_value(type, value)
    if not canonical or _is_only_listed(type, canonical):
        return ()
    match type:
        case ObservableType.URL:
            exact, *wider = lookup_expressions(canonical)
        case ObservableType.DOMAIN:
            exact, wider = canonical, list(widened_hosts(canonical, _MAX_PARENT_DOMAINS))
        case ObservableType.EMAIL_ADDRESS:
            exact, wider = canonical, ["@" + canonical.rpartition("@")[2]]
        case _:
            exact, wider = canonical, []
    return (Lookup(exact, True), *(Lookup(text, False) for text in wider if text != exact))


def indicator_lookup(type: ObservableType, value: str) -> Lookup:  # noqa: A002
    """The one lookup of an indicator. An invalid value gets an empty text, which meets nothing.

    A URL indicator that names a host root is exact only: it means that page, not the site.
    """
    canonical = canonical_value(type, value)
    if type is ObservableType.URL and canonical:
        _, path, query = split_canonical(canonical)
        return Lookup(exact_expression(canonical), exact=path == "/" and not query)
    return Lookup(canonical, exact=not canonical)


def key(type: ObservableType, text: str) -> int:  # noqa: A002
    """The join key of a lookup: 64 bits of SHA-256, signed, as Delta and Arrow hold them."""
    digest = hashlib.sha256(f"{type}\x1f{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def matches(type: ObservableType, observable: str, indicator: str) -> bool:  # noqa: A002
    """Whether an indicator names an observable: the definition, by value.

    What a campaign rule is held against is the message's subject, or its sender's name, as is.
    """
    listed = canonical_value(type, indicator)
    if type in RULE_TYPES:
        return rule_matches(listed, observable)
    seen = canonical_value(type, observable)
    if not seen or not listed or _is_only_listed(type, seen):
        return False
    match type:
        case ObservableType.URL:
            return _url_matches(seen, listed)
        case ObservableType.DOMAIN:
            return seen == listed or _is_parent(listed, seen, _MAX_PARENT_DOMAINS)
        case ObservableType.EMAIL_ADDRESS:
            return seen == listed or listed == "@" + seen.rpartition("@")[2]
        case ObservableType.IP_ADDRESS if _is_only_listed(type, listed):
            return is_in_network(seen, listed)
        case _:
            return seen == listed


def _is_only_listed(type: ObservableType, canonical: str) -> bool:  # noqa: A002
    """Whether it is a network or a campaign rule: only an indicator can be that."""
    return type in RULE_TYPES or (type is ObservableType.IP_ADDRESS and "/" in canonical)


def _url_matches(seen: str, listed: str) -> bool:
    seen_host, seen_path, seen_query = split_canonical(seen)
    host, path, query = split_canonical(listed)
    if path == "/" and not query:
        return (seen_host, seen_path, seen_query) == (host, path, query)
    if seen_host != host and not _is_parent(host, seen_host, most=4):
        return False
    if query:
        return (seen_path, seen_query) == (path, query)
    is_near_folder = path.endswith("/") and path.count("/") <= 4
    return seen_path == path or (is_near_folder and seen_path.startswith(path))


def _is_parent(parent: str, host: str, most: int) -> bool:
    """Whether a host lies below the parent, which is at or below its registrable domain
    and no more than ``most - 1`` labels longer than that."""
    if is_ip_address(host) or not host.endswith("." + parent):
        return False
    registrable = registrable_domain(host)
    if not registrable or (parent != registrable and not parent.endswith("." + registrable)):
        return False
    return parent.count(".") - registrable.count(".") < most


def _canonical_address_or_domain(value: str) -> str:
    """An address, or "@domain" for everybody there."""
    text = value.strip()
    if text.startswith("@"):
        domain = canonical_domain(text[1:])
        return "@" + domain if domain else ""
    return canonical_address(text)
