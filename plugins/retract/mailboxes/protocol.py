"""What the program asks of a mail provider. One implementation per provider."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final, Protocol

from retract.errors import MailboxError
from retract.model import (
    Action,
    CollectedMessage,
    Copy,
    Extraction,
    Found,
    Location,
    Mailbox,
    Place,
    Provider,
    UnwatchedMailbox,
    Watermark,
    Window,
)

MOST_FOUND: Final = 25
"""Items that a search for one Message-ID tells of: its sender may have sent any number."""


class MailboxReading(Protocol):
    """One go at what was delivered to a mailbox. Read it once, to its end.

    A reading that must stop early (the quota is used up, the service fails) first yields all
    that it could read, and then raises. Keep what it yielded, and then its watermark, in either
    case: what it left is pending in the watermark, and the next reading goes on with it.
    """

    def __iter__(self) -> Iterator[CollectedMessage]:
        """The copies that are not known yet.

        A message whose content cannot be parsed is yielded with ``problems`` set; one that
        cannot be read now is kept in the watermark, for the next reading to try again.
        """

    @property
    def watermark(self) -> Watermark | None:
        """What the next reading goes on from, once this one was read to its end, or to the
        error it ended with, and all of it is kept; None when this one leaves none: the next
        one goes on from the watermark that this one had, or reads everything anew."""


class MailboxProvider(Protocol):
    """A connection to one tenant. Not thread-safe: one object per thread.

    Every method raises a `retract.errors.MailboxError` of the fitting kind. The methods that
    take several copies, of any mailboxes, answer for each in its turn: an answer that is an
    error concerns that copy, or its mailbox, alone. They keep to the provider's limits per
    mailbox and for the whole application, and wait for it only briefly: what would take longer
    is answered with Throttled.
    """

    provider: Provider
    connection: str

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        """Every mailbox that the connection's settings put under watch, and those that can
        not be watched, with the reason."""

    def mailbox(self, address: str) -> Mailbox:
        """The watched mailbox with this address. Raises MailboxUnavailable where there is none,
        or the connection's settings leave it out."""

    def prepare(self, wanted: Sequence[tuple[Mailbox, Watermark | None]], window: Window) -> None:
        """These are collected next, each from its watermark on where it has one: what can be
        asked for all of them at once is asked now.

        Collecting a mailbox that was not prepared for costs more, and gives the same.
        """

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        """The copies that came into the mailbox, in all folders.

        From the watermark on, where one is given that covers the window's start: then also what
        came after the window's end, and what was moved meanwhile. Else the whole window, newest
        first. Drafts were not delivered and are left out. ``known`` holds the message ids already
        in the lake: their content is not read again.
        """

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        """Where each lies now; None when the provider no longer knows the id."""

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        """For each, everything in its mailbox with its Message-ID, by whatever id, in all
        folders that the provider searches. The Message-ID is the sender's choice: nothing found
        is the same message before its content was compared. As many as MOST_FOUND mean that
        there may be more."""

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        """The content of each."""

    def destination(self, action: Action) -> Place:
        """Where the action puts a copy. Raises ActionNotSupported."""

    def retract(
        self, retractions: Sequence[tuple[Copy, Action]], until: datetime
    ) -> list[MailboxError | None]:
        """Carry out each action once. The caller looks before and verifies after.

        No call is begun after ``until``: what is left then is answered with Throttled. Answers:
        None when the provider accepted it, MessageNotFound when the id leads to nothing,
        OutcomeUnknown when the call may have succeeded. Raises ActionNotSupported before
        anything is done.
        """

    def restore(self, copy: Copy, location: Location) -> None:
        """Put the copy back where ``location`` says: folder or labels, read and flag state.

        Raises ActionNotSupported for a purged copy.
        """

    def now(self) -> datetime:
        """The clock passed in at construction, aware UTC."""

    def close(self) -> None:
        """Release connections."""
