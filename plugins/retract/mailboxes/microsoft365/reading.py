"""What was delivered to a Microsoft 365 mailbox, in all folders, since it was last read.

Delta is per folder, and there is none for a mailbox as a whole. Each reading asks, side by side
in batches:

- every folder for what came into it since its token was given out;
- two listings by time of delivery, of all folders together and of Recoverable Items, for what
  was delivered since shortly before the last reading began;
- the tree of folders, whose new ones get a first round.

Why nothing is missed. A message that was delivered since the last reading is in a listing,
wherever it was filed since: these know no folders. (Delta alone would not do. With immutable ids
a message that is moved is told as removed from the one folder, and may never be told of the
other: github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/72. And a rule moves mail as
soon as it arrives.) A message that turns up later with an old time of delivery, as when it is
imported, is told by the delta of its folder, and by a first round where the folder is new. A
listing goes on from page to page by time, so that it skips nothing when something is deleted
meanwhile, and Recoverable Items are listed again or last: what is deleted meanwhile is found
there. What was told but not read is pending in the cursor, and a token is kept only together with
all that was told up to it.

Limits. What is imported with an old time and moved before the next reading is told where the
service tells of moves. A filtered delta tells of 5,000 messages at most (learn.microsoft.com/graph/
delta-query-messages): a first round that comes near it is broken off and made from yesterday on,
since the listing of the window has no such limit. The archive mailbox, and Recoverable Items
other than Deletions, are not reached. Where a cloud offers no delta, the listings remain.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field, RootModel, ValidationError

from retract.errors import (
    MailboxError,
    MessageNotFound,
    TenantUnreachable,
)
from retract.mailboxes.microsoft365.calls import Call, GraphAnswer, segment, with_query
from retract.mailboxes.microsoft365.cursor import Cursor, TrackedFolder, read_cursor
from retract.mailboxes.microsoft365.folders import Folder, MailFolders
from retract.mailboxes.microsoft365.graph import Graph
from retract.mailboxes.microsoft365.messages import LISTED_QUERY, Listed
from retract.mailboxes.reading import NOT_NOW, reaches_now, read_each, without_content
from retract.model import (
    CollectedMessage,
    Copy,
    Extraction,
    Location,
    Mailbox,
    Place,
    Provider,
    Watermark,
    Window,
)
from retract.observables import EXTRACTOR_VERSION
from retract.observables.mime import TrustedHeaders, extract

_LOG = logging.getLogger(__name__)

_RECOVERABLE = "recoverableitemsdeletions"
_PLACES = {
    "inbox": Place.INBOX,
    "junkemail": Place.JUNK,
    "deleteditems": Place.TRASH,
    "sentitems": Place.SENT,
    _RECOVERABLE: Place.RECOVERABLE,
}
# Never sent, not sent yet, or conversations that a chat program wrote down.
_NOT_DELIVERED = ("drafts", "outbox", "conversationhistory")
_SEARCH_FOLDER = "#microsoft.graph.mailSearchFolder"
_NOT_AN_ID = "ErrorInvalidIdMalformed"
_DEEPEST = 50

_OVERLAP = timedelta(hours=1)
"""How much longer than the last reading ago a listing begins: clocks differ, mail tarries."""
_NEAR_THE_LIMIT = 4_500
_RECENT = timedelta(days=1)
_QUIET_FOR = timedelta(hours=12)
"""How long tokens that told nothing are kept in use before newer ones are written down."""
_TRIES = 8
"""After so many readings that could not read a message it is kept without its content."""
_MOST_PENDING = 1_000
"""A reading that leaves more than this leaves no watermark: known messages are not read again."""


class Json(RootModel[dict[str, Any]]):
    """An object as it came."""


Questions = Generator[Call, Json | MailboxError, None]
"""Asks one question after the other, and is sent each answer."""


class _Page(GraphAnswer):
    value: tuple[dict[str, Any], ...] = ()
    next_link: str = Field(default="", alias="@odata.nextLink")
    delta_link: str = Field(default="", alias="@odata.deltaLink")


class _FolderRow(GraphAnswer):
    id: str
    name: str | None = Field(default="", alias="displayName")
    parent_id: str | None = Field(default=None, alias="parentFolderId")
    children: int | None = Field(default=0, alias="childFolderCount")
    type: str = Field(default="", alias="@odata.type")


@dataclass(frozen=True, slots=True)
class _Told:
    """A message that was told of. Its location's place and folder name are not known yet."""

    id: str
    received_at: datetime
    internet_message_id: str
    location: Location


