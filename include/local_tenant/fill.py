"""Fills a tenant with people and mail before it opens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from local_tenant.delivery import Delivery, Placement
from local_tenant.mail_source import load_mail
from local_tenant.people import Person, people
from local_tenant.state import TenantState
from local_tenant.store import Provider


def add_people(state: TenantState, mailboxes: int) -> dict[Provider, list[Person]]:
    """Half of the mailboxes, and the odd one, at Microsoft; the others at Google."""
    settings = state.settings
    wanted = {
        Provider.MICROSOFT365: (settings.microsoft_domain, mailboxes - mailboxes // 2),
        Provider.GOOGLE_WORKSPACE: (settings.google_domain, mailboxes // 2),
    }
    added = {
        provider: people(domain, count, seed=settings.seed)
        for provider, (domain, count) in wanted.items()
    }
    for provider, persons in added.items():
        for person in persons:
            state.store.add_mailbox(provider, person.address, person.display_name)
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


def deliver_own_mail(state: TenantState, persons: dict[Provider, list[Person]], path: Path) -> None:
    """A person's own mail, spread over all mailboxes. Raises what `load_mail` raises."""
    addresses = [person.address for group in persons.values() for person in group]
    deliver_all(state, load_mail(path, addresses, state.clock(), seed=state.settings.seed))
