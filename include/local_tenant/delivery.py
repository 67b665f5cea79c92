"""One message on its way into the tenant: what the generator and the mail source hand over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
