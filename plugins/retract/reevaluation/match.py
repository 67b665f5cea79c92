"""Match: which indicators meet what was seen in which copies.

The result equals `retract.observables.lookup.matches` over every pair. A join by the 64-bit keys
of lookups finds it, and the lookups' texts decide, so that a collision is no match. Networks and
campaign rules are not among the stored lookups; `late_lookups` finds what they meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import polars as pl

from retract.model import Window
from retract.reevaluation.late_lookups import LOOKED_UP, LOOKUP, late_lookups

MATCHES: Final = pl.Schema(
    {
        "copy_id": pl.String(),
        "indicator_id": pl.String(),
        "type": pl.String(),
        "observable": pl.String(),
        "indicator": pl.String(),
        "disposition": pl.String(),
        "confidence": pl.Int32(),
        "source": pl.String(),
        "campaign": pl.String(),
        "reference": pl.String(),
        "all_met": pl.List(pl.String()),
    }
)
"""The columns of `retract.model.Match`, one row for each (copy_id, indicator_id)."""


def full_match(
    messages: pl.LazyFrame,
    observables: pl.LazyFrame,
    indicators: pl.LazyFrame,
    window: Window,
    now: datetime,
) -> pl.DataFrame:
    """Every match of the window's copies with the indicators in force at ``now``.

    The three frames have the shapes of the lake's tables.
    """
    return meet(delivered_in(window, messages), observables, in_force(indicators, now))


def delivered_in(window: Window, messages: pl.LazyFrame) -> pl.LazyFrame:
    """The copies that were delivered in the window."""
    received_at = pl.col("received_at")
    return messages.filter(received_at >= window.start, received_at < window.end)


def in_force(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """The indicators that may match: active, not expired, not held back."""
    return current(indicators, now).filter(pl.col("held_back").is_null())


def current(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """The indicators that are active and not expired, also those that are held back."""
    return indicators.filter(
        pl.col("active"), pl.col("expires_at").is_null() | (pl.col("expires_at") > now)
    )


def meet(
    messages: pl.LazyFrame, observables: pl.LazyFrame, indicators: pl.LazyFrame
) -> pl.DataFrame:
    """Every match of these copies with these indicators.

    A match depends on one copy and one indicator only, so the results for parts of the copies
    or of the indicators add up to the result for all; unless a source has more campaign
    rules than are evaluated.
    """
    found = looked_up(messages, observables, indicators)
    if not found:
        return MATCHES.to_frame()
    # A common link comes many times in a copy, and in many copies. One row for each lookup of
    # a copy is enough, an exact one if there is any, before sources multiply it.
    candidates = (
        pl.concat(found)
        .group_by("copy_id", *LOOKUP)
        .agg(
            exact=pl.col("exact").any(),
            observable=pl.col("value").sort_by(~pl.col("exact"), pl.col("value")).first(),
            all_met=pl.col("value"),
        )
    )
    return (
        candidates.join(indicators, on=LOOKUP, how="inner")
        .filter(is_exact_enough())
        .rename({"value": "indicator"})
        .with_columns(all_met=_several("all_met", unless="exact_only"))
        .select(MATCHES.names())
        .unique(["copy_id", "indicator_id"])
        .sort("copy_id", "indicator_id")
        .collect()
    )


def looked_up(
    messages: pl.LazyFrame, observables: pl.LazyFrame, indicators: pl.LazyFrame
) -> list[pl.LazyFrame]:
    """Where these copies have the key of one of these indicators; empty when nowhere.

    Frames with one row for each thing seen and each lookup of it: copy_id, type, key, lookup,
    exact, value. Keys may collide, so lookups are to be compared too.
    """
    readings = messages.select("copy_id", "extractor_version").unique()
    seen = observables.join(readings, on=["copy_id", "extractor_version"], how="semi")
    return [
        *_stored_lookups(observables, seen, indicators),
        *late_lookups(messages, seen, indicators),
    ]


def is_exact_enough() -> pl.Expr:
    """Of an observable's lookup joined with an indicator: whether the indicator means it."""
    return pl.col("exact") | ~pl.col("exact_only")


def _stored_lookups(
    observables: pl.LazyFrame, seen: pl.LazyFrame, indicators: pl.LazyFrame
) -> Iterator[pl.LazyFrame]:
    """The lookups that have the key of an indicator, if there are any."""
    # First the keys alone, which are small: nearly all observables meet nothing, and their
    # texts need not be read at all.
    listed = indicators.select("key").unique()
    keys = observables.select("key").join(listed, on="key", how="semi").unique().collect()
    if not keys.is_empty():
        yield seen.join(keys.lazy(), on="key", how="semi").select(LOOKED_UP)


def _several(values: str, *, unless: str) -> pl.Expr:
    """The distinct values of a list, sorted; none when it holds one alone."""
    nothing = pl.lit([], dtype=pl.List(pl.String))
    lists = pl.col(values)
    # Nearly all lists hold one value: making these empty first costs less than sorting them.
    several = pl.when(lists.list.len() > 1, ~pl.col(unless)).then(lists).otherwise(nothing)
    distinct = several.list.unique().list.sort()
    return pl.when(distinct.list.len() > 1).then(distinct).otherwise(nothing)
