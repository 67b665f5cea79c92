"""What the tenant holds: mailboxes, the items in them, and what happened to them.

Everything lives in memory behind one lock. Messages are kept once per delivery however
many mailboxes they went to. Nothing here knows HTTP.
"""

from __future__ import annotations

import base64
import random
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from email.utils import getaddresses
from enum import StrEnum


class Provider(StrEnum):
    """Whose service a mailbox is emulated after."""

    MICROSOFT365 = "microsoft365"
    GOOGLE_WORKSPACE = "google_workspace"


class Hosting(StrEnum):
    """Where a user's mail is, if anywhere."""

    CLOUD = "cloud"
    ON_PREMISES = "on_premises"
    UNLICENSED = "unlicensed"


class Place(StrEnum):
    """Where a copy lies, in words that mean the same for both providers."""

    INBOX = "inbox"
    SENT = "sent"
    OTHER = "other"
    JUNK = "junk"
    TRASH = "trash"
    RECOVERABLE = "recoverable"
    PURGED = "purged"
    GONE = "gone"
    """No longer anywhere: not even an administrator finds it."""


class ChangeKind(StrEnum):
    """What happened to an item."""

    ADDED = "added"
    MOVED = "moved"
    UPDATED = "updated"
    RELABELLED = "relabelled"
    REMOVED = "removed"


class UnknownRecipient(LookupError):
    """A delivery named an address that has no mailbox here."""


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A message's bytes and the headers answers are made of. Shared by all its copies."""

    raw: bytes
    internet_message_id: str
    """With its angle brackets, as in the header; may be empty."""
    subject: str
    sender_name: str
    sender_address: str


@dataclass(slots=True)
class Item:
    """One copy. Read it freely; change it only through `Store`."""

    mailbox_id: str
    message_id: str
    """Never changes. Gmail: the 16 hex digits of its API."""
    rest_id: str
    """Microsoft: the classic id, a new one after every move. Gmail: the message id."""
    thread_id: str
    """Gmail thread id, Microsoft conversation id."""
    content: Content
    received_at: datetime
    modified_at: datetime
    delivery_id: str
    folder_id: str = ""
    """Microsoft only."""
    labels: frozenset[str] = frozenset()
    """Gmail only: label ids, UNREAD and STARRED among them."""
    read: bool = False
    """Microsoft only; ask `is_read`."""
    flagged: bool = False
    """Microsoft only; ask `is_flagged`."""
    removed: Place | None = None
    """PURGED or GONE when the mailbox's owner can no longer reach it."""
    changed: int = 0
    """The id of its last change: Gmail's historyId."""
    provider: Provider = Provider.MICROSOFT365

    @property
    def is_read(self) -> bool:
        if self.provider is Provider.GOOGLE_WORKSPACE:
            return "UNREAD" not in self.labels
        return self.read

    @property
    def is_flagged(self) -> bool:
        if self.provider is Provider.GOOGLE_WORKSPACE:
            return "STARRED" in self.labels
        return self.flagged


@dataclass(frozen=True, slots=True)
class Change:
    """One step in a mailbox's history: what Gmail's history and Graph's delta tell."""

    change_id: int
    """Rises by one with every change of the mailbox."""
    kind: ChangeKind
    message_id: str
    rest_id: str = ""
    """The id it had before: the one that clients of `folder_before` know it by."""
    folder_before: str = ""
    folder_after: str = ""
    labels_added: frozenset[str] = frozenset()
    labels_removed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One call that changed something."""

    at: datetime
    provider: Provider
    mailbox: str
    """The mailbox's address."""
    operation: str
    message_id: str
    before: str
    """Folder's well-known or display name, or the sorted label ids joined by commas."""
    after: str
    status: int
    """The HTTP status the caller was answered."""


@dataclass(slots=True)
class Folder:
    """A Microsoft mail folder."""

    folder_id: str
    display_name: str
    parent_id: str
    well_known: str = ""
    """Its well-known name in lower case; empty for a folder of the user's own."""
    hidden: bool = False
    """Not among the mailbox's listed folders: Recoverable Items and below."""


