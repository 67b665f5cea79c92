"""Looking and acting on many copies of a Microsoft 365 tenant: few calls, no hasty belief."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from random import Random
from urllib.parse import unquote, urlsplit

import pytest
from fastapi import Request, Response
from mailbox_bench import Door

from local_tenant.mailbox import LastVerb
from local_tenant.mailbox import Mailbox as TenantMailbox
from local_tenant.mailbox import Provider as TenantProvider
from local_tenant.server import RunningTenant
from local_tenant.state import Next
from retract.errors import MailboxError, OutcomeUnknown, TenantUnreachable, Throttled
from retract.mailboxes.microsoft365 import folders
from retract.mailboxes.microsoft365.provider import Microsoft365
from retract.mailboxes.settings import Microsoft365Settings
from retract.model import Action, Copy, Location, Place, Provider


async def hasty(seconds: float) -> None:
    """Sleep, but not for long."""
    await asyncio.sleep(seconds / 50)


class Bench:
    """The provider before the tenant, with as many mailboxes as wanted."""

    def __init__(self, tenant: RunningTenant) -> None:
        names = ("tenant_id", "client_id", "client_secret", "authority_url", "graph_url", "ca_file")
        self.settings = Microsoft365Settings.model_validate(
            {name: tenant.info[name] for name in names} | {"requests_per_second": 1e6}
        )
        self.tenant = tenant
        self.state = tenant.state
        self.boxes: dict[str, TenantMailbox] = {}
        self.mailboxes = Microsoft365(self.settings, "work", self.state.clock, sleep=hasty)
        door = tenant.state.door
        assert isinstance(door, Door)
        self.door = door

    def deliver(self, mailboxes: int, each: int = 1, **placement: str) -> list[Copy]:
        """So many copies into each of so many new mailboxes."""
        copies = []
        for _ in range(mailboxes):
            box = self.state.store.add_mailbox(
                TenantProvider.MICROSOFT365, f"user-{uuid.uuid4().hex}@north.example"
            )
            self.boxes[box.mailbox_id] = box
            for _ in range(each):
                raw = f"Message-ID: <{uuid.uuid4()}@evil.example>\r\nSubject: bad\r\n\r\nhello\r\n"
                (item,) = self.state.store.deliver(
                    raw.encode(), [box.address], self.state.clock(), **placement
                )
                copy = Copy(
                    Provider.MICROSOFT365, "work", box.mailbox_id, box.address, item.message_id
                )
                copies.append(copy)
        return copies

    def locate(self, copies: list[Copy]) -> list[Location]:
        """All of them, without a single error."""
        found = self.mailboxes.locate(copies)
        assert [one for one in found if not isinstance(one, Location)] == []
        return [one for one in found if isinstance(one, Location)]

    def retract(self, copies: list[Copy], action: Action) -> list[MailboxError | None]:
        until = self.mailboxes.now() + timedelta(minutes=5)
        return self.mailboxes.retract([(copy, action) for copy in copies], until)

    def calls(self) -> Counter[str]:
        """What the service was asked for since the last time, batches apart, ids left out."""
        asked: Counter[str] = Counter()
        for _, path in self.door.requests:
            parts = unquote(urlsplit(path).path).split("/")
            if "users" in parts:
                asked["/".join([*parts[4:5], *parts[6:]] or "user")] += 1
        self.door.requests.clear()
        return asked

    def moves(self) -> Counter[str]:
        """How often each message of this bench was changed."""
        return Counter(
            entry["message_id"]
            for entry in self.tenant.audit()
            if entry["mailbox"] in {box.address for box in self.boxes.values()}
        )


@pytest.fixture
def bench(empty_tenant: RunningTenant) -> Iterator[Bench]:
    bench = Bench(empty_tenant)
    with closing(bench.mailboxes):
        yield bench
    bench.door.fault = None


# ---- few calls ---------------------------------------------------------------------------


def test_looking_costs_a_call_a_copy_and_one_a_mailbox(bench: Bench) -> None:
    copies = bench.deliver(30, each=2)
    bench.calls()
    bench.locate(copies)
    assert bench.calls() == {"messages": 60, "mailFolders": 30}
    bench.locate(copies)
    assert bench.calls() == {"messages": 60}


def test_verifying_a_move_costs_a_call_a_copy(bench: Bench) -> None:
    copies = bench.deliver(30, each=2)
    bench.locate(copies)
    bench.calls()
    assert bench.retract(copies, Action.TRASH) == [None] * 60
    assert bench.calls() == {"messages/move": 60}
    assert {seen.place for seen in bench.locate(copies)} == {Place.TRASH}
    assert bench.calls() == {"messages": 60}


def test_many_copies_of_one_mailbox_meet_no_refusal(bench: Bench) -> None:
    refusals: list[int] = []

    async def watching(request: Request, proceed: Next) -> Response:
        response = await proceed(request)
        if response.status_code >= 400:
            refusals.append(response.status_code)
        return response

    bench.door.fault = watching
    copies = bench.deliver(1, each=50)
    bench.locate(copies)
    assert bench.retract(copies, Action.JUNK) == [None] * 50
    assert {seen.place for seen in bench.locate(copies)} == {Place.JUNK}
    assert refusals == []


def test_no_more_mailboxes_are_remembered_than_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_MAILBOXES_REMEMBERED", 5)
    copies = bench.deliver(20)
    bench.calls()
    assert {seen.place for seen in bench.locate(copies)} == {Place.INBOX}
    assert bench.calls()["mailFolders"] == 20
    bench.locate(copies[-5:])
    assert bench.calls()["mailFolders"] == 0
    bench.locate(copies[:5])
    assert bench.calls()["mailFolders"] == 5


# ---- no hasty belief ----------------------------------------------------------------------


def test_a_move_that_was_only_told_is_seen_through(bench: Bench) -> None:
    copies = bench.deliver(3)
    inboxes = {
        copy.mailbox_id: seen.folder_id
        for copy, seen in zip(copies, bench.locate(copies), strict=True)
    }

    async def only_told(request: Request, proceed: Next) -> Response:
        if not request.url.path.endswith("/move"):
            return await proceed(request)
        body = json.dumps({"parentFolderId": inboxes[unquote(request.url.path.split("/")[3])]})
        return Response(body, 201, media_type="application/json")

    bench.door.fault = only_told
    assert bench.retract(copies, Action.TRASH) == [None] * 3
    assert {seen.place for seen in bench.locate(copies)} == {Place.INBOX}
    bench.door.fault = None
    # Nor where the mailbox was never looked at.
    with closing(Microsoft365(bench.settings, "work", bench.state.clock)) as fresh:
        bench.door.fault = only_told
        until = fresh.now() + timedelta(minutes=5)
        assert fresh.retract([(copy, Action.TRASH) for copy in copies], until) == [None] * 3
        bench.door.fault = None
        seen = fresh.locate(copies)
        assert {one.place for one in seen if isinstance(one, Location)} == {Place.INBOX}


@pytest.mark.parametrize(
    ("verb", "replied", "forwarded"),
    [
        (None, False, False),
        (LastVerb.REPLY, True, False),
        (LastVerb.REPLY_ALL, True, False),
        (LastVerb.FORWARD, False, True),
    ],
)
def test_what_the_owner_did_with_it_is_told(
    bench: Bench, verb: LastVerb | None, replied: bool, forwarded: bool
) -> None:
    (copy,) = bench.deliver(1)
    box = bench.boxes[copy.mailbox_id]
    if verb is not None:
        bench.state.store.respond(box, box.items[copy.message_id], verb, at=bench.state.clock())
    (seen,) = bench.locate([copy])
    assert (seen.replied, seen.forwarded) == (replied, forwarded)
    (found,) = bench.mailboxes.find([with_message_id(bench, copy)])
    assert not isinstance(found, MailboxError)
    assert [one.location for one in found] == [seen]


def with_message_id(bench: Bench, copy: Copy) -> Copy:
    item = bench.boxes[copy.mailbox_id].items[copy.message_id]
    return Copy(
        copy.provider,
        copy.connection,
        copy.mailbox_id,
        copy.mailbox,
        copy.message_id,
        item.content.internet_message_id,
    )


# ---- a service in trouble ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_each_copy_is_moved_once_through_throttling_and_lost_answers(
    bench: Bench, seed: int
) -> None:
    copies = bench.deliver(20, each=3)
    bench.locate(copies)
    chance = Random(seed)

    async def trouble(request: Request, proceed: Next) -> Response:
        if "/users/" not in request.url.path:
            return await proceed(request)
        match chance.randrange(8):
            case 0:
                return Response(status_code=429, headers={"Retry-After": "0.05"})
            case 1:
                return Response(status_code=503)
            case 2:
                await proceed(request)
                return Response(status_code=504)
        return await proceed(request)

    bench.door.fault = trouble
    answers = bench.retract(copies, Action.TRASH)
    bench.door.fault = None
    assert {type(answer) for answer in answers} <= {type(None), OutcomeUnknown, Throttled}
    assert OutcomeUnknown in {type(answer) for answer in answers}
    seen = bench.locate(copies)
    for answer, location in zip(answers, seen, strict=True):
        assert (location.place is Place.TRASH) == (not isinstance(answer, Throttled))
    assert set(bench.moves().values()) == {1}


def test_a_reading_survives_throttling_and_lost_answers(bench: Bench) -> None:
    copies = bench.deliver(20, each=2)
    chance = Random(1)

    async def trouble(request: Request, proceed: Next) -> Response:
        status = chance.choice([200] * 12 + [429, 500])
        if status != 200 and "token" not in request.url.path and "openid" not in request.url.path:
            return Response(status_code=status, headers={"Retry-After": "0.01"})
        return await proceed(request)

    bench.door.fault = trouble
    found = bench.mailboxes.locate(copies)
    assert {type(one) for one in found} <= {Location, Throttled, TenantUnreachable}
    assert sum(isinstance(one, Location) for one in found) >= 30
    bench.door.fault = None
    bench.locate(copies)


def test_what_is_left_at_the_end_is_told(bench: Bench) -> None:
    copies = bench.deliver(10, each=6)
    start = bench.state.clock()
    now = start
    seen = 0

    def clock() -> datetime:
        return now

    async def slow(request: Request, proceed: Next) -> Response:
        nonlocal now, seen
        if request.url.path.endswith("/move"):
            seen += 1
            if seen == 5:
                now = start + timedelta(minutes=10)
        return await proceed(request)

    with closing(Microsoft365(bench.settings, "work", clock)) as mailboxes:
        bench.door.fault = slow
        until = start + timedelta(minutes=5)
        answers = mailboxes.retract([(copy, Action.TRASH) for copy in copies], until)
    bench.door.fault = None
    done = [copy for copy, answer in zip(copies, answers, strict=True) if answer is None]
    assert 0 < len(done) < len(copies)
    assert {type(answer) for answer in answers if answer} == {Throttled}
    assert bench.moves() == Counter(copy.message_id for copy in done)
