"""MISP: events and attributes, as files, as the events of a feed, or as a server's answers.

Only what is meant for detection is listed: in real events two of three attributes are not
(``to_ids``: false). The types are those of the MISP core format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from pydantic import Field, ValidationError, field_validator

from retract.errors import FeedError
from retract.indicators.feeds import Service, Source
from retract.indicators.formats.contents import json_of, text_of
from retract.indicators.formats.foreign import Foreign, first_problem, items_of
from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.model import ObservableType
from retract.observables.written import canonical

SEARCH: Final = "/attributes/restSearch"
"""Of a server: where attributes are asked for."""
MANIFEST: Final = "/manifest.json"
"""Of a feed: the list of its events."""

_NOT_FOR_DETECTION: Final = "not meant for detection: to_ids is false"
_ONLY_THESE_HASHES: Final = "only MD5, SHA-1 and SHA-256 of an attachment can be computed"
_FILE_NAMES: Final = "a file name alone says too little"
_RECIPIENTS: Final = "recipients are not what is bad about a mail"
_DISPLAY_NAMES: Final = "display names are for campaign rules"

_Parts = tuple[ObservableType | None, ...]
"""What the parts of a value are, between its ``|``; None for a part that is not used."""

TYPES: Final[Mapping[str, _Parts]] = {
    "url": (ObservableType.URL,),
    "uri": (ObservableType.URL,),
    "domain": (ObservableType.DOMAIN,),
    "hostname": (ObservableType.DOMAIN,),
    "onion-address": (ObservableType.DOMAIN,),
    "hostname|port": (ObservableType.DOMAIN, None),
    "domain|ip": (ObservableType.DOMAIN, ObservableType.IP_ADDRESS),
    "ip-src": (ObservableType.IP_ADDRESS,),
    "ip-dst": (ObservableType.IP_ADDRESS,),
    "ip-src|port": (ObservableType.IP_ADDRESS, None),
    "ip-dst|port": (ObservableType.IP_ADDRESS, None),
    "email": (ObservableType.EMAIL_ADDRESS,),
    "email-src": (ObservableType.EMAIL_ADDRESS,),
    "email-reply-to": (ObservableType.EMAIL_ADDRESS,),
    "md5": (ObservableType.MD5,),
    "sha1": (ObservableType.SHA1,),
    "sha256": (ObservableType.SHA256,),
    "filename|md5": (None, ObservableType.MD5),
    "filename|sha1": (None, ObservableType.SHA1),
    "filename|sha256": (None, ObservableType.SHA256),
    "malware-sample": (None, ObservableType.MD5),
}
"""The attribute types that mail can show."""

_LEFT_OUT: Final = {
    "email-subject": "subjects are for campaign rules",
    "email-src-display-name": _DISPLAY_NAMES,
    "email-dst-display-name": _DISPLAY_NAMES,
    "email-dst": _RECIPIENTS,
    "target-email": _RECIPIENTS,
    "filename": _FILE_NAMES,
    "attachment": _FILE_NAMES,
    "email-attachment": _FILE_NAMES,
    "link": "links lead to reports",
} | {
    prefix + name: _ONLY_THESE_HASHES
    for prefix in ("", "filename|")
    for name in (
        *("authentihash", "vhash", "ssdeep", "imphash", "impfuzzy", "pehash", "tlsh", "telfhash"),
        *("cdhash", "sha224", "sha384", "sha512", "sha512/224", "sha512/256"),
        *("sha3-224", "sha3-256", "sha3-384", "sha3-512"),
    )
}


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The entries of all events and attributes. Raises FeedError when the data holds neither.

    A deleted attribute is revoked.
    """
    for number, found in enumerate(_found(json_of(text_of(data))), start=1):
        if isinstance(found, _BareAttribute):
            yield from _of_attribute(found.stated, f"attribute {number}", None, False, source)
        else:
            yield from _of_event(found.stated, f"event {number}", source)


class _BareEvent(NamedTuple):
    stated: Any


class _BareAttribute(NamedTuple):
    stated: Any


