"""What a Microsoft 365 folder id means: the folder's name, and the place it stands for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from pydantic import Field

from retract.errors import MailboxError, MessageNotFound
from retract.mailboxes.microsoft365.calls import Call, GraphAnswer, segment, with_query
from retract.mailboxes.microsoft365.graph import Graph
from retract.model import Place

# The order is that of how often messages lie there: each is asked for only when needed.
_WELL_KNOWN = (
    ("inbox", Place.INBOX),
    ("junkemail", Place.JUNK),
    ("deleteditems", Place.TRASH),
    ("sentitems", Place.SENT),
    ("recoverableitemsdeletions", Place.RECOVERABLE),
    ("recoverableitemspurges", Place.PURGED),
    # Under a hold, what is deleted for good may end there.
    ("recoverableitemsdiscoveryholds", Place.PURGED),
)
WELL_KNOWN_FOLDERS = {place: name for name, place in reversed(_WELL_KNOWN)}
"""The service's own name, in every mailbox, of the folder that is the place."""

_MAX_DEPTH = 50
# About a kilobyte each. More than one connection's part of a run holds, as a rule: forgetting
# costs a few calls.
_MAILBOXES_REMEMBERED = 20_000
_NOT_AN_ID = "ErrorInvalidIdMalformed"


class _Answer(GraphAnswer):
    id: str
    name: str = Field(default="", alias="displayName")
    parent_id: str | None = Field(default=None, alias="parentFolderId")


FolderKey = tuple[str, str]
"""The ids of a mailbox and of a folder in it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as the program sees it."""

    place: Place
    name: str
    """In the owner's language; empty where it was not asked for."""


@dataclass(slots=True)
class _Mailbox:
    """What is known of the folders of one mailbox."""

    known: dict[str, Folder] = field(default_factory=dict)
    asked: int = 0
    """How many of the folders that every mailbox has were asked for."""


# Asks for one folder after the other, by name or id, and is sent each answer.
_Search = Generator[str, "_Answer | None", None]


class MailFolders:
    """The folders of many mailboxes, each asked for at most once while it is remembered."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._mailboxes: OrderedDict[str, _Mailbox] = OrderedDict()

    def describe(self, wanted: Iterable[FolderKey]) -> dict[FolderKey, Folder | MailboxError]:
        """Each folder, or why it could not be asked for.

        A folder that cannot be found any more is OTHER. All mailboxes are asked side by side.
        """
        by_mailbox: dict[str, set[str]] = {}
        for mailbox_id, folder_id in wanted:
            by_mailbox.setdefault(mailbox_id, set()).add(folder_id)
        mailboxes = {mailbox_id: self._recall(mailbox_id) for mailbox_id in by_mailbox}
        errors = self._search(
            {
                mailbox_id: _search(mailboxes[mailbox_id], folder_ids)
                for mailbox_id, folder_ids in by_mailbox.items()
            }
        )
        described: dict[FolderKey, Folder | MailboxError] = {}
        for mailbox_id, folder_ids in by_mailbox.items():
            known = mailboxes[mailbox_id].known
            for folder_id in folder_ids:
                # An error leaves what was found before it.
                folder = known.get(folder_id)
                described[mailbox_id, folder_id] = folder or errors[mailbox_id]
        while len(self._mailboxes) > _MAILBOXES_REMEMBERED:
            self._mailboxes.popitem(last=False)
        return described

    def learn(self, mailbox_id: str, folder_id: str, place: Place) -> None:
        """What the service named as the folder when it put a message into this place.

        Taken for true only where the mailbox was looked at before, so that the folder that
        the message came from is known, and then not as another folder than it is.
        """
        mailbox = self._mailboxes.get(mailbox_id)
        if mailbox is not None and mailbox.known:
            mailbox.known.setdefault(folder_id, Folder(place, ""))

    def _recall(self, mailbox_id: str) -> _Mailbox:
        mailbox = self._mailboxes.setdefault(mailbox_id, _Mailbox())
        self._mailboxes.move_to_end(mailbox_id)
        return mailbox

    def _search(self, searches: dict[str, _Search]) -> dict[str, MailboxError]:
        """Every search to its end, in rounds; the errors that ended some, by mailbox."""
        errors: dict[str, MailboxError] = {}
        replies: dict[str, _Answer | None] = dict.fromkeys(searches)
        while replies:
            asked: dict[str, str] = {}
            for mailbox_id, reply in replies.items():
                try:
                    asked[mailbox_id] = searches[mailbox_id].send(reply)
                except StopIteration:
                    continue
            calls = [_call(mailbox_id, name_or_id) for mailbox_id, name_or_id in asked.items()]
            replies = {}
            for mailbox_id, answer in zip(asked, self._graph.all(calls, _Answer), strict=True):
                if isinstance(answer, _Answer):
                    replies[mailbox_id] = answer
                elif _is_nowhere(answer):
                    replies[mailbox_id] = None
                else:
                    errors[mailbox_id] = answer
        return errors


def _search(mailbox: _Mailbox, folder_ids: Iterable[str]) -> _Search:
    known = mailbox.known
    for folder_id in sorted(folder_ids):
        while folder_id not in known and mailbox.asked < len(_WELL_KNOWN):
            name, place = _WELL_KNOWN[mailbox.asked]
            answer = yield name
            if answer is not None:
                known[answer.id] = Folder(place, answer.name)
            mailbox.asked += 1  # not before: a call that failed is to be made again
        if folder_id not in known:
            known[folder_id] = yield from _look_up(folder_id, known)


def _look_up(folder_id: str, known: dict[str, Folder]) -> Generator[str, _Answer | None, Folder]:
    """A folder of the user's own. One inside another than the Inbox shares its place: what
    was deleted stays deleted there, and what was sent was not delivered."""
    answer = own = yield folder_id
    name = own.name if own else ""
    for _ in range(_MAX_DEPTH):
        if answer is None or not answer.parent_id or answer.parent_id == answer.id:
            break
        parent = known.get(answer.parent_id)
        if parent is not None:
            return Folder(Place.OTHER if parent.place is Place.INBOX else parent.place, name)
        answer = yield answer.parent_id
    return Folder(Place.OTHER, name)


def _call(mailbox_id: str, name_or_id: str) -> Call:
    path = f"/users/{segment(mailbox_id)}/mailFolders/{segment(name_or_id)}"
    query = {"$select": "id,displayName,parentFolderId"}
    return Call("GET", with_query(path, **query), "find a folder", mailbox_id)


def _is_nowhere(error: MailboxError) -> bool:
    # Not every service knows every well-known name, and then takes it for an id.
    return isinstance(error, MessageNotFound) or error.code == _NOT_AN_ID
