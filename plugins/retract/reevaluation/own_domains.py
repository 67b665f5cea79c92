"""Indicators that name the organisation itself: none of them ever matches.

A refresh holds them back by the mailboxes whose mail it knows. What is collected for the first
time, or from a new domain, comes after that, and is matched before the next refresh.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from retract.indicators.hold_back.rules import OWN_ADDRESS, OWN_DOMAIN, HoldBack
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.model import ObservableType
from retract.observables.domain import canonical_domain, registrable_domain

_NAMING_HOSTS: Final = (ObservableType.DOMAIN, ObservableType.EMAIL_ADDRESS, ObservableType.URL)


def without_own(indicators: pl.LazyFrame, own_domains: Collection[str]) -> pl.LazyFrame:
    """The indicators, those that name one of these domains held back as a refresh would do it.

    ``indicators`` has the shape of the lake's table; ``own_domains`` are those of the mailboxes.
    """
    domains = {canonical_domain(one) for one in own_domains} - {""}
    parts = sorted(registrable_domain(one) or one for one in domains)
    if not parts:
        return indicators
    hold_back = HoldBack.of(HoldBackSettings(warninglists=False), own_domains=domains)
    named = indicators.filter(
        pl.col("active"),
        pl.col("held_back").is_null(),
        pl.col("type").is_in([kind.value for kind in _NAMING_HOSTS]),
        pl.col("lookup").str.contains_any(parts),
    )
    reasons = {
        one: reason
        for one, kind, value in named.select("indicator_id", "type", "value").collect().iter_rows()
        if (reason := hold_back.reason(ObservableType(kind), value)) in (OWN_DOMAIN, OWN_ADDRESS)
    }
    if not reasons:
        return indicators
    known = {"indicator_id": list(reasons), "reason": list(reasons.values())}
    return (
        indicators.join(pl.LazyFrame(known), on="indicator_id", how="left")
        .with_columns(held_back=pl.coalesce("held_back", "reason"))
        .drop("reason")
    )
