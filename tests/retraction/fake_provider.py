"""A mail provider in memory, with a script of what goes wrong."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice

from retract.errors import (
    ActionNotSupported,
    AuthenticationFailed,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    OutcomeUnknown,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.protocol import MOST_FOUND, MailboxReading
from retract.mailboxes.reading import answered
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

SENDER = "eve@sender.example"
INBOX = Location(Place.INBOX, folder_id="inbox-id", folder_name="Inbox", is_flagged=True)


class Crash(BaseException):
    """The worker's process ends here: nothing after it runs."""


class Fault(StrEnum):
    """What one call to `FakeProvider.retract` meets."""

    NOT_FOUND = "404, though it is there"
    VANISHES = "somebody else removes it just before the call"
    DONE_504 = "done, then 504"
    NOT_DONE_504 = "504, not done"
    IGNORED = "accepted, not done"
    REFUSED = "400"
    UNAUTHENTICATED = "401"
    DENIED = "403"
    NO_MAILBOX = "404 of the mailbox"
    THROTTLED = "429"
    UNREACHABLE = "no connection"
    CRASH_BEFORE = "crash between intent and call"
    CRASH_AFTER = "crash between call and settle"


_RAISED = {
    Fault.NOT_FOUND: MessageNotFound("no such item"),
    Fault.NOT_DONE_504: OutcomeUnknown("gateway timeout"),
    Fault.REFUSED: MailboxError("bad request", code="ErrorInvalidRequest"),
    Fault.UNAUTHENTICATED: AuthenticationFailed("invalid client secret"),
    Fault.DENIED: PermissionDenied("access is denied"),
    Fault.NO_MAILBOX: MailboxUnavailable("the mailbox is inactive"),
    Fault.THROTTLED: Throttled("too many requests", retry_after=90.0),
    Fault.UNREACHABLE: TenantUnreachable("connection refused"),
}

_OF_THE_MAILBOX = (
    AuthenticationFailed,
    PermissionDenied,
    MailboxUnavailable,
    Throttled,
    TenantUnreachable,
)

_DESTINATIONS = {
    Action.JUNK: Place.JUNK,
    Action.TRASH: Place.TRASH,
    Action.SOFT_DELETE: Place.RECOVERABLE,
    Action.HARD_DELETE: Place.PURGED,
}


def content_of(copy: Copy, subject: str = "", words: str = "") -> Extraction:
    """What a copy's bytes tell; by default what `words.messages` says of it."""
    return Extraction(
        internet_message_id=copy.internet_message_id,
        subject=subject or f"Subject {copy.message_id}",
        sender_address=SENDER,
        sender_name="Eve",
        observables=(),
        body_fingerprint=words or f"words of {copy.internet_message_id}",
    )


@dataclass
class Item:
    """One message in a mailbox, under the id it has now."""

    copy: Copy
    content: Extraction


