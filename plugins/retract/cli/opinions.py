"""Who says what of a value: rows of the lake's indicators, picked for a person to read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl
from pydantic import AwareDatetime

from retract.cli.record import Record
from retract.errors import ConfigurationError
from retract.indicators.analysts import TypedValue
from retract.indicators.pasted import pasted
from retract.indicators.snapshot import LONGEST_CAMPAIGN, End
from retract.indicators.wording import quoted
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE
from retract.model import Disposition, ObservableType
from retract.observables import lookup, written
from retract.observables.address import domain_of
from retract.observables.campaign_rule import rule_matches
from retract.observables.domain import canonical_domain
from retract.observables.host import canonical_ip, is_ip_address
from retract.observables.network import lies_in
from retract.observables.url import split_canonical
from retract.reevaluation.late_lookups import LOOKUP
from retract.reevaluation.match import current, is_exact_enough


class SourceOpinion(Record):
    """What one source says of one value."""

    indicator_id: str
    type: ObservableType
    value: str
    covers: bool
    """It is not the value asked for, but covers it: its domain, a folder above it, its network."""
    source: str
    disposition: Disposition
    confidence: int
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    expires_at: AwareDatetime | None
    listed: bool
    """The source's last good reading holds it."""
    in_force: bool
    not_because: str | None
    """Why it is not in force: held back with the reason, expired, revoked, …"""
    campaign: str
    reference: str
    tags: tuple[str, ...]
    sightings: int


def value_of(text: str, kind: ObservableType | None) -> TypedValue:
    """The one value that a person wrote, defanged, wrapped or not.

    Raises ConfigurationError when it is none, or several.
    """
    found, not_understood = pasted(text, kind or "auto")
    if len(found) == 1:
        return found[0].type, found[0].value
    if len(found) > 1:
        raise ConfigurationError(f"{len(found)} values in {text[:60]!r}: ask for one at a time")
    try:
        return written.canonical(kind or "auto", text)
    except ValueError as error:
        reason = not_understood[0].reason if not_understood else str(error)
        hint = "" if kind else "; --type says what it is, where its look does not"
        raise ConfigurationError(f"{text[:60]!r}: {reason}{hint}") from error


def current_of(lake: Lake, values: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The indicators, held back or not, that are of one of these (type, value) pairs now."""
    there = current(lake.scan_indicators(lake.versions().indicators), now)
    wanted = values.lazy().select("type", "value")
    return there.join(wanted, on=["type", "value"], how="semi").collect()


def in_force_of(lake: Lake, values: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The indicators in force that are of one of these (type, value) pairs, of any source."""
    return current_of(lake, values, now).filter(pl.col("held_back").is_null())


def of_campaign(lake: Lake, campaign: str) -> pl.DataFrame:
    """The indicators of a campaign, in force or not; upper and lower case are one."""
    there = lake.scan_indicators(lake.versions().indicators)
    name = pl.col("campaign").str.strip_chars().str.to_lowercase()
    asked = quoted(campaign.strip(), LONGEST_CAMPAIGN)  # as it was stored
    found = there.filter(name == asked.strip().lower(), name != "")
    return found.sort("source", "type", "value").collect()


def rows_on(lake: Lake, value: TypedValue) -> pl.DataFrame:
    """Every indicator, in force or not, that is this value or covers it, the value itself first.

    A URL is covered by a folder above it, its host and that one's parents; an address by its
    domain; an IP address by its network; a display name by a campaign rule.
    """
    there = lake.scan_indicators(lake.versions().indicators)
    itself = (pl.col("type") == value[0].value) & (pl.col("value") == value[1])
    seen = _seen_with(value)
    met = (
        there.join(_lookups(seen).lazy(), on=LOOKUP, how="inner")
        .filter(is_exact_enough())
        .select(INDICATORS_TABLE.schema.names)
    )
    found = pl.concat([there.filter(itself).collect(), met.collect(), _met_late(there, seen)])
    return found.unique("indicator_id").sort(~itself, "type", "value", "source")


def opinions_in(
    rows: pl.DataFrame, asked: TypedValue | None, now: datetime
) -> tuple[SourceOpinion, ...]:
    """The rows as records, in their order; ``asked`` is the value that was asked for, if any."""
    return tuple(_opinion(row, asked, now) for row in rows.iter_rows(named=True))


def _opinion(row: dict[str, Any], asked: TypedValue | None, now: datetime) -> SourceOpinion:
    not_because = None
    if not row["active"]:
        not_because = row["inactive_because"] or "not active"
    elif row["expires_at"] is not None and row["expires_at"] <= now:
        not_because = End.EXPIRED
    elif row["held_back"] is not None:
        not_because = f"held back: {row['held_back']}"
    return SourceOpinion(
        covers=asked is not None and (row["type"], row["value"]) != asked,
        in_force=not_because is None,
        not_because=not_because,
        tags=tuple(row["tags"]),
        **{name: row[name] for name in _SAID},
    )


_SAID = (
    "indicator_id",
    "type",
    "value",
    "source",
    "disposition",
    "confidence",
    "first_seen",
    "last_seen",
    "expires_at",
    "listed",
    "campaign",
    "reference",
    "sightings",
)


def _seen_with(value: TypedValue) -> list[TypedValue]:
    """What a mail that has this value in it is seen to have."""
    kind, text = value
    seen = [value]
    if kind is ObservableType.URL:
        host = split_canonical(text)[0]
        if is_ip_address(host):
            seen.append((ObservableType.IP_ADDRESS, canonical_ip(host)))
        else:
            seen.append((ObservableType.DOMAIN, canonical_domain(host)))
    elif kind is ObservableType.EMAIL_ADDRESS:
        seen.append((ObservableType.DOMAIN, domain_of(text)))
    return seen


def _lookups(seen: Iterable[TypedValue]) -> pl.DataFrame:
    rows = [
        (kind.value, lookup.key(kind, found.text), found.text, found.exact)
        for kind, text in seen
        for found in lookup.lookups_of(kind, text)
    ]
    schema = {"type": pl.String, "key": pl.Int64, "lookup": pl.String, "exact": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _met_late(there: pl.LazyFrame, seen: Iterable[TypedValue]) -> pl.DataFrame:
    """What no lookup finds: the networks around an IP address, the rules that describe a name."""
    found = [INDICATORS_TABLE.empty()]
    for kind, text in seen:
        if kind is ObservableType.IP_ADDRESS:
            listed = there.filter(pl.col("value").str.contains("/", literal=True), type=kind.value)
        elif kind is ObservableType.DISPLAY_NAME:
            listed = there.filter(type=ObservableType.DISPLAY_NAME_PATTERN.value)
        else:
            continue
        rows = listed.collect()
        met = [_describes(value, kind, text) for value in rows["value"]]
        found.append(rows.filter(pl.Series(met, dtype=pl.Boolean)))
    return pl.concat(found)


def _describes(listed: str, kind: ObservableType, text: str) -> bool:
    if kind is ObservableType.DISPLAY_NAME:
        return rule_matches(listed, text)
    return lies_in(text, listed)
