"""What is to be joined so that a day's hits are whole again: new copies with all indicators, and
all copies with the indicators that are new.

    hits(all copies × all in force)  =  what is there already
                                      ∪ hits(new copies × all in force)
                                      ∪ hits(all copies × newly in force)

Hits are facts of the mail, so what is there already needs no second look, and what is found twice
counts once. Which of them are matches now is decided by `retract.reevaluation.match.matches_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from retract.lake.coverage import Between
from retract.model import ACTIONABLE_DISPOSITIONS
from retract.reevaluation.late_lookups import LOOKUP, is_rule
from retract.reevaluation.match import READING, current, hits, in_force

Picked = Callable[[pl.LazyFrame, datetime], pl.LazyFrame]
"""Some of the indicators, as they stand at a time."""

_ACTIONABLE: Final = pl.col("delivered_disposition").is_in(list(ACTIONABLE_DISPOSITIONS))


class Mail(NamedTuple):
    """Some days of the lake's mail, in one version."""

    messages: pl.LazyFrame
    observables: pl.LazyFrame
    lookups: pl.LazyFrame


def new_readings(messages: Between) -> pl.LazyFrame:
    """The messages rows that the earlier version did not have."""
    return messages.added.join(messages.removed.select(READING), on=READING, how="anti")


def newly(indicators: Between, picked: Picked, now: datetime, before: datetime) -> pl.LazyFrame:
    """Rows that are picked now, of keys that were not picked from the earlier version ``before``.

    Some keys may have been picked before, from another row. ``picked`` must be decided row by row.
    """
    new = picked(indicators.added, now)
    if now < before:  # what has expired since is still there
        still = picked(indicators.kept, now)
        was = picked(indicators.kept, before)
        new = pl.concat([new, still.join(was, on="key", how="anti")])
    return new.join(picked(indicators.removed, before), on="key", how="anti")


def live(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """Those in force, campaign rules left out: how many of these count depends on each other."""
    return current(indicators, now).filter(pl.col("held_back").is_null(), ~is_rule())


def held(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """Those that are held back."""
    return current(indicators, now).filter(pl.col("held_back").is_not_null())


def rules(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """The campaign rules that are evaluated."""
    return in_force(indicators.filter(is_rule()), now)


def newly_in_force(
    indicators: Between,
    earlier: pl.LazyFrame,
    later: pl.LazyFrame,
    now: datetime,
    before: datetime,
) -> pl.DataFrame:
    """The lookups of indicators in force now that were not in force then, as LOOKUP.

    ``earlier`` and ``later`` are the versions whole, ``indicators`` what lies between them.
    """
    new_rules = rules(later, now).join(rules(earlier, before), on="key", how="anti")
    new = newly(indicators, live, now, before)
    return pl.concat([new.select(LOOKUP), new_rules.select(LOOKUP)]).unique().collect()


class Found(NamedTuple):
    """What is to be added to the lake for some days."""

    hits: pl.DataFrame
    suspects: pl.DataFrame
    """Of the shape of the messages."""


def increment(
    mail: Mail,
    new: pl.LazyFrame,
    known_suspects: pl.LazyFrame,
    listed: pl.LazyFrame,
    newly_listed: pl.DataFrame,
) -> Found:
    """What makes these days' hits and suspects whole again.

    ``new`` are the messages rows that were never matched, ``listed`` the indicators in force and
    ``newly_listed`` the LOOKUPs among them that the other messages were never matched with.
    ``known_suspects`` are the days' suspects so far.
    """
    of_new = hits(new, *_only(mail, new), listed)
    of_newly = hits(*mail, newly_listed.lazy())
    met, again = (found.lazy().select(READING).unique() for found in (of_new, of_newly))
    speaks_against = _ACTIONABLE | pl.col("met") | pl.col("known")
    suspects = [
        new.join(met.with_columns(met=True), on=READING, how="left")
        .join(known_suspects.select("copy_id", known=True).unique(), on="copy_id", how="left")
        .filter(speaks_against.fill_null(False))
        .drop("met", "known")
    ]
    if not of_newly.is_empty():
        days = of_newly["delivery_date"].unique().to_list()
        there = mail.messages.filter(pl.col("delivery_date").is_in(days))
        suspects.append(there.join(again, on=READING, how="semi"))
    return Found(
        pl.concat([of_new, of_newly]).unique([*READING, *LOOKUP]),
        pl.concat(suspects).unique(READING).collect(engine="streaming"),
    )


def _only(mail: Mail, new: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The observables of the new messages, and the lookups of their days."""
    days = new.select("delivery_date").unique().collect()["delivery_date"].to_list()
    of_days = pl.col("delivery_date").is_in(days)
    readings = new.select(READING)
    return (
        mail.observables.filter(of_days).join(readings, on=READING, how="semi"),
        mail.lookups.filter(of_days),
    )
