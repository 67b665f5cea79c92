"""Which copies meet which indicators, held back or not: for counting, not for judging."""

from __future__ import annotations

import polars as pl

from retract.reevaluation.late_lookups import LOOKUP
from retract.reevaluation.match import READING, is_exact_enough, looked_up


def copies_met(
    messages: pl.LazyFrame,
    observables: pl.LazyFrame,
    lookups: pl.LazyFrame,
    indicators: pl.DataFrame,
) -> pl.LazyFrame:
    """(indicator_id, copy_id) pairs, some of them several times.

    The frames have the shapes of the lake's tables. Unlike matches the pairs carry no texts, so
    that an indicator that meets half the mail can be counted, too.
    """
    found = looked_up(messages, observables, lookups, indicators.lazy())
    if not found:
        return pl.LazyFrame(schema={"indicator_id": pl.String, "copy_id": pl.String})
    listed = indicators.lazy().select("indicator_id", "exact_only", *LOOKUP)
    return (
        pl.concat(found)
        .select(*READING, "exact", *LOOKUP)
        .join(messages.select(READING), on=READING, how="semi")
        .join(listed, on=LOOKUP, how="inner")
        .filter(is_exact_enough())
        .select("indicator_id", "copy_id")
    )


def counted(pairs: pl.LazyFrame) -> dict[str, int]:
    """How many copies meet each indicator; those that none meets are left out."""
    counts = pairs.group_by("indicator_id").agg(pl.col("copy_id").n_unique())
    return dict(counts.collect(engine="streaming").iter_rows())
