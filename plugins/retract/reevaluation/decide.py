"""Decide what each message is, given what is known now. Pure: frames in, verdicts out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, Final

import polars as pl

from retract.allow import AllowRule
from retract.model import (
    ACTIONABLE_DISPOSITIONS,
    Disposition,
    Match,
    ObservableType,
    Overruled,
    Verdict,
)
from retract.policy import Policy

Covers = Callable[[ObservableType, str], AllowRule | None]

_ACTIONABLE: Final = list(ACTIONABLE_DISPOSITIONS)


def may_be_something(messages: pl.LazyFrame, matches: pl.DataFrame) -> pl.LazyFrame:
    """The copies that anything speaks against. The others have no verdict, and need not be held
    in memory."""
    return messages.filter(
        pl.col("delivered_disposition").is_in(_ACTIONABLE)
        | pl.col("copy_id").is_in(matches["copy_id"].unique().to_list())
    )


def decide(
    messages: pl.DataFrame, matches: pl.DataFrame, policy: Policy, now: datetime
) -> list[Verdict]:
    """The verdicts on the copies that are judged to be anything, ordered by copy id.

    The verdict is the graver of the disposition at delivery and the gravest among the matches
    at or above the policy's confidence floor. ``messages`` has the lake's columns (one row a
    copy), ``matches`` the fields of `Match`, already rid of indicators that are not live. A
    match of a copy that is not among the messages does not count.

    Nor does a match that an allow rule in force at ``now`` beats: one that covers the indicator,
    or all that the indicator meets in the copy. The verdict keeps it as overruled; a copy that
    nothing else speaks against has a verdict for that alone.
    """
    suspects = may_be_something(messages.lazy(), matches)
    delivered = dict(suspects.select("copy_id", "delivered_disposition").collect().iter_rows())
    found: dict[str, list[Match | Overruled]] = {copy_id: [] for copy_id in delivered}
    counting = matches.filter(
        pl.col("copy_id").is_in(list(delivered)),
        pl.col("disposition").is_in(_ACTIONABLE),
        pl.col("confidence") >= policy.confidence_floor,
    )
    covers = cache(policy.allowed(now).covers)
    for row in counting.iter_rows(named=True):
        found[row["copy_id"]].append(_held_to(_match(row), covers))
    verdicts = (
        _verdict(copy_id, Disposition(delivered[copy_id]), of_copy)
        for copy_id, of_copy in sorted(found.items())
    )
    return [verdict for verdict in verdicts if verdict.without_rules in ACTIONABLE_DISPOSITIONS]


def _held_to(match: Match, covers: Covers) -> Match | Overruled:
    """The match, or how a rule beats it."""
    rule = covers(match.type, match.indicator)
    if rule is None:
        rule = covers(match.type, match.observable)
        if rule is None:
            return match
        not_allowed = (seen for seen in match.all_met if covers(match.type, seen) is None)
        if (other := next(not_allowed, None)) is not None:
            return replace(match, observable=other)
    return Overruled(match, rule.value, rule.reason)


def _verdict(copy_id: str, delivered: Disposition, found: list[Match | Overruled]) -> Verdict:
    live = [one for one in found if isinstance(one, Match)]
    overruled = [one for one in found if isinstance(one, Overruled)]
    return Verdict(
        copy_id=copy_id,
        disposition=Disposition.gravest([delivered, *(match.disposition for match in live)]),
        delivered_disposition=delivered,
        matches=tuple(sorted(live, key=_gravest_first)),
        overruled=tuple(sorted(overruled, key=lambda one: _gravest_first(one.match))),
    )


def _gravest_first(match: Match) -> tuple[int, int, str, str]:
    return -match.disposition.severity, -match.confidence, match.source, match.indicator_id


def _match(row: dict[str, Any]) -> Match:
    return Match(
        copy_id=row["copy_id"],
        indicator_id=row["indicator_id"],
        type=ObservableType(row["type"]),
        observable=row["observable"],
        indicator=row["indicator"],
        disposition=Disposition(row["disposition"]),
        confidence=row["confidence"],
        source=row["source"],
        campaign=row["campaign"],
        reference=row["reference"],
        all_met=tuple(row["all_met"]),
    )