def _found(document: Any) -> Iterator[_BareEvent | _BareAttribute]:
    """The events and attributes in whatever form MISP and its exports wrap them."""
    if document is None:
        return
    if isinstance(document, dict) and "response" in document:
        document = document["response"]
    if isinstance(document, dict):
        if "Event" in document:
            yield _BareEvent(document["Event"])
            return
        if isinstance(attributes := document.get("Attribute"), list):
            yield from (_BareAttribute(one) for one in attributes)
            return
    elif isinstance(document, list):
        yield from (
            _BareEvent(one["Event"]) if isinstance(one, dict) and "Event" in one else _not(one)
            for one in document
        )
        return
    _not(document)


def _not(document: Any) -> _BareEvent:
    """Raises FeedError: neither an event nor an attribute."""
    told = document.get("message") if isinstance(document, dict) else None
    says = f"; it says {told[:200]!r}" if isinstance(told, str) else ""
    raise FeedError(
        f"is JSON but no MISP event: it has neither Event nor Attribute{says}; check format and "
        "location"
    )


# --- the properties we use; MISP adds others with each version ---


class _Tag(Foreign):
    name: str = ""


class _Cluster(Foreign):
    tag_name: str = ""


class _Galaxy(Foreign):
    clusters: tuple[_Cluster, ...] = Field(default=(), alias="GalaxyCluster")


class _Sighting(Foreign):
    type: int = 0
    """0 seen, 1 a false positive, 2 expired."""
    at: datetime | None = Field(default=None, alias="date_sighting")

    @field_validator("at", mode="before")
    @classmethod
    def _epoch(cls, value: object) -> object:
        return _moment(value)


class _About(Foreign):
    """An event, without its attributes."""

    info: str = ""
    uuid: str = ""
    id: str | int = ""
    tags: tuple[_Tag, ...] = Field(default=(), alias="Tag")
    galaxies: tuple[_Galaxy, ...] = Field(default=(), alias="Galaxy")


class _Attribute(Foreign):
    type: str
    value: str
    deleted: bool = False
    uuid: str = ""
    timestamp: datetime | None = None
    first_seen: datetime | None = None
    tags: tuple[_Tag, ...] = Field(default=(), alias="Tag")
    galaxies: tuple[_Galaxy, ...] = Field(default=(), alias="Galaxy")
    sightings: tuple[_Sighting, ...] = Field(default=(), alias="Sighting")
    event: _About | None = Field(default=None, alias="Event")

    @field_validator("timestamp", "first_seen", mode="before")
    @classmethod
    def _epoch(cls, value: object) -> object:
        return _moment(value)


def _moment(value: object) -> datetime | None:
    """A time as MISP writes it: seconds since 1970, as a number or text, or ISO 8601.

    None for one that cannot be read: a time is never why an indicator is lost.
    """
    try:
        if isinstance(value, str) and not value.strip().lstrip("-").isdecimal():
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        seconds = int(value) if isinstance(value, str | int) else 0
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


# --- events and their attributes ---


@dataclass(frozen=True, slots=True)
class _Event:
    """What an event says for all its attributes."""

    campaign: str | None
    reference: str | None
    tags: tuple[str, ...]

    @classmethod
    def of(cls, about: _About, source: Source) -> Self:
        return cls(
            campaign=about.info.strip() or None,
            reference=_reference(about, source),
            tags=_tags(about),
        )


def _of_event(stated: Any, where: str, source: Source) -> Iterator[Entry]:
    try:
        event = _Event.of(_About.model_validate(stated), source)
    except ValidationError as error:
        yield Rejected(where, first_problem(error))
        return
    for number, attribute in enumerate(items_of(stated, "Attribute"), start=1):
        yield from _of_attribute(attribute, f"{where} attribute {number}", event, False, source)
    for number, thing in enumerate(items_of(stated, "Object"), start=1):
        place = f"{where} object {number}"
        if not isinstance(thing, dict):
            yield Rejected(place, "not an object")
            continue
        deleted = is_true(thing.get("deleted"))
        for attribute in items_of(thing, "Attribute"):
            yield from _of_attribute(attribute, place, event, deleted, source)


