"""Decide what each message is, given what is known now. Pure: frames in, verdicts out."""

from __future__ import annotations

from typing import Any

import polars as pl

from retract.model import (
    ACTIONABLE_DISPOSITIONS,
    Disposition,
    Match,
    ObservableType,
    Verdict,
)
from retract.policy import Policy


def decide(messages: pl.DataFrame, matches: pl.DataFrame, policy: Policy) -> list[Verdict]:
    """The verdicts on the copies that are judged to be anything, ordered by copy id.

    The verdict is the graver of the disposition at delivery and the gravest among the matches
    at or above the policy's confidence floor. ``messages`` has the lake's columns (one row a
    copy), ``matches`` the fields of `Match`, already rid of indicators that are not live. A
    match of a copy that is not among the messages does not count.
    """
    actionable = list(ACTIONABLE_DISPOSITIONS)
    delivered = dict(
        messages.filter(
            pl.col("delivered_disposition").is_in(actionable)
            | pl.col("copy_id").is_in(matches["copy_id"].unique().to_list())
        )
        .select("copy_id", "delivered_disposition")
        .iter_rows()
    )
    live: dict[str, list[Match]] = {copy_id: [] for copy_id in delivered}
    counting = matches.filter(
        pl.col("copy_id").is_in(list(delivered)),
        pl.col("disposition").is_in(actionable),
        pl.col("confidence") >= policy.confidence_floor,
    )
    for row in counting.iter_rows(named=True):
        live[row["copy_id"]].append(_match(row))
    verdicts = (
        _verdict(copy_id, Disposition(delivered[copy_id]), found)
        for copy_id, found in sorted(live.items())
    )
    return [verdict for verdict in verdicts if verdict.disposition in ACTIONABLE_DISPOSITIONS]


def _verdict(copy_id: str, delivered: Disposition, matches: list[Match]) -> Verdict:
    return Verdict(
        copy_id=copy_id,
        disposition=Disposition.gravest([delivered, *(match.disposition for match in matches)]),
        delivered_disposition=delivered,
        matches=tuple(
            sorted(
                matches,
                key=lambda m: (-m.disposition.severity, -m.confidence, m.source, m.indicator_id),
            )
        ),
    )


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
    )
