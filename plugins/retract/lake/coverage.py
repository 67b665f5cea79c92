"""How far a day's deliveries were matched, and what changed between two versions of a table."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict


class Covered(BaseModel):
    """All of a day's copies of one version of the messages were matched with all indicators of
    one version that were in force at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: int
    indicators: int | None
    """None when there were none yet."""
    as_of: AwareDatetime
    own_domains: tuple[str, ...] = ()
    """The domains of the mailboxes, sorted: indicators that name them were held back."""


class Between(NamedTuple):
    """The rows of two versions of a table, by the files that hold them.

    A row may be in both ``added`` and ``removed``, when a file was only written anew.
    """

    kept: pl.LazyFrame
    """Of files that both versions have."""
    added: pl.LazyFrame
    """Of files that only the later one has."""
    removed: pl.LazyFrame
    """Of files that only the earlier one had."""


def usable(rows: pl.LazyFrame, mail: str, all_tables: str) -> pl.LazyFrame:
    """Rows of the coverage that speak of these tables: ``mail`` without the indicators."""
    without = pl.col("indicators").is_null()
    return rows.filter(
        pl.col("tables") == pl.when(without).then(pl.lit(mail)).otherwise(pl.lit(all_tables))
    )


def best(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Of each day the row that speaks of the newest versions, and then of the latest time."""
    order = (pl.col("messages"), pl.col("indicators").fill_null(-1), pl.col("as_of"))
    return rows.group_by("delivery_date").agg(pl.all().sort_by(*order).last())
