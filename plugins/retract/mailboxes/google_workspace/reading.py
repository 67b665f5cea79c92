"""What was delivered to one Gmail mailbox, by its history.

Why nothing is missed between two readings. Every message that comes into a mailbox gets a place
in its history, and history.list tells all that came after an id, in order. A reading takes its
new id *before* it lists: of the window from getProfile, of the history from the first page. So
whatever comes while it lists has a later place, and is told by the next reading, though
perhaps also by this one; what is told twice is known by then, or does no harm. What came before
that id, but after the window's end, or so lately that a search may not find it yet, is listed by
the next reading. What was listed and could not be read now stays in the watermark as pending.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from retract.errors import (
    MailboxError,
    MessageNotFound,
    TenantUnreachable,
)
from retract.mailboxes.google_workspace import quota, search
from retract.mailboxes.google_workspace.answers import (
    HistoryPage,
    Message,
    MessagePage,
    Profile,
    parse,
)
from retract.mailboxes.google_workspace.api import Call, Caller
from retract.mailboxes.google_workspace.messages import looked, read
from retract.mailboxes.reading import (
    NOT_NOW,
    answered,
    reaches_now,
    read_each,
    without_content,
)
from retract.mailboxes.settings import GoogleWorkspaceSettings
from retract.model import CollectedMessage, Copy, Extraction, Mailbox, Provider, Watermark, Window
from retract.observables import EXTRACTOR_VERSION

_LOG = logging.getLogger(__name__)

_CHANGES_PER_PAGE = 500
_NEVER_DELIVERED = frozenset({"CHAT", "DRAFT"})
_COMES_INTO_VIEW = frozenset({"INBOX", "SENT"})
"""Labels whose putting on may make a delivered message of a draft."""
_SEARCH_LAG = timedelta(minutes=10)
"""How long a search may take to find what came. Not documented: a generous guess."""
_READ_AT_ONCE = 4
"""Contents of one mailbox: a message may have 50 MB."""
_TRIES = 8
"""So many readings in a row try to read a message before it is kept with its problem."""


class _Cursor(BaseModel):
    """What a watermark's cursor says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    history_id: int
    """Everything after it is still to be told."""
    pending: dict[str, int] = {}
    """Ids of messages that came and are still to be read, and how often each was tried."""
    list_from: int | None = None
    """Epoch seconds: what was received from then on is to be listed once more."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a reading wants to read."""

    message_ids: dict[str, int]
    """And how often each was tried in vain."""
    start: datetime
    end: datetime | None
    """None: everything from the start on."""
    history_id: int | None
    """What the next reading goes on from; None when this one says nothing of now."""
    list_from: int | None = None
    """As in the cursor."""


