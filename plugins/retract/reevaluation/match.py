"""Match: which indicators meet what was seen in which copies.

The result equals `retract.observables.lookup.matches` over every pair. A join by the 64-bit keys
of lookups finds hits, which are facts of the mail alone; a join of hits with the indicators in
force, by the lookups' texts, makes matches of them, so that a collision is no match. Networks and
campaign rules are not among the stored lookups; `late_lookups` finds what they meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import polars as pl

from retract.lake.tables import HITS_TABLE
from retract.model import ObservableType, Window
from retract.observables import lookup
from retract.reevaluation.late_lookups import FOUND, LOOKUP, evaluated, late_lookups

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

READING: Final = ("copy_id", "extractor_version")
"""What a hit is a fact of: a copy as one extractor read it."""

FEW: Final = 200_000
"""Keys up to which Parquet's reader is asked for them, so that it decodes little else."""

KEPT: Final = 500_000
"""Rows of observables up to which they are kept in memory, and not read twice: a value of half the
mail has millions."""

LISTED: Final = (*LOOKUP, "exact_only")
"""What of an indicator decides what it meets."""

_HIT: Final = (*READING, "delivery_date", *LOOKUP)


def full_match(
    messages: pl.LazyFrame,
    observables: pl.LazyFrame,
    lookups: pl.LazyFrame,
    indicators: pl.LazyFrame,
    window: Window,
    now: datetime,
) -> pl.DataFrame:
    """Every match of the window's copies with the indicators in force at ``now``.

    The frames have the shapes of the lake's tables.
    """
    judged = delivered_in(window, messages)
    return meet(judged, observables, lookups, in_force(indicators, now))


def delivered_in(window: Window, messages: pl.LazyFrame) -> pl.LazyFrame:
    """The copies that were delivered in the window."""
    received_at = pl.col("received_at")
    return messages.filter(received_at >= window.start, received_at < window.end)


