"""Each copy is found, on whatever way it came and wherever it went, and by both providers: through
a list, as a forward, filed between two readings, and after the service forgot what has changed."""

from __future__ import annotations

import logging
import uuid
from contextlib import closing
from datetime import timedelta
from email.message import EmailMessage

import pytest
from fastapi import Request, Response
from mailbox_bench import Bench, locate, other_mailboxes

from local_tenant.faults.owners import Deed, do
from local_tenant.state import Next
from retract.model import CollectedMessage, Copy, ObservableType, Place, Watermark, Window

URL = "https://evil.example/login"


def days(bench: Bench) -> Window:
    return Window(bench.now - timedelta(days=3), bench.now)


def read_up_to_now(bench: Bench) -> tuple[set[str], Watermark]:
    """The ids of all that lies in the mailbox, and from where the next reading goes on."""
    reading = bench.mailboxes.collect(bench.mailbox, days(bench), ())
    known = {message.copy.message_id for message in reading}
    assert reading.watermark is not None
    return known, reading.watermark


# ---- on whatever way it came -------------------------------------------------------------


def send(bench: Bench, recipient: str, message: EmailMessage) -> None:
    message["To"] = recipient
    message["Message-ID"] = f"<{uuid.uuid4()}@evil.example>"
    at = bench.now - timedelta(hours=1)
    bench.tenant.state.store.deliver(message.as_bytes(), [recipient], at)


def phish() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Mallory <mallory@evil.example>"
    message["Subject"] = "Your invoice"
    message.set_content(f"See {URL}\n")
    return message


def collect(bench: Bench) -> list[CollectedMessage]:
    return list(bench.mailboxes.collect(bench.mailbox, days(bench), ()))


def urls(message: CollectedMessage) -> set[str]:
    seen = message.extraction.observables
    return {one.value for one in seen if one.type is ObservableType.URL}


def test_what_was_sent_to_a_list_is_found_with_each_member(bench: Bench) -> None:
    """Once with each: also with those of a list within the list, and with one who is in both."""
    members = [bench, *other_mailboxes(bench, 3)]
    store, domain = bench.tenant.state.store, bench.mailbox.address.partition("@")[2]
    inner, outer = (f"{name}-{uuid.uuid4().hex}@{domain}" for name in ("inner", "outer"))
    addresses = [member.mailbox.address for member in members]
    store.add_group(bench.tenant_provider, inner, members=addresses[1:])
    store.add_group(bench.tenant_provider, outer, members=[*addresses[:2], inner])
    send(bench, outer, phish())

    found = [collect(member) for member in members]
    assert [len(messages) for messages in found] == [1] * len(members)
    assert {message.extraction.internet_message_id for (message,) in found} != {""}
    assert len({message.extraction.internet_message_id for (message,) in found}) == 1
    assert len({message.copy.copy_id for (message,) in found}) == len(members)
    assert {message.copy.mailbox for (message,) in found} == set(addresses)


@pytest.mark.parametrize("attached", [False, True], ids=["quoted", "attached"])
def test_a_forward_is_found_by_what_is_in_it(bench: Bench, attached: bool) -> None:
    """Another message to the service: another Message-ID, sender and subject."""
    (colleague,) = other_mailboxes(bench, 1)
    original, forward = phish(), EmailMessage()
    send(bench, bench.mailbox.address, original)
    forward["From"], forward["Subject"] = bench.mailbox.address, "FW: Your invoice"
    forward.set_content("Is this real?" if attached else f"Is this real?\n\n> See {URL}\n")
    if attached:
        forward.add_attachment(original)
    send(colleague, colleague.mailbox.address, forward)

    (first,), (second,) = collect(bench), collect(colleague)
    assert first.extraction.internet_message_id != second.extraction.internet_message_id
    assert urls(first) == urls(second) == {URL}


# ---- wherever it went meanwhile ----------------------------------------------------------


def file_away(bench: Bench, copy: Copy, place: Place) -> None:
    """As a rule or the mailbox's owner does; OTHER is the archive."""
    deeds = {Place.OTHER: Deed.FILE, Place.JUNK: Deed.JUNK, Place.TRASH: Deed.TRASH}
    do(bench.tenant.state, bench.box, bench.box.items[copy.message_id], deeds[place])


@pytest.mark.parametrize("place", [Place.OTHER, Place.JUNK, Place.TRASH])
def test_what_was_filed_between_two_readings_is_found_where_it_lies(
    bench: Bench, place: Place
) -> None:
    """What was read before it was filed is known, and is not read again."""
    old = bench.deliver("old", bench.now - timedelta(hours=2))
    known, watermark = read_up_to_now(bench)
    new = bench.deliver("new", bench.now - timedelta(seconds=1))
    file_away(bench, old, place)
    file_away(bench, new, place)

    found = bench.mailboxes.collect(bench.mailbox, days(bench), known, watermark)
    assert [(message.copy, message.location.place) for message in found] == [(new, place)]
    location = locate(bench.mailboxes, old)
    assert location is not None
    assert location.place is place


# ---- after the service forgot what has changed -------------------------------------------


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_a_history_that_expires_costs_nothing_but_a_whole_reading(
    bench: Bench,
    answers: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the reading asks what has changed, or when it has had some of the answers."""
    monkeypatch.setattr("retract.mailboxes.google_workspace.reading._CHANGES_PER_PAGE", 2)
    old = [bench.deliver(f"old {n}", bench.now - timedelta(hours=2)) for n in range(5)]
    known, watermark = read_up_to_now(bench)
    new = [bench.deliver(f"new {n}", bench.now - timedelta(seconds=1)) for n in range(5)]
    file_away(bench, old[0], Place.OTHER)
    file_away(bench, new[0], Place.JUNK)
    asked: list[str] = []
    answered: list[int] = []

    async def forget(request: Request, proceed: Next) -> Response:
        url = str(request.url)
        if "/history" not in url and not ("/delta" in url and "token=" in url):
            return await proceed(request)
        asked.append(url)
        if len(asked) == answers + 1:
            bench.tenant.state.store.forget_changes(bench.box)
        response = await proceed(request)
        answered.append(response.status_code)
        return response

    bench.door.fault = forget
    with (
        closing(bench.with_settings(page_size=2)) as mailboxes,
        caplog.at_level(logging.WARNING, "retract"),
    ):
        found = list(mailboxes.collect(bench.mailbox, days(bench), known, watermark))
    assert {404, 410} & set(answered), "it expired"
    ids = [message.copy.message_id for message in found]
    assert sorted(ids) == sorted(copy.message_id for copy in new)
    assert [record for record in caplog.records if record.name.startswith("retract")] == []