class HistoryReading:
    """Implements `retract.mailboxes.protocol.MailboxReading`."""

    def __init__(
        self,
        gmail: Caller,
        settings: GoogleWorkspaceSettings,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        begun: Watermark | None,
        now: datetime,
    ) -> None:
        self._gmail = gmail
        self._settings = settings
        self._mailbox = mailbox
        self._window = window
        self._known = known
        self._begun = begun
        self._now = now
        self._pending: dict[str, int] = {}
        self._watermark: Watermark | None = None

    @property
    def watermark(self) -> Watermark | None:
        return self._watermark

    def __iter__(self) -> Iterator[CollectedMessage]:
        listing = self._since(self._begun) or self._whole_window()
        self._pending = {i: n for i, n in listing.message_ids.items() if i not in self._known}
        try:
            for message in read_each(self._answers(), self._refused, []):
                if message is not None and _is_wanted(message, listing):
                    yield message
        except MailboxError:
            self._leave(listing)
            raise
        self._leave(listing)

    def _leave(self, listing: _Listing) -> None:
        """The watermark for the next reading."""
        if self._pending:
            _LOG.warning(
                "%d messages of %s are left for the next run",
                len(self._pending),
                self._mailbox.address,
            )
        if listing.history_id is not None:
            cursor = _Cursor(
                history_id=listing.history_id, pending=self._pending, list_from=listing.list_from
            )
            self._watermark = Watermark(
                listing.start, cursor.model_dump_json(exclude_defaults=True)
            )

    # ---- listing -------------------------------------------------------------------------

    def _since(self, begun: Watermark | None) -> _Listing | None:
        """What came since the last reading; None when that cannot be told."""
        if begun is None or begun.since > self._window.start:
            return None
        try:
            cursor = _Cursor.model_validate_json(begun.cursor)
        except ValidationError:  # an older program's, or a newer one's
            return None
        try:
            came, history_id = self._history(cursor.history_id)
        except MailboxError as error:
            # 404: the history does not reach back so far any more; 400: it is another one.
            if type(error) not in (MessageNotFound, MailboxError):
                raise
            return None
        late = () if cursor.list_from is None else self._listed(search.after(cursor.list_from))
        wanted = dict.fromkeys((*reversed(came), *late), 0) | cursor.pending
        return _Listing(wanted, begun.since, None, history_id)

    def _history(self, history_id: int) -> tuple[list[str], int]:
        """Ids of what came after it, in order, and the mailbox's own id when that began."""
        task = f"read the history of {self._mailbox.address}"
        came: dict[str, None] = {}
        began: int | None = None
        token: str | None = None
        while began is None or token:
            # The library's list_next takes no request whose parameters repeat, as these types do.
            request = self._gmail.users.history().list(
                userId="me",
                startHistoryId=str(history_id),
                historyTypes=["messageAdded", "labelAdded"],
                maxResults=_CHANGES_PER_PAGE,
                pageToken=token,
                fields="history(messagesAdded/message(id,labelIds),"
                "labelsAdded(message(id,labelIds),labelIds)),historyId,nextPageToken",
            )
            answer = self._gmail.call(Call(request, quota.LIST_HISTORY, task))
            page = parse(HistoryPage, answer, task)
            began, token = page.history_id if began is None else began, page.next_page
            for record in page.history:
                for change in record.added:
                    if _NEVER_DELIVERED.isdisjoint(change.message.labels):
                        came[change.message.id] = None
                for change in record.labelled:
                    if not _COMES_INTO_VIEW.isdisjoint(change.labels):
                        came[change.message.id] = None
        return list(came), began

    def _whole_window(self) -> _Listing:
        window = self._window
        query = search.in_window(window)
        if not reaches_now(window, self._now):
            past = dict.fromkeys(self._listed(query), 0)
            return _Listing(past, window.start, window.end, None)
        task = f"read the profile of {self._mailbox.address}"
        request = self._gmail.users.getProfile(userId="me", fields="historyId")
        answer = self._gmail.call(Call(request, quota.GET_PROFILE, task))
        history_id = parse(Profile, answer, task).history_id
        list_from = int(min(window.end, self._now - _SEARCH_LAG).timestamp()) - 1
        # All pages before any content: what changes meanwhile would shift the pages to come.
        listed = dict.fromkeys(self._listed(query), 0)
        return _Listing(listed, window.start, window.end, history_id, list_from)

    def _listed(self, query: str) -> Iterator[str]:
        """Ids of what the query finds, newest first, Spam and Trash included."""
        task = f"list the messages of {self._mailbox.address}"
        request = self._gmail.messages.list(
            userId="me",
            q=query,
            includeSpamTrash=True,
            maxResults=self._settings.page_size,
            fields="messages/id,nextPageToken",
        )
        while request is not None:
            answer = self._gmail.call(Call(request, quota.LIST_MESSAGES, task))
            yield from (message.id for message in parse(MessagePage, answer, task).messages)
            request = self._gmail.messages.list_next(request, answer)

    # ---- reading -------------------------------------------------------------------------

    def _answers(self) -> Iterator[tuple[str, CollectedMessage | MailboxError | None]]:
        """Newest first, but what could be read before what could not; what is settled is
        pending no more."""
        wanted = list(self._pending)
        for begin in range(0, len(wanted), _READ_AT_ONCE):
            some = wanted[begin : begin + _READ_AT_ONCE]
            answers = list(zip(some, self._gmail.each(self._read, some), strict=True))
            answers.sort(key=lambda one: isinstance(one[1], NOT_NOW))
            for message_id, answer in answers:
                yield message_id, self._settled(message_id, answer)

    def _settled(
        self, message_id: str, answer: CollectedMessage | MailboxError | None
    ) -> CollectedMessage | MailboxError | None:
        if isinstance(answer, TenantUnreachable):
            self._pending[message_id] += 1
            if self._pending[message_id] >= _TRIES:
                answer = MailboxError(str(answer), code=answer.code)
        if not isinstance(answer, NOT_NOW):
            del self._pending[message_id]
        return answer

    def _read(self, gmail: Caller, message_id: str) -> CollectedMessage | MailboxError | None:
        return answered(lambda: self._collected(*read(gmail, self._settings, message_id)))

    def _refused(self, message_id: str, error: MailboxError) -> CollectedMessage | None:
        """What is known of a message whose content Gmail will not give."""
        try:
            message = looked(self._gmail, message_id)
        except MessageNotFound:
            return None
        except NOT_NOW as not_now:
            self._pending[message_id] = _TRIES
            if isinstance(not_now, TenantUnreachable):
                return None
            raise
        return self._collected(message, without_content(error))

    def _collected(self, message: Message, extraction: Extraction) -> CollectedMessage | None:
        """None for what was never delivered: drafts and chats."""
        if not _NEVER_DELIVERED.isdisjoint(message.labels):
            return None
        return CollectedMessage(
            copy=Copy(
                Provider.GOOGLE_WORKSPACE,
                self._mailbox.connection,
                self._mailbox.mailbox_id,
                self._mailbox.address,
                message.id,
                extraction.internet_message_id,
            ),
            received_at=message.received_at,
            location=message.location,
            extraction=extraction,
            extractor_version=EXTRACTOR_VERSION,
        )


def _is_wanted(message: CollectedMessage, listing: _Listing) -> bool:
    return message.received_at >= listing.start and (
        listing.end is None or message.received_at < listing.end
    )
