"""Microsoft 365 mailboxes, through Microsoft Graph."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import httpx
from pydantic import Field

from retract.errors import ActionNotSupported, MailboxError, MessageNotFound
from retract.mailboxes.clouds import CLOUDS, cloud_at
from retract.mailboxes.microsoft365.calls import Call, GraphAnswer, segment, text, with_query
from retract.mailboxes.microsoft365.directory import Directory
from retract.mailboxes.microsoft365.folders import (
    WELL_KNOWN_FOLDERS,
    Folder,
    FolderKey,
    MailFolders,
)
from retract.mailboxes.microsoft365.graph import Graph, Page
from retract.mailboxes.microsoft365.messages import (
    SEARCH_QUERY,
    STATE_QUERY,
    Sought,
    State,
    path_of,
)
from retract.mailboxes.microsoft365.reading import Manner, Microsoft365Reading
from retract.mailboxes.protocol import MOST_FOUND, MailboxReading
from retract.mailboxes.settings import Microsoft365Settings
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
from retract.observables.mime import extract
from retract.policy import SoftDeleteFolder

_LONGEST_MESSAGE_ID = 998
"""A line of a header has no more characters (RFC 5322, 2.1.1)."""


class _Moved(GraphAnswer):
    """What a move answers with; of a permanent delete, nothing."""

    folder_id: str | None = Field(default=None, alias="parentFolderId")


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
        self._watched = Watched(settings.watch, self._directory.watched)
        self._folders = MailFolders(self._graph)

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        return self._directory.watched(self._settings.watch)

    def mailbox(self, address: str) -> Mailbox:
        return self._watched.require(self._directory.mailbox(address))

    @property
    def graph(self) -> Graph:
        """What its calls go through, for what else is asked of the tenant."""
        return self._graph

    def prepare(self, wanted: Sequence[tuple[Mailbox, Watermark | None]], window: Window) -> None:
        """Nothing is asked for many mailboxes at once: each is read on its own."""

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        return Microsoft365Reading(
            self._graph,
            self._folders,
            Manner(self.connection, self._settings.page_size, self._settings.trusted_headers),
            mailbox,
            window,
            known,
            watermark,
            self._clock(),
        )

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        states = self._graph.all([_look(copy) for copy in copies], State)
        folders = self._folders.describe(
            (copy.mailbox_id, state.folder_id)
            for copy, state in zip(copies, states, strict=True)
            if isinstance(state, State)
        )
        return [
            _located(state, folders[copy.mailbox_id, state.folder_id])
            if isinstance(state, State)
            else None
            if isinstance(state, MessageNotFound)
            else state
            for copy, state in zip(copies, states, strict=True)
        ]

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        # One without a Message-ID, or with one that no address holds, is nowhere to be found.
        asked = [
            copy for copy in copies if 0 < len(copy.internet_message_id) <= _LONGEST_MESSAGE_ID
        ]
        pages = self._graph.all([_search(copy) for copy in asked], Page[Sought])
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
        contents = self._graph.contents(
            Call(
                "GET",
                f"{path_of(copy)}/$value",
                f"read a message of {copy.mailbox}",
                copy.mailbox_id,
            )
            for copy in copies
        )
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
                cloud = cloud_at(self._settings.graph_url)
                if cloud and action in CLOUDS[cloud].missing_actions:
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


def _look(copy: Copy) -> Call:
    path = with_query(path_of(copy), **STATE_QUERY)
    return Call("GET", path, f"find a message of {copy.mailbox}", copy.mailbox_id)


def _search(copy: Copy) -> Call:
    """Covers all folders but Recoverable Items."""
    query = {
        **SEARCH_QUERY,
        "$filter": f"internetMessageId eq {text(copy.internet_message_id)}",
        "$top": str(MOST_FOUND),
    }
    path = with_query(f"/users/{segment(copy.mailbox_id)}/messages", **query)
    return Call("GET", path, f"search the mail of {copy.mailbox}", copy.mailbox_id)


def _move(copy: Copy, folder: str, task: str) -> Call:
    body = {"destinationId": folder}
    return Call("POST", f"{path_of(copy)}/move", task, copy.mailbox_id, body, changing=True)


def _located(state: State, folder: Folder | MailboxError) -> Location | MailboxError:
    return folder if isinstance(folder, MailboxError) else state.location(folder)


def _found(
    copy: Copy, messages: Sequence[Sought], folders: Mapping[FolderKey, Folder | MailboxError]
) -> tuple[Found, ...] | MailboxError:
    """What the search for the copy found; or the error of a folder that one of it lies in."""
    found = []
    for message in messages:
        location = _located(message, folders[copy.mailbox_id, message.folder_id])
        if isinstance(location, MailboxError):
            return location
        if not message.is_draft:
            one = replace(
                copy,
                message_id=message.id,
                internet_message_id=message.internet_message_id or "",
            )
            found.append(
                Found(
                    one,
                    message.received_at.astimezone(UTC),
                    location,
                    message.subject or "",
                    message.sender_address,
                )
            )
    return tuple(found)
