"""Mail addresses and the names beside them, each in one form."""

from __future__ import annotations

import re
import unicodedata
from email.utils import getaddresses

from retract.observables.domain import canonical_domain

_MAX_LENGTH = 4096
"""Characters of a header read for addresses; parsing longer ones costs more than it tells."""
_LONGEST_LOCAL_PART = 256
_MAILBOX = re.compile(r"[^\s<>\"'(),;:@\[\]]{1,256}@[^\s<>\"'(),;:@]{1,255}")
_SPACES = re.compile(r"\s+")


def canonical_address(text: str) -> str:
    """``local@domain`` in lower case with the domain in punycode; empty when it is no address.

    Lower-casing the local part is what every large mail service does.
    """
    local, at, domain = text.strip().strip("<>").rpartition("@")
    local = local.strip().strip('"').lower()
    domain = canonical_domain(domain)
    if not at or not domain or not local or len(local) > _LONGEST_LOCAL_PART:
        return ""
    if _SPACES.search(local) or not local.isprintable():
        return ""
    return f"{local}@{domain}"


def domain_of(address: str) -> str:
    """The domain of a canonical address."""
    return address.rpartition("@")[2]


def canonical_name(text: str) -> str:
    """A display name or file name for comparison: NFKC, case folded, spaces collapsed."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", folded)).strip()


def parse_addresses(header: str) -> list[tuple[str, str]]:
    """(name as written, canonical address) pairs of an address header. Never raises.

    Where the grammar finds nothing, whatever looks like an address is taken: phish breaks
    the grammar on purpose.
    """
    header = header[:_MAX_LENGTH]
    pairs: list[tuple[str, str]] = []
    try:
        parsed = getaddresses([header])
    except (ValueError, IndexError, AttributeError, RecursionError):
        parsed = []
    for name, address in parsed:
        canonical = canonical_address(address)
        if canonical:
            pairs.append((name, canonical))
    if pairs:
        return pairs
    return [
        ("", address) for text in _MAILBOX.findall(header) if (address := canonical_address(text))
    ]
