"""What an analyst is about to enter: the values, what they would hit, and what to beware of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

import polars as pl
from pydantic import AwareDatetime

from retract.cli.record import Record
from retract.cli.would_hit import Hits, WouldHit
from retract.indicators.analysts import Opinion
from retract.indicators.feeds import ANALYSTS
from retract.indicators.pasted import Pasted
from retract.model import Disposition, ObservableType
from retract.observables.domain import canonical_domain
from retract.observables.url import split_canonical
from retract.policy import Policy

MANY_PERCENT: Final = 1.0
"""Of the window's copies; campaigns are smaller."""
MANY_COPIES: Final = 20
"""Below that no share of the copies is large."""
MANY_READERS: Final = 10
"""Mailboxes with copies that were read: their owners will miss them."""


class Understood(Record):
    """One value, and what is known of it."""

    line: int
    type: ObservableType
    value: str
    note: str
    """How it was read, where that is not plain."""
    held_back: str | None
    """Why it would match nothing."""
    copies: int
    """In the window, that it meets."""
    same_host: int | None
    """Of a URL on a host that is not everybody's: copies that link to that host."""
    listed_by: tuple[str, ...]
    """The sources in whose opinion it is in force already."""
    replaces: str | None
    """The campaign of the analysts' own earlier entry, where that is another one."""


class NotTaken(Record):
    """What looks as if it were meant as a value and is none."""

    line: int
    text: str
    reason: str


class Addition(Record):
    """What ``indicators add --json`` writes."""

    campaign: str
    disposition: Disposition
    confidence: int
    expires_at: AwareDatetime
    reference: str
    entered_by: str
    understood: tuple[Understood, ...]
    not_understood: tuple[NotTaken, ...]
    would_hit: WouldHit
    warnings: tuple[str, ...]
    written: bool = False
    version: int | None = None
    """Of the indicators, once they are written."""


def addition_of(
    read: Pasted,
    opinion: Opinion,
    rows: pl.DataFrame,
    hits: Hits,
    *,
    listed: pl.DataFrame,
    own_domains: Collection[str],
    policy: Policy,
    now: datetime,
) -> Addition:
    """What to show before anything is written.

    ``rows`` are the values as the source will hold them; ``listed`` the indicators in force that
    are there already, of any source.
    """
    by_value = {(row["type"], row["value"]): row for row in rows.iter_rows(named=True)}
    sources: dict[tuple[str, str], list[str]] = {}
    earlier: dict[tuple[str, str], str] = {}
    for row in listed.sort("source").iter_rows(named=True):
        sources.setdefault((row["type"], row["value"]), []).append(row["source"])
        if row["source"] == ANALYSTS and row["campaign"] != opinion.campaign:
            earlier[row["type"], row["value"]] = row["campaign"]
    understood = []
    for one in read.found:
        row = by_value[one.type, one.value]
        understood.append(
            Understood(
                **one._asdict(),
                held_back=row["held_back"],
                copies=hits.by_indicator[row["indicator_id"]],
                same_host=hits.same_host.get(row["indicator_id"]),
                listed_by=tuple(sources.get((one.type, one.value), ())),
                replaces=earlier.get((one.type, one.value)),
            )
        )
    return Addition(
        campaign=opinion.campaign,
        disposition=opinion.disposition,
        confidence=opinion.confidence,
        expires_at=opinion.ends_at(now),
        reference=opinion.reference,
        entered_by=opinion.by,
        understood=tuple(understood),
        not_understood=tuple(NotTaken(**one._asdict()) for one in read.not_understood),
        would_hit=hits.total,
        warnings=tuple(_warnings(understood, hits.total, opinion, own_domains, policy)),
    )


def _warnings(
    understood: list[Understood],
    total: WouldHit,
    opinion: Opinion,
    own_domains: Collection[str],
    policy: Policy,
) -> Iterator[str]:
    own = sorted({one.value for one in understood if _is_internal(one, own_domains)})
    if own:
        yield f"your own organisation is among the values: {', '.join(own)}"
    percent = 100 * total.retracted / total.collected if total.collected else 0.0
    if percent > MANY_PERCENT and total.retracted >= MANY_COPIES:
        yield (
            f"it would retract {percent:.1f} % of all copies delivered in the window: "
            "is one of the values something that good mail has, too?"
        )
    if total.readers >= MANY_READERS:
        yield f"{total.readers:,} people have read a copy that would be retracted"
    if total.internal:
        yield (
            f"{total.internal:,} of the copies that would be retracted came from your own domains, "
            "or in their name"
        )
    if opinion.confidence < policy.confidence_floor:
        yield (
            f"nothing will come of it: the policy counts matches of confidence "
            f"{policy.confidence_floor} or more, and these have {opinion.confidence}"
        )


def _is_internal(one: Understood, own_domains: Collection[str]) -> bool:
    match one.type:
        case ObservableType.EMAIL_ADDRESS:
            host = one.value.rpartition("@")[2]
        case ObservableType.DOMAIN:
            host = one.value
        case ObservableType.URL:
            host = canonical_domain(split_canonical(one.value)[0])
        case _:
            return False
    return any(host == own or host.endswith("." + own) for own in own_domains)
