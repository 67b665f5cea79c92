"""Collecting by descriptions: the copy described is found, and no other is taken for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retract.errors import MailboxError, MessageNotFound, PermissionDenied, Throttled
from retract.mailboxes.described import LATE, DescribedMailboxes
from retract.mailboxes.protocol import MOST_FOUND
from retract.model import (
    CollectedMessage,
    Copy,
    Disposition,
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
    content_fails: MailboxError | None = None

    def now(self) -> datetime:
        return NOW

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
            self.content_fails
            or Extraction(
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


def urls_of(messages: Iterable[CollectedMessage]) -> dict[str, set[str]]:
    """By message id, the URLs that it is judged by."""
    return {
        message.copy.message_id: {
            one.value for one in message.extraction.observables if one.type is ObservableType.URL
        }
        for message in messages
    }


def test_several_that_agree_are_each_judged_by_their_own_content() -> None:
    box, told = Box(), Told([described()])
    box.put("bad")
    box.put("good", url="https://north.example/news")
    assert urls_of(read(box, told)[0]) == {"bad": {BAD}, "good": {"https://north.example/news"}}


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(minutes=1)])
def test_who_sends_another_message_with_the_facts_of_one_has_that_one_not_judged_by_his(
    apart: timedelta,
) -> None:
    """His own was told of by the gateway and dropped behind it."""
    own = described(urls=["https://north.example/news"])
    forged = described(received_at=NOW + apart, urls=[BAD], disposition="malicious")
    box = Box()
    box.put("good", url="https://north.example/news")
    (message,), _ = read(box, Told([own, forged]))
    assert urls_of([message]) == {"good": {"https://north.example/news"}}
    assert message.extraction.delivered_disposition is Disposition.UNKNOWN
    # Nor where his own is told of by a later reading.
    _, watermark = read(box, Told([own]))
    (message,), _ = read(box, Told([own, forged]), watermark)
    assert urls_of([message]) == {"good": {"https://north.example/news"}}


@pytest.mark.parametrize(
    ("error", "problems"), [(MailboxError("cannot be converted"), 1), (MessageNotFound("gone"), 0)]
)
def test_of_several_that_agree_one_without_content_is_kept_with_its_problem(
    error: MailboxError, problems: int
) -> None:
    box, told = Box(content_fails=error), Told([described()])
    box.put("one")
    box.put("other")
    found, _ = read(box, told)
    assert [len(one.extraction.problems) for one in found] == [1, 1][: 2 * problems]


def test_a_message_that_the_service_refuses_to_look_for_keeps_no_mailbox_from_being_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    box = Box(fails=MailboxError("Microsoft Graph refused: HTTP 400"))
    assert read(box, Told([described()]))[0] == []
    assert "HTTP 400" in caplog.text


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(days=4000)])
def test_a_delivery_that_is_to_come_has_none_passed_over_until_then(ahead: timedelta) -> None:
    box, told = Box(), Told([described(internet_message_id="<2@x>", received_at=NOW + ahead)])
    _, watermark = read(box, told)
    told.messages.append(described(received_at=NOW - timedelta(hours=12)))
    box.put("m1", received_at=NOW - timedelta(hours=12))
    assert len(read(box, told, watermark)[0]) == 1


def test_clocks_that_differ_too_much_are_told(caplog: pytest.LogCaptureFixture) -> None:
    box = Box()
    box.put("m1", received_at=NOW - timedelta(hours=1))
    assert read(box, Told([described()]))[0] == []
    assert "clocks differ" in caplog.text


@pytest.mark.parametrize("letter", ["a", "\N{SMILING FACE WITH OPEN MOUTH}", "a  "])
def test_a_subject_longer_than_the_service_keeps_hides_no_message(letter: str) -> None:
    subject = letter * 400
    kept = subject.encode("utf-16-le")[: 2 * 255].decode("utf-16-le", "replace")
    box = Box()
    box.put("m1", subject=kept)
    assert len(read(box, Told([described(subject=subject)]))[0]) == 1
    assert read(box, Told([described(subject="Bill")]))[0] == []


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


def test_what_could_not_be_looked_up_for_days_is_not_given_up() -> None:
    """A permission that is withdrawn over a weekend costs no message."""
    box, told = Box(fails=PermissionDenied("no")), Told()
    told.messages = [described(received_at=NOW - timedelta(days=4))]
    mailboxes = DescribedMailboxes(box, told)  # type: ignore[arg-type]
    watermark = None
    for days in (3, 2, 1):
        newer = described(internet_message_id=f"<{days}@x>", received_at=NOW - timedelta(days=days))
        told.messages.append(newer)
        reading = mailboxes.collect(ANN, WEEK, (), watermark)
        with pytest.raises(PermissionDenied):
            list(reading)
        watermark = reading.watermark
    box.fails = None
    box.put("m1", received_at=NOW - timedelta(days=4))
    found, _ = read(box, told, watermark)
    assert [one.copy.message_id for one in found] == ["m1"]


def test_a_short_window_leaves_no_gap_for_the_next_longer_one() -> None:
    """Nobody read for days; then somebody judges the last hours alone."""
    box, told = Box(), Told([described(received_at=NOW - timedelta(days=5))])
    _, watermark = read(box, told)
    told.messages.append(described(received_at=NOW - timedelta(days=2)))
    told.messages.append(described(internet_message_id="<2@x>", received_at=NOW))
    mailboxes = DescribedMailboxes(box, told)  # type: ignore[arg-type]
    short = mailboxes.collect(ANN, Window(NOW - timedelta(hours=2), NOW), (), watermark)
    assert list(short) == []
    box.put("m1", received_at=NOW - timedelta(days=2))
    found, _ = read(box, told, short.watermark)
    assert [one.copy.message_id for one in found] == ["m1"]


def test_a_quiet_mailbox_keeps_its_watermark() -> None:
    box, told = Box(), Told()
    _, watermark = read(box, told)
    mailboxes = DescribedMailboxes(box, told)  # type: ignore[arg-type]
    later = Window(WEEK.start + timedelta(hours=1), WEEK.end)
    reading = mailboxes.collect(ANN, later, (), watermark)
    assert list(reading) == []
    assert reading.watermark == watermark


def test_more_copies_than_a_search_tells_of_are_told(caplog: pytest.LogCaptureFixture) -> None:
    box, told = Box(), Told([described()])
    for number in range(MOST_FOUND):
        box.put(f"m{number}")
    assert len(read(box, told)[0]) == MOST_FOUND
    assert "those beyond are not judged" in caplog.text
