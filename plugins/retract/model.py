"""The domain's words. Everything above this floor speaks in these types.

A *message* is what a sender sent; a *copy* is that message in one mailbox. Copies are
what the program judges, moves and remembers, always by the provider's own id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Provider(StrEnum):
    """Who runs the mailboxes."""

    MICROSOFT365 = "microsoft365"
    GOOGLE_WORKSPACE = "google_workspace"


class Disposition(StrEnum):
    """What a message is judged to be, gravest first."""

    MALICIOUS = "malicious"
    SUSPICIOUS = "suspicious"
    SPOOF = "spoof"
    SPAM = "spam"
    BULK = "bulk"
    NONE = "none"
    UNKNOWN = "unknown"
    """Only for the disposition at delivery: no trusted header said anything."""

    @property
    def severity(self) -> int:
        """5 for malicious down to 1 for bulk; 0 for none and unknown."""
        return _SEVERITY[self]

    @staticmethod
    def gravest(dispositions: Iterable[Disposition]) -> Disposition:
        """The gravest of them; NONE when there is none."""
        return max(dispositions, key=lambda d: d.severity, default=Disposition.NONE)


_SEVERITY = {
    Disposition.MALICIOUS: 5,
    Disposition.SUSPICIOUS: 4,
    Disposition.SPOOF: 3,
    Disposition.SPAM: 2,
    Disposition.BULK: 1,
    Disposition.NONE: 0,
    Disposition.UNKNOWN: 0,
}

ACTIONABLE_DISPOSITIONS = tuple(d for d in Disposition if d.severity)
"""The five dispositions a policy gives an action to, gravest first."""


class Action(StrEnum):
    """What a policy does with a copy, mildest first."""

    NO_ACTION = "no_action"
    JUNK = "junk"
    TRASH = "trash"
    SOFT_DELETE = "soft_delete"
    HARD_DELETE = "hard_delete"

    @property
    def gravity(self) -> int:
        """0 for no action up to 4 for hard delete."""
        return _GRAVITY[self]


_GRAVITY = {action: rank for rank, action in enumerate(Action)}


class Place(StrEnum):
    """Where a copy lies, in words that mean the same for every provider."""

    INBOX = "inbox"
    SENT = "sent"
    OTHER = "other"
    """A folder or label of the user's own, the archive included."""
    JUNK = "junk"
    TRASH = "trash"
    """Deleted Items (Microsoft 365) or TRASH (Gmail)."""
    RECOVERABLE = "recoverable"
    """Recoverable Items: gone from the user's folders, recoverable by the user."""
    PURGED = "purged"
    """Out of the user's reach; an administrator may still recover it."""

    @property
    def gravity(self) -> int:
        """How far from the reader's eyes: 0 for inbox, sent, other; then junk 1 … purged 4."""
        return _PLACE_GRAVITY[self]


_PLACE_GRAVITY = {
    Place.INBOX: 0,
    Place.SENT: 0,
    Place.OTHER: 0,
    Place.JUNK: 1,
    Place.TRASH: 2,
    Place.RECOVERABLE: 3,
    Place.PURGED: 4,
}


class Mode(StrEnum):
    """Whether retractions are only written down (preview) or carried out (enforce)."""

    PREVIEW = "preview"
    ENFORCE = "enforce"

    def narrowed_by(self, other: Mode | None) -> Mode:
        """A run may narrow what the policy file allows, never widen it."""
        return Mode.PREVIEW if other is Mode.PREVIEW else self


class ObservableType(StrEnum):
    """What can be seen in a message and be named by an indicator."""

    URL = "url"
    DOMAIN = "domain"
    EMAIL_ADDRESS = "email_address"
    DISPLAY_NAME = "display_name"
    FILE_NAME = "file_name"
    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    IP_ADDRESS = "ip_address"
    """Of an indicator also a network, as 198.51.100.0/24."""
    SUBJECT_PATTERN = "subject_pattern"
    """Only of indicators: a campaign rule on the subject. Nothing seen has this type."""
    DISPLAY_NAME_PATTERN = "display_name_pattern"
    """Only of indicators: a campaign rule on the sender's display name."""


RULE_TYPES = frozenset({ObservableType.SUBJECT_PATTERN, ObservableType.DISPLAY_NAME_PATTERN})
"""The types of indicators that are campaign rules: they count for a named campaign, for a time."""


class State(StrEnum):
    """The state of a copy in the ledger."""

    PLANNED = "planned"
    """Intent is written; the call may or may not have been made."""
    DONE = "done"
    """Acted on, and seen at its destination."""
    ALREADY_THERE = "already_there"
    """Found at an equal or graver place; left alone."""
    GONE = "gone"
    """No longer in the mailbox."""
    SKIPPED = "skipped"
    FAILED = "failed"
    RESTORED = "restored"
    """Back where it was: by us, or noticed after a person did it. Exempt from then on."""