class FakeProvider:
    """Keeps every copy's location, and counts what really happened to it.

    As real services do, it answers for each copy of a call; once a mailbox refuses, or asks for
    patience, the rest of the call's copies there get the same answer.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.provider = Provider.MICROSOFT365
        self.connection = "tenant"
        self.destinations = dict(_DESTINATIONS)
        self.locations: dict[str, Location] = {}
        """By message id, where each item lies that can be seen."""
        self.items: dict[str, Item] = {}
        """By message id, what was ever delivered or found."""
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        """Per message id, the faults its next calls meet, in this order."""
        self.locate_fails: defaultdict[str, list[BaseException | None]] = defaultdict(list)
        self.find_fails: defaultdict[str, list[MailboxError]] = defaultdict(list)
        """Per message id, as which the search is for."""
        self.mailbox_fails: dict[str, MailboxError] = {}
        """Per mailbox id, what every call to it meets."""
        self.calls: list[tuple[str, Action]] = []
        """Every retract call that reached the provider."""
        self.effects: list[tuple[str, Action]] = []
        """The calls among them that moved something."""
        self.asked: list[tuple[str, int]] = []
        """Each of the protocol's bulk calls: its name, and for how many copies."""
        self.on_crash: Callable[[], None] = lambda: None
        self.meanwhile: Callable[[], None] = lambda: None
        """What others do, and how time passes, before each copy's turn in a call."""
        self._clock = clock

    def deliver(
        self, copy: Copy, location: Location = INBOX, content: Extraction | None = None
    ) -> None:
        self.locations[copy.message_id] = location
        self.items[copy.message_id] = Item(copy, content or content_of(copy))

    def give_new_id(self, message_id: str, new: str, location: Location | None = None) -> Copy:
        """The service moves an item where its id does not last; returns it as it is named now."""
        item = self.items[message_id]
        copy = replace(item.copy, message_id=new)
        self.deliver(copy, location or self.locations[message_id], item.content)
        del self.locations[message_id]
        return copy

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        self.asked.append(("locate", len(copies)))
        return [answered(partial(self.locate_one, copy)) for copy in copies]

    def retract(
        self, retractions: Sequence[tuple[Copy, Action]], until: datetime
    ) -> list[MailboxError | None]:
        self.asked.append(("retract", len(retractions)))
        answers: list[MailboxError | None] = []
        stopped: dict[str, MailboxError] = {}
        for copy, action in retractions:
            self.meanwhile()  # before the time is looked at: no call outlasts its claim
            if copy.mailbox_id in stopped:
                answers.append(stopped[copy.mailbox_id])
            elif self._clock() >= until:
                answers.append(Throttled("no time left"))
            else:
                answer = answered(partial(self.retract_one, copy, action))
                if isinstance(answer, _OF_THE_MAILBOX):
                    stopped[copy.mailbox_id] = answer
                answers.append(answer)
        return answers

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        self.asked.append(("find", len(copies)))
        return [answered(partial(self._find_one, copy)) for copy in copies]

    def _find_one(self, copy: Copy) -> tuple[Found, ...]:
        self._turn(copy)
        if self.find_fails[copy.message_id]:
            raise self.find_fails[copy.message_id].pop(0)
        found = (
            Found(item.copy, self._clock(), self.locations[message_id])
            for message_id, item in self.items.items()
            if message_id in self.locations
            and item.copy.mailbox_id == copy.mailbox_id
            and item.copy.internet_message_id == copy.internet_message_id
        )
        return tuple(islice(found, MOST_FOUND))

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        self.asked.append(("read", len(copies)))
        return [answered(partial(self._read_one, copy)) for copy in copies]

    def _read_one(self, copy: Copy) -> Extraction:
        self._turn(copy)
        if copy.message_id not in self.locations:
            raise MessageNotFound("no such item")
        return self.items[copy.message_id].content

    def locate_one(self, copy: Copy) -> Location | None:
        self._turn(copy)
        failures = self.locate_fails[copy.message_id]
        if failures and (failure := failures.pop(0)) is not None:
            if isinstance(failure, Crash):
                self.on_crash()
            raise failure
        return self.locations.get(copy.message_id)

    def _turn(self, copy: Copy) -> None:
        self.meanwhile()
        self._require_open(copy)

    def _require_open(self, copy: Copy) -> None:
        if copy.mailbox_id in self.mailbox_fails:
            raise self.mailbox_fails[copy.mailbox_id]

    def destination(self, action: Action) -> Place:
        if action not in self.destinations:
            raise ActionNotSupported(f"no {action}")
        return self.destinations[action]

    def retract_one(self, copy: Copy, action: Action) -> None:
        self._require_open(copy)
        faults = self.faults[copy.message_id]
        fault = faults.pop(0) if faults else None
        if fault is Fault.CRASH_BEFORE:
            self._crash()
        self.calls.append((copy.message_id, action))
        if fault is Fault.VANISHES:
            self.locations.pop(copy.message_id, None)
        if fault in _RAISED:
            raise _RAISED[fault]
        if copy.message_id not in self.locations:
            raise MessageNotFound("no such item")
        if fault is Fault.IGNORED:
            return
        self._move(copy.message_id, action)
        if fault is Fault.DONE_504:
            raise OutcomeUnknown("gateway timeout")
        if fault is Fault.CRASH_AFTER:
            self._crash()

    def restore(self, copy: Copy, location: Location) -> None:
        if copy.message_id not in self.locations:
            raise MessageNotFound("no such item")
        faults = self.faults[copy.message_id]
        fault = faults.pop(0) if faults else None
        if fault is Fault.CRASH_BEFORE:
            self._crash()
        if fault in _RAISED:
            raise _RAISED[fault]
        if fault is not Fault.IGNORED:
            self.locations[copy.message_id] = location
        if fault is Fault.CRASH_AFTER:
            self._crash()

    def _move(self, message_id: str, action: Action) -> None:
        self.effects.append((message_id, action))
        place = self.destinations[action]
        if place is Place.PURGED:
            del self.locations[message_id]
        else:
            before = self.locations[message_id]
            self.locations[message_id] = replace(
                before, place=place, folder_id=f"{place}-id", folder_name=place.title()
            )

    def _crash(self) -> None:
        self.on_crash()
        raise Crash

    # --- the rest of the protocol, not used here ---

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        raise NotImplementedError

    def mailbox(self, address: str) -> Mailbox:
        raise NotImplementedError

    def prepare(self, wanted: Sequence[tuple[Mailbox, Watermark | None]], window: Window) -> None:
        pass

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        raise NotImplementedError

    def now(self) -> datetime:
        return self._clock()

    def close(self) -> None:
        pass