def in_force(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """The indicators that may match: active, not expired, not held back, and of a source's
    campaign rules no more than are evaluated."""
    return evaluated(current(indicators, now).filter(pl.col("held_back").is_null()))


def current(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """The indicators that are active and not expired, also those that are held back."""
    return indicators.filter(
        pl.col("active"), pl.col("expires_at").is_null() | (pl.col("expires_at") > now)
    )


def meet(
    messages: pl.LazyFrame,
    observables: pl.LazyFrame,
    lookups: pl.LazyFrame,
    indicators: pl.LazyFrame,
) -> pl.DataFrame:
    """Every match of these copies with these indicators.

    A match depends on one copy and one indicator only, so the results for parts of the copies
    or of the indicators add up to the result for all.
    """
    found = hits(messages, observables, lookups, indicators)
    return matches_of(messages, found.lazy(), indicators)


def hits(
    messages: pl.LazyFrame,
    observables: pl.LazyFrame,
    lookups: pl.LazyFrame,
    indicators: pl.LazyFrame,
) -> pl.DataFrame:
    """Where these copies have a lookup that one of these indicators means, as rows of the hits
    table.

    Of the indicators only type, key, lookup and exact_only count. A hit's row is the same
    whichever indicator it is found for. Some may be of an earlier reading of a copy, and some of a
    lookup that only shares an indicator's key.
    """
    shape = HITS_TABLE.empty().schema
    found = looked_up(messages, observables, lookups, indicators)
    if not found:
        return shape.to_frame()
    # A common link comes many times in a copy, and in many copies. One row for each lookup of
    # a copy is enough, an exact one if there is any, before sources multiply it.
    return (
        pl.concat(found)
        .group_by(_HIT)
        .agg(
            exact=pl.col("exact").any(),
            observable=pl.col("value").sort_by(~pl.col("exact"), pl.col("value")).first(),
            all_met=pl.col("value"),
        )
        .with_columns(all_met=_several("all_met"))
        .select(shape.names())
        .collect(engine="streaming")
    )


def matches_of(
    messages: pl.LazyFrame, found: pl.LazyFrame, indicators: pl.LazyFrame
) -> pl.DataFrame:
    """The matches that these hits of these messages' readings are with these indicators."""
    met = found.select(pl.col("key").unique()).collect(engine="streaming")["key"]
    if met.is_empty():
        return MATCHES.to_frame()
    listed = with_one_of(indicators, "key", met).collect(engine="streaming").lazy()
    # Those of an indicator that named half the world for an hour are millions: they go first.
    found = found.join(listed, on=LOOKUP, how="semi")
    there = messages.select(READING).join(found.select("copy_id"), on="copy_id", how="semi")
    return (
        found.unique([*READING, *LOOKUP])
        .join(there, on=READING, how="semi")
        .join(listed, on=LOOKUP, how="inner")
        .filter(is_exact_enough())
        .rename({"value": "indicator"})
        .with_columns(all_met=pl.when(~pl.col("exact_only")).then("all_met").otherwise([]))
        .select(MATCHES.names())
        .unique(["copy_id", "indicator_id"])
        .sort("copy_id", "indicator_id")
        .collect(engine="streaming")
    )


def looked_up(
    messages: pl.LazyFrame,
    observables: pl.LazyFrame,
    lookups: pl.LazyFrame,
    indicators: pl.LazyFrame,
) -> list[pl.LazyFrame]:
    """Where these copies have the key of one of these indicators, as FOUND; empty when nowhere.

    One row for each thing seen and each lookup of it; wider ones only where an indicator means
    them. Keys may collide, so lookups are to be compared too, and readings with the messages'.
    """
    return [
        *_stored_lookups(observables, lookups, indicators),
        *late_lookups(messages, observables, indicators),
    ]


def is_exact_enough() -> pl.Expr:
    """Of an observable's lookup joined with an indicator: whether the indicator means it."""
    return pl.col("exact") | ~pl.col("exact_only")


def with_one_of(rows: pl.LazyFrame, column: str, keys: pl.Series) -> pl.LazyFrame:
    """The rows whose column holds one of these distinct keys."""
    if keys.len() <= FEW:
        return rows.filter(pl.col(column).is_in(keys.implode()))
    return rows.join(keys.alias(column).to_frame().lazy(), on=column, how="semi")


def _stored_lookups(
    observables: pl.LazyFrame, lookups: pl.LazyFrame, indicators: pl.LazyFrame
) -> Iterator[pl.LazyFrame]:
    """What has the key of an indicator, if anything has, as FOUND."""
    # First the keys alone: nearly all values meet nothing, and need not be read at all.
    listed = indicators.group_by("key").agg(wider=~pl.col("exact_only").all()).collect()
    if listed.is_empty():
        return
    is_meant = pl.col("exact") | pl.col("wider")
    met = (
        (with_one_of(lookups, "key", listed["key"]) if listed.height <= FEW else lookups)
        .join(listed.lazy(), on="key", how="inner")
        .filter(is_meant)
        .select("delivery_date", "value_key")
        .unique()
        .collect(engine="streaming")
    )
    if met.is_empty():
        return
    days = met["delivery_date"].unique().to_list()
    there = observables.filter(pl.col("delivery_date").is_in(days))
    seen = with_one_of(there, "value_key", met["value_key"].unique())
    seen = seen.select(*READING, "delivery_date", "type", "value")
    kept = seen.head(KEPT + 1).collect(engine="streaming")
    if kept.height <= KEPT:
        seen = kept.lazy()
    values = seen.select("type", "value").unique().collect(engine="streaming")
    means = _lookups(values).lazy().join(listed.lazy(), on="key", how="inner").filter(is_meant)
    yield seen.join(means, on=["type", "value"], how="inner").select(FOUND)


def _lookups(values: pl.DataFrame) -> pl.DataFrame:
    """All lookups of these values: type, value, key, lookup, exact. Their texts are not stored:
    few values meet anything, and they have six times as much text."""
    rows = [
        (kind, value, lookup.key(ObservableType(kind), found.text), found.text, found.exact)
        for kind, value in values.iter_rows()
        for found in lookup.lookups_of(ObservableType(kind), value)
    ]
    texts = dict.fromkeys(("type", "value"), pl.String)
    return pl.DataFrame(
        rows,
        schema={**texts, "key": pl.Int64, "lookup": pl.String, "exact": pl.Boolean},
        orient="row",
    )


def _several(values: str) -> pl.Expr:
    """The distinct values of a list, sorted; none when it holds one alone."""
    nothing = pl.lit([], dtype=pl.List(pl.String))
    lists = pl.col(values)
    # Nearly all lists hold one value: making these empty first costs less than sorting them.
    several = pl.when(lists.list.len() > 1).then(lists).otherwise(nothing)
    distinct = several.list.unique().list.sort()
    return pl.when(distinct.list.len() > 1).then(distinct).otherwise(nothing)
