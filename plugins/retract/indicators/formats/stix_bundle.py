"""STIX 2.0 and 2.1, bundles and TAXII envelopes: the indicators whose patterns are equalities.

Published bundles are careless: hash names with and without hyphens, no ``confidence``, no
``valid_until``. What is there counts; the source's settings fill the rest. No pattern engine
runs per message: a pattern that is not a choice of equalities is left out with the reason.

What indicators mean by others (campaigns, sightings, markings) is found within a document: a
TAXII collection may tell it pages later, or in a later reading, and then it is not known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from pydantic import Field, ValidationError

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats.contents import json_of, text_of
from retract.indicators.formats.foreign import Foreign, Moment, first_problem, items_of
from retract.indicators.formats.stix_pattern import Unsupported, equalities
from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.model import Disposition
from retract.observables.written import canonical

_CAUSES: Final = (
    *("campaign", "intrusion-set", "malware", "threat-actor", "infrastructure", "tool"),
    *("attack-pattern", "report", "grouping"),
)
"""What the campaign of an indicator is called after, the most telling first."""
_COLLECTIONS: Final = frozenset({"report", "grouping"})
"""They name what they hold; the others are what a relationship says is indicated."""
_WEAK_LABELS: Final = frozenset({"anomalous-activity", "anonymization", "unknown"})
"""Words of the open vocabulary indicator-type-ov that say less than malicious."""
_MOST_SIGHTINGS: Final = 999_999_999
"""Of one sighting object, by the specification."""
_MARKING: Final = "marking-definition--"
_TLP: Final = {
    f"{_MARKING}613f2e26-407d-48c7-9eca-b8e91df99dc9": "tlp:white",
    f"{_MARKING}34098fce-860f-48ae-8e50-ebd3cc5e41da": "tlp:green",
    f"{_MARKING}f88d31f6-486f-44da-b317-01333bde0b82": "tlp:amber",
    f"{_MARKING}5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "tlp:red",
    f"{_MARKING}94868c89-83c2-464b-929b-a1a8aa3c8487": "tlp:clear",
    f"{_MARKING}bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "tlp:green",
    f"{_MARKING}55d920b0-5e8b-4f79-9ee9-91f868d9b421": "tlp:amber",
    f"{_MARKING}939a9414-2ddd-4d32-a0cd-375ea402b003": "tlp:amber+strict",
    f"{_MARKING}e828b379-4e03-4974-9ac4-e53a884c97c1": "tlp:red",
}
"""The markings that STIX 2 and the TLP 2.0 extension fix; bundles refer to them without them."""


class _Reference(Foreign):
    url: str | None = None


class _Phase(Foreign):
    phase_name: str = ""


class _Indicator(Foreign):
    id: str
    pattern: str
    pattern_type: str = "stix"
    modified: Moment | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    revoked: bool = False
    confidence: int | None = Field(default=None, ge=0, le=100)
    labels: tuple[str, ...] = ()
    indicator_types: tuple[str, ...] = ()
    kill_chain_phases: tuple[_Phase, ...] = ()
    object_marking_refs: tuple[str, ...] = ()
    external_references: tuple[_Reference, ...] = ()


def parse(data: bytes, source: Source) -> Iterator[Entry]:
    """The document's entries. Raises FeedError when the data is neither bundle nor envelope."""
    objects = _objects(json_of(text_of(data)))
    versions: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    things: list[dict[str, Any]] = []
    for number, thing in enumerate(objects, start=1):
        if not isinstance(thing, dict):
            yield Rejected(f"object {number}", "not an object")
        elif thing.get("type") == "indicator":
            versions[str(thing.get("id") or f"object {number}")[:200]].append(thing)
        else:
            things.append(thing)
    del objects
    context = _Context.of(things)
    for where, stated in versions.items():
        yield from _newest(where, stated, context, source)


def _objects(document: Any) -> list[Any]:
    if document is None:
        return []
    if isinstance(document, dict):
        objects = document.get("objects")
        if isinstance(objects, list):
            return objects
        # TAXII 2.1: an envelope without objects leaves the key out.
        is_envelope = document.keys() <= {"more", "next", "objects"}
        if objects is None and (document.get("type") == "bundle" or is_envelope):
            return []
    raise FeedError("is JSON but no STIX bundle: it has no list of objects; check format")


def _newest(
    where: str, versions: Iterable[dict[str, Any]], context: _Context, source: Source
) -> Iterator[Entry]:
    """The entries of an indicator; of several versions in one document the newest counts."""
    newest: _Indicator | None = None
    for version in versions:
        try:
            indicator = _Indicator.model_validate(version)
        except ValidationError as error:
            yield Rejected(where, first_problem(error))
            continue
        if newest is None or _moment(newest.modified) <= _moment(indicator.modified):
            newest = indicator
    if newest is not None:
        yield from _entries(newest, context, source)


