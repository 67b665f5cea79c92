"""Google Workspace mailboxes, through the Gmail API and the Directory API."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from retract.errors import ActionNotSupported, MailboxError, MessageNotFound
from retract.mailboxes.google_workspace import changes, quota, search
from retract.mailboxes.google_workspace.answers import Labels, Message, MessagePage, parse
from retract.mailboxes.google_workspace.api import Call, Caller, GoogleApi
from retract.mailboxes.google_workspace.directory import Directory
from retract.mailboxes.google_workspace.messages import headers, look, looked, read
from retract.mailboxes.google_workspace.outage import Outage, one_by_one
from retract.mailboxes.google_workspace.reading import HistoryReading
from retract.mailboxes.protocol import MOST_FOUND, MailboxReading
from retract.mailboxes.reading import answered
from retract.mailboxes.settings import GoogleWorkspaceSettings
from retract.mailboxes.watched import Watched
from retract.model import (
    Action,
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
from retract.observables.address import parse_addresses
from retract.observables.headers import decoded
from retract.observables.mime import MAX_SUBJECT

A = TypeVar("A")
R = TypeVar("R")

_UNTOUCHABLE_LABELS = frozenset({"CHAT", "DRAFT", "SENT"})
"""Labels that Gmail lets nobody add or remove."""


class GoogleWorkspace:
    """One customer. Implements `retract.mailboxes.protocol.MailboxProvider`.

    Several users are worked on at once, each by one thread.
    """

    provider: Provider = Provider.GOOGLE_WORKSPACE

    def __init__(
        self,
        settings: GoogleWorkspaceSettings,
        connection: str,
        clock: Callable[[], datetime],
        share: float = 1.0,
        *,
        sleep: Callable[[float], None] = time.sleep,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """``share`` is this object's part of the project's quota; ``seconds`` is a clock that
        only goes forward."""
        self.connection: str = connection
        self._settings = settings
        self._clock = clock
        self._api = GoogleApi(settings, clock, share, sleep=sleep, seconds=seconds)
        self._directory = Directory(self._api, connection)
        self._watched = Watched(settings.watch, self._directory.mailboxes)

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        return self._directory.mailboxes(self._settings.watch)

    def mailbox(self, address: str) -> Mailbox:
        return self._watched.require(self._directory.mailbox(address))

    def prepare(self, wanted: Sequence[tuple[Mailbox, Watermark | None]], window: Window) -> None:
        """Nothing is asked for many mailboxes at once: each is read on its own."""

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        gmail = self._api.gmail(mailbox.address)
        return HistoryReading(
            gmail, self._settings, mailbox, window, known, watermark, self._clock()
        )

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        return self._each_user(copies, _address, _locate)

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        return self._each_user(copies, _address, _find)

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        return self._each_user(copies, _address, self._read)

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
        wanted = [(copy, self.destination(action)) for copy, action in retractions]
        return self._each_user(wanted, lambda one: one[0].mailbox, _put, until)

    def restore(self, copy: Copy, location: Location) -> None:
        if location.place is Place.PURGED:
            raise ActionNotSupported("nothing can be put back among what was deleted for good")
        gmail = self._api.gmail(copy.mailbox)
        task = f"restore a message of {copy.mailbox}"
        which = {"userId": "me", "id": copy.message_id}
        try:
            present = set(looked(gmail, copy.message_id).labels)
        except MessageNotFound as error:
            raise ActionNotSupported(
                f"a message of {copy.mailbox} is out of reach: it was deleted for good"
            ) from error
        wanted = set(location.labels)
        if "TRASH" in present - wanted:
            request = gmail.messages.untrash(**which)
            gmail.call(Call(request, quota.UNTRASH_MESSAGE, task, changing=True))
            present.discard("TRASH")
        # untrash does not bring INBOX back: the whole recorded set is put in place.
        missing = wanted - present - _UNTOUCHABLE_LABELS
        if missing:
            missing &= _labels_of(gmail, task)
        surplus = present - wanted - _UNTOUCHABLE_LABELS
        if missing or surplus:
            body = {"addLabelIds": sorted(missing), "removeLabelIds": sorted(surplus)}
            request = gmail.messages.modify(**which, body=body)
            gmail.call(Call(request, quota.MODIFY_MESSAGE, task, changing=True))

    def now(self) -> datetime:
        return self._clock()

    def close(self) -> None:
        self._api.close()

    def _read(self, gmail: Caller, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        return one_by_one(lambda copy: read(gmail, self._settings, copy.message_id)[1], copies)

    def _each_user(
        self,
        asked: Sequence[A],
        address: Callable[[A], str],
        work: Callable[[Caller, Sequence[A]], Sequence[R | MailboxError]],
        until: datetime | None = None,
    ) -> list[R | MailboxError]:
        """An answer to each, in its turn. A user's are worked on together.

        Where the service is down for a dozen users in a row, the others are told so, unasked.
        """
        of_user: dict[str, list[int]] = {}
        for number, one in enumerate(asked):
            of_user.setdefault(address(one), []).append(number)

        outage = Outage()

        def job(user: str, numbers: list[int]) -> Sequence[R | MailboxError]:
            some = [asked[number] for number in numbers]
            if outage.told is not None:
                return [outage.told] * len(some)
            found: Sequence[R | MailboxError]
            try:
                found = work(self._api.gmail(user, until), some)
            except MailboxError as error:
                found = [error] * len(some)
            outage.note(found)
            return found

        jobs = [lambda u=user, n=numbers: job(u, n) for user, numbers in of_user.items()]
        answers: dict[int, R | MailboxError] = {}
        for numbers, found in zip(of_user.values(), self._api.at_once(jobs), strict=True):
            answers |= zip(numbers, found, strict=True)
        return [answers[number] for number in range(len(asked))]


def _address(copy: Copy) -> str:
    return copy.mailbox


def _locate(gmail: Caller, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
    calls = [look(gmail, copy.message_id) for copy in copies]
    return [
        answered(lambda call=call, told=told: _location(call, told))  # type: ignore[misc]
        for call, told in zip(calls, gmail.answers(calls), strict=True)
    ]


def _location(call: Call, told: dict[str, Any] | MailboxError) -> Location | None:
    if isinstance(told, MessageNotFound):
        return None
    if isinstance(told, MailboxError):
        raise told
    return parse(Message, told, call.task).location


def _find(gmail: Caller, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
    return one_by_one(lambda copy: _same_message_id(gmail, copy), copies)


def _same_message_id(gmail: Caller, copy: Copy) -> tuple[Found, ...]:
    query = search.by_message_id(copy.internet_message_id)
    if not query:
        return ()
    task = f"search for a message of {gmail.user}"
    request = gmail.messages.list(
        userId="me", q=query, includeSpamTrash=True, maxResults=MOST_FOUND
    )
    answer = gmail.call(Call(request, quota.LIST_MESSAGES, task))
    calls = [headers(gmail, one.id) for one in parse(MessagePage, answer, task).messages]
    found = []
    for told in gmail.answers(calls):
        if isinstance(told, MessageNotFound):
            continue
        if isinstance(told, MailboxError):
            raise told
        found.append(_found(copy, parse(Message, told, task)))
    return tuple(found)


def _found(copy: Copy, message: Message) -> Found:
    senders = parse_addresses(decoded(message.header("From")))
    return Found(
        copy=Copy(
            copy.provider,
            copy.connection,
            copy.mailbox_id,
            copy.mailbox,
            message.id,
            copy.internet_message_id,
        ),
        received_at=message.received_at,
        location=message.location,
        subject=decoded(message.header("Subject"))[:MAX_SUBJECT],
        sender_address=senders[0][1] if senders else "",
    )


def _put(gmail: Caller, wanted: Sequence[tuple[Copy, Place]]) -> list[MailboxError | None]:
    answers: dict[int, MailboxError | None] = {}
    for place in dict.fromkeys(place for _, place in wanted):
        numbers = [number for number, one in enumerate(wanted) if one[1] is place]
        ids = [wanted[number][0].message_id for number in numbers]
        answers |= zip(numbers, changes.put(gmail, ids, place), strict=True)
    return [answers[number] for number in range(len(wanted))]


def _labels_of(gmail: Caller, task: str) -> set[str]:
    """The ids of the labels that the mailbox has now: its owner may have deleted some."""
    request = gmail.users.labels().list(userId="me")
    answer = gmail.call(Call(request, quota.LIST_LABELS, task))
    return {label.id for label in parse(Labels, answer, task).labels}