@dataclass(slots=True)
class Label:
    """A Gmail label."""

    label_id: str
    name: str
    system: bool = False


@dataclass(slots=True)
class Mailbox:
    """A user with or without a mailbox."""

    provider: Provider
    mailbox_id: str
    """Microsoft: a GUID. Google: the Directory's numeric user id."""
    address: str
    display_name: str
    enabled: bool = True
    hosting: Hosting = Hosting.CLOUD
    archived: bool = False
    """Google only."""
    is_admin: bool = False
    items: dict[str, Item] = field(default_factory=dict)
    """By message id, removed ones included."""
    by_rest_id: dict[str, str] = field(default_factory=dict)
    """Current rest id → message id."""
    folders: dict[str, Folder] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    last_change: int = 1000
    """Id of the newest change: Gmail's current historyId."""
    forgotten_before: int = 0
    """Changes with a smaller id are no longer told: history and delta tokens expire."""

    def reachable(self) -> Iterator[Item]:
        """Items not removed, newest delivery first."""
        present = [item for item in self.items.values() if item.removed is None]
        present.sort(key=lambda item: (item.received_at, item.message_id), reverse=True)
        return iter(present)

    def folder(self, name_or_id: str) -> Folder | None:
        """By id, or by well-known name in any case."""
        found = self.folders.get(name_or_id)
        if found is not None:
            return found
        wanted = name_or_id.lower()
        return next((f for f in self.folders.values() if f.well_known == wanted), None)

    def well_known(self, name: str) -> Folder:
        """The folder every mailbox has under this well-known name."""
        found = self.folder(name)
        if found is None:
            raise LookupError(name)
        return found

    def changes_after(self, change_id: int) -> list[Change] | None:
        """What happened since; None when that is no longer known (or never was)."""
        if not self.forgotten_before <= change_id <= self.last_change:
            return None
        return [change for change in self.changes if change.change_id > change_id]


# Well-known name → display name: the folders of every mailbox, as Outlook creates them.
_VISIBLE_FOLDERS = {
    "archive": "Archive",
    "conversationhistory": "Conversation History",
    "deleteditems": "Deleted Items",
    "drafts": "Drafts",
    "inbox": "Inbox",
    "junkemail": "Junk Email",
    "outbox": "Outbox",
    "sentitems": "Sent Items",
}
_RECOVERABLE_FOLDERS = {
    "recoverableitemsdeletions": "Deletions",
    "recoverableitemspurges": "Purges",
    "recoverableitemsversions": "Versions",
    "recoverableitemsdiscoveryholds": "DiscoveryHolds",
}
_SYSTEM_LABELS = (
    "CHAT",
    "SENT",
    "INBOX",
    "IMPORTANT",
    "TRASH",
    "DRAFT",
    "SPAM",
    "CATEGORY_FORUMS",
    "CATEGORY_UPDATES",
    "CATEGORY_PERSONAL",
    "CATEGORY_PROMOTIONS",
    "CATEGORY_SOCIAL",
    "STARRED",
    "UNREAD",
)
_FOLDER_PLACES = {
    "inbox": Place.INBOX,
    "sentitems": Place.SENT,
    "junkemail": Place.JUNK,
    "deleteditems": Place.TRASH,
    "recoverableitemsroot": Place.RECOVERABLE,
    "recoverableitemsdeletions": Place.RECOVERABLE,
    "recoverableitemsversions": Place.RECOVERABLE,
    "recoverableitemspurges": Place.PURGED,
    "recoverableitemsdiscoveryholds": Place.PURGED,
}


_HEADER_BYTES = 256_000
"""Headers beyond this are not read: what the services show comes long before."""


