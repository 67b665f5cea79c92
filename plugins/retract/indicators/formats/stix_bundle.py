"""STIX 2.0 and 2.1 bundles: the indicators whose patterns are equalities.

Published bundles are careless: hash names with and without hyphens, no ``confidence``, no
``valid_until``. What is there counts; the source's settings fill the rest. No pattern engine
runs per message: a pattern that is not a choice of equalities is rejected with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats.contents import text_of
from retract.indicators.formats.stix_pattern import Unsupported, equalities
from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.model import Disposition
from retract.observables.written import canonical

_CAUSES: Final = frozenset(
    {"attack-pattern", "campaign", "infrastructure", "intrusion-set", "malware", "threat-actor"}
)
_WEAK_LABELS: Final = frozenset({"anomalous-activity", "anonymization", "unknown"})
"""Words of the open vocabulary indicator-type-ov that say less than malicious."""


class _Reference(BaseModel):
    model_config = ConfigDict(extra="ignore")

    url: str | None = None


class _Indicator(BaseModel):
    """The properties we use of a STIX indicator; custom properties are legal and ignored."""

    model_config = ConfigDict(extra="ignore")

    id: str
    pattern: str
    pattern_type: str = "stix"
    modified: AwareDatetime = datetime.min.replace(tzinfo=UTC)
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    revoked: bool = False
    confidence: int | None = Field(default=None, ge=0, le=100)
    labels: tuple[str, ...] = ()
    indicator_types: tuple[str, ...] = ()
    external_references: tuple[_Reference, ...] = ()

    @field_validator("labels", "indicator_types", "external_references", mode="before")
    @classmethod
    def _absent(cls, value: object) -> object:
        return () if value is None else value


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The bundle's entries. Raises FeedError when the data is no bundle."""
    objects = _objects(text_of(data)) or []
    newest: dict[str, _Indicator] = {}
    for number, thing in enumerate(objects):
        if not isinstance(thing, dict):
            yield Rejected(f"object {number + 1}", "not an object")
        elif thing.get("type") == "indicator":
            where = str(thing.get("id") or f"object {number + 1}")[:200]
            try:
                indicator = _Indicator.model_validate(thing)
            except ValidationError as error:
                yield Rejected(where, _first_problem(error))
                continue
            earlier = newest.get(indicator.id)
            if earlier is None or earlier.modified <= indicator.modified:
                newest[indicator.id] = indicator
    campaigns = _campaigns([thing for thing in objects if isinstance(thing, dict)])
    for indicator in newest.values():
        yield from _entries(indicator, campaigns.get(indicator.id), source)


def _objects(text: str) -> list[Any] | None:
    """The bundle's objects; None for an empty file."""
    if not text.strip():
        return None
    try:
        bundle = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        cut = error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg
        reason = "ends in the middle: it was cut off, fetch it again" if cut else error.msg
        raise FeedError(f"is no readable JSON at {place}: {reason}") from error
    except RecursionError as error:
        raise FeedError("is JSON nested too deeply to be a bundle") from error
    objects = bundle.get("objects") if isinstance(bundle, dict) else None
    if isinstance(bundle, dict) and bundle.get("type") == "bundle" and objects is None:
        return []
    if not isinstance(objects, list):
        raise FeedError("is JSON but no STIX bundle: it has no list of objects; check format")
    return objects


def _campaigns(objects: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What each indicator is said to indicate, by the indicator's id."""
    names: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    for thing in objects:
        if thing.get("type") in _CAUSES:
            names[str(thing.get("id"))] = str(thing.get("name", ""))
        elif thing.get("type") == "relationship" and thing.get("relationship_type") == "indicates":
            pairs.append((str(thing.get("source_ref")), str(thing.get("target_ref"))))
    return {source: names[target] for source, target in pairs if names.get(target)}


def _entries(indicator: _Indicator, campaign: str | None, source: Source) -> Iterator[Entry]:
    if indicator.pattern_type != "stix":
        reason = f"pattern type {indicator.pattern_type[:40]!r} is not supported"
        yield LeftOut(indicator.id, reason)
        return
    labels = {label.lower() for label in (*indicator.indicator_types, *indicator.labels)}
    if "benign" in labels:
        yield LeftOut(indicator.id, "labelled benign")
        return
    try:
        stated, unsupported = equalities(indicator.pattern)
    except Unsupported as error:
        yield LeftOut(indicator.id, str(error))
        return
    for reason in unsupported:
        yield LeftOut(indicator.id, reason)
    urls = [reference.url for reference in indicator.external_references if reference.url]
    for kind, text in stated:
        try:
            value = canonical(kind, text)
        except ValueError as error:
            yield Rejected(indicator.id, str(error))
            continue
        yield Listed(
            *value,
            disposition=_disposition(labels, source),
            confidence=indicator.confidence,
            campaign=campaign,
            reference=urls[0] if urls else None,
            first_seen=indicator.valid_from,
            expires_at=indicator.valid_until,
            revoked=indicator.revoked,
            tags=tuple(sorted(labels)),
        )


def _disposition(labels: set[str], source: Source) -> Disposition | None:
    """Suspicious at most when the labels only say that something is odd; else the source's."""
    weak = bool(labels) and labels <= _WEAK_LABELS
    too_grave = source.disposition.severity > Disposition.SUSPICIOUS.severity
    return Disposition.SUSPICIOUS if weak and too_grave else None


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
