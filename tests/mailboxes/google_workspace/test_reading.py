"""Readings that go on from one another: nothing is missed, and little is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Request, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailbox_bench import Bench

from local_tenant.places import Place as TenantPlace
from local_tenant.state import Next
from retract.errors import MailboxError, TenantUnreachable, Throttled
from retract.model import CollectedMessage, Copy, Place, Provider, Watermark, Window

pytestmark = pytest.mark.parametrize("bench", [Provider.GOOGLE_WORKSPACE], indirect=True)
Make = Callable[..., Any]
HOUR = timedelta(hours=1)
HISTORY = "GET /gmail/v1/users/me/history"


def last_hours(it: Any) -> Window:
    now = it.mailboxes.now()
    return Window(now - 5 * HOUR, now)


def read(
    it: Any, known: set[str], watermark: Watermark | None = None, window: Window | None = None
) -> tuple[list[CollectedMessage], Watermark | None, MailboxError | None]:
    """As the program does: what was yielded is kept, also of a reading that stops early."""
    reading = it.mailboxes.collect(it.bench.mailbox, window or last_hours(it), known, watermark)
    found: list[CollectedMessage] = []
    error: MailboxError | None = None
    try:
        found.extend(reading)
    except MailboxError as stopped:
        error = stopped
    known |= {message.copy.message_id for message in found}
    return found, reading.watermark or watermark, error


def subjects(found: list[CollectedMessage]) -> list[str]:
    return [message.extraction.subject for message in found]


def contents(it: Any) -> int:
    return sum("format=raw" in path for _, path in it.bench.door.sent)


def test_a_reading_with_nothing_new_is_one_call(patient: Make, bench: Bench) -> None:
    bench.deliver("old", bench.now - HOUR)
    it, known = patient(), set[str]()
    _, mark, _ = read(it, known)
    _, mark, _ = read(it, known, mark)  # lists once more what came lately
    bench.door.sent.clear()
    assert read(it, known, mark)[0] == []
    assert it.calls() == [HISTORY]
    assert mark is not None
    assert len(mark.cursor) < 60


def test_what_comes_between_is_told_by_the_next_and_only_that_is_read(
    patient: Make, bench: Bench
) -> None:
    bench.deliver("first", bench.now - HOUR)
    it, known = patient(), set[str]()
    assert subjects(read(it, known)[0]) == ["first"]
    _, mark, _ = read(it, known)
    bench.deliver("second")
    bench.deliver_to(Place.JUNK, "spam", bench.now)
    bench.deliver("sent", labels=["SENT"])
    bench.deliver("draft", labels=["DRAFT"])
    bench.deliver("of old", bench.now - 9 * HOUR)
    bench.door.sent.clear()
    found, mark, error = read(it, known, mark)
    assert error is None
    assert set(subjects(found)) == {"second", "spam", "sent"}
    assert contents(it) == 4  # when it was received is known only from a look
    assert read(it, known, mark)[0] == []


def test_what_comes_after_the_windows_end_waits_for_the_next(patient: Make, bench: Bench) -> None:
    it, known = patient(), set[str]()
    now = it.mailboxes.now()
    window = Window(now - 5 * HOUR, now - 2 * HOUR)
    bench.deliver("in", now - 3 * HOUR)
    bench.deliver("after", now - HOUR)
    found, mark, _ = read(it, known, window=window)
    assert subjects(found) == ["in"]
    later = Window(now - 4 * HOUR, now)
    assert subjects(read(it, known, mark, later)[0]) == ["after"]


def test_a_window_long_past_leaves_no_watermark(patient: Make, bench: Bench) -> None:
    it = patient()
    now = it.mailboxes.now()
    window = Window(now - 90 * HOUR, now - 40 * HOUR)
    bench.deliver("then", now - 50 * HOUR)
    found, mark, _ = read(it, set(), window=window)
    assert (subjects(found), mark) == (["then"], None)


def test_an_earlier_window_than_the_watermarks_is_read_as_a_whole(
    patient: Make, bench: Bench
) -> None:
    it, known = patient(), set[str]()
    _, mark, _ = read(it, known)
    bench.deliver("before", bench.now - 7 * HOUR)
    window = Window(it.mailboxes.now() - 8 * HOUR, it.mailboxes.now())
    found, wider, _ = read(it, known, mark, window)
    assert subjects(found) == ["before"]
    assert wider is not None
    assert wider.since == window.start


@pytest.mark.parametrize("cursor", ["", "{}", '{"version":2,"history_id":1}', "delta", '{"a":'])
def test_a_cursor_that_cannot_be_understood_means_reading_anew(
    patient: Make, bench: Bench, cursor: str
) -> None:
    bench.deliver("there", bench.now - HOUR)
    it = patient()
    old = Watermark(it.mailboxes.now() - 9 * HOUR, cursor)
    assert subjects(read(it, set(), old)[0]) == ["there"]


def test_a_history_that_expired_means_reading_anew(patient: Make, bench: Bench) -> None:
    it, known = patient(), set[str]()
    _, mark, _ = read(it, known)
    bench.deliver("new")
    bench.tenant.state.store.forget_changes(bench.box)
    found, mark, error = read(it, known, mark)
    assert (subjects(found), error) == (["new"], None)
    bench.deliver("newer")
    assert subjects(read(it, known, mark)[0]) == ["newer"]


def test_a_history_id_that_is_refused_means_reading_anew(patient: Make, bench: Bench) -> None:
    it, known = patient(), set[str]()
    _, mark, _ = read(it, known)
    bench.deliver("new")

    async def refuse(request: Request, proceed: Next) -> Response:
        if request.url.path.endswith("/history"):
            return Response('{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}', 400)
        return await proceed(request)

    bench.door.fault = refuse
    found, _, error = read(it, known, mark)
    assert (subjects(found), error) == (["new"], None)


def test_a_draft_that_is_sent_comes_into_view(patient: Make, bench: Bench) -> None:
    it, known = patient(), set[str]()
    _, mark, _ = read(it, known)
    draft = bench.deliver("to all", labels=["DRAFT"])
    found, mark, _ = read(it, known, mark)
    assert found == []
    item = bench.box.items[draft.message_id]
    bench.tenant.state.store.relabel(
        bench.box, item, at=bench.now, operation="send", status=200, add=["SENT"], remove=["DRAFT"]
    )
    (message,) = read(it, known, mark)[0]
    assert (message.extraction.subject, message.location.place) == ("to all", Place.SENT)


def test_a_long_history_is_read_page_after_page(
    patient: Make, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retract.mailboxes.google_workspace.reading._CHANGES_PER_PAGE", 3)
    it, known = patient(), set[str]()
    _, mark, _ = read(it, known)
    for number in range(8):
        bench.deliver(str(number))
    found, _, _ = read(it, known, mark)
    assert sorted(subjects(found)) == list("01234567")


# ---- stopping early -------------------------------------------------------------------------


def test_when_the_quota_is_used_up_the_next_reading_goes_on(
    patient: Make, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        bench.deliver(str(number), bench.now - HOUR + timedelta(seconds=number))
    it, known = patient(user_units_per_minute=110, max_wait_seconds=0), set[str]()
    with caplog.at_level(logging.WARNING, "retract"):
        found, mark, error = read(it, known)
    assert isinstance(error, Throttled)
    assert subjects(found)[:4] == ["11", "10", "9", "8"]
    assert len(found) == 5
    assert "7 messages" in caplog.text
    assert mark is not None
    seen = subjects(found)
    for _ in range(3):
        it.waits.append(70)
        found, mark, error = read(it, known, mark)
        seen += subjects(found)
        if error is None:
            break
    assert sorted(seen, key=int) == [str(number) for number in range(12)]


def test_a_service_that_is_down_keeps_what_was_read(patient: Make, bench: Bench) -> None:
    for number in range(6):
        bench.deliver(str(number), bench.now - HOUR + timedelta(seconds=number))
    it, known = patient(), set[str]()
    asked: set[str] = set()

    async def down_after_two(request: Request, proceed: Next) -> Response:
        if "format=raw" in str(request.url.query):
            asked.add(request.url.path)
            if len(asked) > 2:
                return Response(status_code=500)
        return await proceed(request)

    bench.door.fault = down_after_two
    found, mark, error = read(it, known)
    bench.door.fault = None
    seen = set(subjects(found))
    assert len(seen) == 2
    assert isinstance(error, TenantUnreachable)
    assert mark is not None
    found, _, error = read(it, known, mark)
    assert error is None
    assert seen | set(subjects(found)) == set("012345")


def test_a_message_that_can_never_be_read_is_kept_with_its_problem(
    patient: Make, bench: Bench
) -> None:
    it, known = patient(), set[str]()
    bad = bench.deliver("bad", bench.now - HOUR)

    async def broken(request: Request, proceed: Next) -> Response:
        if bad.message_id in request.url.path and "format=raw" in str(request.url.query):
            return Response(status_code=500)
        return await proceed(request)

    bench.door.fault = broken
    mark: Watermark | None = None
    readings = 0
    while not known:
        bench.deliver(f"good {readings}")
        found, mark, error = read(it, known, mark)
        known -= {m.copy.message_id for m in found if not m.extraction.problems}
        assert error is None
        assert f"good {readings}" in subjects(found)
        readings += 1
        assert readings < 20
    assert known == {bad.message_id}
    assert readings > 3


# ---- the invariant --------------------------------------------------------------------------


class Life:
    """What happens in and to one mailbox, and what must be told of it in the end."""

    def __init__(self, bench: Bench, patient: Make) -> None:
        self.bench = bench
        self.it, self.starved = patient(), patient(max_wait_seconds=0)
        self.start = bench.now - HOUR
        self.known: set[str] = set()
        self.mark: Watermark | None = None
        self.expected: set[str] = set()
        self.failing = 0
        self.arriving = ""
        for item in list(bench.box.reachable()):  # of the example before
            _remove(bench, item)
        bench.door.fault = self.door

    async def door(self, request: Request, proceed: Next) -> Response:
        query, path = str(request.url.query), request.url.path
        if "format=raw" in query and self.failing:
            self.failing -= 1
            return Response(status_code=500)
        kinds = {"history": "/history", "raw": "/messages/", "list": "/messages"}
        response = await proceed(request)
        if self.arriving and kinds[self.arriving] in path:
            self.arriving = ""
            self.deliver("INBOX")
        return response

    def reading(self, of: Any) -> MailboxError | None:
        window = Window(self.start, of.mailboxes.now())
        _, self.mark, error = read(of, self.known, self.mark, window)
        return error

    def deliver(self, label: str) -> None:
        labels = [label] if label else []
        self.expected.add(self.bench.deliver("in", labels=labels).message_id)

    def draft(self, _: int) -> None:
        self.bench.deliver("draft", labels=["DRAFT"])

    def one(self, number: int) -> Any:
        present = list(self.bench.box.reachable())
        return present[number % len(present)] if present else None

    def trash(self, number: int) -> None:
        if item := self.one(number):
            self.bench.tenant.state.store.relabel(
                self.bench.box, item, at=self.bench.now, operation="user", status=200,
                add=["TRASH"], remove=["INBOX"],
            )  # fmt: skip

    def delete(self, number: int) -> None:
        if item := self.one(number):
            _remove(self.bench, item)

    def expire(self, _: int) -> None:
        self.bench.tenant.state.store.forget_changes(self.bench.box)

    def read(self, failing: int) -> None:
        self.failing = failing
        self.reading(self.it)
        self.failing = 0

    def read_starved(self, messages: int) -> None:
        quota = self.starved.mailboxes._api.quota
        quota._per_user = 7 + 20 * messages
        quota._users.clear()
        self.reading(self.starved)

    def arrive_while_read(self, during: str) -> None:
        self.arriving = during
        self.reading(self.it)
        self.arriving = ""


steps = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.sampled_from(["INBOX", "SPAM", "SENT", "TRASH", ""])),
        st.tuples(st.sampled_from(["draft", "expire"]), st.just(0)),
        st.tuples(st.sampled_from(["trash", "delete"]), st.integers(0, 20)),
        st.tuples(st.just("read"), st.sampled_from([0, 0, 0, 1, 4])),
        st.tuples(st.just("read_starved"), st.integers(0, 4)),
        st.tuples(st.just("arrive_while_read"), st.sampled_from(["list", "raw", "history"])),
    ),
    max_size=25,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps)
def test_no_message_is_missed_whatever_happens_between(
    patient: Make, bench: Bench, script: list[tuple[str, Any]]
) -> None:
    """Every message delivered since the beginning and still there is yielded at last."""
    life = Life(bench, patient)
    for step, value in script:
        getattr(life, step)(value)
    bench.door.fault = None
    assert life.reading(life.it) is None
    still_there = {item.message_id for item in bench.box.reachable()}
    assert life.expected & still_there <= life.known
    drafts = {item.message_id for item in bench.box.items.values() if "DRAFT" in item.labels}
    assert not drafts & life.known


def _remove(bench: Bench, item: Any) -> None:
    bench.tenant.state.store.remove(
        bench.box, item, at=bench.now, operation="user", status=200, place=TenantPlace.GONE
    )


def test_finding_by_message_id_looks_everywhere(patient: Make, bench: Bench) -> None:
    copy = bench.deliver("bad")
    it = patient()
    store = bench.tenant.state.store
    raw = bench.box.items[copy.message_id].content.raw
    (twin,) = store.deliver(raw, [bench.mailbox.address], bench.now, labels=["TRASH"])
    (found,) = it.mailboxes.find([copy])
    assert {(one.copy.message_id, one.location.place) for one in found} == {
        (copy.message_id, Place.INBOX),
        (twin.message_id, Place.TRASH),
    }
    assert {(one.subject, one.sender_address) for one in found} == {("bad", "mallory@evil.example")}


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "<a@b> OR in:anywhere",
        '<"a b"@c>',
        "<a@b>\r\nq: x",
        "<{a@b}>",
        "<a|b@c>",
        "x" * 501,
        "<>",
    ],
)
def test_a_hostile_message_id_is_not_searched_for(
    patient: Make, bench: Bench, hostile: str
) -> None:
    it = patient()
    copy = Copy(
        Provider.GOOGLE_WORKSPACE,
        "work",
        bench.mailbox.mailbox_id,
        bench.mailbox.address,
        "1",
        hostile,
    )
    assert it.mailboxes.find([copy]) == [()]
    assert it.calls() == []


def test_reading_the_content_of_copies(patient: Make, bench: Bench) -> None:
    first, second = bench.deliver("one"), bench.deliver("two")
    gone = bench.deliver("gone")
    _remove(bench, bench.box.items[gone.message_id])
    it = patient()
    one, error, two = it.mailboxes.read([first, gone, second])
    assert (one.subject, two.subject) == ("one", "two")
    assert isinstance(error, MailboxError)
    assert one.observables
