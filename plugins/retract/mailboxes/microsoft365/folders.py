"""What a Microsoft 365 folder id means: the folder's name, and the place it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from pydantic import Field

from retract.errors import MailboxError, MessageNotFound
from retract.mailboxes.microsoft365.graph import Graph, GraphAnswer
from retract.model import Place

# The order is that of how often messages lie there: each is asked for only when needed.
_WELL_KNOWN = {
    "inbox": Place.INBOX,
    "junkemail": Place.JUNK,
    "deleteditems": Place.TRASH,
    "sentitems": Place.SENT,
    "recoverableitemsdeletions": Place.RECOVERABLE,
    "recoverableitemspurges": Place.PURGED,
}
_MAX_DEPTH = 50
_NOT_AN_ID = "ErrorInvalidIdMalformed"


class _Answer(GraphAnswer):
    id: str
    name: str = Field(default="", alias="displayName")
    parent_id: str | None = Field(default=None, alias="parentFolderId")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as the program sees it."""

    place: Place
    name: str


class MailFolders:
    """The folders of one mailbox, each asked for at most once."""

    def __init__(self, graph: Graph, user_path: str) -> None:
        self._graph = graph
        self._path = f"{user_path}/mailFolders"
        self._known: dict[str, Folder] = {}
        self._unasked = list(_WELL_KNOWN.items())

    def describe(self, folder_id: str) -> Folder:
        """The folder's place and name. A folder that cannot be found any more is OTHER."""
        while folder_id not in self._known and self._unasked:
            name, place = self._unasked[0]
            answer = self._ask(name)
            if answer is not None:
                self._known[answer.id] = Folder(place, answer.name)
            del self._unasked[0]  # not before: a call that failed is to be made again
        if folder_id not in self._known:
            self._known[folder_id] = self._look_up(folder_id)
        return self._known[folder_id]

    def _look_up(self, folder_id: str) -> Folder:
        """A folder of the user's own. One inside another than the Inbox shares its place: what
        was deleted stays deleted there, and what was sent was not delivered."""
        answer = own = self._ask(folder_id)
        for _ in range(_MAX_DEPTH):
            if answer is None or not answer.parent_id or answer.parent_id == answer.id:
                break
            parent = self._known.get(answer.parent_id)
            if parent is not None:
                place = Place.OTHER if parent.place is Place.INBOX else parent.place
                return Folder(place, own.name if own else "")
            answer = self._ask(answer.parent_id)
        return Folder(Place.OTHER, own.name if own else "")

    def _ask(self, name_or_id: str) -> _Answer | None:
        try:
            return self._graph.read(
                f"{self._path}/{quote(name_or_id, safe='=')}",
                _Answer,
                "find a folder",
                **{"$select": "id,displayName,parentFolderId"},
            )
        except MessageNotFound:
            return None
        except MailboxError as error:
            # Not every service knows every well-known name, and then takes it for an id.
            if error.code == _NOT_AN_ID:
                return None
            raise
