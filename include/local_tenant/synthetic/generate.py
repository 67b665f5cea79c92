"""A believable month of mail, what will become known of it, and the truth about it.

Deterministic: the same people, time, number and seed give the same bytes. The truth comes
from the author's own knowledge; nothing here looks at a message to judge it.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from local_tenant.delivery import Delivery
from local_tenant.people import Person
from local_tenant.synthetic.authoring import KINDS, Author
from local_tenant.synthetic.known_later import FeedFiles, make_feeds
from local_tenant.synthetic.outbox import Truth
from local_tenant.synthetic.world import World

_MESSAGES_A_WAVE = 150
"""One more campaign of every kind for so many messages."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Mail, feeds that become known after it came in, and what each delivery is."""

    world: World
    deliveries: tuple[Delivery, ...]
    """Oldest first."""
    feeds: FeedFiles
    truth: tuple[Truth, ...]
    """One for each delivery, in the same order."""


def generate(
    people: Sequence[Person], *, now: datetime, messages: int = 400, seed: int = 1
) -> Scenario:
    """At least so many messages, and at least one of every kind, for these people.

    A message for people at both services is two deliveries. ``now`` is aware UTC. Raises
    ValueError with fewer than two people.
    """
    if len(people) < 2:
        raise ValueError("synthetic mail needs at least two mailboxes")
    world = World.imagine(people, seed=seed, waves=1 + messages // _MESSAGES_A_WAVE)
    rng = random.Random(f"{seed}/mail")
    author = Author(world, rng, name=f"s{seed}", now=now, spread=True)
    for kind in KINDS:
        author.write(kind)
    shares = [kind.share for kind in KINDS.values()]
    while len({truth.internet_message_id for truth in author.outbox.truth}) < messages:
        author.write(rng.choices(list(KINDS), shares)[0])
    in_order = sorted(
        zip(author.outbox.deliveries, author.outbox.truth, strict=True),
        key=lambda pair: (pair[0].received_at, pair[0].delivery_id),
    )
    indicators = [
        indicator
        for campaigns in world.campaigns.values()
        for campaign in campaigns
        for indicator in campaign.indicators
    ]
    feeds = make_feeds([*indicators, world.suffix_trap], now, random.Random(f"{seed}/feeds"))
    return Scenario(
        world,
        tuple(delivery for delivery, _ in in_order),
        feeds,
        tuple(truth for _, truth in in_order),
    )


def write_scenario(scenario: Scenario, folder: Path) -> None:
    """The feed files, ``feeds.yaml`` that names them, and ``truth.json``."""
    scenario.feeds.write(folder)
    truth = [dataclasses.asdict(row) for row in scenario.truth]
    (folder / "truth.json").write_text(
        json.dumps(truth, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def next_message(world: World, rng: random.Random, now: datetime) -> Delivery:
    """One more message, delivered now: of the same people and the same campaigns."""
    author = Author(world, rng, name=f"d{rng.getrandbits(48):012x}", now=now, spread=False)
    author.write(rng.choices(list(KINDS), [kind.share for kind in KINDS.values()])[0])
    return author.outbox.deliveries[0]
