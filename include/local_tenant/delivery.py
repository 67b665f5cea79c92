"""One message on its way into the tenant: what the generator and the mail source hand over."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

PERIOD = timedelta(days=30)
"""Mail is spread over this much time before now."""

# Nothing comes in the first hours of the period: it must still lie within a lookback of the
# same length when the tenant has been running for a while.
_MARGIN = timedelta(hours=6)


class Placement(StrEnum):
    """Where the receiving service puts a message as it arrives."""

    INBOX = "inbox"
    JUNK = "junk"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one or several mailboxes of one tenant.

    A message sent to both services is two deliveries with the same Message-ID, because each
    service stamps its own headers on top of what the sender sent.
    """

    delivery_id: str
    raw: bytes
    """RFC 5322 bytes as they lie in the mailbox, trace headers of the receiver included."""
    recipients: tuple[str, ...]
    """Addresses of mailboxes, lower case, at least one."""
    received_at: datetime
    """Aware UTC, whole seconds."""
    placement: Placement = Placement.INBOX
    is_read: bool = False
    categories: tuple[str, ...] = ()
    """Gmail's tab labels, such as CATEGORY_UPDATES; Microsoft 365 has no use for them."""


def moment_before(now: datetime, rng: random.Random) -> datetime:
    """A time of delivery within the period before now, whole seconds."""
    span = (PERIOD - _MARGIN).total_seconds()
    return (now - timedelta(seconds=rng.uniform(60, span))).replace(microsecond=0)