@dataclass(frozen=True, slots=True)
class Window:
    """Delivery times judged, half open: ``start <= received_at < end``. Both aware UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window needs timezone-aware times")
        if self.start >= self.end:
            raise ValueError(f"a window must end after it starts: {self.start} … {self.end}")

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox of a connection. ``mailbox_id`` is the provider's own id for it."""

    provider: Provider
    connection: str
    mailbox_id: str
    address: str
    aliases: tuple[str, ...] = field(default=(), compare=False)
    """Other addresses whose mail comes into it, or that its user signs in with, where the
    directory told them."""


class UnwatchedReason(StrEnum):
    """Why mail in a mailbox is not judged."""

    SUSPENDED = "suspended"
    """The account is suspended, and the service lets nobody into its mail."""
    ARCHIVED = "archived"
    UNLICENSED = "unlicensed"
    ON_PREMISES = "on_premises"
    """The mailbox lies on a server that the service's API does not reach."""
    INACTIVE = "inactive"
    """The service has no mailbox for the user any more, or not yet."""
    EXCLUDED = "excluded"
    """The connection's settings leave it out."""
    NOT_FOUND = "not_found"
    """The connection's settings name it, and nobody has the address."""


@dataclass(frozen=True, slots=True)
class UnwatchedMailbox:
    """An address of a connection whose mail is not judged, and why."""

    connection: str
    address: str
    reason: UnwatchedReason
    detail: str = ""
    """In the provider's words, where it said more."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a mailbox has been read."""

    since: datetime
    """Everything delivered from then on is known, up to the moment of ``cursor``. Aware UTC."""
    cursor: str
    """What the provider goes on from: its own words, which nobody else reads."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One message in one mailbox, named by the provider's immutable id."""

    provider: Provider
    connection: str
    mailbox_id: str
    mailbox: str
    """The mailbox's address, for people."""
    message_id: str
    """The provider's id of the item; immutable while it stays in this mailbox."""
    internet_message_id: str = ""
    """The Message-ID header: attacker-controlled, may be missing or shared."""

    @property
    def copy_id(self) -> str:
        """32 hex digits, the same in every run: the copy's name in lake and ledger."""
        parts = (self.provider, self.connection, self.mailbox_id, self.message_id)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a copy lies and how it looks there: everything a restore needs."""

    place: Place
    folder_id: str = ""
    """Microsoft 365: the id of the parent folder. Empty for Gmail."""
    folder_name: str = ""
    """For people, where the provider tells."""
    labels: tuple[str, ...] = ()
    """Gmail: the whole set of label ids, sorted. Empty for Microsoft 365."""
    is_read: bool = False
    is_flagged: bool = False
    replied: bool | None = None
    """Whether its owner answered it; None where the provider does not tell."""
    forwarded: bool | None = None
    """Whether its owner passed it on; None where the provider does not tell."""


@dataclass(frozen=True, slots=True)
class Found:
    """A copy that was looked for, and where it lies."""

    copy: Copy
    received_at: datetime
    location: Location
    subject: str = ""
    sender_address: str = ""
    """Of the From header, canonical."""


@dataclass(frozen=True, slots=True)
class Observable:
    """One thing seen in a message. ``value`` is canonical for its type."""

    type: ObservableType
    value: str
    found_in: str = ""
    """Where: from, reply_to, return_path, html, text, attachment, header, domain_of_url …"""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a message's bytes tell, without its body."""

    internet_message_id: str
    subject: str
    sender_address: str
    sender_name: str
    observables: tuple[Observable, ...]
    authentication: tuple[tuple[str, str], ...] = ()
    """(method, result) pairs such as ("dmarc", "fail"), from trusted headers only."""
    delivered_disposition: Disposition = Disposition.UNKNOWN
    sending_ip: str = ""
    body_fingerprint: str = ""
    problems: tuple[str, ...] = ()
    """Why parts could not be read; the message is kept all the same."""


@dataclass(frozen=True, slots=True)
class CollectedMessage:
    """A copy with what was extracted from it: one row of the lake's messages table."""

    copy: Copy
    received_at: datetime
    location: Location
    extraction: Extraction
    extractor_version: int


@dataclass(frozen=True, slots=True)
class Match:
    """One indicator met one observable of one copy."""

    copy_id: str
    indicator_id: str
    type: ObservableType
    observable: str
    indicator: str
    disposition: Disposition
    confidence: int
    """0 to 100."""
    source: str
    campaign: str = ""
    reference: str = ""
    all_met: tuple[str, ...] = ()
    """Everything in the copy that the indicator meets; empty when that is ``observable`` alone."""


@dataclass(frozen=True, slots=True)
class Overruled:
    """A match that does not count: a rule of the policy allows the indicator, or what it met."""

    match: Match
    rule: str
    """The rule's value."""
    reason: str
    """Why it is allowed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a copy is judged to be, and why."""

    copy_id: str
    disposition: Disposition
    delivered_disposition: Disposition
    matches: tuple[Match, ...] = field(default=())
    """The live matches, gravest and most confident first."""
    overruled: tuple[Overruled, ...] = field(default=())
    """The matches that would speak for a verdict but for an allow rule, in the same order."""

    @property
    def without_rules(self) -> Disposition:
        """The disposition if the policy had no allow rules."""
        said = (beaten.match.disposition for beaten in self.overruled)
        return Disposition.gravest([self.disposition, *said])
