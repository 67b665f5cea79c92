"""What indicators would hit in the lake, by the same functions as in a run. Nothing is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

import polars as pl
from pydantic import AwareDatetime

from retract.cli.copies_met import copies_met, counted
from retract.cli.installation import Installation
from retract.cli.record import Record
from retract.indicators.analysts import Opinion, TypedValue, entered
from retract.indicators.hold_back.rules import HoldBack
from retract.model import Action, Disposition, Mode, ObservableType, Window
from retract.observables.domain import canonical_domain
from retract.observables.url import split_canonical
from retract.reevaluation.decide import decide
from retract.reevaluation.match import meet
from retract.retraction.plan import PlannedRetraction, SkipReason, make_plan

LISTED: Final = 5
"""Subjects and senders that are named."""


class Group(Record):
    """Copies with which the same would be done."""

    action: Action
    disposition: Disposition
    copies: int
    mailboxes: int


class Named(Record):
    """A subject or a sender, as it stands in the mail, and how many copies have it."""

    text: str
    copies: int


class WouldHit(Record):
    """What the next run would do because of these indicators, by what the lake knows."""

    window_start: AwareDatetime
    window_end: AwareDatetime
    collected: int
    """Copies in the lake that were delivered in the window."""
    met: int
    """Copies among them that an indicator meets which is not held back."""
    held_back: int
    """Copies that only held-back indicators meet: nothing is done with them."""
    retracted: int
    """Of the copies met, those that would be retracted."""
    mailboxes: int
    """The mailboxes these lie in."""
    read: int
    """How many of these were marked as read when they were collected."""
    readers: int
    """The mailboxes in which that is so."""
    internal: int
    """How many of these came from the organisation's own domains, or in their name."""
    first_delivery: AwareDatetime | None
    last_delivery: AwareDatetime | None
    by_action: tuple[Group, ...]
    subjects: tuple[Named, ...]
    senders: tuple[Named, ...]
    """The most frequent ones."""
    left_alone: dict[SkipReason, int]
    """Of the copies met, those that would not be retracted, by reason."""


class Hits(Record):
    """The whole, and by an indicator's id the copies that it meets."""

    total: WouldHit
    by_indicator: dict[str, int]
    same_host: dict[str, int]
    """Of a URL on a host that is not everybody's: the copies that link to that host."""


def would_hit(
    installation: Installation, indicators: pl.DataFrame, hold_back: HoldBack, now: datetime
) -> Hits:
    """Match the window that the policy looks back over with these indicators alone.

    ``indicators`` has the shape of the table. Raises RetractError when lake, ledger or policy
    cannot be read.
    """
    lake, policy = installation.lake, installation.policy
    versions = lake.versions()
    window = Window(now - policy.lookback, now)
    messages = lake.scan_messages(versions.messages, window)
    mail = (
        messages,
        lake.scan_observables(versions.observables, window),
        lake.scan_lookups(versions.lookups, window),
    )
    live = indicators.filter(pl.col("held_back").is_null())
    matches = meet(*mail, live.lazy())
    copies = matches.select("copy_id").unique()
    met = messages.join(copies.lazy(), on="copy_id", how="semi").collect()
    plan = make_plan(
        decide(met, matches, policy, now),
        met,
        installation.states(met["copy_id"]),
        policy,
        run_id="indicators add",
        mode=Mode.PREVIEW,
        window=window,
        lake_versions=versions,
        made_at=now,
    )
    retracted = met.filter(pl.col("copy_id").is_in([one.copy_id for one in plan.retractions]))
    held_back = indicators.filter(pl.col("held_back").is_not_null())
    hosts = _hosts(indicators, hold_back, now)
    others = copies_met(*mail, pl.concat([held_back, hosts]))
    only_held_back = (
        others.join(held_back.lazy(), on="indicator_id", how="semi")
        .join(copies.lazy(), on="copy_id", how="anti")
        .select(pl.col("copy_id").n_unique())
    )
    counts = Counter(matches["indicator_id"]) + Counter(counted(others))
    return Hits(
        total=WouldHit(
            window_start=window.start,
            window_end=window.end,
            collected=int(messages.select(pl.len()).collect().item()),
            met=met.height,
            held_back=int(only_held_back.collect(engine="streaming").item()),
            by_action=_by_action(plan.retractions),
            left_alone=dict(Counter(one.reason for one in plan.skipped)),
            **_of(retracted, installation.own_domains),
        ),
        by_indicator={one: counts[one] for one in indicators["indicator_id"]},
        same_host=_same_host(indicators, hosts, counts),
    )


