"""A mailbox whose owner never rests, behind the face of Graph that a reading uses.

It is meaner than the local tenant: its owner files, deletes and makes folders between any two
calls, and it may tell of a move only in the folder that a message left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel

from retract.errors import MailboxError, MessageNotFound
from retract.mailboxes.microsoft365.calls import Call

NAMED = (
    "inbox", "junkemail", "deleteditems", "sentitems", "archive",
    "drafts", "outbox", "conversationhistory", "recoverableitemsdeletions",
)  # fmt: skip
NOT_DELIVERED = ("drafts", "outbox", "conversationhistory")
RECOVERABLE = "recoverableitemsdeletions"
_MESSAGE = re.compile(r"/messages/(?P<id>[^/?]+)(?P<value>/\$value)?$")


@dataclass
class Item:
    message_id: str
    folder_id: str
    received_at: datetime
    draft: bool = False


@dataclass
class SimulatedMailbox:
    """Give it to a reading in the place of `Graph`."""

    moves_are_told: bool = True
    page_size: int = 3
    meanwhile: Callable[[], None] = lambda: None
    """What happens between any two calls."""
    refuse: Callable[[Call], MailboxError | None] = lambda call: None
    items: dict[str, Item] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    """Id → the parent's id; those on top have none."""
    types: dict[str, str] = field(default_factory=dict)
    offers_delta: bool = True
    expired_before: int = 0
    reads: list[str] = field(default_factory=list)
    """Whose content was given out."""
    calls: list[Call] = field(default_factory=list)
    requests: int = 0
    _log: list[tuple[str, str]] = field(default_factory=list)
    """(folder, message) of everything that was told as created, in order."""

    def __post_init__(self) -> None:
        self.folders |= dict.fromkeys(NAMED, "")

    # ---- what happens in it -----------------------------------------------------------------

    def put(
        self, folder_id: str, received_at: datetime, message_id: str = "", draft: bool = False
    ) -> str:
        """Delivered, or imported when ``received_at`` is long ago."""
        message_id = message_id or f"m{len(self._log)}"
        self.items[message_id] = Item(message_id, folder_id, received_at, draft)
        self._log.append((folder_id, message_id))
        return message_id

    def move(self, message_id: str, folder_id: str) -> None:
        self.items[message_id].folder_id = folder_id
        self._log.append((folder_id if self.moves_are_told else "", message_id))

    def remove(self, message_id: str) -> None:
        del self.items[message_id]

    def make_folder(self, folder_id: str, parent: str = "") -> None:
        self.folders[folder_id] = parent

    def expire_tokens(self) -> None:
        self._log.append(("", ""))
        self.expired_before = len(self._log)

    # ---- the face of Graph -------------------------------------------------------------------

    def all(self, calls: Sequence[Call], answer: type[BaseModel]) -> list[Any]:
        self.requests += -(-len(calls) // 20)
        # The calls of a batch are made in any order: here, the last one first.
        return [self._answer(call, answer) for call in reversed(calls)][::-1]

    def contents(self, calls: Iterable[Call]) -> Iterator[bytes | MailboxError]:
        for call in calls:
            self.meanwhile()
            self.calls.append(call)
            refused = self.refuse(call)
            item = self.items.get(_id(call.path))
            if refused is not None:
                yield refused
            elif item is None:
                yield _gone()
            else:
                self.reads.append(item.message_id)
                yield f"Subject: {item.message_id}\r\n\r\nhello".encode()

    def path_of(self, link: str) -> str:
        return link.removeprefix("https://graph.invalid/v1.0")

    def _answer(self, call: Call, answer: type[BaseModel]) -> BaseModel | MailboxError:
        self.meanwhile()
        self.calls.append(call)
        refused = self.refuse(call)
        if refused is not None:
            return refused
        try:
            return answer.model_validate(self._get(call.path))
        except MailboxError as error:
            return error

    def _get(self, path: str) -> dict[str, Any]:
        where = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(where.query).items()}
        below = unquote(where.path).removeprefix("/users/mailbox-1")
        match below.strip("/").split("/"):
            case ["mailFolders"]:
                return {"value": [self._folder(f) for f in self._on_top()]}
            case ["mailFolders", name]:
                if name not in self.folders:
                    raise _gone()
                return self._folder(name)
            case ["mailFolders", name, "childFolders"]:
                if name not in self.folders:
                    raise _gone()
                inside = [f for f, parent in self.folders.items() if parent == name]
                return {"value": [self._folder(f) for f in inside]}
            case ["mailFolders", name, "messages"]:
                return self._list(below, query, lambda item: item.folder_id == name)
            case ["mailFolders", name, "messages", "delta"]:
                return self._delta(below, name, query)
            case ["messages"]:
                return self._list(below, query, lambda item: item.folder_id != RECOVERABLE)
            case ["messages", message_id]:
                if message_id not in self.items:
                    raise _gone()
                return self._message(self.items[message_id])
        raise AssertionError(path)

    def _on_top(self) -> list[str]:
        return [f for f, parent in self.folders.items() if not parent and f != RECOVERABLE]

    def _list(
        self, path: str, query: dict[str, str], is_here: Callable[[Item], bool]
    ) -> dict[str, Any]:
        found = [i for i in self.items.values() if is_here(i) and _is_wanted(i, query)]
        found.sort(key=lambda item: (item.received_at, item.message_id), reverse=True)
        # As Outlook does: the link counts, whatever came or went since.
        skip = int(query.get("$skip", "0"))
        page = found[skip : skip + self.page_size]
        body: dict[str, Any] = {"value": [self._message(item) for item in page]}
        if len(found) > skip + self.page_size:
            kept = "&".join(
                f"{name}={value}" for name, value in query.items() if name != "$skip"
            ).replace(" ", "%20")
            body["@odata.nextLink"] = self._link(path, f"{kept}&$skip={skip + self.page_size}")
        return body

    def _delta(self, path: str, folder: str, query: dict[str, str]) -> dict[str, Any]:
        if not self.offers_delta:
            raise MailboxError("not here", code="UnknownError")
        if folder not in self.folders:
            raise _gone()
        state = query.get("$skiptoken") or query.get("$deltatoken")
        if state is None:
            assert query["changeType"] == "created"
            since = query["$filter"].removeprefix("receivedDateTime ge ")
            begun, after, is_first = len(self._log), "", True
        else:
            since, number, after = state.split("~")
            begun, is_first = int(number), "$skiptoken" in query
            if begun < self.expired_before:
                raise MailboxError("the state is gone", code="SyncStateNotFound")
        if is_first:  # on from the last message told, whatever came or went since
            here = sorted(i.message_id for i in self.items.values() if i.folder_id == folder)
            told = [message_id for message_id in here if message_id > after]
        else:
            told = list(dict.fromkeys(m for f, m in self._log[begun:] if f == folder))
            begun = len(self._log)
        found = [self._told(message_id, folder) for message_id in told]
        rows = [r for r in found if "@removed" in r or r["receivedDateTime"] >= since]
        page = rows[: self.page_size] if is_first else rows
        body: dict[str, Any] = {"value": page}
        if len(page) < len(rows):
            state = f"{since}~{begun}~{page[-1]['id']}"
            body["@odata.nextLink"] = self._link(path, f"$skiptoken={state}")
        else:
            body["@odata.deltaLink"] = self._link(path, f"$deltatoken={since}~{begun}~")
        return body

    def _told(self, message_id: str, folder: str) -> dict[str, Any]:
        item = self.items.get(message_id)
        if item is None or item.folder_id != folder:
            return {"id": message_id, "@removed": {"reason": "deleted"}}
        return self._message(item)

    def _folder(self, folder_id: str) -> dict[str, Any]:
        return {
            "id": folder_id,
            "displayName": folder_id.title(),
            "parentFolderId": self.folders[folder_id] or "root",
            "childFolderCount": sum(p == folder_id for p in self.folders.values()),
        } | ({"@odata.type": self.types[folder_id]} if folder_id in self.types else {})

    def _message(self, item: Item) -> dict[str, Any]:
        return {
            "id": item.message_id,
            "parentFolderId": item.folder_id,
            "receivedDateTime": _stamp(item.received_at),
            "isDraft": item.draft,
        }

    def _link(self, path: str, query: str) -> str:
        return f"https://graph.invalid/v1.0/users/mailbox-1{path}?{query}"