def _moment(time: datetime | None) -> datetime:
    return time or datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Context:
    """What a document says about its indicators elsewhere, by the indicator's id."""

    campaigns: dict[str, str] = field(default_factory=dict)
    sightings: dict[str, int] = field(default_factory=dict)
    markings: dict[str, str] = field(default_factory=lambda: dict(_TLP))

    @classmethod
    def of(cls, things: Iterable[Mapping[str, Any]]) -> Self:
        context = cls()
        names: dict[str, tuple[int, str]] = {}
        pairs: list[tuple[str, str]] = []
        sighted: dict[str, tuple[str, int]] = {}
        for number, thing in enumerate(things):
            kind, own = thing.get("type"), str(thing.get("id") or number)
            if thing.get("revoked") is True:
                continue
            if kind in _CAUSES and isinstance(name := thing.get("name"), str) and name.strip():
                names[own] = (_CAUSES.index(kind), name)
                if kind in _COLLECTIONS:
                    pairs += [(str(one), own) for one in items_of(thing, "object_refs")]
            elif kind == "relationship" and thing.get("relationship_type") == "indicates":
                pairs.append((str(thing.get("source_ref")), str(thing.get("target_ref"))))
            elif kind == "sighting":
                sighted[own] = (str(thing.get("sighting_of_ref")), _count(thing.get("count")))
            elif kind == "marking-definition":
                context._mark(own, thing)
        best: dict[str, tuple[int, str]] = {}
        for indicator, cause in pairs:
            if cause in names and names[cause] < best.get(indicator, (len(_CAUSES), "")):
                best[indicator] = names[cause]
        context.campaigns = {indicator: name for indicator, (_, name) in best.items()}
        for indicator, count in sighted.values():
            context.sightings[indicator] = context.sightings.get(indicator, 0) + count
        return context

    def _mark(self, own: str, thing: Mapping[str, Any]) -> None:
        definition = thing.get("definition")
        if thing.get("definition_type") == "tlp" and isinstance(definition, dict):
            self.markings.setdefault(own, f"tlp:{definition.get('tlp')}")
        elif isinstance(name := thing.get("name"), str) and name.strip():
            self.markings.setdefault(own, name.lower())


def _count(stated: object) -> int:
    """How often one sighting saw it: once where it does not say, or what it says is no count."""
    if isinstance(stated, int) and not isinstance(stated, bool) and 0 <= stated <= _MOST_SIGHTINGS:
        return stated
    return 1


def _entries(indicator: _Indicator, context: _Context, source: Source) -> Iterator[Entry]:
    if indicator.pattern_type != "stix":
        reason = f"pattern type {indicator.pattern_type[:40]!r} is not supported"
        yield LeftOut(indicator.id, reason)
        return
    labels = [label.strip().lower() for label in (*indicator.indicator_types, *indicator.labels)]
    is_benign = "benign" in labels
    if is_benign:
        yield LeftOut(indicator.id, "labelled benign")
    try:
        stated, unsupported = equalities(indicator.pattern)
    except Unsupported as error:
        yield LeftOut(indicator.id, str(error))
        return
    for reason in unsupported:
        yield LeftOut(indicator.id, reason)
    phases = [phase.phase_name for phase in indicator.kill_chain_phases]
    markings = [context.markings.get(one, "") for one in indicator.object_marking_refs]
    tags = tuple(dict.fromkeys(tag for tag in (*labels, *phases, *markings) if tag))
    urls = [reference.url for reference in indicator.external_references if reference.url]
    disposition = _disposition(indicator, source)
    for kind, text in stated:
        try:
            value = canonical(kind, text)
        except ValueError as error:
            yield Rejected(indicator.id, str(error))
            continue
        yield Listed(
            *value,
            disposition=disposition,
            confidence=indicator.confidence,
            campaign=context.campaigns.get(indicator.id),
            reference=urls[0] if urls else None,
            first_seen=indicator.valid_from,
            expires_at=indicator.valid_until,
            # An older version may have said otherwise, in this reading or before.
            revoked=indicator.revoked or is_benign,
            sightings=context.sightings.get(indicator.id, 0),
            tags=tags,
            statement=indicator.id,
            stated_at=indicator.modified,
        )


def _disposition(indicator: _Indicator, source: Source) -> Disposition | None:
    """Suspicious at most when the types only say that something is odd; else the source's.

    Version 2.0 writes the types as labels; in 2.1 labels are anybody's words.
    """
    kinds = {kind.strip().lower() for kind in indicator.indicator_types or indicator.labels}
    weak = bool(kinds) and kinds <= _WEAK_LABELS
    too_grave = source.disposition.severity > Disposition.SUSPICIOUS.severity
    return Disposition.SUSPICIOUS if weak and too_grave else None
