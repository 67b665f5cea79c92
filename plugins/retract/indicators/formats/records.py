"""What a row of a table or an object states, cell by cell, as indicators."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.model import ACTIONABLE_DISPOSITIONS, Disposition, ObservableType
from retract.observables.written import AnyType, canonical

Cells = Mapping[str, Any]
"""By the names of Columns: text from CSV, any value from JSON. Absent or blank: not stated."""

MOST_TAGS: Final = 100

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Earlier times are how databases write that there is none: 0, 0000-00-00, 1970-01-01."""

_WORDS: Final[Mapping[AnyType, str]] = {
    "auto": "auto indicator ioc host hash filehash",
    ObservableType.URL: "url uri link website phishingurl maliciousurl",
    ObservableType.DOMAIN: "domain domainname hostname fqdn dns",
    ObservableType.EMAIL_ADDRESS: "email emailaddress emailaddr mail mailaddress sender emailsrc "
    "emailsender emailreplyto envelopefrom bodyfrom",
    ObservableType.DISPLAY_NAME: "displayname sendername fromname emailsrcdisplayname",
    ObservableType.FILE_NAME: "filename attachment attachmentname emailattachment",
    ObservableType.MD5: "md5 md5hash hashmd5 filemd5 filehashmd5",
    ObservableType.SHA1: "sha1 sha1hash hashsha1 filesha1 filehashsha1",
    ObservableType.SHA256: "sha256 sha256hash hashsha256 filesha256 filehashsha256",
    ObservableType.IP_ADDRESS: "ip ipv4 ipv6 ipaddress ipaddr ipv4addr ipv6addr ipv4address "
    "ipv6address ipport ipsrc ipdst ipsrcport ipdstport cidr iprange network subnet netblock",
    ObservableType.SUBJECT_PATTERN: "subjectpattern",
    ObservableType.DISPLAY_NAME_PATTERN: "displaynamepattern",
}
_TYPES: Final = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_NOT_IN_MAIL: Final = frozenset(
    {"as", "asn", "cve", "vulnerability", "ja3", "ja3s", "ja3hash", "ja3fingerprintmd5"}
    | {"ja4", "jarm", "hassh", "imphash", "pehash", "ssdeep", "tlsh", "vhash", "sha224"}
    | {"sha384", "sha512", "sha384hash", "sha512hash", "sha3384", "sha3384hash"}
    | {"filehashsha512", "filehashimphash", "filehashpehash", "mutex", "registry"}
    | {"registrykey", "regkey", "useragent", "yara", "sigma", "snort", "btc", "bitcoin"}
    | {"bitcoinaddress", "xmr", "wallet", "certificate", "sslcertfingerprint"}
    | {"x509fingerprintsha1", "filepath", "path", "process", "pdb", "port", "macaddress"}
    | {"phonenumber", "iban"}
)
_LONGEST_WORD: Final = 60
_OFTEN_REPEATED: Final = 200
"""Characters of tags up to which remembering how they are split costs little memory."""
_NOT_A_LETTER = re.compile(r"[\W_]+")
_CONFIDENCE = re.compile(r"([0-9]{1,3})(?:\.0+)?\s?%?")
_EPOCH = re.compile(r"[0-9]{9,17}(?:\.[0-9]+)?")
"""Eight digits are a date, as 20260131."""
_ZONES: Final = (" UTC", " GMT")
_ZERO_DATE = re.compile(r"0{1,4}(?:-00-00.*)?")


class NotInMail(Exception):
    """A sound type of which mail shows nothing that it could be compared with."""


