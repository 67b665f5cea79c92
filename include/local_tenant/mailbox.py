"""A mailbox and what is in it: plain records, which only the store changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from local_tenant.content import Content
from local_tenant.places import Place


class Provider(StrEnum):
    """Whose service a mailbox is emulated after."""

    MICROSOFT365 = "microsoft365"
    GOOGLE_WORKSPACE = "google_workspace"


class Hosting(StrEnum):
    """Where a user's mail is, if anywhere."""

    CLOUD = "cloud"
    ON_PREMISES = "on_premises"
    """Hybrid: a synchronised user whose mail address leads to a server of the organisation."""
    UNLICENSED = "unlicensed"
    """Never had a mailbox."""
    INACTIVE = "inactive"
    """The licence was taken away: the mailbox is soft-deleted, or kept for a hold alone."""


class ChangeKind(StrEnum):
    """What happened to an item."""

    ADDED = "added"
    MOVED = "moved"
    UPDATED = "updated"
    RELABELLED = "relabelled"
    REMOVED = "removed"


class LastVerb(IntEnum):
    """What the owner did with a message last: PidTagLastVerbExecuted, [MS-OXOMSG] 2.2.1.41."""

    REPLY = 102
    REPLY_ALL = 103
    FORWARD = 104


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
    delivered_to: str = ""
    """Microsoft only: the folder it was delivered to, by well-known name or id."""
    draft: bool = False
    """Microsoft only: never sent."""
    last_verb: LastVerb | None = None
    """Microsoft only: None for a message that was neither answered nor forwarded."""
    last_verb_at: datetime | None = None
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
    """Not among the mailbox's listed folders: Recoverable Items and below, and such of its own."""
    created: int = 0
    """The id of the change that made it; 0 for a folder that came with the mailbox."""
    changed: int = 0
    """The id of its last change."""


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
    shared: bool = False
    """Microsoft only: nobody signs in to it, and it needs no licence."""
    synchronised: bool = False
    """Microsoft only: the user comes from an on-premises directory."""
    guest: bool = False
    """Microsoft only: of another organisation, where the mail address leads to."""
    sign_in_name: str = ""
    """Microsoft only: the user principal name where it is not the address."""
    aliases: list[str] = field(default_factory=list)
    """Other addresses that lead to it."""
    is_admin: bool = False
    on_hold: bool = False
    """Litigation or retention hold: what is deleted for good is kept."""
    items: dict[str, Item] = field(default_factory=dict)
    """By message id, removed ones included."""
    by_rest_id: dict[str, str] = field(default_factory=dict)
    """Current rest id → message id."""
    folders: dict[str, Folder] = field(default_factory=dict)
    removed_folders: dict[str, int] = field(default_factory=dict)
    """Folders that are gone for good, and the id of the change that removed them."""
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
