"""What the program asks of a mail provider. One implementation per provider."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Protocol

from retract.model import (
    Action,
    CollectedMessage,
    Copy,
    Location,
    Mailbox,
    Place,
    Provider,
    Window,
)


class MailboxProvider(Protocol):
    """A connection to one tenant. Not thread-safe: one object per thread.

    Every method raises a `retract.errors.MailboxError` of the fitting kind.
    """

    provider: Provider
    connection: str

    def list_mailboxes(self) -> Iterator[Mailbox]:
        """Every mailbox that can hold mail; disabled and suspended accounts are left out."""

    def mailbox(self, address: str) -> Mailbox:
        """The mailbox with this address. Raises MailboxUnavailable where there is none."""

    def collect(
        self, mailbox: Mailbox, window: Window, known: Collection[str]
    ) -> Iterator[CollectedMessage]:
        """The copies delivered to the mailbox in the window, in all folders, newest first.

        Drafts, and what the mailbox's owner sent, were not delivered and are left out.
        ``known`` holds the message ids already in the lake: they are not read again.
        A message whose content cannot be parsed is yielded with ``problems`` set.
        """

    def locate(self, copy: Copy) -> Location | None:
        """Where the copy lies now; None when the provider no longer knows the id."""

    def destination(self, action: Action) -> Place:
        """Where the action puts a copy. Raises ActionNotSupported."""

    def retract(self, copy: Copy, action: Action) -> None:
        """Carry out the action once. The caller looks before and verifies after.

        Raises MessageNotFound when the id leads to nothing, OutcomeUnknown when the call
        may have succeeded, Throttled when the provider asks for a wait too long for a client.
        """

    def restore(self, copy: Copy, location: Location) -> None:
        """Put the copy back where ``location`` says: folder or labels, read and flag state.

        Raises ActionNotSupported for a purged copy.
        """

    def now(self) -> datetime:
        """The clock passed in at construction, aware UTC."""

    def close(self) -> None:
        """Release connections."""
