"""The store: every mailbox, every change to one, and the log of who changed what.

Everything lives in memory behind one lock. Messages are kept once per delivery however
many mailboxes they went to. Nothing here knows HTTP.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from local_tenant import item_ids
from local_tenant.content import Content, read_content
from local_tenant.groups import Group, GroupKind
from local_tenant.mailbox import (
    AuditEntry,
    Change,
    ChangeKind,
    Folder,
    Hosting,
    Item,
    Label,
    LastVerb,
    Mailbox,
    Provider,
)
from local_tenant.places import (
    FOLDER_PLACES,
    RECOVERABLE_FOLDERS,
    SYSTEM_LABELS,
    VISIBLE_FOLDERS,
    Place,
    place_of_labels,
)


class UnknownRecipient(LookupError):
    """A delivery named an address that has no mailbox here."""


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
        self._groups: dict[tuple[Provider, str], Group] = {}
        self._group_by_address: dict[tuple[Provider, str], Group] = {}

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
        shared: bool = False,
        synchronised: bool = False,
        guest: bool = False,
        sign_in_name: str = "",
    ) -> Mailbox:
        """A new user; the one already there when the address is taken.

        A shared mailbox's account is disabled; a user with a mailbox on premises is
        synchronised; a guest has no mailbox here.
        """
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
                enabled=enabled and not shared,
                hosting=Hosting.UNLICENSED if guest else hosting,
                archived=archived,
                is_admin=is_admin,
                shared=shared,
                synchronised=synchronised or hosting is Hosting.ON_PREMISES,
                guest=guest,
                sign_in_name=sign_in_name or (_guest_name(address) if guest else ""),
            )
            if provider is Provider.MICROSOFT365:
                self._furnish_folders(mailbox)
            else:
                mailbox.labels = {name: Label(name, name, system=True) for name in SYSTEM_LABELS}
            self._mailboxes[provider, mailbox_id] = mailbox
            self._by_address[key] = mailbox
            if mailbox.sign_in_name:
                self._by_address[provider, mailbox.sign_in_name.lower()] = mailbox
            return mailbox

    def mailbox(self, provider: Provider, id_or_address: str) -> Mailbox | None:
        """By id, or by address or user principal name in any case."""
        wanted = id_or_address.lower()
        with self.lock:
            return self._mailboxes.get((provider, wanted)) or self._by_address.get(
                (provider, wanted)
            )

    def add_alias(self, mailbox: Mailbox, address: str) -> None:
        """Another address that leads to the mailbox."""
        with self.lock:
            mailbox.aliases.append(address)
            self._by_address[mailbox.provider, address.lower()] = mailbox

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

    def add_folder(
        self, mailbox: Mailbox, display_name: str, parent_id: str = "", *, hidden: bool = False
    ) -> Folder:
        """A folder of the user's own, at the top unless a parent is named."""
        with self.lock:
            root = mailbox.well_known("msgfolderroot").folder_id
            mailbox.last_change += 1
            folder = Folder(
                item_ids.folder_id(mailbox.mailbox_id, self._random),
                display_name,
                parent_id or root,
                hidden=hidden,
                created=mailbox.last_change,
                changed=mailbox.last_change,
            )
            mailbox.folders[folder.folder_id] = folder
            return folder

    def move_folder(self, mailbox: Mailbox, folder: Folder, parent: Folder) -> None:
        """By the owner, with all that is in it; Outlook deletes a folder into Deleted Items."""
        with self.lock:
            mailbox.last_change += 1
            folder.parent_id, folder.changed = parent.folder_id, mailbox.last_change

    def remove_folder(self, mailbox: Mailbox, folder: Folder, *, at: datetime) -> None:
        """By the owner, for good, and all in it. Their messages go to Recoverable Items."""
        with self.lock:
            for child in list(mailbox.folders.values()):
                if child.parent_id == folder.folder_id:
                    self.remove_folder(mailbox, child, at=at)
            deletions = mailbox.well_known("recoverableitemsdeletions")
            for item in list(mailbox.items.values()):
                if item.folder_id == folder.folder_id and item.removed is None:
                    self._put(mailbox, item, deletions, at)
            del mailbox.folders[folder.folder_id]
            mailbox.last_change += 1
            mailbox.removed_folders[folder.folder_id] = mailbox.last_change

    def add_label(self, mailbox: Mailbox, name: str) -> Label:
        """A label of the user's own."""
        with self.lock:
            number = 1 + sum(not label.system for label in mailbox.labels.values())
            label = Label(f"Label_{number}", name)
            mailbox.labels[label.label_id] = label
            return label

    # ---- groups ----------------------------------------------------------------------

    def add_group(
        self,
        provider: Provider,
        address: str,
        display_name: str = "",
        *,
        members: Iterable[str] = (),
        kind: GroupKind = GroupKind.DISTRIBUTION_LIST,
    ) -> Group:
        """A new group of mailboxes and groups, which are named by address. Raises LookupError."""
        with self.lock:
            if provider is Provider.MICROSOFT365:
                group_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
            else:
                group_id = f"{self._random.getrandbits(64):015x}"
            group = Group(
                provider, group_id, address, display_name or address.partition("@")[0], kind
            )
            self._groups[provider, group_id] = group
            self._group_by_address[provider, address.lower()] = group
            for member in members:
                self.add_member(group, member)
            return group

    def add_member(self, group: Group, address: str) -> None:
        """Raises LookupError for an address that is neither a mailbox's nor a group's."""
        with self.lock:
            within = self.group(group.provider, address)
            if within is not None:
                group.members[within.group_id] = within
                return
            person = self.mailbox(group.provider, address)
            if person is None:
                raise LookupError(address)
            group.members[person.mailbox_id] = person

    def remove_member(self, group: Group, address: str) -> None:
        """Raises LookupError for one who is no direct member."""
        with self.lock:
            wanted = address.lower()
            for member_id, member in group.members.items():
                if member.address.lower() == wanted:
                    del group.members[member_id]
                    return
            raise LookupError(address)

    def group(self, provider: Provider, id_or_address: str) -> Group | None:
        """By id or by address in any case."""
        wanted = id_or_address.lower()
        with self.lock:
            return self._groups.get((provider, wanted)) or self._group_by_address.get(
                (provider, wanted)
            )

    def groups(self, provider: Provider) -> list[Group]:
        """All of them in order of creation."""
        with self.lock:
            return [group for (whose, _), group in self._groups.items() if whose is provider]

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
        """Put one copy into each recipient's mailbox, and into those of a group's members.

        ``folder`` (well-known name or id) is for Microsoft mailboxes, ``labels`` for
        Gmail ones. Raises UnknownRecipient, and then delivers to nobody.
        """
        if received_at.tzinfo is None:
            raise ValueError("received_at must be timezone-aware")
        # Both services keep whole seconds.
        received_at = received_at.astimezone(UTC).replace(microsecond=0)
        with self.lock:
            targets = self._recipients(recipients)
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
            return place_of_labels(item.labels)
        with self.lock:
            folders = self.mailbox_of(item).folders
            folder: Folder | None = folders[item.folder_id]
            while folder is not None:
                if folder.well_known in FOLDER_PLACES:
                    return FOLDER_PLACES[folder.well_known]
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
            before = _folder_label(mailbox.folders[item.folder_id])
            self._put(mailbox, item, folder, at)
            self._audit(mailbox, item, at, operation, before, _folder_label(folder), status)

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

    # ---- what the owner does: no call, and so not in the audit log ---------------------

    def respond(self, mailbox: Mailbox, item: Item, verb: LastVerb, *, at: datetime) -> None:
        """The owner of a Microsoft mailbox answers or forwards the message, having read it."""
        with self.lock:
            item.read, item.last_verb, item.last_verb_at = True, verb, at
            self._note(
                mailbox,
                item,
                ChangeKind.UPDATED,
                at,
                folder_before=item.folder_id,
                folder_after=item.folder_id,
            )

    def forget_changes(self, mailbox: Mailbox) -> None:
        """Expire every history id and delta token handed out so far."""
        with self.lock:
            mailbox.last_change += 1
            mailbox.forgotten_before = mailbox.last_change
            mailbox.changes.clear()

    # ---- inside ----------------------------------------------------------------------

    def _recipients(self, addresses: Iterable[str]) -> list[Mailbox]:
        """Each mailbox once, however many ways lead to it: the services deliver one copy."""
        found: dict[str, Mailbox] = {}
        for address in addresses:
            for mailbox in self._behind(address):
                found[mailbox.mailbox_id] = mailbox
        return list(found.values())

    def _behind(self, address: str) -> list[Mailbox]:
        for provider in Provider:
            mailbox = self._by_address.get((provider, address.lower()))
            if mailbox is not None and mailbox.hosting is Hosting.CLOUD:
                return [mailbox]
            group = self._group_by_address.get((provider, address.lower()))
            if group is not None and group.takes_mail:
                return [member for member in group.people() if member.hosting is Hosting.CLOUD]
        raise UnknownRecipient(address)

    def _put(self, mailbox: Mailbox, item: Item, folder: Folder, at: datetime) -> None:
        before, rest_id = item.folder_id, item.rest_id
        del mailbox.by_rest_id[item.rest_id]
        item.folder_id = folder.folder_id
        item.rest_id = item_ids.classic_id(mailbox.mailbox_id, self._random)
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
                item_ids.immutable_id(mailbox.mailbox_id, self._random),
                item_ids.classic_id(mailbox.mailbox_id, self._random),
                thread_id or item_ids.conversation_id(self._random),
                content,
                received_at,
                received_at,
                delivery_id,
                folder_id=mailbox.well_known(folder).folder_id,
                read=read,
                delivered_to=folder,
                draft=folder == "drafts",
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
            folder = Folder(
                item_ids.folder_id(mailbox.mailbox_id, self._random),
                name,
                parent_id,
                well_known,
                hidden,
            )
            mailbox.folders[folder.folder_id] = folder
            return folder.folder_id

        top = add("msgfolderroot", "Top of Information Store", "", hidden=True)
        for well_known, name in VISIBLE_FOLDERS.items():
            add(well_known, name, top, hidden=False)
        root = add("recoverableitemsroot", "Recoverable Items", "", hidden=True)
        for well_known, name in RECOVERABLE_FOLDERS.items():
            add(well_known, name, root, hidden=True)


def _guest_name(address: str) -> str:
    """How Entra ID names an invited user: mail address, #EXT#, the tenant's first domain."""
    return f"{address.replace('@', '_')}#EXT#@north.example"


def _folder_label(folder: Folder) -> str:
    return folder.well_known or folder.display_name


def _marks(item: Item) -> str:
    return ("read" if item.read else "unread") + (",flagged" if item.flagged else "")


def _joined(labels: Iterable[str]) -> str:
    return ",".join(sorted(labels))
