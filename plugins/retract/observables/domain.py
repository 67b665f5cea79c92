"""Domain names: one form, and where the Public Suffix List says they begin."""

from __future__ import annotations

import re
from functools import cache, lru_cache

import tldextract

from retract.observables.host import canonical_host, is_ip_address

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*(?=[a-z0-9-]*[a-z]){_LABEL}")
_LONGEST = 253
"""Characters in a domain name, RFC 1035."""


@cache
def _suffixes() -> tldextract.TLDExtract:
    # The snapshot in the package: no network, no cache folder. With the private section,
    # or every tenant of a hosting service would count as one owner.
    return tldextract.TLDExtract(
        cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True
    )


@lru_cache(maxsize=65_536)
def canonical_domain(text: str) -> str:
    """Lower case, punycode, no outer dots; empty when it is no domain name.

    A name without a dot is a domain only when it is a top-level domain, and an IP address
    never is. Underscores are allowed: phish uses them.
    """
    if not ("." in text and _DOMAIN.fullmatch(text)):  # most are canonical as they come
        text = canonical_host(text.strip().encode("utf-8", "replace"))
        if not _DOMAIN.fullmatch(text):
            return ""
    if len(text) > _LONGEST or is_ip_address(text):
        return ""
    if "." not in text and _suffixes().extract_str(text).suffix != text:
        return ""
    return text


def is_public_suffix(domain: str) -> bool:
    """Whether anybody can register below it: "com", "co.uk", "blogspot.com".

    The list's default rule makes every unknown top-level name a public suffix.
    """
    _, _, parent = domain.partition(".")
    rules = suffix_rules()
    if parent and domain not in rules and f"*.{parent}" not in rules:
        return is_ip_address(domain)
    return registrable_domain(domain) == ""


@cache
def suffix_rules() -> frozenset[str]:
    """The rules of the Public Suffix List in its own notation, but in punycode.

    ``*.ck`` makes every name right below ck a suffix, ``!www.ck`` takes one out.
    """
    return frozenset(canonical_host(rule.encode()) for rule in _suffixes().tlds)


@lru_cache(maxsize=65_536)
def registrable_domain(domain: str) -> str:
    """The public suffix and one label more (eTLD+1) of a canonical domain.

    Empty for a public suffix itself and for an IP address.
    """
    if not domain or is_ip_address(domain):
        return ""
    found = _suffixes().extract_str(domain)
    if found.suffix:
        return found.top_domain_under_public_suffix
    return ".".join(domain.split(".")[-2:]) if "." in domain else ""


@lru_cache(maxsize=65_536)
def widened_hosts(host: str, most: int) -> tuple[str, ...]:
    """Parents of a host down to its registrable domain, shortest first, the host left out.

    At most ``most`` of them, those nearest the registrable domain. None for an IP address,
    a public suffix, or a host that is its own registrable domain.
    """
    registrable = registrable_domain(host)
    if not registrable or registrable == host:
        return ()
    labels = host.removesuffix("." + registrable).split(".")
    return tuple(
        ".".join([*labels[len(labels) - extra :], registrable]) if extra else registrable
        for extra in range(min(most, len(labels)))
    )


@lru_cache(maxsize=65_536)
def has_known_suffix(domain: str) -> bool:
    """Whether a canonical domain ends in a public suffix the list names."""
    return _suffixes().extract_str(domain).suffix != ""
