"""Collecting from what somebody else tells of delivered mail: the copies are looked up by it.

A description names a recipient and a Message-ID, and no copy. The Message-ID is its sender's
choice, and so is everything else in a message: a copy is taken for the one described only when
subject, sender and time of delivery agree. Where that leaves a doubt, because several messages
with one Message-ID were told of or several copies agree, each is read and judged by its own
content in the description's place. So nobody can have another's message judged by what is in his
own, not even when his own is dropped behind the gateway, as Exchange drops a second message with
the same Message-ID.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from retract.errors import MailboxError, MessageNotFound
from retract.mailboxes.protocol import MOST_FOUND, MailboxProvider, MailboxReading
from retract.mailboxes.reading import without_content
from retract.model import (
    Action,
    CollectedMessage,
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
from retract.observables import EXTRACTOR_VERSION
from retract.observables.described import DescribedMessage, read_description

LATE: Final = timedelta(days=1)
"""How late a description may come, and how long a copy is looked for that is not found."""

_CLOCKS_DIFFER: Final = timedelta(minutes=15)
"""Two systems' times of the same delivery."""
_AT_ONCE: Final = 200
"""Descriptions looked up at a time."""
_LONG_SUBJECT: Final = 250
"""In UTF-16 units: Exchange keeps little more of a subject ([MS-OXCMSG] 2.2.1.9)."""

log = logging.getLogger(__name__)


class Descriptions(Protocol):
    """Where the descriptions come from."""

    def prepare(self, mailboxes: Sequence[Mailbox], start: datetime) -> None:
        """Ask for what was delivered to these mailboxes from ``start`` on, all at once."""

    def of(self, mailbox: Mailbox, start: datetime) -> Iterable[DescribedMessage]:
        """What was delivered to the mailbox from ``start`` on, in any order.

        Raises MailboxError when that cannot be told now.
        """


