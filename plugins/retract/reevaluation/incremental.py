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
from datetime import date, datetime
from typing import Final, NamedTuple

import polars as pl

from retract.lake.coverage import Between
from retract.lake.tables import HITS_TABLE
from retract.model import ACTIONABLE_DISPOSITIONS
from retract.reevaluation.late_lookups import LOOKUP, evaluated_rules, is_late, is_rule
from retract.reevaluation.match import LISTED, READING, current, hits, with_one_of

Picked = Callable[[pl.LazyFrame, datetime], pl.LazyFrame]
"""Some of the indicators, as they stand at a time; decided row by row."""

_ACTIONABLE: Final = pl.col("delivered_disposition").is_in(list(ACTIONABLE_DISPOSITIONS))


class Mail(NamedTuple):
    """Some days of the lake's mail, in one version."""

    messages: pl.LazyFrame
    observables: pl.LazyFrame
    lookups: pl.LazyFrame


# --- what is new ---


def new_readings(messages: Between) -> pl.LazyFrame:
    """The messages rows that the earlier version did not have."""
    return messages.added.join(messages.removed.select(READING), on=READING, how="anti")


def live(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """Those in force, campaign rules left out: how many of these count depends on each other."""
    return current(indicators, now).filter(pl.col("held_back").is_null(), ~is_rule())


def held(indicators: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """Those that are held back."""
    return current(indicators, now).filter(pl.col("held_back").is_not_null())


def newly(indicators: Between, picked: Picked, now: datetime, before: datetime) -> pl.LazyFrame:
    """Rows that are picked now, and mean something that none meant which was picked ``before``
    from the earlier version. Some may mean what one did that is in both versions.
    """
    new = picked(indicators.added, now)
    if now < before:  # what has expired since is in force still
        still, was = picked(indicators.kept, now), picked(indicators.kept, before)
        new = pl.concat([new, _not_meant(still, was)])
    return _not_meant(new, picked(indicators.removed, before))


def newly_in_force(
    indicators: Between,
    earlier: pl.LazyFrame,
    later: pl.LazyFrame,
    now: datetime,
    before: datetime,
) -> pl.DataFrame:
    """What indicators in force now mean that none meant which was in force then, as LISTED.

    ``earlier`` and ``later`` are the versions whole, ``indicators`` what lies between them.
    """
    new = newly(indicators, live, now, before).select(LISTED).unique()
    rules = _rules(later, now).join(_rules(earlier, before), on=LOOKUP, how="anti")
    rules = rules.with_columns(exact_only=pl.lit(False))
    return pl.concat([new.collect(engine="streaming"), rules.select(LISTED)])


def _rules(indicators: pl.LazyFrame, now: datetime) -> pl.DataFrame:
    """The LOOKUPs of the campaign rules that are evaluated."""
    return evaluated_rules(current(indicators, now).filter(pl.col("held_back").is_null()))


def _not_meant(indicators: pl.LazyFrame, others: pl.LazyFrame) -> pl.LazyFrame:
    """Those that mean something which none of the others does.

    By keys where that is enough, for keys are compared in a fourth of the time: all that share
    one are found together, as far as they mean more than exact lookups.
    """
    late, exact = is_late(), pl.col("exact_only")
    wide = ~late & ~exact
    return pl.concat(
        [
            indicators.filter(part).join(others.filter(of), on=by, how="anti")
            for part, of, by in (
                (wide, wide, ("key",)),
                (~late & exact, ~late, ("key",)),
                (late, late, LOOKUP),
            )
        ]
    )


# --- what comes of it ---


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

    ``new`` are the messages rows that were never matched, ``listed`` the indicators in force, and
    ``newly_listed``, as LISTED, what the other messages were never matched with.
    ``known_suspects`` are the days' suspects so far.
    """
    of_new = _hits_of(new, mail, listed)
    suspicious = pl.concat([of_new.lazy().select("copy_id"), known_suspects.select("copy_id")])
    suspects = [
        new.filter(_ACTIONABLE),
        new.join(suspicious.unique(), on="copy_id", how="semi"),
    ]
    found = [of_new]
    if not newly_listed.is_empty():
        of_newly = hits(*mail, newly_listed.lazy())
        found.append(of_newly)
        days = of_newly["delivery_date"].unique().to_list()
        there = mail.messages.filter(pl.col("delivery_date").is_in(days))
        there = with_one_of(there, "copy_id", of_newly["copy_id"].unique())
        met = of_newly.lazy().select(READING).unique()
        suspects.append(there.join(met, on=READING, how="semi"))
    return Found(
        pl.concat(found).unique([*READING, *LOOKUP]),
        pl.concat(suspects).unique(READING).collect(engine="streaming"),
    )


def still_there(
    suspects: pl.LazyFrame, messages: pl.LazyFrame, extractor_version: int, kept_since: date
) -> pl.LazyFrame:
    """Suspects, each copy's newest, without those that the messages do not have in that reading.

    Only what was read by an older extractor, or delivered before the lake's first whole day, is
    looked for: a run that was pinned before the copy was read again, or forgotten, may have come
    late, and not have known. Of the others it is certain.
    """
    is_old = pl.col("extractor_version") < extractor_version
    in_doubt = is_old | (pl.col("delivery_date") < kept_since)
    doubtful = suspects.filter(in_doubt)
    of_days = pl.col("delivery_date").is_in(_days_of(doubtful))
    there = messages.filter(of_days, in_doubt).select(READING)
    found = doubtful.join(there, on=READING, how="semi")
    return pl.concat([suspects.filter(~in_doubt), found])


def _hits_of(new: pl.LazyFrame, mail: Mail, listed: pl.LazyFrame) -> pl.DataFrame:
    """The hits of the new messages, which are looked for on their days alone."""
    days = _days_of(new)
    if not days:
        return HITS_TABLE.empty()
    of_days = pl.col("delivery_date").is_in(days)
    readings = new.select(READING)
    return hits(
        new,
        mail.observables.filter(of_days).join(readings, on=READING, how="semi"),
        mail.lookups.filter(of_days),
        listed,
    )


def _days_of(rows: pl.LazyFrame) -> list[date]:
    days = rows.select(pl.col("delivery_date").unique()).collect(engine="streaming")
    return days["delivery_date"].to_list()
