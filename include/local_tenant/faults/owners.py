"""Owners do not wait for us: what they do with a message between our plan and our act."""

from __future__ import annotations

from enum import StrEnum

from local_tenant.mailbox import Item, LastVerb, Mailbox, Provider
from local_tenant.places import Place
from local_tenant.state import TenantState

OWNER = "owner."
"""Begins the operation in the audit log of what was no call of ours."""


class Deed(StrEnum):
    """What an owner does with a message."""

    FILE = "file"
    JUNK = "junk"
    TRASH = "trash"
    DELETE = "delete"
    """Out of Deleted Items, or out of Gmail's Trash, too."""
    READ = "read"
    REPLY = "reply"


def do(state: TenantState, mailbox: Mailbox, item: Item, deed: Deed) -> None:
    """Do it now, if the message is still there."""
    with state.store.lock:
        if item.removed is not None:
            return
        if mailbox.provider is Provider.MICROSOFT365:
            _at_microsoft(state, mailbox, item, deed)
        else:
            _at_google(state, mailbox, item, deed)


_FOLDERS = {
    Deed.FILE: "archive",
    Deed.JUNK: "junkemail",
    Deed.TRASH: "deleteditems",
    Deed.DELETE: "recoverableitemsdeletions",
}


def _at_microsoft(state: TenantState, mailbox: Mailbox, item: Item, deed: Deed) -> None:
    now, operation = state.clock(), f"{OWNER}{deed}"
    if deed is Deed.READ:
        state.store.update(mailbox, item, at=now, operation=operation, status=0, read=True)
    elif deed is Deed.REPLY:
        state.store.respond(mailbox, item, LastVerb.REPLY, at=now)
    else:
        folder = mailbox.well_known(_FOLDERS[deed])
        state.store.move(mailbox, item, folder, at=now, operation=operation, status=0)


_LABELS: dict[Deed, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Deed.FILE: ((), ("INBOX",)),
    Deed.JUNK: (("SPAM",), ("INBOX",)),
    Deed.TRASH: (("TRASH",), ("INBOX",)),
    Deed.READ: ((), ("UNREAD",)),
    Deed.REPLY: ((), ("UNREAD",)),
}


def _at_google(state: TenantState, mailbox: Mailbox, item: Item, deed: Deed) -> None:
    now, operation = state.clock(), f"{OWNER}{deed}"
    if deed is Deed.DELETE:
        state.store.remove(mailbox, item, at=now, operation=operation, status=0, place=Place.PURGED)
        return
    add, remove = _LABELS[deed]
    state.store.relabel(
        mailbox, item, at=now, operation=operation, status=0, add=add, remove=remove
    )