class _Cursor(BaseModel):
    """What a reading leaves for the next one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    read_to: AwareDatetime
    """The newest delivery told of."""
    known: tuple[str, ...] = ()
    """Short digests of the descriptions that have their copy, while they may be told again."""


class DescribedMailboxes:
    """A provider whose delivered mail is learnt from descriptions. Implements `MailboxProvider`."""

    def __init__(self, provider: MailboxProvider, descriptions: Descriptions) -> None:
        self.provider: Provider = provider.provider
        self.connection: str = provider.connection
        self._mailboxes = provider
        self._descriptions = descriptions

    def prepare(self, wanted: Sequence[tuple[Mailbox, Watermark | None]], window: Window) -> None:
        now = self.now()
        starts = [_start(_parse(before, window), window, now) for _, before in wanted]
        if starts:
            self._descriptions.prepare([mailbox for mailbox, _ in wanted], min(starts))

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        return _Reading(self._mailboxes, self._descriptions, mailbox, window, known, watermark)

    # --- everything else is the mailboxes' own ---

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        return self._mailboxes.list_mailboxes()

    def mailbox(self, address: str) -> Mailbox:
        return self._mailboxes.mailbox(address)

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        return self._mailboxes.locate(copies)

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        return self._mailboxes.find(copies)

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        return self._mailboxes.read(copies)

    def destination(self, action: Action) -> Place:
        return self._mailboxes.destination(action)

    def retract(
        self, retractions: Sequence[tuple[Copy, Action]], until: datetime
    ) -> list[MailboxError | None]:
        return self._mailboxes.retract(retractions, until)

    def restore(self, copy: Copy, location: Location) -> None:
        self._mailboxes.restore(copy, location)

    def now(self) -> datetime:
        return self._mailboxes.now()

    def close(self) -> None:
        self._mailboxes.close()


@dataclass
class _Reading:
    """One go at the descriptions of one mailbox.

    A description is told again for a day after the newest delivery read, so that one that came
    late, or whose copy was not found, gets another chance; one whose mailbox could not be asked is
    told again until it can. Those that have their copy are passed over by their digest.
    """

    _provider: MailboxProvider
    _descriptions: Descriptions
    _mailbox: Mailbox
    _window: Window
    _known_ids: Collection[str]
    _before: Watermark | None
    _after: Watermark | None = field(default=None, init=False)
    _yielded: set[str] = field(default_factory=set, init=False)
    _times_told: Counter[str] = field(default_factory=Counter, init=False)
    """By Message-ID, how many messages were told of."""
    _unreached: list[datetime] = field(default_factory=list, init=False)
    """Times of those that nobody could look for."""
    _unlike: int = field(default=0, init=False)
    """How many have a copy of their Message-ID, but none that agrees."""
    _cut: int = field(default=0, init=False)
    """How many have more copies of their Message-ID than a search tells of."""

    @property
    def watermark(self) -> Watermark | None:
        return self._after

    def __iter__(self) -> Iterator[CollectedMessage]:
        cursor = _parse(self._before, self._window)
        start = _start(cursor, self._window, self._provider.now())
        told = {_digest(one): one for one in self._descriptions.of(self._mailbox, start)}
        self._times_told = Counter(one.internet_message_id for one in told.values())
        settled = set(cursor.known if cursor else ())
        wanted = [one for digest, one in told.items() if digest not in settled]
        trouble: MailboxError | None = None
        for first in range(0, len(wanted), _AT_ONCE):
            chunk = wanted[first : first + _AT_ONCE]
            for described, found in zip(chunk, self._look_up(chunk), strict=True):
                if type(found) is MailboxError:
                    # Refused for this one message's sake: its sender chose what is asked for.
                    log.warning("%s: a message was passed over: %s", self._mailbox.address, found)
                elif isinstance(found, MailboxError):
                    trouble = trouble or found
                elif found is not None:
                    settled.add(_digest(described))
                    yield from self._new(found)
        if self._unlike:
            log.warning(
                "%s: of %d messages told of, the copy with the Message-ID has another subject, "
                "sender or time of delivery: they are forged, or clocks differ by more than %d "
                "minutes",
                self._mailbox.address,
                self._unlike,
                _CLOCKS_DIFFER.total_seconds() // 60,
            )
        if self._cut:
            log.warning(
                "%s: of %d messages told of, %d copies or more have the Message-ID: those beyond "
                "are not judged; look for them in the mailbox by hand",
                self._mailbox.address,
                self._cut,
                MOST_FOUND,
            )
        self._after = self._watermark(cursor, start, told, settled)
        if trouble is not None:
            raise trouble

    def _look_up(
        self, wanted: Sequence[DescribedMessage]
    ) -> list[list[CollectedMessage] | MailboxError | None]:
        """For each description its copies; None while there are none to be found."""
        answers = self._provider.find([self._sought(described) for described in wanted])
        self._unreached += [
            described.received_at
            for described, answer in zip(wanted, answers, strict=True)
            if isinstance(answer, MailboxError) and type(answer) is not MailboxError
        ]
        return [
            answer if isinstance(answer, MailboxError) else self._chosen(described, answer)
            for described, answer in zip(wanted, answers, strict=True)
        ]

    def _chosen(
        self, described: DescribedMessage, candidates: Sequence[Found]
    ) -> list[CollectedMessage] | MailboxError | None:
        extraction = read_description(described)
        alike = [one for one in candidates if _agrees(one, described, extraction)]
        self._unlike += bool(candidates) and not alike
        self._cut += len(candidates) >= MOST_FOUND
        is_certain = len(alike) == 1 and self._times_told[described.internet_message_id] == 1
        contents: Sequence[Extraction | MailboxError] = [extraction]
        if not is_certain:
            contents = self._provider.read([one.copy for one in alike])
        messages = []
        for one, content in zip(alike, contents, strict=True):
            match content:
                case MessageNotFound():
                    continue
                case MailboxError() if type(content) is not MailboxError:
                    return content
                case MailboxError():
                    content = without_content(content, described.internet_message_id)
            messages.append(
                CollectedMessage(
                    copy=one.copy,
                    received_at=one.received_at,
                    location=one.location,
                    extraction=content,
                    extractor_version=EXTRACTOR_VERSION,
                )
            )
        return messages or None

    def _new(self, found: Sequence[CollectedMessage]) -> Iterator[CollectedMessage]:
        """Those not known yet: a message that came twice is described twice, and found twice."""
        for message in found:
            message_id = message.copy.message_id
            if message_id not in self._known_ids and message_id not in self._yielded:
                self._yielded.add(message_id)
                yield message

    def _sought(self, described: DescribedMessage) -> Copy:
        mailbox = self._mailbox
        return Copy(
            mailbox.provider,
            mailbox.connection,
            mailbox.mailbox_id,
            mailbox.address,
            message_id="",
            internet_message_id=described.internet_message_id,
        )

    def _watermark(
        self,
        cursor: _Cursor | None,
        start: datetime,
        told: dict[str, DescribedMessage],
        settled: set[str],
    ) -> Watermark:
        if cursor and self._before and not told:
            return self._before  # as good as a newer one, and nothing to write down
        times = [one.received_at for one in told.values()]
        if cursor:
            times.append(cursor.read_to)
        # One that is told of before its time would have all others passed over until then.
        # And what could not be looked for, however long that lasts, is asked for again.
        read_to = min([max(times, default=start), self._provider.now(), *self._unreached])
        recent = {digest for digest, one in told.items() if one.received_at >= read_to - LATE}
        after = _Cursor(read_to=read_to, known=tuple(sorted(settled & recent)))
        # A window that begins later than the reading before ended leaves a gap: say so.
        goes_on = cursor is not None and start <= cursor.read_to - LATE
        since = self._before.since if goes_on and self._before else start
        return Watermark(since, after.model_dump_json())


def _start(cursor: _Cursor | None, window: Window, now: datetime) -> datetime:
    """From when on descriptions are asked for."""
    if cursor is None:
        return window.start
    # Not ahead of the clock, whoever told of a delivery to come.
    return max(min(cursor.read_to, now) - LATE, window.start)


def _parse(watermark: Watermark | None, window: Window) -> _Cursor | None:
    if watermark is None or watermark.since > window.start:
        return None
    try:
        return _Cursor.model_validate_json(watermark.cursor)
    except ValidationError:
        return None


def _agrees(found: Found, described: DescribedMessage, extraction: Extraction) -> bool:
    return (
        _is_same_subject(found.subject, extraction.subject)
        and found.sender_address == extraction.sender_address
        and abs(found.received_at - described.received_at) <= _CLOCKS_DIFFER
    )


def _is_same_subject(found: str, told: str) -> bool:
    kept, whole = " ".join(found.split()), " ".join(told.split())
    is_cut = len(found.encode("utf-16-le", "replace")) // 2 >= _LONG_SUBJECT
    # The last character may be cut in two.
    return kept == whole or (is_cut and whole.startswith(kept[:-1]))


def _digest(described: DescribedMessage) -> str:
    # Of the whole of it: two messages may share a Message-ID and the second of their delivery.
    return hashlib.sha256(described.model_dump_json().encode()).hexdigest()[:16]
