"""What the receiving system said of a message when it delivered it: from trusted headers only.

Anybody can write these headers. They count only where the configuration names the system
that writes them (and takes forged ones out), and then only the topmost of each kind.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from retract.model import Disposition
from retract.observables.headers import Headers, decoded
from retract.observables.host import canonical_ip
from retract.observables.network import is_internal


class TrustedHeaders(BaseModel):
    """Which of a message's headers the receiving system is known to have written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    forefront: bool = False
    """X-Forefront-Antispam-Report, and Authentication-Results without an authserv-id, as
    Exchange Online writes them."""
    authserv_ids: tuple[str, ...] = ()
    """The authserv-ids (RFC 8601) of the receiving system, such as "mx.google.com"."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The receiving system's words."""

    disposition: Disposition
    authentication: tuple[tuple[str, str], ...]
    sending_ip: str


NOTHING_SAID = Delivery(Disposition.UNKNOWN, (), "")

# learn.microsoft.com/defender-office-365/message-headers-eop-mdo, "CAT"
_FOREFRONT_CATEGORIES = {
    "MALW": Disposition.MALICIOUS,
    "PHSH": Disposition.MALICIOUS,
    "HPHSH": Disposition.MALICIOUS,
    "HPHISH": Disposition.MALICIOUS,
    "SPOOF": Disposition.SPOOF,
    "INTOS": Disposition.SPOOF,
    "DIMP": Disposition.SPOOF,
    "UIMP": Disposition.SPOOF,
    "GIMP": Disposition.SPOOF,
    "BIMP": Disposition.SPOOF,
    "SPM": Disposition.SPAM,
    "HSPM": Disposition.SPAM,
    "OSPM": Disposition.SPAM,
    "BULK": Disposition.BULK,
    "NONE": Disposition.NONE,
}
_LOWEST_SPAM_LEVEL = 5
"""Spam confidence levels 5 to 9 are spam."""
_GMAIL_SPAM = "SPAM"

_COMMENT = re.compile(r"\([^()]*\)")
_RESULT = re.compile(r"\s*([A-Za-z0-9-]+)(?:\s*/\s*\d+)?\s*=\s*([A-Za-z]+)")
_NO_AUTHSERV_ID = re.compile(r"\s*[A-Za-z0-9-]+\s*=")
_RECEIVED_ADDRESS = re.compile(r"[\[(](?:IPv6:)?([0-9A-Fa-f:.]{3,45})[\])]", re.IGNORECASE)
_RECEIVED_BY = re.compile(r"\bby\s", re.IGNORECASE)
_MOST_RECEIVED_HEADERS = 10


def read_delivery(headers: Headers, trusted: TrustedHeaders, labels: Collection[str]) -> Delivery:
    """Disposition, authentication results and sending IP of a delivered message.

    The disposition is the gravest that a trusted source gave; UNKNOWN when none spoke.
    """
    said: list[Disposition] = []
    authentication: list[tuple[str, str]] = []
    sending_ip = ""
    if trusted.forefront:
        report = _forefront_report(headers)
        said += _forefront_dispositions(report)
        sending_ip = _external(report.get("CIP", ""))
        authentication += [
            (f"forefront.{field.lower()}", report[field])
            for field in ("CAT", "SCL")
            if report.get(field)
        ]
    results, is_exchange = _authentication_results(headers, trusted)
    authentication += results
    # Exchange Online has weighed a failed DMARC check in CAT already.
    if ("dmarc", "fail") in results and not is_exchange:
        said.append(Disposition.SPOOF)
    if _GMAIL_SPAM in labels:
        said.append(Disposition.SPAM)
    return Delivery(
        disposition=Disposition.gravest(said) if said else Disposition.UNKNOWN,
        authentication=tuple(authentication),
        sending_ip=sending_ip or _received_from(headers),
    )


def _forefront_report(headers: Headers) -> dict[str, str]:
    report: dict[str, str] = {}
    for field in headers.text("X-Forefront-Antispam-Report").split(";"):
        name, _, value = field.partition(":")
        report.setdefault(name.strip().upper(), value.strip()[:100])
    return report


def _forefront_dispositions(report: dict[str, str]) -> list[Disposition]:
    """The category is the verdict; the level counts only where no category was given, because
    bulk mail past the tenant's threshold gets the level of spam."""
    category = _FOREFRONT_CATEGORIES.get(report.get("CAT", "").upper())
    if category not in (None, Disposition.NONE):
        return [category]
    level = report.get("SCL", "")
    if re.fullmatch(r"-?[0-9]", level):
        return [Disposition.SPAM if int(level) >= _LOWEST_SPAM_LEVEL else Disposition.NONE]
    return [] if category is None else [category]


def _authentication_results(
    headers: Headers, trusted: TrustedHeaders
) -> tuple[list[tuple[str, str]], bool]:
    """(method, result) pairs of the topmost trusted header, and whether Exchange wrote it."""
    trusted_ids = {one.lower() for one in trusted.authserv_ids}
    for header in headers.all("Authentication-Results"):
        value = _without_comments(decoded(header))
        first, _, rest = value.partition(";")
        if _NO_AUTHSERV_ID.match(first):
            if trusted.forefront:
                return _results(value), True
        elif first.split() and first.split()[0].strip('"').lower() in trusted_ids:
            return _results(rest), False
    return [], False


def _without_comments(value: str) -> str:
    for _ in range(3):  # comments nest; nobody nests them deeper
        value, count = _COMMENT.subn(" ", value)
        if not count:
            break
    return value


def _results(value: str) -> list[tuple[str, str]]:
    matches = map(_RESULT.match, value.split(";"))
    return [(match[1].lower(), match[2].lower()) for match in matches if match]


def _received_from(headers: Headers) -> str:
    """The outside host in the topmost Received headers, which the receiving side wrote."""
    for header in headers.all("Received")[:_MOST_RECEIVED_HEADERS]:
        value = header[:1_000]
        if not value.lstrip().lower().startswith("from"):
            continue
        by = _RECEIVED_BY.search(value)
        for text in _RECEIVED_ADDRESS.findall(value[: by.start()] if by else value):
            address = _external(text)
            if address:
                return address
    return ""


@lru_cache(maxsize=16_384)
def _external(text: str) -> str:
    """The canonical address; empty when it is none, or belongs to a private network."""
    address = canonical_ip(text)
    return "" if not address or is_internal(address) else address