@dataclass
class Owner:
    """Who gets mail, files it, throws it away and imports old mail, as chance has it."""

    box: SimulatedMailbox
    random: Random
    clock: datetime
    imported: set[str] = field(default_factory=set)

    def meddle(self) -> None:
        """Now and then, one step."""
        if self.random.random() < 0.15:
            self.live(1)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.clock += timedelta(seconds=self.random.choice([0, 1, 60]))
            self.random.choice(
                [
                    self._get,
                    self._get,
                    self._import,
                    self._file,
                    self._file,
                    self._purge,
                    self._make,
                ]
            )()

    def _get(self) -> None:
        self.box.put(self.random.choice(["inbox", "inbox", "junkemail", "sentitems"]), self.clock)

    def _import(self) -> None:
        long_ago = self.clock - timedelta(days=self.random.randint(1, 28))
        self.imported.add(self.box.put(self.random.choice(self._folders()), long_ago))

    def _file(self) -> None:
        """Where moves are not told, what comes back from Recoverable Items, and an import that
        moves on before it was told of, could be told by nobody."""
        movable = [
            item.message_id
            for item in self.box.items.values()
            if self.box.moves_are_told
            or (item.folder_id != RECOVERABLE and item.message_id not in self.imported)
        ]
        if movable:
            self.box.move(self.random.choice(movable), self.random.choice(self._folders()))

    def _purge(self) -> None:
        if self.box.items:
            self.box.remove(self.random.choice(list(self.box.items)))

    def _make(self) -> None:
        parents = ["", *(folder for folder in self._folders() if folder != RECOVERABLE)]
        self.box.make_folder(f"own{len(self.box.folders)}", self.random.choice(parents))

    def _folders(self) -> list[str]:
        return [folder for folder in self.box.folders if folder not in NOT_DELIVERED]


def _is_wanted(item: Item, query: dict[str, str]) -> bool:
    """By the time that is kept, which is finer than the one shown: see
    github.com/OfficeDev/ews-managed-api/issues/139."""
    tests = dict(
        test.removeprefix("receivedDateTime ").split(" ")
        for test in query["$filter"].split(" and ")
    )
    bounds = {name: datetime.fromisoformat(moment) for name, moment in tests.items()}
    assert bounds.keys() <= {"ge", "lt", "le"}
    at = item.received_at
    return (
        bounds["ge"] <= at
        and ("lt" not in bounds or at < bounds["lt"])
        and ("le" not in bounds or at <= bounds["le"])
    )


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _id(path: str) -> str:
    found = _MESSAGE.search(unquote(path))
    assert found is not None
    return found["id"]


def _gone() -> MessageNotFound:
    return MessageNotFound("it is not there", code="ErrorItemNotFound")