def rows_of(values: Iterable[TypedValue], now: datetime) -> pl.DataFrame:
    """Values as rows of the indicators table, only to be matched: nobody's opinion."""
    return entered(values, Opinion(campaign="-", by="-"), now).rows


_MAILBOX: Final = pl.struct("provider", "connection", "mailbox_id")


def _of(retracted: pl.DataFrame, own_domains: Collection[str]) -> dict[str, Any]:
    """The fields of `WouldHit` that speak of the copies that would be retracted."""
    read = retracted.filter("is_read")
    sender_domain = pl.col("sender_address").str.split("@").list.last()
    is_own = [sender_domain == own for own in own_domains]
    is_own += [sender_domain.str.ends_with("." + own) for own in own_domains]
    times = retracted["received_at"].sort()
    return {
        "retracted": retracted.height,
        "mailboxes": retracted.select(_MAILBOX.n_unique()).item(),
        "read": read.height,
        "readers": read.select(_MAILBOX.n_unique()).item(),
        "internal": retracted.filter(pl.any_horizontal(pl.lit(False), *is_own)).height,
        "first_delivery": times.first(),
        "last_delivery": times.last(),
        "subjects": _most_frequent(retracted["subject"]),
        "senders": _most_frequent(retracted["sender_address"]),
    }


def _most_frequent(texts: pl.Series) -> tuple[Named, ...]:
    counted = Counter(texts).most_common()
    first = sorted(counted, key=lambda item: (-item[1], item[0]))[:LISTED]
    return tuple(Named(text=text, copies=copies) for text, copies in first)


def _by_action(retractions: Iterable[PlannedRetraction]) -> tuple[Group, ...]:
    """The gravest action and disposition first."""
    copies: Counter[tuple[Action, Disposition]] = Counter()
    mailboxes: dict[tuple[Action, Disposition], set[str]] = {}
    for one in retractions:
        kind = (one.action, one.disposition)
        copies[kind] += 1
        mailboxes.setdefault(kind, set()).add(one.mailbox_key)
    order = sorted(copies, key=lambda kind: (-kind[0].gravity, -kind[1].severity))
    return tuple(
        Group(
            action=action,
            disposition=disposition,
            copies=copies[action, disposition],
            mailboxes=len(mailboxes[action, disposition]),
        )
        for action, disposition in order
    )


def _hosts(indicators: pl.DataFrame, hold_back: HoldBack, now: datetime) -> pl.DataFrame:
    """Rows for the hosts of the URLs, without those that are everybody's or are asked anyway."""
    urls = indicators.filter(type=ObservableType.URL)["value"]
    named = {host for url in urls if (host := _host_of(url))}
    asked = set(indicators.filter(type=ObservableType.DOMAIN)["value"])
    kind = ObservableType.DOMAIN
    usable = sorted(host for host in named - asked if hold_back.reason(kind, host) is None)
    return rows_of(((kind, host) for host in usable), now)


def _same_host(
    indicators: pl.DataFrame, hosts: pl.DataFrame, counts: Counter[str]
) -> dict[str, int]:
    copies = {value: counts[one] for one, value in hosts.select("indicator_id", "value").rows()}
    urls = indicators.filter(type=ObservableType.URL).select("indicator_id", "value").rows()
    return {one: copies[host] for one, url in urls if (host := _host_of(url)) in copies}


def _host_of(url: str) -> str:
    return canonical_domain(split_canonical(url)[0])