def entries(cells: Cells, kind: AnyType, where: str) -> Iterator[Entry]:
    """What one record states: an entry for each of its values, usually one.

    ``kind`` is their type where no cell says it.
    """
    try:
        if word := text_of_cell(cells.get("type")):
            kind = type_of(word)
        disposition = disposition_of(cells.get("disposition"))
        confidence = confidence_of(cells.get("confidence"))
        campaign = text_of_cell(cells.get("campaign")) or None
        reference = text_of_cell(cells.get("reference")) or None
        first_seen = time_of(cells.get("first_seen"))
        expires_at = time_of(cells.get("expires_at"))
    except ValueError as error:
        yield Rejected(where, str(error))
        return
    except NotInMail as reason:
        yield LeftOut(where, str(reason))
        return
    tags = tags_of(cells.get("tags"))
    value = cells.get("value")
    for one in value if isinstance(value, list) and value else [value]:
        try:
            yield Listed(
                *canonical(kind, text_of_cell(one)),
                disposition=disposition,
                confidence=confidence,
                campaign=campaign,
                reference=reference,
                first_seen=first_seen,
                expires_at=expires_at,
                tags=tags,
            )
        except ValueError as error:
            yield Rejected(where, str(error))


def text_of_cell(value: object) -> str:
    """A cell as text, of a list its first; empty for what no text is: null, true, an object."""
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, list) and value:
        return text_of_cell(value[0]) if not isinstance(value[0], list) else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


@lru_cache(maxsize=1024)
def type_of(word: str) -> AnyType:
    """The type that feeds call so: ``sha256_hash``, ``FileHash-SHA256``, ``ip:port``, ``FQDN`` …

    Raises NotInMail for one that mail does not show, ValueError for an unknown one.
    """
    letters = _NOT_A_LETTER.sub("", word[:_LONGEST_WORD].lower())
    if letters in _NOT_IN_MAIL:
        raise NotInMail(f"{word[:40]!r} is nothing that mail shows")
    if letters not in _TYPES:
        known = ", ".join(ObservableType)
        raise ValueError(f"unknown type {word[:40]!r}; known: {known}")
    return _TYPES[letters]


def disposition_of(value: object) -> Disposition | None:
    """None where the cell is blank. Raises ValueError when it is none that gets an action."""
    text = text_of_cell(value).lower()
    if not text:
        return None
    if text not in ACTIONABLE_DISPOSITIONS:
        raise ValueError(f"unknown disposition {text[:40]!r}")
    return Disposition(text)


def confidence_of(value: object) -> int | None:
    """0 to 100; None where the cell is blank. Raises ValueError."""
    text = text_of_cell(value)
    if not text:
        return None
    found = _CONFIDENCE.fullmatch(text)
    if not found or int(found[1]) > 100:
        raise ValueError(f"confidence {text[:40]!r} is not a whole number from 0 to 100")
    return int(found[1])


def tags_of(value: object) -> tuple[str, ...]:
    """Labels, from a list or from text with commas, each once, as they are written.

    Not more than MOST_TAGS. A tuple is what this gave before.
    """
    if isinstance(value, tuple):
        return value
    if isinstance(value, list):
        return _each_once(text_of_cell(part) for part in value[:MOST_TAGS])
    text = text_of_cell(value)
    return _split(text) if len(text) <= _OFTEN_REPEATED else _each_once(text.split(",", MOST_TAGS))


@lru_cache(maxsize=4096)
def _split(text: str) -> tuple[str, ...]:
    return _each_once(text.split(","))


def _each_once(tags: Iterable[str]) -> tuple[str, ...]:
    stripped = (tag.strip() for tag in tags)
    return tuple(dict.fromkeys(tag for tag in stripped if tag))[:MOST_TAGS]


def time_of(value: object) -> datetime | None:
    """ISO-8601, ``2026-01-31 12:00:00 UTC`` or epoch seconds; UTC where it names no zone.

    None where nothing is stated, or a time before EARLIEST. Raises ValueError for what is no
    time. One in the future is not judged here: that needs a clock.
    """
    text = text_of_cell(value)
    if not text or _ZERO_DATE.fullmatch(text):
        return None
    try:
        if isinstance(value, int | float) or _EPOCH.fullmatch(text):
            moment = _of_epoch(float(text))
        else:
            moment = datetime.fromisoformat(text[:-4] if text.endswith(_ZONES) else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text[:40]!r} is not a time as 2026-01-31T12:00:00Z") from None
    return moment if moment >= EARLIEST else None


def _of_epoch(number: float) -> datetime:
    """Seconds; milli- and microseconds where as seconds they would lie thousands of years off."""
    while 1e11 <= number < 1e17:
        number /= 1000
    return datetime.fromtimestamp(number, UTC)
