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
_BRACKETED = re.compile(r"<([^<>]{3,512})>")
_SPACES = re.compile(r"\s+")
# Unicode's Default_Ignorable_Code_Point: zero-width and bidirectional controls, soft hyphens,
# fillers, variation selectors, tags. They are not seen, and are put in to be not matched.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


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
    """A name or subject for comparison: NFKC, case folded, spaces collapsed, nothing invisible."""
    if text.isascii():
        return " ".join(text.lower().split())
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)))
    return " ".join(unicodedata.normalize("NFKC", visible.casefold()).split())


def parse_addresses(header: str) -> list[tuple[str, str]]:
    """(name as written, canonical address) pairs of an address header. Never raises.

    Phish breaks the grammar on purpose. Where it does, whatever looks like an address is
    taken, and one in angle brackets comes first: ``boss@bank.example <a@evil.example>`` is
    from evil.example.
    """
    header = header[:_MAX_LENGTH]
    try:
        parsed = getaddresses([header])
    except (ValueError, IndexError, AttributeError, RecursionError):
        parsed = []
    pairs = [(name, found) for name, text in parsed if (found := canonical_address(text))]
    if not pairs:
        pairs = [
            ("", found) for text in _MAILBOX.findall(header) if (found := canonical_address(text))
        ]
    bracketed = {canonical_address(text) for text in _BRACKETED.findall(header)}
    first = pairs[0] if pairs else ("", "")
    if first[1] in bracketed or bracketed.isdisjoint(found for _, found in pairs):
        return pairs
    name = header.partition("<")[0].strip(' "')
    inside = [(written or name, found) for written, found in pairs if found in bracketed]
    return inside + [pair for pair in pairs if pair[1] not in bracketed]
