"""A Microsoft 365 mailbox is read without a gap, whatever its owner does meanwhile."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # for simulated_mailbox

from simulated_mailbox import RECOVERABLE, Owner, SimulatedMailbox

from retract.errors import MailboxError, MailboxUnavailable, TenantUnreachable, Throttled
from retract.mailboxes.microsoft365.calls import Call
from retract.mailboxes.microsoft365.folders import MailFolders
from retract.mailboxes.microsoft365.graph import Graph
from retract.mailboxes.microsoft365.reading import Manner, Microsoft365Reading
from retract.model import CollectedMessage, Mailbox, Place, Provider, Watermark, Window
from retract.observables.mime import TrustedHeaders

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MAILBOX = Mailbox(Provider.MICROSOFT365, "work", "mailbox-1", "anna@north.example")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = Window(NOW - 30 * DAY, NOW)


def reading(
    box: SimulatedMailbox,
    window: Window = MONTH,
    known: Collection[str] = (),
    watermark: Watermark | None = None,
    now: datetime = NOW,
) -> Microsoft365Reading:
    graph = cast(Graph, box)
    manner = Manner("work", 3, TrustedHeaders())
    return Microsoft365Reading(
        graph, MailFolders(graph), manner, MAILBOX, window, known, watermark, now
    )


def ids(found: Collection[CollectedMessage]) -> list[str]:
    return [message.copy.message_id for message in found]


def read(box: SimulatedMailbox, **given: Any) -> tuple[list[str], Watermark | None]:
    one = reading(box, **given)
    return ids(list(one)), one.watermark


@pytest.fixture
def box() -> SimulatedMailbox:
    return SimulatedMailbox()


# ---- nothing is missed -------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_whatever_happens_no_delivered_message_is_missed_or_told_twice(
    seed: int, moves_are_told: bool
) -> None:
    random = Random(seed)
    box = SimulatedMailbox(moves_are_told=moves_are_told)
    owner = Owner(box, random, NOW)
    owner.live(random.randint(0, 8))
    lake: set[str] = set()
    watermark: Watermark | None = None
    for _ in range(3):
        if random.random() < 0.2:
            box.expire_tokens()
        box.meanwhile, box.refuse = owner.meddle, partial(now_and_then, random)
        window = Window(owner.clock - 30 * DAY, owner.clock - random.choice([0, 5]) * HOUR / 60)
        one = reading(box, window, lake, watermark, owner.clock)
        with suppress(TenantUnreachable, Throttled):
            for message in one:
                assert message.copy.message_id not in lake
                lake.add(message.copy.message_id)
        watermark = one.watermark or watermark
        owner.clock += random.choice([timedelta(seconds=1), HOUR / 4, 3 * HOUR])
        owner.live(random.randint(0, 4))
    box.meanwhile, box.refuse = (lambda: None), (lambda call: None)
    window = Window(owner.clock - 30 * DAY, owner.clock)
    found, watermark = read(box, window=window, known=lake, watermark=watermark, now=owner.clock)
    assert lake.isdisjoint(found)
    # What came in the very second in which the last window ended is for the next one.
    recent = Window(owner.clock - 29 * DAY, owner.clock)
    there = {item.message_id for item in box.items.values() if item.received_at in recent}
    assert there <= lake | set(found)


def now_and_then(random: Random, call: Call) -> MailboxError | None:
    """The service gives out no content in one case of ten."""
    if "$value" not in call.path or random.random() > 0.1:
        return None
    return random.choice([TenantUnreachable("later"), Throttled("later")])


def test_a_message_filed_between_two_readings_is_told_though_no_delta_tells_it(
    box: SimulatedMailbox,
) -> None:
    box.moves_are_told = False
    _, watermark = read(box)
    box.make_folder("projects")
    box.move(box.put("inbox", NOW + HOUR), "projects")
    found, _ = read(box, watermark=watermark, now=NOW + 5 * HOUR)
    assert found == ["m0"]


def test_a_message_that_tarries_is_told_though_it_was_stamped_before_the_last_reading(
    box: SimulatedMailbox,
) -> None:
    box.moves_are_told = False
    _, watermark = read(box)
    box.move(box.put("inbox", NOW - HOUR / 2), "archive")
    found, _ = read(box, watermark=watermark, now=NOW + 5 * HOUR)
    assert found == ["m0"]


def test_what_is_thrown_away_during_a_reading_is_found_among_recoverable_items(
    box: SimulatedMailbox,
) -> None:
    box.offers_delta = False
    box.put("inbox", NOW - 3 * HOUR)

    def meanwhile() -> None:
        if any("/messages/delta" in call.path for call in box.calls) and len(box._log) == 1:
            box.move("m0", RECOVERABLE)

    box.meanwhile = meanwhile
    found, watermark = read(box)
    assert found == ["m0"]
    box.put("inbox", NOW)
    box.meanwhile = lambda: box.move("m2", RECOVERABLE) if _listed_all(box) else None
    before = len(box.calls)
    found, _ = read(box, known=found, watermark=watermark, now=NOW + 5 * HOUR)
    assert found == ["m2"]
    asked = [call.path.partition("?")[0] for call in box.calls[before:]]
    assert asked.index(f"/users/mailbox-1/mailFolders/{RECOVERABLE}/messages") > asked.index(
        "/users/mailbox-1/messages"
    )


def _listed_all(box: SimulatedMailbox) -> bool:
    return box.calls[-1].path.startswith("/users/mailbox-1/messages?")


def test_what_is_deleted_while_pages_are_read_shifts_nothing_out_of_sight(
    box: SimulatedMailbox,
) -> None:
    box.moves_are_told = box.offers_delta = False
    for number in range(8):
        box.put("inbox", NOW - number * HOUR)

    def meanwhile() -> None:
        if len([c for c in box.calls if "/messages?" in c.path]) == 1 and "m0" in box.items:
            box.remove("m0")

    box.meanwhile = meanwhile
    found, _ = read(box, window=Window(NOW - DAY, NOW + HOUR))
    assert set(found) >= {f"m{number}" for number in range(1, 8)}


def test_more_messages_in_one_second_than_fit_on_a_page(box: SimulatedMailbox) -> None:
    box.offers_delta = False
    for _ in range(8):
        box.put("inbox", NOW - HOUR)
    assert len(read(box)[0]) == 8


def test_messages_of_one_second_on_two_pages_are_all_told(box: SimulatedMailbox) -> None:
    """The service shows whole seconds, and compares with what it keeps."""
    box.offers_delta = False
    for number in range(12):
        box.put("inbox", NOW - HOUR + timedelta(milliseconds=300 * number))
    assert len(read(box)[0]) == 12
    past = Window(MONTH.start, NOW - HOUR + timedelta(seconds=30))
    assert len(read(box, window=past)[0]) == 12


def test_an_old_message_that_is_imported_is_told_by_delta(box: SimulatedMailbox) -> None:
    _, watermark = read(box)
    box.put("archive", NOW - 20 * DAY)
    box.put("archive", MONTH.start - DAY)
    found, watermark = read(box, watermark=watermark)
    assert found == ["m0"]
    assert read(box, watermark=watermark, known=found)[0] == []


def test_a_folder_that_is_new_and_one_below_another_are_read(box: SimulatedMailbox) -> None:
    _, watermark = read(box)
    box.make_folder("clients")
    box.make_folder("one", "clients")
    box.put("one", NOW - 9 * DAY)
    found, watermark = read(box, watermark=watermark)
    assert found == ["m0"]
    box.put("one", NOW - 8 * DAY)
    assert read(box, watermark=watermark, known=found)[0] == ["m1"]


def test_a_folder_that_vanished_is_dropped(box: SimulatedMailbox) -> None:
    box.make_folder("bygone")
    _, watermark = read(box)
    del box.folders["bygone"]
    box.put("inbox", NOW)
    _, watermark = read(box, watermark=watermark)
    assert watermark is not None
    assert "bygone" not in watermark.cursor


# ---- how far it was read -----------------------------------------------------------------


def test_a_later_reading_asks_little_and_reads_only_what_is_new(box: SimulatedMailbox) -> None:
    for number in range(1, 10):
        box.put("inbox", NOW - number * DAY)
    found, watermark = read(box)
    assert watermark is not None
    assert watermark.since == MONTH.start
    box.put("junkemail", NOW + HOUR / 2)
    box.requests, box.reads = 0, []
    again, later = read(box, known=found, watermark=watermark, now=NOW + HOUR / 2)
    assert again == box.reads == ["m9"]
    assert box.requests == 1
    assert later is not None
    assert later != watermark
    assert later.since == watermark.since


def test_a_quiet_mailbox_keeps_its_watermark_for_half_a_day(box: SimulatedMailbox) -> None:
    _, watermark = read(box)
    assert read(box, watermark=watermark, now=NOW + HOUR)[1] is watermark
    _, later = read(box, watermark=watermark, now=NOW + 13 * HOUR)
    assert later != watermark


def test_a_window_that_begins_before_the_watermark_is_read_whole(box: SimulatedMailbox) -> None:
    box.put("inbox", NOW - 20 * DAY)
    _, watermark = read(box, window=Window(NOW - DAY, NOW))
    found, wider = read(box, watermark=watermark)
    assert found == ["m0"]
    assert wider is not None
    assert wider.since == MONTH.start


def test_a_window_of_the_past_leaves_no_watermark_and_follows_nothing(
    box: SimulatedMailbox,
) -> None:
    box.put("inbox", NOW - 20 * DAY)
    box.put("inbox", NOW - 10 * DAY)
    found, watermark = read(box, window=Window(NOW - 21 * DAY, NOW - 19 * DAY))
    assert found == ["m0"]
    assert watermark is None
    assert not [call for call in box.calls if "delta" in call.path]


def test_what_came_after_a_window_is_told_by_the_next_reading(box: SimulatedMailbox) -> None:
    box.put("inbox", NOW - 2 * HOUR)
    found, watermark = read(box, window=Window(NOW - DAY, NOW - 3 * HOUR))
    assert found == []
    assert read(box, window=Window(NOW - DAY, NOW), watermark=watermark)[0] == ["m0"]


@pytest.mark.parametrize("cursor", ["", "{}", "[]", '{"version":2}', "\x00", '{"version":1}'])
def test_a_cursor_nobody_understands_means_reading_anew(
    box: SimulatedMailbox, cursor: str, caplog: pytest.LogCaptureFixture
) -> None:
    box.put("inbox", NOW - 3 * DAY)
    with caplog.at_level(logging.INFO, "retract"):
        found, watermark = read(box, watermark=Watermark(MONTH.start, cursor))
    assert found == ["m0"]
    assert watermark is not None
    assert len(caplog.records) == 1


def test_a_folder_whose_token_expired_is_read_anew_and_nothing_known_is_read_again(
    box: SimulatedMailbox, caplog: pytest.LogCaptureFixture
) -> None:
    box.put("inbox", NOW - 3 * DAY)
    found, watermark = read(box)
    box.put("archive", NOW - 3 * DAY)
    box.expire_tokens()
    with caplog.at_level(logging.INFO, "retract"):
        again, later = read(box, known=found, watermark=watermark)
    assert again == ["m1"]
    assert box.reads == ["m0", "m1"]
    assert "anew" in caplog.text
    box.put("archive", NOW - 2 * DAY)
    assert read(box, known={"m0", "m1"}, watermark=later)[0] == ["m3"]


def test_without_delta_the_listings_remain(box: SimulatedMailbox) -> None:
    box.offers_delta = False
    box.put("inbox", NOW - 3 * DAY)
    found, watermark = read(box)
    assert found == ["m0"]
    box.put("archive", NOW)
    assert read(box, known=found, watermark=watermark)[0] == ["m1"]
    box.offers_delta = True
    _, watermark = read(box, known={"m0", "m1"}, watermark=watermark)
    box.put("archive", NOW - 3 * DAY)
    assert read(box, known={"m0", "m1"}, watermark=watermark)[0] == ["m2"]


def test_the_service_s_own_folders_keep_their_names_where_they_cannot_be_followed(
    box: SimulatedMailbox,
) -> None:
    box.offers_delta = False
    watermark, places = None, {}
    for later in range(3):
        now = NOW + later * HOUR
        for folder in ("sentitems", "junkemail", "deleteditems", RECOVERABLE):
            box.put(folder, now - HOUR / 2, f"{folder} {later}")
        one = reading(box, watermark=watermark, now=now)
        places |= {message.copy.message_id: message.location.place for message in one}
        watermark = one.watermark
    for later in range(3):
        assert places[f"sentitems {later}"] is Place.SENT
        assert places[f"junkemail {later}"] is Place.JUNK
        assert places[f"deleteditems {later}"] is Place.TRASH
        assert places[f"{RECOVERABLE} {later}"] is Place.RECOVERABLE


def test_a_first_round_near_the_limit_of_a_filtered_delta_is_cut_short(
    box: SimulatedMailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retract.mailboxes.microsoft365.reading._NEAR_THE_LIMIT", 9)
    for number in range(20):
        box.put("inbox", NOW - 3 * DAY - number * HOUR)
    found, watermark = read(box)
    assert len(found) == 20
    rounds = [c.path for c in box.calls if "/inbox/messages/delta" in c.path]
    assert len([path for path in rounds if "changeType" in path]) == 2
    assert len(rounds) == 4
    box.put("inbox", NOW)
    assert read(box, known=found, watermark=watermark)[0] == ["m20"]


# ---- what is told, and where it lies -----------------------------------------------------


def test_each_message_is_told_with_its_place(box: SimulatedMailbox) -> None:
    box.make_folder("gone", "deleteditems")
    box.make_folder("team", "inbox")
    places = {
        "inbox": Place.INBOX,
        "junkemail": Place.JUNK,
        "deleteditems": Place.TRASH,
        "gone": Place.TRASH,
        "team": Place.OTHER,
        "archive": Place.OTHER,
        "sentitems": Place.SENT,
        RECOVERABLE: Place.RECOVERABLE,
    }
    for folder in places:
        box.put(folder, NOW - HOUR, folder)
    found = {m.copy.message_id: m.location for m in reading(box)}
    assert {name: location.place for name, location in found.items()} == places
    assert found["team"].folder_name == "Team"
    assert found["team"].folder_id == "team"


def test_drafts_chats_and_views_are_left_out(box: SimulatedMailbox) -> None:
    box.make_folder("chat", "conversationhistory")
    box.make_folder("view")
    box.types["view"] = "#microsoft.graph.mailSearchFolder"
    for folder in ("drafts", "outbox", "conversationhistory", "chat"):
        box.put(folder, NOW - HOUR)
    box.put("inbox", NOW - HOUR, draft=True)
    found, watermark = read(box)
    assert found == []
    box.put("chat", NOW)
    assert read(box, watermark=watermark)[0] == []
    assert not [
        c for c in box.calls if "delta" in c.path and ("chat" in c.path or "view" in c.path)
    ]


def test_an_item_that_is_no_message_stops_no_other(box: SimulatedMailbox) -> None:
    box.put("inbox", NOW - HOUR)
    box.put("inbox", NOW - HOUR, "odd")
    genuine = box._message

    def message(item: Any) -> dict[str, Any]:
        row = genuine(item)
        if item.message_id == "odd":
            del row["receivedDateTime"]
        return row

    box.offers_delta = False
    box._message = message  # type: ignore[method-assign]
    assert read(box)[0] == ["m0"]


# ---- what cannot be read now -------------------------------------------------------------


def failing(*names: str, error: MailboxError | None = None) -> Any:
    def refuse(call: Call) -> MailboxError | None:
        wanted = any(f"/messages/{name}/$value" in call.path for name in names)
        return (error or TenantUnreachable("no answer")) if wanted else None

    return refuse


def test_one_message_the_service_cannot_deliver_stops_no_other_and_is_read_next_time(
    box: SimulatedMailbox, caplog: pytest.LogCaptureFixture
) -> None:
    box.put("inbox", NOW - 3 * DAY)
    box.put("inbox", NOW - 2 * DAY)
    box.refuse = failing("m1")
    with caplog.at_level(logging.WARNING, "retract"):
        found, watermark = read(box)
    assert found == ["m0"]
    assert "left for the next run" in caplog.text
    box.refuse = lambda call: None
    assert read(box, known=found, watermark=watermark)[0] == ["m1"]


def test_a_pending_message_that_was_deleted_is_forgotten(box: SimulatedMailbox) -> None:
    box.put("inbox", NOW - 3 * DAY)
    box.refuse = failing("m0")
    _, watermark = read(box)
    box.remove("m0")
    found, watermark = read(box, watermark=watermark)
    assert found == []
    assert watermark is not None
    assert "m0" not in watermark.cursor


def test_a_pending_message_that_is_refused_keeps_no_other_from_being_read(
    box: SimulatedMailbox, caplog: pytest.LogCaptureFixture
) -> None:
    box.put("inbox", NOW - 3 * DAY)
    box.refuse = failing("m0")
    _, watermark = read(box)
    refused = MailboxError("ErrorInvalidMailboxItemId")
    box.refuse = lambda call: refused if "/messages/m0" in call.path else None
    for number in range(1, 9):
        box.put("inbox", NOW)
        found, watermark = read(box, watermark=watermark, known=[f"m{n}" for n in range(1, number)])
        assert found == [f"m{number}"]
    assert watermark is not None
    assert "m0" not in watermark.cursor
    assert "ErrorInvalidMailboxItemId" in caplog.text


def test_a_message_that_can_never_be_read_is_kept_with_its_problem(box: SimulatedMailbox) -> None:
    box.put("inbox", NOW - 3 * DAY)
    box.refuse = failing("m0")
    watermark: Watermark | None = None
    for _ in range(7):
        found, watermark = read(box, watermark=watermark)
        assert found == []
    (message,) = reading(box, watermark=watermark)
    assert "no answer" in message.extraction.problems[0]


def test_a_message_the_service_will_not_convert_is_kept_with_its_problem(
    box: SimulatedMailbox,
) -> None:
    box.put("inbox", NOW - HOUR)
    box.refuse = failing("m0", error=MailboxError("ErrorMimeContentConversionFailed"))
    one = reading(box)
    (message,) = one
    assert "ErrorMimeContentConversionFailed" in message.extraction.problems[0]
    assert one.watermark is not None
    assert "m0" not in one.watermark.cursor


@pytest.mark.parametrize("error", [TenantUnreachable("down"), Throttled("later", retry_after=60)])
def test_a_reading_that_must_stop_keeps_what_it_read_and_leaves_the_rest_to_the_next(
    box: SimulatedMailbox, error: MailboxError
) -> None:
    for number in range(9):
        box.put("inbox", NOW - number * HOUR)
    box.refuse = failing(*(f"m{number}" for number in range(4, 9)), error=error)
    one = reading(box, window=Window(NOW - DAY, NOW + HOUR))
    found: list[str] = []
    with pytest.raises(type(error)):
        found.extend(message.copy.message_id for message in one)
    assert found == ["m0", "m1", "m2", "m3"]
    box.refuse = lambda call: None
    again, _ = read(box, window=Window(NOW - DAY, NOW + HOUR), known=found, watermark=one.watermark)
    assert again == ["m4", "m5", "m6", "m7", "m8"]


def test_a_reading_that_leaves_too_much_leaves_no_watermark(
    box: SimulatedMailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retract.mailboxes.microsoft365.reading._MOST_PENDING", 3)
    for number in range(9):
        box.put("inbox", NOW - number * HOUR)
    box.refuse = failing(*box.items, error=Throttled("later"))
    one = reading(box)
    with pytest.raises(Throttled):
        list(one)
    assert one.watermark is None


def test_a_reading_that_could_not_ask_leaves_no_watermark(box: SimulatedMailbox) -> None:
    box.refuse = lambda call: MailboxUnavailable("on-premises")
    one = reading(box)
    with pytest.raises(MailboxUnavailable):
        list(one)
    assert one.watermark is None


def test_a_cursor_holds_no_more_than_is_needed(box: SimulatedMailbox) -> None:
    _, watermark = read(box)
    assert watermark is not None
    told = json.loads(watermark.cursor)
    assert set(told) == {"read_until", "folders"}
    assert {"id", "token", "name"} >= set(told["folders"][0])
