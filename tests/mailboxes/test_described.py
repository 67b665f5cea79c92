"""Collecting by descriptions: the copy described is found, and no other is taken for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retract.errors import MailboxError, Throttled
from retract.mailboxes.described import LATE, DescribedMailboxes
from retract.model import (
    CollectedMessage,
    Copy,
    Extraction,
    Found,
    Location,
    Mailbox,
    Observable,
    ObservableType,
    Place,
    Provider,
    Watermark,
    Window,
)
from retract.observables.described import DescribedMessage

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ANN = Mailbox(Provider.MICROSOFT365, "tenant", "1", "ann@north.example")
WEEK = Window(NOW - timedelta(days=7), NOW + timedelta(days=1))
BAD = "https://evil.example/login"


@dataclass
class Told:
    """Descriptions in memory."""

    messages: list[DescribedMessage] = field(default_factory=list)
    starts: list[datetime] = field(default_factory=list)

    def prepare(self, mailboxes: Sequence[Mailbox], start: datetime) -> None:
        raise NotImplementedError

    def of(self, mailbox: Mailbox, start: datetime) -> Iterable[DescribedMessage]:
        self.starts.append(start)
        return [one for one in self.messages if one.received_at >= start]


@dataclass
class Box:
    """One mailbox that finds by Message-ID."""

    provider: Provider = Provider.MICROSOFT365
    connection: str = "tenant"
    items: dict[str, tuple[Found, str]] = field(default_factory=dict)
    """By message id: what is found, and the URL in its content."""
    looked_for: list[str] = field(default_factory=list)
    fails: MailboxError | None = None

    def put(self, message_id: str, *, subject: str = "Hello", url: str = BAD, **facts: Any) -> None:
        known: dict[str, Any] = {"sender_address": "a@evil.example", "received_at": NOW}
        copy = Copy(ANN.provider, ANN.connection, ANN.mailbox_id, ANN.address, message_id, "<1@x>")
        location = Location(Place.INBOX)
        self.items[message_id] = (
            Found(copy, location=location, subject=subject, **(known | facts)),
            url,
        )

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        self.looked_for += [copy.internet_message_id for copy in copies]
        return [self.fails or tuple(found for found, _ in self.items.values()) for _ in copies]

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        return [
            Extraction(
                "<1@x>",
                "Hello",
                "a@evil.example",
                "",
                (Observable(ObservableType.URL, self.items[copy.message_id][1], "text"),),
            )
            for copy in copies
        ]


def described(**fields: Any) -> DescribedMessage:
    known = {
        "recipient": ANN.address,
        "internet_message_id": "<1@x>",
        "received_at": NOW,
        "subject": "Hello",
        "sender_address": "a@evil.example",
        "urls": [BAD],
    }
    return DescribedMessage.model_validate(known | fields)


def read(
    box: Box, told: Told, watermark: Watermark | None = None, known: Sequence[str] = ()
) -> tuple[list[CollectedMessage], Watermark]:
    mailboxes = DescribedMailboxes(box, told)  # type: ignore[arg-type]
    reading = mailboxes.collect(ANN, WEEK, known, watermark)
    found = list(reading)
    assert reading.watermark is not None
    return found, reading.watermark


def test_the_copy_described_is_collected_with_what_the_description_tells() -> None:
    box, told = Box(), Told([described()])
    box.put("m1")
    (message,), _ = read(box, told)
    assert message.copy.message_id == "m1"
    assert message.location.place is Place.INBOX
    values = {one.value for one in message.extraction.observables}
    assert {"https://evil.example/login", "evil.example", "a@evil.example"} <= values


@pytest.mark.parametrize(
    "facts",
    [
        {"subject": "Newsletter of the CEO"},
        {"sender_address": "ceo@north.example"},
        {"received_at": NOW - timedelta(days=2)},
    ],
)
def test_a_message_with_a_forged_message_id_has_no_other_judged_by_it(
    facts: dict[str, Any],
) -> None:
    box, told = Box(), Told([described()])
    box.put("newsletter", **facts)
    assert read(box, told)[0] == []


def test_of_several_that_agree_only_those_with_the_content_told_of_are_taken() -> None:
    box, told = Box(), Told([described()])
    box.put("bad")
    box.put("good", url="https://north.example/news")
    assert [one.copy.message_id for one in read(box, told)[0]] == ["bad"]


def test_a_message_that_came_twice_is_collected_twice_and_not_more() -> None:
    box, told = Box(), Told([described(), described(received_at=NOW + timedelta(seconds=30))])
    box.put("direct")
    box.put("by list")
    assert sorted(one.copy.message_id for one in read(box, told)[0]) == ["by list", "direct"]


def test_what_has_its_copy_is_not_looked_for_again() -> None:
    box, told = Box(), Told([described()])
    box.put("m1")
    _, watermark = read(box, told)
    box.looked_for.clear()
    told.messages.append(described(internet_message_id="<2@x>", received_at=NOW))
    read(box, told, watermark, ["m1"])
    assert box.looked_for == ["<2@x>"]
    assert told.starts[-1] == NOW - LATE


def test_a_copy_that_is_not_there_yet_is_found_by_a_later_reading() -> None:
    box, told = Box(), Told([described()])
    none, watermark = read(box, told)
    assert none == []
    box.put("m1")
    assert [one.copy.message_id for one in read(box, told, watermark)[0]] == ["m1"]


def test_a_description_that_comes_late_is_not_missed() -> None:
    box, told = Box(), Told([described()])
    box.put("m1")
    _, watermark = read(box, told)
    box.put("m2", received_at=NOW - timedelta(hours=5))
    told.messages.append(
        described(internet_message_id="<2@x>", received_at=NOW - timedelta(hours=5))
    )
    assert [one.copy.message_id for one in read(box, told, watermark, ["m1"])[0]] == ["m2"]


def test_what_could_not_be_looked_up_is_told_and_tried_by_the_next_reading() -> None:
    box, told = Box(fails=Throttled("busy")), Told([described()])
    reading = DescribedMailboxes(box, told).collect(ANN, WEEK, ())  # type: ignore[arg-type]
    with pytest.raises(Throttled):
        list(reading)
    assert reading.watermark is not None
    box.fails = None
    box.put("m1")
    assert len(read(box, told, reading.watermark)[0]) == 1


@pytest.mark.parametrize("cursor", ["", "{}", '{"version": 9}', "not json"])
def test_a_watermark_that_cannot_be_read_means_reading_anew(cursor: str) -> None:
    box, told = Box(), Told([described(received_at=NOW - timedelta(days=6))])
    box.put("m1", received_at=NOW - timedelta(days=6))
    assert len(read(box, told, Watermark(WEEK.start, cursor))[0]) == 1


def test_a_longer_window_than_the_watermark_covers_is_read_whole() -> None:
    box, told = Box(), Told([described()])
    box.put("m1")
    _, watermark = read(box, told)
    later = Watermark(WEEK.start + timedelta(days=1), watermark.cursor)
    box.looked_for.clear()
    read(box, told, later, ["m1"])
    assert told.starts[-1] == WEEK.start
