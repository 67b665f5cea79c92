"""Who there is, and what evil goes round."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from local_tenant.people import Person
from local_tenant.synthetic.campaigns import (
    CAMPAIGN_KINDS,
    Campaign,
    Feed,
    Indicator,
    IndicatorType,
    make_campaign,
)


@dataclass(frozen=True, slots=True)
class World:
    """The same for the same people and seed."""

    people: tuple[Person, ...]
    campaigns: dict[str, tuple[Campaign, ...]]
    """By kind; every kind has at least one."""
    seed: int
    suffix_trap: Indicator
    """A listed domain that a good newsletter's host ends with, but not at a dot."""

    @staticmethod
    def imagine(people: Sequence[Person], *, seed: int, waves: int) -> World:
        """``waves`` campaigns of every kind. Raises ValueError without people."""
        if not people:
            raise ValueError("there are no mailboxes to write to")
        rng = random.Random(f"{seed}/campaigns")
        return World(
            tuple(people),
            {
                kind: tuple(make_campaign(kind, rng) for _ in range(waves))
                for kind in CAMPAIGN_KINDS
            },
            seed,
            Indicator(
                Feed.DOMAINS, IndicatorType.DOMAIN, f"letters-{rng.randrange(10_000, 99_999)}.net"
            ),
        )
