"""Fills a tenant with people and mail before it opens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from local_tenant.delivery import Delivery, Placement
from local_tenant.faults.duplicates import with_duplicates
from local_tenant.mail_source import load_mail
from local_tenant.mailbox import Provider
from local_tenant.people import Person, people
from local_tenant.state import TenantState
from local_tenant.synthetic.generate import generate, write_scenario
from local_tenant.synthetic.world import World


def fill(
    state: TenantState,
    mailboxes: int,
    *,
    messages: int = 0,
    mail: Path | None = None,
    scenario: Path | None = None,
    duplicates: float = 0,
) -> World:
    """Add people and deliver mail: that at ``mail``, or else so many synthetic messages.

    The feeds that become known of synthetic mail, and the truth about it, are written to
    ``scenario``. A share of ``duplicates`` comes a second time. The world returned is what later
    messages are written in. Raises OSError and ValueError for mail that cannot be read.
    """
    persons = add_people(state, mailboxes)
    seed, now = state.settings.seed, state.clock()
    if mail is not None:
        addresses = [person.address for person in persons]
        own = load_mail(mail, addresses, now, seed=seed)
        deliver_all(state, with_duplicates(own, duplicates, seed))
    if mail is not None or messages == 0:
        return World.imagine(persons, seed=seed, waves=1)
    synthetic = generate(persons, now=now, messages=messages, seed=seed)
    deliver_all(state, with_duplicates(synthetic.deliveries, duplicates, seed))
    if scenario is not None:
        write_scenario(synthetic, scenario)
    return synthetic.world


def add_people(state: TenantState, mailboxes: int) -> list[Person]:
    """Half of the mailboxes, and the odd one, at Microsoft; the others at Google."""
    settings = state.settings
    added = []
    for provider, domain, count in (
        (Provider.MICROSOFT365, settings.microsoft_domain, mailboxes - mailboxes // 2),
        (Provider.GOOGLE_WORKSPACE, settings.google_domain, mailboxes // 2),
    ):
        for person in people(domain, count, seed=settings.seed):
            state.store.add_mailbox(provider, person.address, person.display_name)
            added.append(person)
    return added


def deliver_all(state: TenantState, deliveries: Iterable[Delivery]) -> None:
    """Put every delivery where the receiving service would."""
    for delivery in deliveries:
        junk = delivery.placement is Placement.JUNK
        labels = {"SPAM" if junk else "INBOX", "UNREAD", *delivery.categories}
        state.store.deliver(
            delivery.raw,
            delivery.recipients,
            delivery.received_at,
            delivery.delivery_id,
            folder="junkemail" if junk else "inbox",
            labels=labels,
            read=delivery.is_read,
        )
