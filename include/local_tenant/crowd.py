"""Many mailboxes filled in seconds, for tests of scale: a campaign among ordinary mail.

Copies of one message share its bytes, and nobody's mail is worth reading; for mail that is, see
`local_tenant.synthetic`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from local_tenant.delivery import Delivery, moment_before
from local_tenant.fill import add_people, deliver_all
from local_tenant.people import Person
from local_tenant.state import TenantState

CAMPAIGN_URL = "https://parcels.evil.example/track"
"""In every message of the campaign, and in no other one."""

_RECIPIENTS_OF_A_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a tenant was filled with."""

    people: Sequence[Person]
    campaign: frozenset[str]
    """Delivery ids."""
    campaign_copies: int
    ordinary_copies: int


def gather(state: TenantState, mailboxes: int, campaign_copies: int, ordinary_copies: int) -> Crowd:
    """Add so many mailboxes and deliver so many copies, spread evenly, the rest by the tenant's
    seed. A mailbox gets a message once."""
    persons = add_people(state, mailboxes)
    rng = random.Random(f"{state.settings.seed}/crowd")
    addresses = [person.address for person in persons]
    rng.shuffle(addresses)
    bad = list(_deliveries(state, rng, "campaign", addresses, campaign_copies))
    good = list(_deliveries(state, rng, "ordinary", addresses, ordinary_copies))
    everything = bad + good
    rng.shuffle(everything)
    deliver_all(state, everything)
    return Crowd(
        persons,
        frozenset(delivery.delivery_id for delivery in bad),
        sum(len(delivery.recipients) for delivery in bad),
        sum(len(delivery.recipients) for delivery in good),
    )


def _deliveries(
    state: TenantState, rng: random.Random, kind: str, addresses: Sequence[str], copies: int
) -> Iterator[Delivery]:
    """One copy for each address in turn, as many messages as that takes."""
    at_once = min(_RECIPIENTS_OF_A_MESSAGE, len(addresses))
    begin = number = 0
    while begin < copies:
        count = min(at_once, copies - begin)
        chosen = (addresses[(begin + place) % len(addresses)] for place in range(count))
        yield Delivery(
            f"{kind}-{number}",
            _mail(kind, number),
            tuple(chosen),
            moment_before(state.clock(), rng),
            is_read=rng.random() < 0.4,
        )
        begin, number = begin + count, number + 1


def _mail(kind: str, number: int) -> bytes:
    url = CAMPAIGN_URL if kind == "campaign" else "https://intranet.example/minutes"
    return (
        f"From: Sender {number} <sender{number}@{kind}.example>\r\n"
        f"Subject: {kind} {number}\r\nMessage-ID: <{number}@{kind}.example>\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        f"See {url}/{number}\r\n"
    ).encode()
