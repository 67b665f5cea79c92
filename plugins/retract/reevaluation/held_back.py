"""What the indicators that are held back would have met.

A listed google.com would meet millions of copies: they are counted where they lie, some days of
deliveries at a time, and no pair of copy and indicator is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict

from retract.model import Disposition, ObservableType, Window
from retract.reevaluation.late_lookups import LOOKUP
from retract.reevaluation.match import current, delivered_in, looked_up

TOP: Final = 100
"""Values that are named; all are counted."""

COPIES_AT_ONCE: Final = 200_000
"""Copies looked at together, unless a single day has more: this bounds the memory."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeldBackHit(_Record):
    """One value that is held back, and how many copies would have met it."""

    type: ObservableType
    value: str
    reason: str
    """Why it is held back."""
    sources: tuple[str, ...]
    """Who lists it."""
    disposition: Disposition
    """The gravest that a source gives it."""
    copies: int


class HeldBackHits(_Record):
    """What was held back and would have met mail."""

    values: int = 0
    """Distinct values that would have met at least one copy."""
    top: tuple[HeldBackHit, ...] = ()
    """At most `TOP` of them, those with the most copies first."""


def held_back_hits(
    messages: pl.LazyFrame,
    observables: pl.LazyFrame,
    indicators: pl.LazyFrame,
    window: Window,
    now: datetime,
) -> HeldBackHits:
    """What the window's copies would have met but for the hold-back.

    Counted as `full_match` would match: the three frames have the shapes of the lake's tables.
    """
    held = current(indicators, now).filter(pl.col("held_back").is_not_null()).collect()
    if held.is_empty():
        return HeldBackHits()
    judged = delivered_in(window, messages)
    counts = [
        _counted(judged.filter(days), observables.filter(days), held.lazy())
        for days in _stretches(judged)
    ]
    return _summed(held, pl.concat([_NO_COUNTS, *counts]))


_NO_COUNTS: Final = pl.DataFrame(
    schema={
        "type": pl.String,
        "key": pl.Int64,
        "lookup": pl.String,
        "copies": pl.UInt32,
        "exactly": pl.UInt32,
    }
)


def _stretches(messages: pl.LazyFrame) -> Iterator[pl.Expr]:
    """The days of deliveries, in stretches of about `COPIES_AT_ONCE` copies."""
    days = messages.group_by("delivery_date").len().sort("delivery_date").collect()
    stretch: list[date] = []
    copies = 0
    for day, number in days.iter_rows():
        if stretch and copies + number > COPIES_AT_ONCE:
            yield pl.col("delivery_date").is_between(stretch[0], stretch[-1])
            stretch, copies = [], 0
        stretch.append(day)
        copies += number
    if stretch:
        yield pl.col("delivery_date").is_between(stretch[0], stretch[-1])


def _counted(messages: pl.LazyFrame, observables: pl.LazyFrame, held: pl.LazyFrame) -> pl.DataFrame:
    """How many of these copies have each lookup that is held back, and how many exactly so."""
    found = looked_up(messages, observables, held)
    if not found:
        return _NO_COUNTS
    copy_id = pl.col("copy_id")
    return (
        pl.concat(found)
        .select("copy_id", "exact", *LOOKUP)
        .join(held.select(LOOKUP).unique(), on=LOOKUP, how="semi")
        .group_by(LOOKUP)
        .agg(copies=copy_id.n_unique(), exactly=copy_id.filter(pl.col("exact")).n_unique())
        .collect(engine="streaming")
    )


def _summed(held: pl.DataFrame, counts: pl.DataFrame) -> HeldBackHits:
    severity = {disposition.value: disposition.severity for disposition in Disposition}
    met = (
        counts.group_by(LOOKUP)
        .agg(pl.col("copies", "exactly").sum())
        .join(held, on=LOOKUP)
        .with_columns(
            copies=pl.when("exact_only").then("exactly").otherwise("copies"),
            severity=pl.col("disposition").replace_strict(severity, return_dtype=pl.Int32),
        )
        .filter(pl.col("copies") > 0)
        .group_by("type", "value")
        .agg(
            pl.col("held_back").sort().first(),
            pl.col("source").unique().sort(),
            pl.col("disposition").sort_by("severity").last(),
            pl.col("copies").first(),
        )
        .sort("copies", "type", "value", descending=[True, False, False])
    )
    top = tuple(
        HeldBackHit(
            type=ObservableType(row["type"]),
            value=row["value"],
            reason=row["held_back"],
            sources=tuple(row["source"]),
            disposition=Disposition(row["disposition"]),
            copies=row["copies"],
        )
        for row in met.head(TOP).iter_rows(named=True)
    )
    return HeldBackHits(values=met.height, top=top)