def _of_attribute(
    stated: Any, where: str, event: _Event | None, deleted: bool, source: Source
) -> Iterator[Entry]:
    if not isinstance(stated, dict):
        yield Rejected(where, "not an attribute")
        return
    where = str(stated.get("uuid") or where)[:100]
    deleted = deleted or is_true(stated.get("deleted"))
    if not deleted and not is_true(stated.get("to_ids")):
        yield LeftOut(where, _NOT_FOR_DETECTION)
        return
    kind = str(stated.get("type"))[:100]
    if kind not in TYPES:
        yield LeftOut(where, _LEFT_OUT.get(kind, f"type {kind} cannot be matched with mail"))
        return
    try:
        attribute = _Attribute.model_validate(stated)
    except ValidationError as error:
        yield Rejected(where, first_problem(error))
        return
    if event is None:
        event = _Event.of(attribute.event or _About(), source)
    for type_, text in parts_of(kind, attribute.value):
        try:
            value = canonical(type_, text)
        except ValueError as error:
            if deleted:
                # A server may be set to blank what is deleted.
                yield LeftOut(where, "deleted")
            else:
                # A URI may be a path alone.
                yield (LeftOut if kind == "uri" else Rejected)(where, str(error))
            continue
        yield Listed(
            *value,
            campaign=event.campaign,
            reference=event.reference,
            first_seen=attribute.first_seen or attribute.timestamp,
            expires_at=_expiry(attribute),
            revoked=deleted,
            sightings=sum(sighting.type == 0 for sighting in attribute.sightings),
            tags=tuple(dict.fromkeys((*_tags(attribute), *event.tags))),
            statement=attribute.uuid,
            stated_at=attribute.timestamp,
        )


def parts_of(kind: str, value: str) -> Iterator[tuple[ObservableType, str]]:
    """The values in a value of one of TYPES: ``domain|ip`` names two, ``filename|md5`` one."""
    types = TYPES[kind]
    if len(types) == 1:
        texts: tuple[str, ...] = (value,)
    elif types[0] is None:
        # A file's name may hold the separator; a hash does not.
        texts = value.rpartition("|")[::2]
    else:
        texts = value.partition("|")[::2]
    for type_, text in zip(types, texts, strict=True):
        if type_ is not None and (text or len(types) == 1 or types[0] is None):
            yield type_, text


def _expiry(attribute: _Attribute) -> datetime | None:
    """When a sighting of the third kind said that it is over, unless it was seen after that."""
    ends = [one.at for one in attribute.sightings if one.type == 2 and one.at]
    seen = [one.at for one in attribute.sightings if one.type == 0 and one.at]
    if not ends or (seen and max(seen) > max(ends)):
        return None
    return max(ends)


def _tags(stated: _About | _Attribute) -> tuple[str, ...]:
    """The tags, those of galaxies last."""
    clusters = [one.tag_name for galaxy in stated.galaxies for one in galaxy.clusters]
    names = [tag.name for tag in stated.tags]
    names.sort(key=lambda name: name.startswith("misp-galaxy:"))
    return tuple(dict.fromkeys(name for name in (*names, *clusters) if name))


def _reference(about: _About, source: Source) -> str | None:
    """Where the event can be read: on the server or in the feed it comes from, else its id."""
    name = about.uuid or str(about.id)
    if not name:
        return None
    address = address_of(source)
    if "{" not in address and name.replace("-", "").isalnum():
        if source.service is Service.MISP_SERVER:
            return f"{address}/events/view/{name}"
        if source.service is Service.MISP_FEED:
            return f"{address}/{name}.json"
    return f"misp-event:{name}"


def address_of(source: Source) -> str:
    """The address of the server or of the feed's folder, without an end to it, or a question."""
    plain = re.split(r"[?#]", source.location, maxsplit=1)[0].rstrip("/")
    return plain.removesuffix(SEARCH).removesuffix(MANIFEST).rstrip("/")


def is_true(stated: object) -> bool:
    """MISP's versions write true, 1 and "1"."""
    return stated in (True, 1, "1", "true", "True")
