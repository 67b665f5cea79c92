"""Google Workspace mailboxes, through the Gmail API and the Directory API."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from retract.errors import (
    ActionNotSupported,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
)
from retract.mailboxes.google_workspace.api import GoogleAnswer, GoogleApi
from retract.mailboxes.protocol import MailboxReading
from retract.mailboxes.reading import WholeReading, answered, read_each, without_content
from retract.mailboxes.settings import GoogleWorkspaceSettings
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
from retract.observables import EXTRACTOR_VERSION
from retract.observables.mime import extract

A = TypeVar("A", bound=GoogleAnswer)

_USERS_PER_PAGE = 500
_USER_FIELDS = "id,primaryEmail,suspended,archived,isMailboxSetup"
# In this order: a message in Trash keeps its other labels.
_PLACES = {
    "TRASH": Place.TRASH,
    "SPAM": Place.JUNK,
    "INBOX": Place.INBOX,
    "SENT": Place.SENT,
}
_NEVER_DELIVERED = frozenset({"CHAT", "DRAFT"})
_UNTOUCHABLE_LABELS = frozenset({"CHAT", "DRAFT", "SENT"})
"""Labels that Gmail lets nobody add or remove."""


class _User(GoogleAnswer):
    id: str
    address: str = Field(alias="primaryEmail")
    suspended: bool = False
    archived: bool = False
    has_mailbox: bool = Field(default=True, alias="isMailboxSetup")

    @property
    def can_hold_mail(self) -> bool:
        return self.has_mailbox and not self.suspended and not self.archived


class _UserPage(GoogleAnswer):
    users: tuple[_User, ...] = ()


class _Reference(GoogleAnswer):
    id: str


class _MessagePage(GoogleAnswer):
    messages: tuple[_Reference, ...] = ()


class _Message(GoogleAnswer):
    id: str
    labels: tuple[str, ...] = Field(default=(), alias="labelIds")
    internal_date: int = Field(default=0, alias="internalDate")
    """Milliseconds since the epoch: when Gmail accepted the message."""
    raw: str = ""
    """The message in base64url; in no other format than raw."""

    @property
    def received_at(self) -> datetime:
        return datetime.fromtimestamp(self.internal_date / 1000, UTC)

    @property
    def location(self) -> Location:
        place = next((place for label, place in _PLACES.items() if label in self.labels), None)
        return Location(
            place=place or Place.OTHER,
            labels=tuple(sorted(self.labels)),
            is_read="UNREAD" not in self.labels,
            is_flagged="STARRED" in self.labels,
        )


class _Labels(GoogleAnswer):
    labels: tuple[_Reference, ...] = ()


class GoogleWorkspace:
    """One customer. Implements `retract.mailboxes.protocol.MailboxProvider`."""

    provider: Provider = Provider.GOOGLE_WORKSPACE

    def __init__(
        self, settings: GoogleWorkspaceSettings, connection: str, clock: Callable[[], datetime]
    ) -> None:
        self.connection: str = connection
        self._settings = settings
        self._clock = clock
        self._api = GoogleApi(settings, clock)
        self._messages = self._api.gmail.users().messages()

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        return (self._mailbox(user) for user in self._users() if user.can_hold_mail)

    def mailbox(self, address: str) -> Mailbox:
        wanted = address.strip().lower()
        for user in self._users():
            if user.address.lower() == wanted and user.can_hold_mail:
                return self._mailbox(user)
        raise MailboxUnavailable(
            f"there is no mailbox {address} in this Workspace, or its user is suspended"
        )

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        return WholeReading(self._collect(mailbox, window, known))

    def _collect(
        self, mailbox: Mailbox, window: Window, known: Collection[str]
    ) -> Iterator[CollectedMessage]:
        # All pages before any content: what changes meanwhile would shift the pages to come.
        wanted = [message for message in self._listed(mailbox, window) if message.id not in known]
        found = read_each(
            (
                (
                    one,
                    answered(
                        lambda one=one: self._collected(mailbox, *self._read(mailbox, one.id))
                    ),
                )  # type: ignore[misc]  # noqa: E501
                for one in wanted
            ),
            lambda listed, error: self._collected(
                mailbox, *self._unread(mailbox, listed.id, error)
            ),
            [],
        )
        return (message for message in found if message and message.received_at in window)

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        return [answered(lambda copy=copy: self._locate(copy)) for copy in copies]  # type: ignore[misc]

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        raise NotImplementedError

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        raise NotImplementedError

    def _locate(self, copy: Copy) -> Location | None:
        try:
            return self._state(copy, f"find a message of {copy.mailbox}").location
        except MessageNotFound:
            return None

    def destination(self, action: Action) -> Place:
        match action:
            case Action.JUNK:
                return Place.JUNK
            case Action.TRASH:
                return Place.TRASH
            case Action.SOFT_DELETE:
                raise ActionNotSupported("soft_delete: Gmail has none; trash is its nearest")
            case Action.HARD_DELETE:
                if not self._settings.allow_hard_delete:
                    raise ActionNotSupported(
                        "hard_delete: the connection must say allow_hard_delete, and the "
                        "delegation must grant the scope https://mail.google.com/"
                    )
                return Place.PURGED
            case Action.NO_ACTION:
                raise ActionNotSupported("no_action puts a copy nowhere")

    def retract(
        self, retractions: Sequence[tuple[Copy, Action]], until: datetime
    ) -> list[MailboxError | None]:
        for _, action in retractions:
            self.destination(action)
        return [
            answered(lambda copy=copy, action=action: self._retract(copy, action))  # type: ignore[misc]
            for copy, action in retractions
        ]

    def _retract(self, copy: Copy, action: Action) -> None:
        which = {"userId": "me", "id": copy.message_id}
        match self.destination(action):
            case Place.JUNK:
                body = {"addLabelIds": ["SPAM"], "removeLabelIds": ["INBOX"]}
                request = self._messages.modify(**which, body=body)
            case Place.TRASH:
                request = self._messages.trash(**which)
            case _:
                request = self._messages.delete(**which)
        self._change(request, copy, f"{action} a message of {copy.mailbox}")

    def restore(self, copy: Copy, location: Location) -> None:
        if location.place is Place.PURGED:
            raise ActionNotSupported("nothing can be put back among what was deleted for good")
        task = f"restore a message of {copy.mailbox}"
        which = {"userId": "me", "id": copy.message_id}
        try:
            present = set(self._state(copy, task).labels)
        except MessageNotFound as error:
            raise ActionNotSupported(
                f"a message of {copy.mailbox} is out of reach: it was deleted for good"
            ) from error
        wanted = set(location.labels)
        if "TRASH" in present - wanted:
            self._change(self._messages.untrash(**which), copy, task)
            present.discard("TRASH")
        # untrash does not bring INBOX back: the whole recorded set is put in place.
        missing = wanted - present - _UNTOUCHABLE_LABELS
        if missing:
            missing &= self._labels_of(copy, task)
        surplus = present - wanted - _UNTOUCHABLE_LABELS
        if missing or surplus:
            body = {"addLabelIds": sorted(missing), "removeLabelIds": sorted(surplus)}
            self._change(self._messages.modify(**which, body=body), copy, task)

    def now(self) -> datetime:
        return self._clock()

    def close(self) -> None:
        self._api.close()

    def _mailbox(self, user: _User) -> Mailbox:
        return Mailbox(self.provider, self.connection, user.id, user.address)

    def _users(self) -> Iterator[_User]:
        task = "list the users"
        users = self._api.directory.users()
        request = users.list(
            customer=self._settings.customer,
            maxResults=_USERS_PER_PAGE,
            fields=f"users({_USER_FIELDS}),nextPageToken",
        )
        while request is not None:
            answer = self._api.directory_call(request, task)
            yield from _parse(_UserPage, answer, task).users
            request = users.list_next(request, answer)

    def _listed(self, mailbox: Mailbox, window: Window) -> Iterator[_Reference]:
        # q counts whole seconds, and whether its bounds belong to it is not documented: ask
        # for a little more, and keep what is in the window.
        start = int(window.start.timestamp()) - 1
        end = int((window.end + timedelta(seconds=1)).timestamp()) + 1
        task = f"list the messages of {mailbox.address}"
        request = self._messages.list(
            userId="me",
            # What the owner wrote was not delivered: a reply to a phish quotes its links.
            q=f"after:{start} before:{end} -in:sent -in:draft",
            includeSpamTrash=True,
            maxResults=self._settings.page_size,
        )
        while request is not None:
            answer = self._api.gmail_call(request, mailbox.address, task)
            yield from _parse(_MessagePage, answer, task).messages
            request = self._messages.list_next(request, answer)

    def _read(self, mailbox: Mailbox, message_id: str) -> tuple[_Message, Extraction]:
        task = f"read a message of {mailbox.address}"
        message = self._get(mailbox.address, message_id, "raw", task)
        try:
            raw = base64.urlsafe_b64decode(message.raw + "==")
        except ValueError as error:
            raise MailboxError(f"Google answered the call to {task} with no base64url") from error
        settings = self._settings
        labels = message.labels if settings.trust_labels else ()
        return message, extract(raw, trusted=settings.trusted_headers, labels=labels)

    def _unread(
        self, mailbox: Mailbox, message_id: str, error: MailboxError
    ) -> tuple[_Message, Extraction]:
        task = f"read the labels of a message of {mailbox.address}"
        message = self._get(mailbox.address, message_id, "minimal", task)
        return message, without_content(error)

    def _collected(
        self, mailbox: Mailbox, message: _Message, extraction: Extraction
    ) -> CollectedMessage | None:
        """None for what was never delivered: drafts and chats."""
        if not _NEVER_DELIVERED.isdisjoint(message.labels):
            return None
        return CollectedMessage(
            copy=Copy(
                self.provider,
                self.connection,
                mailbox.mailbox_id,
                mailbox.address,
                message.id,
                extraction.internet_message_id,
            ),
            received_at=message.received_at,
            location=message.location,
            extraction=extraction,
            extractor_version=EXTRACTOR_VERSION,
        )

    def _state(self, copy: Copy, task: str) -> _Message:
        return self._get(copy.mailbox, copy.message_id, "minimal", task)

    def _get(self, address: str, message_id: str, form: str, task: str) -> _Message:
        request = self._messages.get(userId="me", id=message_id, format=form)
        return _parse(_Message, self._api.gmail_call(request, address, task), task)

    def _labels_of(self, copy: Copy, task: str) -> set[str]:
        """The ids of the labels that the mailbox has now: its owner may have deleted some."""
        request = self._api.gmail.users().labels().list(userId="me")
        answer = self._api.gmail_call(request, copy.mailbox, task)
        return {label.id for label in _parse(_Labels, answer, task).labels}

    def _change(self, request: Any, copy: Copy, task: str) -> None:
        self._api.gmail_call(request, copy.mailbox, task, changing=True)


def _parse(model: type[A], answer: dict[str, Any], task: str) -> A:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise MailboxError(
            f"Google answered the call to {task} with something else than it documents"
        ) from error