class Store:
    """The tenant's mail. Every method is safe to call from any thread."""

    def __init__(self, seed: int = 0) -> None:
        self.lock = threading.RLock()
        """Hold it around several reads that must agree."""
        self.audit: list[AuditEntry] = []
        self._random = random.Random(seed)
        self._mailboxes: dict[tuple[Provider, str], Mailbox] = {}
        self._by_address: dict[tuple[Provider, str], Mailbox] = {}
        self._items: dict[str, Item] = {}

    # ---- mailboxes -------------------------------------------------------------------

    def add_mailbox(
        self,
        provider: Provider,
        address: str,
        display_name: str = "",
        *,
        enabled: bool = True,
        hosting: Hosting = Hosting.CLOUD,
        archived: bool = False,
        is_admin: bool = False,
    ) -> Mailbox:
        """A new user; the one already there when the address is taken."""
        with self.lock:
            key = (provider, address.lower())
            if key in self._by_address:
                return self._by_address[key]
            if provider is Provider.MICROSOFT365:
                mailbox_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
            else:
                mailbox_id = str(self._random.randrange(10**20, 2 * 10**20))
            mailbox = Mailbox(
                provider,
                mailbox_id,
                address,
                display_name or address.partition("@")[0].replace(".", " ").title(),
                enabled=enabled,
                hosting=hosting,
                archived=archived,
                is_admin=is_admin,
            )
            if provider is Provider.MICROSOFT365:
                self._furnish_folders(mailbox)
            else:
                mailbox.labels = {name: Label(name, name, system=True) for name in _SYSTEM_LABELS}
            self._mailboxes[provider, mailbox_id] = mailbox
            self._by_address[key] = mailbox
            return mailbox

    def mailbox(self, provider: Provider, id_or_address: str) -> Mailbox | None:
        """By id or by address in any case."""
        wanted = id_or_address.lower()
        with self.lock:
            return self._mailboxes.get((provider, wanted)) or self._by_address.get(
                (provider, wanted)
            )

    def mailbox_of(self, item: Item) -> Mailbox:
        """The mailbox the item is in."""
        return self._mailboxes[item.provider, item.mailbox_id]

    def mailboxes(self, provider: Provider | None = None) -> list[Mailbox]:
        """All of them in order of creation."""
        with self.lock:
            return [
                mailbox
                for (whose, _), mailbox in self._mailboxes.items()
                if provider in (None, whose)
            ]

    def add_folder(self, mailbox: Mailbox, display_name: str, parent_id: str = "") -> Folder:
        """A folder of the user's own, at the top unless a parent is named."""
        with self.lock:
            root = mailbox.well_known("msgfolderroot").folder_id
            folder = Folder(self._folder_id(mailbox), display_name, parent_id or root)
            mailbox.folders[folder.folder_id] = folder
            return folder

    def add_label(self, mailbox: Mailbox, name: str) -> Label:
        """A label of the user's own."""
        with self.lock:
            number = 1 + sum(not label.system for label in mailbox.labels.values())
            label = Label(f"Label_{number}", name)
            mailbox.labels[label.label_id] = label
            return label

    # ---- items -----------------------------------------------------------------------

    def deliver(
        self,
        raw: bytes,
        recipients: Iterable[str],
        received_at: datetime,
        delivery_id: str | None = None,
        *,
        folder: str = "inbox",
        labels: Collection[str] = ("INBOX", "UNREAD"),
        read: bool = False,
        thread_id: str | None = None,
    ) -> list[Item]:
        """Put one copy into each recipient's mailbox.

        ``folder`` (well-known name or id) is for Microsoft mailboxes, ``labels`` for
        Gmail ones. Raises UnknownRecipient, and then delivers to nobody.
        """
        if received_at.tzinfo is None:
            raise ValueError("received_at must be timezone-aware")
        # Both services keep whole seconds.
        received_at = received_at.astimezone(UTC).replace(microsecond=0)
        with self.lock:
            targets = [self._recipient(address) for address in dict.fromkeys(recipients)]
            content = read_content(raw)
            delivery_id = delivery_id or uuid.UUID(int=self._random.getrandbits(128)).hex
            return [
                self._add_item(
                    mailbox,
                    content,
                    received_at,
                    delivery_id,
                    folder=folder,
                    labels=frozenset(labels) - {"UNREAD"} if read else frozenset(labels),
                    read=read,
                    thread_id=thread_id,
                )
                for mailbox in targets
            ]

    def item(self, mailbox: Mailbox, message_id: str) -> Item | None:
        """By immutable id, removed or not."""
        with self.lock:
            return mailbox.items.get(message_id)

    def find(self, message_id: str) -> Item | None:
        """By immutable id, in any mailbox, removed or not."""
        with self.lock:
            return self._items.get(message_id)

    def all_items(self) -> list[tuple[Mailbox, Item]]:
        """Every copy there ever was, with its mailbox."""
        with self.lock:
            return [
                (mailbox, item)
                for mailbox in self._mailboxes.values()
                for item in mailbox.items.values()
            ]

    def place(self, item: Item) -> Place:
        """Where the copy lies now."""
        if item.removed is not None:
            return item.removed
        if item.provider is Provider.GOOGLE_WORKSPACE:
            return _place_of_labels(item.labels)
        with self.lock:
            folders = self.mailbox_of(item).folders
            folder: Folder | None = folders[item.folder_id]
            while folder is not None:
                if folder.well_known in _FOLDER_PLACES:
                    return _FOLDER_PLACES[folder.well_known]
                folder = folders.get(folder.parent_id)
        return Place.OTHER

    # ---- changes by a caller: each writes the audit log --------------------------------

    def move(
        self,
        mailbox: Mailbox,
        item: Item,
        folder: Folder,
        *,
        at: datetime,
        operation: str,
        status: int,
    ) -> None:
        """Into another folder, under a new classic id (also when it lay there before)."""
        with self.lock:
            before, rest_id = item.folder_id, item.rest_id
            del mailbox.by_rest_id[item.rest_id]
            item.folder_id = folder.folder_id
            item.rest_id = self._rest_id(mailbox)
            mailbox.by_rest_id[item.rest_id] = item.message_id
            self._note(
                mailbox,
                item,
                ChangeKind.MOVED,
                at,
                rest_id=rest_id,
                folder_before=before,
                folder_after=folder.folder_id,
            )
            self._audit(
                mailbox,
                item,
                at,
                operation,
                _folder_label(mailbox.folders[before]),
                _folder_label(folder),
                status,
            )

    def update(
        self,
        mailbox: Mailbox,
        item: Item,
        *,
        at: datetime,
        operation: str,
        status: int,
        read: bool | None = None,
        flagged: bool | None = None,
    ) -> None:
        """Read and flag state of a Microsoft item."""
        with self.lock:
            before = _marks(item)
            item.read = item.read if read is None else read
            item.flagged = item.flagged if flagged is None else flagged
            self._note(
                mailbox,
                item,
                ChangeKind.UPDATED,
                at,
                folder_before=item.folder_id,
                folder_after=item.folder_id,
            )
            self._audit(mailbox, item, at, operation, before, _marks(item), status)

    def relabel(
        self,
        mailbox: Mailbox,
        item: Item,
        *,
        at: datetime,
        operation: str,
        status: int,
        add: Collection[str] = (),
        remove: Collection[str] = (),
    ) -> None:
        """Gmail: add and remove label ids; what is already so changes nothing."""
        with self.lock:
            before = item.labels
            item.labels = (before | frozenset(add)) - frozenset(remove)
            if item.labels != before:
                self._note(
                    mailbox,
                    item,
                    ChangeKind.RELABELLED,
                    at,
                    labels_added=item.labels - before,
                    labels_removed=before - item.labels,
                )
            self._audit(mailbox, item, at, operation, _joined(before), _joined(item.labels), status)

    def remove(
        self,
        mailbox: Mailbox,
        item: Item,
        *,
        at: datetime,
        operation: str,
        status: int,
        place: Place = Place.PURGED,
    ) -> None:
        """Out of the owner's reach (PURGED) or out of existence (GONE)."""
        with self.lock:
            before = self._where(mailbox, item)
            item.removed = place
            mailbox.by_rest_id.pop(item.rest_id, None)
            self._note(
                mailbox,
                item,
                ChangeKind.REMOVED,
                at,
                folder_before=item.folder_id,
                labels_removed=item.labels,
            )
            self._audit(mailbox, item, at, operation, before, place, status)

    def insert(
        self,
        mailbox: Mailbox,
        raw: bytes,
        received_at: datetime,
        labels: Collection[str],
        *,
        at: datetime,
        operation: str,
        status: int,
        thread_id: str | None = None,
    ) -> Item:
        """Gmail: an item put into one mailbox by API rather than delivered."""
        with self.lock:
            item = self._add_item(
                mailbox,
                read_content(raw),
                received_at.astimezone(UTC),
                "",
                folder="",
                labels=frozenset(labels),
                read=False,
                thread_id=thread_id,
            )
            self._audit(mailbox, item, at, operation, "", _joined(item.labels), status)
            return item

    def forget_changes(self, mailbox: Mailbox) -> None:
        """Expire every history id and delta token handed out so far."""
        with self.lock:
            mailbox.last_change += 1
            mailbox.forgotten_before = mailbox.last_change
            mailbox.changes.clear()

    # ---- inside ----------------------------------------------------------------------

    def _recipient(self, address: str) -> Mailbox:
        for provider in Provider:
            mailbox = self._by_address.get((provider, address.lower()))
            if mailbox is not None and mailbox.hosting is Hosting.CLOUD:
                return mailbox
        raise UnknownRecipient(address)

    def _add_item(
        self,
        mailbox: Mailbox,
        content: Content,
        received_at: datetime,
        delivery_id: str,
        *,
        folder: str,
        labels: frozenset[str],
        read: bool,
        thread_id: str | None,
    ) -> Item:
        if mailbox.provider is Provider.MICROSOFT365:
            item = Item(
                mailbox.mailbox_id,
                self._immutable_id(mailbox),
                self._rest_id(mailbox),
                thread_id or _url_safe(b"\x00\x02" + self._random.randbytes(58)),
                content,
                received_at,
                received_at,
                delivery_id,
                folder_id=mailbox.well_known(folder).folder_id,
                read=read,
            )
        else:
            # Gmail's ids are its internal time in microseconds and some, in hex.
            number = int(received_at.timestamp() * 1000) << 20 | self._random.getrandbits(20)
            while (message_id := f"{number:016x}") in self._items:
                number += 1
            item = Item(
                mailbox.mailbox_id,
                message_id,
                message_id,
                thread_id or message_id,
                content,
                received_at,
                received_at,
                delivery_id,
                labels=labels,
                provider=Provider.GOOGLE_WORKSPACE,
            )
        mailbox.items[item.message_id] = item
        mailbox.by_rest_id[item.rest_id] = item.message_id
        self._items[item.message_id] = item
        self._note(
            mailbox,
            item,
            ChangeKind.ADDED,
            received_at,
            folder_after=item.folder_id,
            labels_added=item.labels,
        )
        return item

    def _note(
        self,
        mailbox: Mailbox,
        item: Item,
        kind: ChangeKind,
        at: datetime,
        *,
        rest_id: str = "",
        folder_before: str = "",
        folder_after: str = "",
        labels_added: frozenset[str] = frozenset(),
        labels_removed: frozenset[str] = frozenset(),
    ) -> None:
        mailbox.last_change += 1
        item.changed = mailbox.last_change
        item.modified_at = at
        mailbox.changes.append(
            Change(
                mailbox.last_change,
                kind,
                item.message_id,
                rest_id or item.rest_id,
                folder_before,
                folder_after,
                labels_added,
                labels_removed,
            )
        )

    def _audit(
        self,
        mailbox: Mailbox,
        item: Item,
        at: datetime,
        operation: str,
        before: str,
        after: str,
        status: int,
    ) -> None:
        self.audit.append(
            AuditEntry(
                at,
                mailbox.provider,
                mailbox.address,
                operation,
                item.message_id,
                before,
                after,
                status,
            )
        )

    def _where(self, mailbox: Mailbox, item: Item) -> str:
        if mailbox.provider is Provider.GOOGLE_WORKSPACE:
            return _joined(item.labels)
        return _folder_label(mailbox.folders[item.folder_id])

    def _furnish_folders(self, mailbox: Mailbox) -> None:
        def add(well_known: str, name: str, parent_id: str, *, hidden: bool) -> str:
            folder = Folder(self._folder_id(mailbox), name, parent_id, well_known, hidden)
            mailbox.folders[folder.folder_id] = folder
            return folder.folder_id

        top = add("msgfolderroot", "Top of Information Store", "", hidden=True)
        for well_known, name in _VISIBLE_FOLDERS.items():
            add(well_known, name, top, hidden=False)
        root = add("recoverableitemsroot", "Recoverable Items", "", hidden=True)
        for well_known, name in _RECOVERABLE_FOLDERS.items():
            add(well_known, name, root, hidden=True)

    # Classic ids begin AAMkA…, immutable ones AAkALg…, and both carry the mailbox, so that
    # a malformed id, an id of another mailbox and an id that leads nowhere can be told apart.

    def _rest_id(self, mailbox: Mailbox) -> str:
        return "AAMkAG" + _url_safe(_guid(mailbox) + b"\x07" + self._random.randbytes(34))

    def _immutable_id(self, mailbox: Mailbox) -> str:
        return "AAkALg" + _url_safe(_guid(mailbox) + b"\x09" + self._random.randbytes(22))

    def _folder_id(self, mailbox: Mailbox) -> str:
        return "AQMkAG" + _url_safe(_guid(mailbox) + b"\x01" + self._random.randbytes(22))


