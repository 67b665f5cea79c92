"""What the indicators that are held back would have met.

A listed google.com would meet millions of copies: they are counted where they lie, day by day of
their delivery (UTC), and no pair of copy and indicator is kept. So a window's first and last day
count whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict

from retract.model import Disposition, ObservableType
from retract.reevaluation.incremental import Mail, held
from retract.reevaluation.late_lookups import LOOKUP
from retract.reevaluation.match import READING, looked_up

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


def counted(mail: Mail, listed: pl.LazyFrame) -> pl.DataFrame:
    """How many of each day's copies have one of these lookups, and how many exactly so:
    delivery_date, type, key, copies and exactly, the shape of the lake's counts.

    A copy counts as its messages row was read. Two lookups that share type and key count as one.
    """
    found = looked_up(*mail, listed)
    if not found:
        return _NO_COUNTS
    # Numbers in place of the copies' ids: a common host's are many.
    numbered = mail.messages.select(READING).unique().with_row_index("copy").collect()
    copy = pl.col("copy")
    return (
        pl.concat(found)
        .select(*READING, *_COUNTED, "lookup", "exact")
        .join(listed.select(LOOKUP).unique(), on=LOOKUP, how="semi")
        .join(numbered.lazy(), on=READING, how="inner")
        .group_by(_COUNTED)
        .agg(copies=copy.n_unique(), exactly=copy.filter(pl.col("exact")).n_unique())
        .cast(_NO_COUNTS.schema)
        .collect(engine="streaming")
    )


def held_back_hits(counts: pl.LazyFrame, indicators: pl.LazyFrame, now: datetime) -> HeldBackHits:
    """What the copies that were counted would have met but for the hold-back.

    ``counts`` has the columns that `counted` gives, one row for each day, type and key.
    """
    return _summed(held(indicators, now).collect(), counts)


def held_back_of(mail: Mail, indicators: pl.LazyFrame, now: datetime) -> HeldBackHits:
    """The same of mail that nothing was counted of before."""
    listed = held(indicators, now).collect()
    if listed.is_empty():
        return HeldBackHits()
    counts = [
        counted(Mail(*(frame.filter(days) for frame in mail)), listed.lazy())
        for days in _stretches(mail.messages)
    ]
    return _summed(listed, pl.concat([_NO_COUNTS, *counts]).lazy())


_COUNTED: Final = ("delivery_date", "type", "key")

_NO_COUNTS: Final = pl.DataFrame(
    schema={
        "delivery_date": pl.Date,
        "type": pl.String,
        "key": pl.Int64,
        "copies": pl.Int64,
        "exactly": pl.Int64,
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


def _summed(listed: pl.DataFrame, counts: pl.LazyFrame) -> HeldBackHits:
    severity = {disposition.value: disposition.severity for disposition in Disposition}
    met = (
        counts.group_by("type", "key")
        .agg(pl.col("copies", "exactly").sum())
        .join(listed.lazy(), on=["type", "key"], how="inner")
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
        .collect()
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
