"""Where copies lie: the folders and labels every mailbox has, and the place each means."""

from __future__ import annotations

from enum import StrEnum


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


# Well-known name → display name: the folders of every mailbox, as Outlook creates them.
VISIBLE_FOLDERS = {
    "archive": "Archive",
    "conversationhistory": "Conversation History",
    "deleteditems": "Deleted Items",
    "drafts": "Drafts",
    "inbox": "Inbox",
    "junkemail": "Junk Email",
    "outbox": "Outbox",
    "sentitems": "Sent Items",
}
RECOVERABLE_FOLDERS = {
    "recoverableitemsdeletions": "Deletions",
    "recoverableitemspurges": "Purges",
    "recoverableitemsversions": "Versions",
    "recoverableitemsdiscoveryholds": "DiscoveryHolds",
}
SYSTEM_LABELS = (
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
FOLDER_PLACES = {
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


def place_of_labels(labels: frozenset[str]) -> Place:
    """Where Gmail shows a message with these labels."""
    for label, place in (
        ("TRASH", Place.TRASH),
        ("SPAM", Place.JUNK),
        ("INBOX", Place.INBOX),
        ("SENT", Place.SENT),
    ):
        if label in labels:
            return place
    return Place.OTHER