def read_content(raw: bytes) -> Content:
    """The headers that answers are made of; whatever is unreadable is left empty."""
    headers = BytesHeaderParser(policy=policy.compat32).parsebytes(raw[:_HEADER_BYTES])
    sender = " ".join(str(headers.get("From") or "").split())
    name, address = (getaddresses([sender]) or [("", "")])[0]
    return Content(
        raw,
        decoded_header(headers.get("Message-ID")).strip(),
        decoded_header(headers.get("Subject")),
        decoded_header(name),
        address,
    )


def decoded_header(value: object) -> str:
    """A header as people read it, folded lines joined, RFC 2047 words decoded."""
    text = " ".join(str(value or "").split())
    with suppress(HeaderParseError, LookupError, ValueError):
        text = str(make_header(decode_header(text)))
    # A charset may decode to lone surrogates, which no JSON answer can carry.
    return text.encode("utf-8", "replace").decode("utf-8")


def _place_of_labels(labels: frozenset[str]) -> Place:
    for label, place in (
        ("TRASH", Place.TRASH),
        ("SPAM", Place.JUNK),
        ("INBOX", Place.INBOX),
        ("SENT", Place.SENT),
    ):
        if label in labels:
            return place
    return Place.OTHER


def _folder_label(folder: Folder) -> str:
    return folder.well_known or folder.display_name


def _marks(item: Item) -> str:
    return ("read" if item.read else "unread") + (",flagged" if item.flagged else "")


def _joined(labels: Iterable[str]) -> str:
    return ",".join(sorted(labels))


def _guid(mailbox: Mailbox) -> bytes:
    return uuid.UUID(mailbox.mailbox_id).bytes


def _url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def owner_of_id(item_id: str) -> str | None:
    """The mailbox GUID inside a Microsoft id; None when the id is malformed."""
    if item_id[:6] not in ("AAMkAG", "AAkALg", "AQMkAG"):
        return None
    try:
        data = base64.b64decode(item_id[6:], altchars=b"-_", validate=True)
    except ValueError:
        return None
    return str(uuid.UUID(bytes=data[:16])) if len(data) in (39, 51) else None
