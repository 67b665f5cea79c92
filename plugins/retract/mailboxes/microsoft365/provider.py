"""Microsoft 365 mailboxes, through Microsoft Graph."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import httpx
from pydantic import AwareDatetime, Field

from retract.errors import (
    ActionNotSupported,
    MailboxError,
    MessageNotFound,
)
from retract.mailboxes.microsoft365.directory import Directory
from retract.mailboxes.microsoft365.folders import MailFolders
from retract.mailboxes.microsoft365.graph import Graph, GraphAnswer
from retract.mailboxes.protocol import MailboxReading
from retract.mailboxes.reading import WholeReading, answered, read_each, without_content
from retract.mailboxes.settings import Microsoft365Settings
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
from retract.policy import SoftDeleteFolder

_STATE_FIELDS = "id,parentFolderId,isRead,flag"
_LISTING_FIELDS = f"{_STATE_FIELDS},internetMessageId,receivedDateTime,isDraft"

# permanentDelete is in the global cloud's metadata and in no other.
_CLOUDS_WITHOUT_HARD_DELETE = frozenset(
    {"graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"}
)


class _Moved(GraphAnswer):
    """What a move answers with; of a permanent delete, nothing."""

    folder_id: str = Field(default="", alias="parentFolderId")


class Microsoft365:
    """One tenant. Implements `retract.mailboxes.protocol.MailboxProvider`."""

    provider: Provider = Provider.MICROSOFT365

    def __init__(
        self,
        settings: Microsoft365Settings,
        connection: str,
        clock: Callable[[], datetime],
        transport: httpx.MockTransport | None = None,
        share: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.connection: str = connection
        self._settings = settings
        self._clock = clock
        self._graph = Graph(settings, clock, transport, share, sleep)
        self._directory = Directory(self._graph, connection)
        self._folders = MailFolders(self._graph)

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        return self._directory.watched(self._settings.watch)

    def mailbox(self, address: str) -> Mailbox:
        return self._directory.mailbox(address)

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
        # Graph keeps whole seconds: ask for a little more, and keep what is in the window.
        start = window.start.astimezone(UTC).replace(microsecond=0)
        end = window.end.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        listed = self._graph.pages(
            f"/users/{_segment(mailbox.mailbox_id)}/messages",
            _Listed,
            f"list the messages of {mailbox.address}",
            **{
                "$select": _LISTING_FIELDS,
                "$filter": f"receivedDateTime ge {start:%Y-%m-%dT%H:%M:%SZ} "
                f"and receivedDateTime lt {end:%Y-%m-%dT%H:%M:%SZ}",
                "$orderby": "receivedDateTime desc",
                "$top": str(self._settings.page_size),
            },
        )
        # All pages before any content: what moves meanwhile would shift the pages to come.
        wanted = {
            message.id: message
            for message in listed
            if message.id not in known
            and message.received_at in window
            and self._was_delivered(mailbox, message)
        }
        yield from read_each(
            (
                (
                    one,
                    answered(
                        lambda one=one: self._collected(  # type: ignore[misc]
                            mailbox, one, self._read(mailbox, one)
                        )
                    ),
                )
                for one in wanted.values()
            ),
            lambda message, error: self._collected(
                mailbox, message, without_content(error, message.internet_message_id or "")
            ),
            [],
        )

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        states = self._graph.all([_look(copy) for copy in copies], State)
        folders = self._folders.describe(
            (copy.mailbox_id, state.folder_id)
            for copy, state in zip(copies, states, strict=True)
            if isinstance(state, State)
        )
        return [
            _location(state, folders[copy.mailbox_id, state.folder_id])
            if isinstance(state, State)
            else None
            if isinstance(state, MessageNotFound)
            else state
            for copy, state in zip(copies, states, strict=True)
        ]

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        # A copy without a Message-ID is nowhere to be found, and nothing is asked for it.
        asked = [copy for copy in copies if copy.internet_message_id]
        pages = self._graph.all([_search(copy) for copy in asked], Page[Listed])
        folders = self._folders.describe(
            (copy.mailbox_id, message.folder_id)
            for copy, page in zip(asked, pages, strict=True)
            if isinstance(page, Page)
            for message in page.value
        )
        answers = {
            copy: page if isinstance(page, MailboxError) else _found(copy, page.value, folders)
            for copy, page in zip(asked, pages, strict=True)
        }
        return [answers.get(copy, ()) for copy in copies]

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        contents = self._graph.contents(content_of(copy) for copy in copies)
        trusted = self._settings.trusted_headers
        return [
            raw if isinstance(raw, MailboxError) else extract(raw, trusted=trusted)
            for raw in contents
        ]

    def destination(self, action: Action) -> Place:
        match action:
            case Action.JUNK:
                return Place.JUNK
            case Action.TRASH:
                return Place.TRASH
            case Action.SOFT_DELETE:
                if self._settings.soft_delete_folder == SoftDeleteFolder.RECOVERABLE_ITEMS:
                    return Place.RECOVERABLE
                return Place.TRASH
            case Action.HARD_DELETE:
                if urlsplit(self._settings.graph_url).hostname in _CLOUDS_WITHOUT_HARD_DELETE:
                    raise ActionNotSupported(
                        "hard_delete: Microsoft offers permanentDelete in its global cloud only"
                    )
                return Place.PURGED
            case Action.NO_ACTION:
                raise ActionNotSupported("no_action puts a copy nowhere")

    def retract(
        self, retractions: Sequence[tuple[Copy, Action]], until: datetime
    ) -> list[MailboxError | None]:
        for _, action in retractions:
            self.destination(action)
        answers = self._graph.all([self._retraction(*each) for each in retractions], _Moved, until)
        for (copy, action), answer in zip(retractions, answers, strict=True):
            if isinstance(answer, _Moved) and answer.folder_id:
                # So the look that verifies need not ask for the folder.
                place = self.destination(action)
                self._folders.learn(copy.mailbox_id, answer.folder_id, place)
        return [answer if isinstance(answer, MailboxError) else None for answer in answers]

    def _retraction(self, copy: Copy, action: Action) -> Call:
        task = f"{action} a message of {copy.mailbox}"
        place = self.destination(action)
        if place is Place.PURGED:
            # Never DELETE: where that puts a message is not documented.
            path = f"{path_of(copy)}/permanentDelete"
            return Call("POST", path, task, copy.mailbox_id, changing=True)
        return _move(copy, WELL_KNOWN_FOLDERS[place], task)

    def restore(self, copy: Copy, location: Location) -> None:
        if location.place is Place.PURGED:
            raise ActionNotSupported("nothing can be put back into the purged items")
        task = f"restore a message of {copy.mailbox}"
        (now,) = self.locate([copy])
        if isinstance(now, MailboxError):
            raise now
        if now is None or now.place is Place.PURGED:
            raise ActionNotSupported(
                f"a message of {copy.mailbox} is out of reach: it was purged or deleted for good, "
                "and only an administrator may recover it"
            )
        if now.folder_id != location.folder_id:
            try:
                self._graph.make(_move(copy, location.folder_id, task))
            except MessageNotFound:
                # The copy was there a moment ago, so it is its old folder that is gone.
                self._graph.make(_move(copy, WELL_KNOWN_FOLDERS[Place.INBOX], task))
        changes: dict[str, object] = {}
        if now.is_read != location.is_read:
            changes["isRead"] = location.is_read
        if now.is_flagged != location.is_flagged:
            changes["flag"] = {"flagStatus": "flagged" if location.is_flagged else "notFlagged"}
        if changes:
            patch = Call("PATCH", path_of(copy), task, copy.mailbox_id, changes, changing=True)
            self._graph.make(patch)

    def now(self) -> datetime:
        return self._clock()

    def close(self) -> None:
        self._graph.close()

    def _was_delivered(self, mailbox: Mailbox, message: _Listed) -> bool:
        """Drafts were not, nor what the owner sent: a reply to a phish quotes its links."""
        if message.is_draft:
            return False
        return self._location(mailbox.mailbox_id, message).place is not Place.SENT

    def _read(self, mailbox: Mailbox, message: _Listed) -> Extraction:
        path = f"/users/{_segment(mailbox.mailbox_id)}/messages/{_segment(message.id)}/$value"
        raw = self._graph.content(path, f"read a message of {mailbox.address}")
        return extract(raw, trusted=self._settings.trusted_headers)

    def _collected(
        self, mailbox: Mailbox, message: _Listed, extraction: Extraction
    ) -> CollectedMessage:
        return CollectedMessage(
            copy=Copy(
                self.provider,
                self.connection,
                mailbox.mailbox_id,
                mailbox.address,
                message.id,
                extraction.internet_message_id,
            ),
            received_at=message.received_at.astimezone(UTC),
            location=self._location(mailbox.mailbox_id, message),
            extraction=extraction,
            extractor_version=EXTRACTOR_VERSION,
        )

    def _state(self, copy: Copy) -> _State:
        task = f"find a message of {copy.mailbox}"
        return self._graph.read(_path(copy), _State, task, **{"$select": _STATE_FIELDS})

    def _location(self, mailbox_id: str, state: _State) -> Location:
        folders = self._folders.setdefault(
            mailbox_id, MailFolders(self._graph, f"/users/{_segment(mailbox_id)}")
        )
        folder = folders.describe(state.folder_id)
        return Location(
            place=folder.place,
            folder_id=state.folder_id,
            folder_name=folder.name,
            is_read=state.is_read,
            is_flagged=state.is_flagged,
        )

    def _move(self, copy: Copy, folder: str, task: str) -> None:
        self._graph.change("POST", f"{_path(copy)}/move", task, {"destinationId": folder})


_WELL_KNOWN = {
    Place.INBOX: "inbox",
    Place.JUNK: "junkemail",
    Place.TRASH: "deleteditems",
    Place.RECOVERABLE: "recoverableitemsdeletions",
}


def _path(copy: Copy) -> str:
    return f"/users/{_segment(copy.mailbox_id)}/messages/{_segment(copy.message_id)}"


def _segment(value: str) -> str:
    return quote(value, safe="@=")


def _out_of_reach(copy: Copy) -> ActionNotSupported:
    return ActionNotSupported(
        f"a message of {copy.mailbox} is out of reach: it was purged or deleted for good, "
        "and only an administrator may recover it"
    )