@dataclass(frozen=True, slots=True)
class Manner:
    """How a tenant's mailboxes are read."""

    connection: str
    page_size: int
    trusted: TrustedHeaders


class Microsoft365Reading:
    """Implements `retract.mailboxes.protocol.MailboxReading`."""

    def __init__(
        self,
        graph: Graph,
        folders: MailFolders,
        manner: Manner,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None,
        now: datetime,
    ) -> None:
        """``now`` is the provider's; the reading begins when it is iterated."""
        self._graph = graph
        self._folders = folders
        self._manner = manner
        self._mailbox = mailbox
        self._window = window
        self._known = known
        self._given = watermark
        self._cursor = _usable(mailbox, window, watermark)
        self._since = watermark.since if watermark and self._cursor else window.start
        self._now = now

        self._base = f"/users/{segment(mailbox.mailbox_id)}"
        self._tree: dict[str, _FolderRow] = {}
        self._names: dict[str, str] = {}
        """Folder id → the service's own name."""
        self._tokens: dict[str, str] = {}
        self._unfollowed: set[str] = set()
        """Folders without a token, of which the next reading is to make a first round."""
        self._followed: set[str] = set()
        """Links to next pages."""
        self._more: list[Questions] = []
        """Begun by others on the way."""
        self._told: dict[str, _Told] = {}
        self._pending: dict[str, int] = {}
        """Told and not read, and how often it was tried."""
        self._has_news = False
        self._is_told = False

    @property
    def watermark(self) -> Watermark | None:
        if not self._is_told or len(self._pending) > _MOST_PENDING:
            return None
        if self._cursor is None and not reaches_now(self._window, self._now):
            return None
        if self._cursor and not self._has_news and not self._is_old(self._cursor):
            return self._given  # its tokens tell as much as newer ones
        tracked = tuple(
            TrackedFolder(
                id=folder_id,
                token=self._tokens.get(folder_id, ""),
                name=self._names.get(folder_id, ""),
                has_children=bool(row.children) if (row := self._tree.get(folder_id)) else False,
            )
            for folder_id in {**self._tree, **self._names}
            # A name is asked for once, and without it nobody knows what was sent, or is junk.
            if folder_id not in self._unfollowed or folder_id in self._names
        )
        until = self._now if self._cursor else min(self._window.end, self._now)
        cursor = Cursor(read_until=until, folders=tracked, pending=self._pending)
        return Watermark(self._since, cursor.text())

    def _is_old(self, cursor: Cursor) -> bool:
        return self._now - cursor.read_until >= _QUIET_FOR

    def __iter__(self) -> Iterator[CollectedMessage]:
        if self._cursor is not None:
            self._ask(self._later_round(self._cursor))
        elif reaches_now(self._window, self._now):
            self._ask(self._names_of_folders())
            self._ask([*self._first_rounds(), *self._listings(self._window.start)])
        else:
            self._ask(self._names_of_folders())
            self._ask(self._listings(self._window.start, self._window.end))
        wanted = sorted(
            (told for told in self._told.values() if self._is_wanted(told)),
            key=lambda told: told.received_at,
            reverse=True,
        )
        self._told.clear()
        tries = self._cursor.pending if self._cursor else {}
        self._pending = {told.id: tries.get(told.id, 0) for told in wanted} | self._pending
        self._has_news |= bool(wanted) or self._pending.keys() != tries.keys()
        self._is_told = True
        yield from read_each(
            self._contents(wanted),
            lambda told, error: self._collected(
                told, without_content(error, told.internet_message_id)
            ),
            [],
        )

    # ---- what is asked ----------------------------------------------------------------------

    def _ask(self, questions: Iterable[Questions]) -> None:
        """All of them side by side, each to its end."""
        self._more = list(questions)
        asked: list[tuple[Questions, Json | MailboxError | None]] = []
        while self._more or asked:
            asked += [(one, None) for one in self._more]
            self._more = []
            calls: list[tuple[Questions, Call]] = []
            for one, answer in asked:
                try:
                    calls.append((one, next(one) if answer is None else one.send(answer)))
                except StopIteration:
                    continue
            answers = self._graph.all([call for _, call in calls], Json)
            asked = [(one, answer) for (one, _), answer in zip(calls, answers, strict=True)]

    def _later_round(self, cursor: Cursor) -> Iterator[Questions]:
        yield self._listed_folders(f"{self._base}/mailFolders")
        for folder in cursor.folders:
            if folder.name:
                self._names[folder.id] = folder.name
            if folder.has_children:
                yield self._listed_folders(self._below(folder.id, "childFolders"))
        self._tokens = {folder.id: folder.token for folder in cursor.folders}
        for folder in cursor.folders:
            if folder.token or folder.name in _PLACES:
                yield self._changes(folder.id, folder.token)
        yield from self._listings(max(self._since, cursor.read_until - _OVERLAP))
        for message_id, tries in cursor.pending.items():
            if message_id not in self._known:
                yield self._pending_message(message_id, tries)

    def _names_of_folders(self) -> Iterator[Questions]:
        yield self._listed_folders(f"{self._base}/mailFolders")
        for name in (*_PLACES, *_NOT_DELIVERED):
            yield self._named_folder(name)

    def _first_rounds(self) -> Iterator[Questions]:
        for folder_id in {**self._tree, **self._names}:
            if not self._is_left_out(folder_id):
                yield self._changes(folder_id, "")

    def _listings(self, start: datetime, end: datetime | None = None) -> Iterator[Questions]:
        """Of all folders, and of Recoverable Items, which the first leaves out."""
        recoverable = self._listed_messages(self._below(_RECOVERABLE, "messages"), start, end)
        if self._cursor and self._now - self._cursor.read_until < _OVERLAP:
            # What moves there between the two is listed again by the next reading.
            yield self._listed_messages(f"{self._base}/messages", start, end)
            yield recoverable
        else:
            yield self._listed_messages(f"{self._base}/messages", start, end, then=recoverable)

    # ---- questions and their answers ----------------------------------------------------------

    def _named_folder(self, name: str) -> Questions:
        query = {"$select": "id"}
        answer = yield self._call(with_query(f"{self._base}/mailFolders/{name}", **query))
        if isinstance(answer, MailboxError):
            if not _is_nowhere(answer):
                raise answer
        else:
            self._names[_parsed(_FolderRow, answer).id] = name

    def _listed_folders(self, path: str) -> Questions:
        """The folders directly below one, and in turn those below them."""
        path = with_query(
            path,
            **{
                "includeHiddenFolders": "true",
                "$select": "id,displayName,parentFolderId,childFolderCount",
                "$top": "100",
            },
        )
        is_root = path.startswith(f"{self._base}/mailFolders?")
        asked_before = {
            folder.id
            for folder in (self._cursor.folders if self._cursor else ())
            if folder.has_children
        }
        tracked = {folder.id for folder in self._cursor.folders} if self._cursor else frozenset()
        while path:
            answer = yield self._call(path)
            if isinstance(answer, MailboxError):
                if _is_nowhere(answer) and not is_root:
                    return  # the folder above them was deleted
                raise answer
            page = _parsed(_Page, answer)
            for row in page.value:
                folder = _FolderRow.model_validate(row)
                # A search folder is a view of messages that lie elsewhere.
                if folder.type == _SEARCH_FOLDER or folder.id in self._tree:
                    continue
                self._tree[folder.id] = folder
                if folder.children and folder.id not in asked_before:
                    self._more.append(self._listed_folders(self._below(folder.id, "childFolders")))
                if self._cursor and folder.id not in tracked:
                    self._has_news = True
                    if self._is_left_out(folder.id):
                        continue
                    self._more.append(self._changes(folder.id, ""))
            path = self._following(page)

    def _listed_messages(
        self,
        path: str,
        start: datetime,
        end: datetime | None,
        then: Questions | None = None,
    ) -> Questions:
        """Newest first. Each page is asked for by time: the link counts messages, and skips one
        when one before it is deleted."""
        # Graph shows whole seconds: ask for a little more, and keep what is in the window.
        latest = None if end is None else end + timedelta(seconds=1)
        is_optional = _RECOVERABLE in path
        following = self._listing(path, start, latest)
        while following:
            answer = yield self._call(following)
            if isinstance(answer, MailboxError):
                if is_optional and _is_nowhere(answer):
                    return
                raise answer
            page = _parsed(_Page, answer)
            oldest = self._hear(page.value)
            following = self._following(page)
            if following and oldest and (latest is None or oldest < latest):
                latest = oldest
                following = self._listing(path, start, latest)
        if then is not None:
            self._more.append(then)

    def _listing(self, path: str, start: datetime, latest: datetime | None) -> str:
        wanted = f"receivedDateTime ge {_second(start)}"
        if latest is not None:
            # It compares with what it keeps, which is finer: the whole of that second.
            wanted += f" and receivedDateTime lt {_second(latest + timedelta(seconds=1))}"
        query = {
            **LISTED_QUERY,
            "$filter": wanted,
            "$orderby": "receivedDateTime desc",
            "$top": str(self._manner.page_size),
        }
        return with_query(path, **query)

    def _changes(self, folder_id: str, token: str) -> Questions:
        """What came into a folder since the token; in a first round since the window began."""
        path = self._below(folder_id, "messages/delta")
        since = max(self._since, self._window.start)
        following = f"{path}?{token}" if token else self._first_round(path, since)
        is_first, is_short, heard = not token, False, 0
        while following:
            answer = yield self._call(following, f"odata.maxpagesize={self._manner.page_size}")
            if isinstance(answer, MessageNotFound):
                self._unfollow(folder_id)
                return
            if type(answer) is MailboxError:
                self._has_news = True
                if is_first:
                    self._unfollow(folder_id)
                    _LOG.info("%s: a folder is read by listing alone: %s", self._who, answer)
                    return
                _LOG.info("%s: a folder is read anew: %s", self._who, answer)
                following, is_first = self._first_round(path, since), True
                continue
            if isinstance(answer, MailboxError):
                raise answer
            page = _parsed(_Page, answer)
            heard += len(page.value)
            self._hear(row for row in page.value if "@removed" not in row)
            self._has_news = self._has_news or bool(page.value)
            if page.delta_link:
                _, _, query = self._graph.path_of(page.delta_link).partition("?")
                self._tokens[folder_id] = query
                return
            following = self._following(page)
            if is_first and not is_short and heard >= _NEAR_THE_LIMIT:
                following, is_short = self._first_round(path, self._now - _RECENT), True

    def _unfollow(self, folder_id: str) -> None:
        self._tokens.pop(folder_id, None)
        self._unfollowed.add(folder_id)

    def _first_round(self, path: str, since: datetime) -> str:
        query = {
            **LISTED_QUERY,
            "$filter": f"receivedDateTime ge {_second(since)}",
            "changeType": "created",
        }
        return with_query(path, **query)

    def _pending_message(self, message_id: str, tries: int) -> Questions:
        path = f"{self._base}/messages/{segment(message_id)}"
        answer = yield self._call(with_query(path, **LISTED_QUERY))
        if isinstance(answer, Json):
            self._hear([answer.root])
        elif isinstance(answer, TenantUnreachable):
            self._pending[message_id] = tries
        elif isinstance(answer, NOT_NOW):
            raise answer
        elif not isinstance(answer, MessageNotFound):
            # Refused for this one message's sake: that must not keep the others from being read.
            self._has_news = True
            if tries + 1 < _TRIES:
                self._pending[message_id] = tries + 1
            else:
                _LOG.warning("%s: a message is given up: %s", self._who, answer)

    def _call(self, path: str, prefer: str = "") -> Call:
        task = f"list the messages of {self._who}"
        return Call("GET", path, task, self._mailbox.mailbox_id, prefer=prefer)

    def _below(self, folder: str, what: str) -> str:
        return f"{self._base}/mailFolders/{segment(folder)}/{what}"

    def _following(self, page: _Page) -> str:
        """Where the next page is; empty after the last one."""
        if not page.next_link:
            return ""
        path = self._graph.path_of(page.next_link)
        if path in self._followed:
            raise MailboxError(f"Microsoft Graph's pages of {self._who} go round in a circle")
        self._followed.add(path)
        return path

    @property
    def _who(self) -> str:
        return self._mailbox.address

    # ---- what was told ------------------------------------------------------------------------

    def _hear(self, rows: Iterable[dict[str, Any]]) -> datetime | None:
        """Keep what is new of them. The oldest time of delivery among them, if there is any."""
        oldest: datetime | None = None
        for row in rows:
            try:
                message = Listed.model_validate(row)
            except ValidationError:
                _LOG.warning("%s: an item that is no message was passed over", self._who)
                continue
            received_at = message.received_at.astimezone(UTC)
            oldest = min(oldest or received_at, received_at)
            if message.id in self._known or message.is_draft:
                continue
            self._told[message.id] = _Told(
                message.id,
                received_at,
                message.internet_message_id or "",
                message.location(Folder(Place.OTHER, "")),
            )
        return oldest

    def _is_wanted(self, told: _Told) -> bool:
        if self._is_left_out(told.location.folder_id):
            return False
        if self._cursor is None:
            return told.received_at in self._window
        return told.received_at >= self._since

    def _is_left_out(self, folder_id: str) -> bool:
        return any(self._names.get(each) in _NOT_DELIVERED for each in self._upwards(folder_id))

    def _upwards(self, folder_id: str | None) -> Iterator[str]:
        """The folder, and those it is in."""
        for _ in range(_DEEPEST):
            if not folder_id:
                return
            yield folder_id
            row = self._tree.get(folder_id)
            folder_id = row.parent_id if row else None

    # ---- what is read -------------------------------------------------------------------------

    def _contents(
        self, wanted: list[_Told]
    ) -> Iterator[tuple[_Told, CollectedMessage | MailboxError]]:
        contents = self._graph.contents(map(self._content_call, wanted))
        for told, content in zip(wanted, contents, strict=True):
            answer: CollectedMessage | MailboxError
            if isinstance(content, bytes):
                del self._pending[told.id]
                extraction = extract(content, trusted=self._manner.trusted)
                answer = self._collected(told, extraction)
            else:
                answer = self._unread(told, content)
            yield told, answer

    def _unread(self, told: _Told, error: MailboxError) -> MailboxError:
        if isinstance(error, TenantUnreachable):
            self._has_news = True
            self._pending[told.id] += 1
            if self._pending[told.id] >= _TRIES:
                error = MailboxError(str(error), code=error.code)
        if not isinstance(error, NOT_NOW):
            del self._pending[told.id]
        return error

    def _content_call(self, told: _Told) -> Call:
        path = f"{self._base}/messages/{segment(told.id)}/$value"
        return Call("GET", path, f"read a message of {self._who}", self._mailbox.mailbox_id)

    def _collected(self, told: _Told, extraction: Extraction) -> CollectedMessage:
        mailbox = self._mailbox
        folder = self._folder(told.location.folder_id)
        return CollectedMessage(
            copy=Copy(
                Provider.MICROSOFT365,
                self._manner.connection,
                mailbox.mailbox_id,
                mailbox.address,
                told.id,
                extraction.internet_message_id,
            ),
            received_at=told.received_at,
            location=replace(told.location, place=folder.place, folder_name=folder.name),
            extraction=extraction,
            extractor_version=EXTRACTOR_VERSION,
        )

    def _folder(self, folder_id: str) -> Folder:
        row = self._tree.get(folder_id)
        if row is None and folder_id not in self._names:
            key = (self._mailbox.mailbox_id, folder_id)
            found = self._folders.describe([key])[key]
            return found if isinstance(found, Folder) else Folder(Place.OTHER, "")
        name = (row.name if row else "") or ""
        own = _PLACES.get(self._names.get(folder_id, ""))
        if own is not None:
            return Folder(own, name)
        # A folder inside another than the Inbox shares its place: see `folders`.
        above = (_PLACES.get(self._names.get(each, "")) for each in self._upwards(folder_id))
        place = next((place for place in above if place is not None), Place.OTHER)
        return Folder(Place.OTHER if place is Place.INBOX else place, name)


def _usable(mailbox: Mailbox, window: Window, watermark: Watermark | None) -> Cursor | None:
    if watermark is None or watermark.since > window.start:
        return None
    cursor = read_cursor(watermark.cursor)
    if cursor is None:
        _LOG.info("%s: read anew, because its watermark is another program's", mailbox.address)
    return cursor


def _parsed(answer: type[Any], json: Json) -> Any:
    try:
        return answer.model_validate(json.root)
    except ValidationError as error:
        raise MailboxError(
            "Microsoft Graph answered a listing with something else than it documents"
        ) from error


def _is_nowhere(error: MailboxError) -> bool:
    # Not every service knows every well-known name, and then takes it for an id.
    return isinstance(error, MessageNotFound) or error.code == _NOT_AN_ID


def _second(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
