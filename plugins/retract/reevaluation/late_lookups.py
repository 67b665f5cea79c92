"""Lookups made when a match is: of what only networks and campaign rules meet.

An address would have up to 113 networks as stored lookups, and a subject has no end of rules that
describe it. So what they meet is found in one bounded pass over the distinct addresses, subjects
and names of the copies that are judged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from retract.model import ObservableType
from retract.observables.address import canonical_name
from retract.observables.campaign_rule import as_regex, longest_piece
from retract.observables.lookup import canonical_value
from retract.observables.network import in_networks

log = logging.getLogger(__name__)

LOOKUP: Final = ("type", "key", "lookup")
"""By what an observable and an indicator are joined: keys may collide, so lookups, too."""
FOUND: Final = ("copy_id", "extractor_version", "delivery_date", *LOOKUP, "exact", "value")
"""The columns of a lookup, stored or late: which reading has it, and for which value."""

MAX_RULES: Final = 1_000
"""Campaign rules of one source that are evaluated, first seen first."""

_HELD_AGAINST: Final = {
    ObservableType.SUBJECT_PATTERN: "subject",
    ObservableType.DISPLAY_NAME_PATTERN: "sender_name",
}
"""The column of the messages that a type of campaign rule describes."""

_IS_ADDRESS = pl.col("type") == ObservableType.IP_ADDRESS.value
_IS_NETWORK = _IS_ADDRESS & pl.col("lookup").str.contains("/", literal=True)
_READING = ("copy_id", "extractor_version", "delivery_date")
_MET = pl.Schema({"value": pl.String(), "lookup": pl.String()})


def late_lookups(
    messages: pl.LazyFrame, observables: pl.LazyFrame, indicators: pl.LazyFrame
) -> Iterator[pl.LazyFrame]:
    """What these indicators' networks and campaign rules meet in the copies, as FOUND."""
    rules = indicators.filter(is_rule()).select(LOOKUP).collect()
    for kind, column in _HELD_AGAINST.items():
        listed = rules.filter(pl.col("type") == kind.value)
        if not listed.is_empty():
            yield _late(messages.select(*_READING, value=column), listed, _met_by_rules)
    networks = indicators.filter(_IS_NETWORK).select(LOOKUP).collect()
    if not networks.is_empty():
        addresses = observables.filter(_IS_ADDRESS).select(*_READING, "value")
        yield _late(addresses, networks, _met_by_networks)


def evaluated(indicators: pl.LazyFrame) -> pl.LazyFrame:
    """These indicators without the campaign rules beyond MAX_RULES of a source.

    A warning in the log says so where there are any.
    """
    rules = _rules(indicators)
    for problem in _beyond_the_bound(rules):
        log.warning("%s", problem)
    left_out = rules.filter(~_is_evaluated())
    if left_out.is_empty():
        return indicators
    return indicators.join(left_out.lazy(), on="indicator_id", how="anti")


def evaluated_rules(indicators: pl.LazyFrame) -> pl.DataFrame:
    """The LOOKUPs of the campaign rules among these indicators that are evaluated."""
    return _rules(indicators).filter(_is_evaluated()).select(LOOKUP).unique()


def is_rule() -> pl.Expr:
    """Whether an indicator is a campaign rule."""
    return pl.col("type").is_in([kind.value for kind in _HELD_AGAINST])


def is_late() -> pl.Expr:
    """Whether what an indicator meets is found by its text alone, not by its key."""
    return is_rule() | _IS_NETWORK


def rules_left_out(indicators: pl.LazyFrame) -> list[str]:
    """What to tell people of the campaign rules among these that are not evaluated."""
    return _beyond_the_bound(_rules(indicators))


def _rules(indicators: pl.LazyFrame) -> pl.DataFrame:
    """The campaign rules, first seen first."""
    columns = (*LOOKUP, "source", "first_seen", "indicator_id")
    rules = indicators.filter(is_rule()).select(columns).collect()
    return rules.sort("first_seen", "indicator_id")


def _is_evaluated() -> pl.Expr:
    """Of rules, first seen first."""
    return pl.int_range(pl.len()).over("source") < MAX_RULES


def _beyond_the_bound(rules: pl.DataFrame) -> list[str]:
    counts = rules.group_by("source").len().filter(pl.col("len") > MAX_RULES).sort("source")
    return [
        f"{source}: {count:,} campaign rules are in force, and only the {MAX_RULES:,} first seen "
        "are evaluated: revoke those that are over, or join several into one with wildcards"
        for source, count in counts.iter_rows()
    ]


def _late(
    seen: pl.LazyFrame, listed: pl.DataFrame, met: Callable[[pl.Series, pl.Series], pl.DataFrame]
) -> pl.LazyFrame:
    """Where what was seen, the reading and a ``value``, meets what is listed.

    ``met`` gives the pairs of values and lookups that meet, from the distinct ones of both.
    """
    lookups = listed.unique()
    values = seen.select(pl.col("value").unique()).collect(engine="streaming")["value"]
    pairs = met(values, lookups["lookup"])
    means = pairs.join(lookups, on="lookup", how="inner").with_columns(exact=pl.lit(False))
    return seen.join(means.lazy(), on="value", how="inner").select(FOUND)


def _met_by_networks(values: pl.Series, networks: pl.Series) -> pl.DataFrame:
    addresses = ((value, canonical_value(ObservableType.IP_ADDRESS, value)) for value in values)
    seen = [(value, address) for value, address in addresses if address and "/" not in address]
    held = list(in_networks({address for _, address in seen}, networks))
    return (
        pl.DataFrame(seen, schema={"value": pl.String, "address": pl.String}, orient="row")
        .join(
            pl.DataFrame(held, schema={"address": pl.String, "lookup": pl.String}, orient="row"),
            on="address",
        )
        .select(_MET.names())
    )


def _met_by_rules(texts: pl.Series, rules: pl.Series) -> pl.DataFrame:
    """Every text with every rule that describes it.

    One pass over all texts finds those that hold a rule's longest piece; only they are held
    against the rule.
    """
    piece_of = {rule: longest_piece(rule) for rule in rules}
    pieces = sorted(set(piece_of.values()))
    holding = (
        pl.DataFrame({"value": texts})
        .with_columns(text=pl.Series([canonical_name(text) for text in texts], dtype=pl.String))
        .filter(pl.col("text").str.contains_any(pieces))
        .with_columns(piece=pl.col("text").str.extract_many(pieces, overlapping=True).list.unique())
        .explode("piece")
        .partition_by("piece", as_dict=True, include_key=False)
    )
    found = [
        holding[(piece,)]
        .filter(pl.col("text").str.contains(as_regex(rule)))
        .select("value", lookup=pl.lit(rule))
        for rule, piece in piece_of.items()
        if (piece,) in holding
    ]
    return pl.concat([_MET.to_frame(), *found])
