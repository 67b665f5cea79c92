"""Many mailboxes at once: waves, waits, other workers, and a mailbox that is refused."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from fake_provider import INBOX, Crash, FakeProvider, Fault
from words import RUN, START, act, copy, counted, recorded

from retract.errors import (
    AuthenticationFailed,
    ClaimLost,
    MailboxUnavailable,
    Throttled,
)
from retract.model import Action, Copy, Location, Place, State
from retract.retraction.act import LEASE
from retract.retraction.records import mailbox_key


def deliver(provider: FakeProvider, **counts: int) -> dict[str, list[Copy]]:
    """So many copies to each mailbox."""
    boxes: dict[str, list[Copy]] = {}
    for box, count in counts.items():
        first = 100 * len(boxes)
        boxes[box] = [copy(first + number, box) for number in range(count)]
        for each in boxes[box]:
            provider.deliver(each)
    return boxes


def every(boxes: dict[str, list[Copy]]) -> list[Copy]:
    return [each for copies in boxes.values() for each in copies]


def test_all_mailboxes_take_each_step_together(provider, ledger, clock):
    boxes = deliver(provider, ann=2, bob=1, cid=3)

    results = act(recorded(ledger, *every(boxes)), provider, ledger, RUN, clock)

    assert provider.asked == [("locate", 6), ("retract", 6), ("locate", 6)]
    assert {key: result.counts for key, result in results.items()} == {
        mailbox_key(copies[0]): {State.DONE: len(copies)} for copies in boxes.values()
    }
    assert all(result.error is None and not result.problem for result in results.values())


def test_a_wave_is_bounded_and_holds_whole_mailboxes_where_they_fit(provider, ledger, clock):
    boxes = deliver(provider, ann=3, bob=3, cid=9, dan=1)

    results = act(recorded(ledger, *every(boxes)), provider, ledger, RUN, clock, wave=4)

    assert [size for name, size in provider.asked if name == "retract"] == [3, 3, 4, 4, 2]
    assert counted(results) == {State.DONE: 16}


def test_a_second_go_asks_for_nothing(provider, ledger, clock):
    retractions = recorded(ledger, *every(deliver(provider, ann=2, bob=2)))
    act(retractions, provider, ledger, RUN, clock)
    provider.asked.clear()

    assert counted(act(retractions, provider, ledger, RUN, clock)) == {State.DONE: 4}
    assert provider.asked == []


def test_a_mailbox_that_is_refused_does_not_stop_the_others(provider, ledger, clock):
    boxes = deliver(provider, ann=2, bob=5, cid=2)
    provider.mailbox_fails["id-bob"] = MailboxUnavailable("on-premises")
    retractions = recorded(ledger, *every(boxes))

    results = act(retractions, provider, ledger, RUN, clock, wave=3)

    assert counted(results) == {State.DONE: 4, State.FAILED: 5}
    refused = results[mailbox_key(boxes["bob"][0])]
    assert isinstance(refused.error, MailboxUnavailable)
    assert refused.counts == {State.FAILED: 5}
    assert not any(
        message_id in {c.message_id for c in boxes["bob"]} for message_id, _ in provider.calls
    )

    provider.mailbox_fails.clear()
    assert counted(act(retractions, provider, ledger, RUN, clock)) == {State.DONE: 9}


def test_a_connection_that_is_refused_fails_every_copy_with_the_reason(
    provider, ledger, clock, monkeypatch
):
    boxes = deliver(provider, ann=2, bob=2)

    def refuse(copies):
        raise AuthenticationFailed("the secret has expired")

    monkeypatch.setattr(provider, "locate", refuse)
    results = act(recorded(ledger, *every(boxes)), provider, ledger, RUN, clock)

    assert all(isinstance(result.error, AuthenticationFailed) for result in results.values())
    assert {o.reason for o in ledger.outcomes(RUN)} == {
        "AuthenticationFailed: the secret has expired"
    }


def test_a_mailbox_that_asks_for_patience_waits_alone(provider, ledger, clock):
    boxes = deliver(provider, ann=3, bob=7)
    retractions = recorded(ledger, *every(boxes))
    ann, bob = (mailbox_key(copies[0]) for copies in boxes.values())
    slow = next(r for r in retractions if r.mailbox_key == bob)
    provider.faults[slow.message_id] = [Fault.THROTTLED]

    results = act(retractions, provider, ledger, RUN, clock, wave=5)

    assert results[ann].counts == {State.DONE: 3}
    assert results[bob].counts == {State.PLANNED: 7}
    assert results[bob].error.retry_after == 90
    assert ledger.next_attempt(ann) is None
    assert ledger.next_attempt(bob) == START + timedelta(seconds=90)
    assert len(provider.calls) == 4, "after the first answer nothing more is tried there"

    clock.turn(seconds=91)
    assert counted(act(retractions, provider, ledger, RUN, clock)) == {State.DONE: 10}
    assert ledger.next_attempt(bob) is None


def test_what_a_lease_leaves_no_time_for_is_done_under_the_next(provider, ledger, clock):
    """Each call takes a minute, and no call is begun in the last part of the lease."""
    boxes = deliver(provider, ann=4, bob=4)

    def a_minute_passes():
        if provider.asked[-1][0] == "retract":
            clock.turn(minutes=1)

    provider.meanwhile = a_minute_passes

    results = act(recorded(ledger, *every(boxes)), provider, ledger, RUN, clock)

    assert counted(results) == {State.DONE: 8}
    called = [size for name, size in provider.asked if name == "retract"]
    assert called[:2] == [8, 1], "the next one is no larger than the lease has time for"
    assert Counter(provider.effects).total() == 8


def test_nothing_is_called_under_a_lease_that_is_over(provider, ledger, clock):
    boxes = deliver(provider, ann=1)
    retractions = recorded(ledger, *every(boxes))

    def it_takes_too_long():
        if provider.asked[-1][0] == "locate":
            clock.turn(minutes=6)

    provider.meanwhile = it_takes_too_long
    real = ledger.writing

    def late(now):
        clock.turn(minutes=10)
        return real(now)

    ledger.writing = late  # the lease is renewed, and then the database hangs
    (result,) = act(retractions, provider, ledger, RUN, clock).values()

    assert result.unfinished == 1
    assert isinstance(result.error, Throttled)
    assert provider.calls == []


# --- other workers ---


def test_a_mailbox_another_worker_holds_is_put_off_and_done_when_it_is_free(
    provider, ledger, clock
):
    boxes = deliver(provider, ann=2, bob=2)
    ann = mailbox_key(boxes["ann"][0])
    other = ledger.mailbox_leases([ann], owner="other", clock=clock, duration=LEASE)
    other.__enter__()
    done_first: list[str] = []

    def after_a_while():
        done_first.extend(message_id for message_id, _ in provider.effects)
        other.__exit__(None, None, None)

    provider.meanwhile = lambda: None
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        clock.turn(seconds=seconds)
        if len(slept) == 2:
            after_a_while()

    results = act(recorded(ledger, *every(boxes)), provider, ledger, RUN, clock, sleep=sleep)

    assert counted(results) == {State.DONE: 4}
    assert all(result.error is None for result in results.values())
    assert sorted(done_first) == sorted(c.message_id for c in boxes["bob"])
    assert len(slept) == 2


def test_a_mailbox_that_stays_held_is_told_with_the_end_of_the_hold(provider, ledger, clock):
    boxes = deliver(provider, ann=2, bob=2)
    ann, bob = (mailbox_key(copies[0]) for copies in boxes.values())

    with ledger.mailbox_leases([ann], owner="other", clock=clock, duration=LEASE):
        results = act(recorded(ledger, *every(boxes)), provider, ledger, RUN, clock)

    assert results[bob].error is None
    assert isinstance(results[ann].error, ClaimLost)
    assert results[ann].error.until == START + LEASE
    assert "worked on by other" in results[ann].problem
    assert results[ann].counts == {State.PLANNED: 2}
    assert clock() - START <= timedelta(seconds=20)


def test_a_worker_that_was_overtaken_acts_and_writes_no_more(provider, ledger, clock):
    """While the first one hangs in its look, its leases run out, and a second run takes over."""
    boxes = deliver(provider, ann=3)
    first = recorded(ledger, *every(boxes))
    second = recorded(ledger, *every(boxes), run_id="second")

    def overtaken():
        provider.meanwhile = lambda: None
        clock.turn(minutes=6)
        act(second, provider, ledger, "second", clock)

    provider.meanwhile = overtaken
    (result,) = act(first, provider, ledger, RUN, clock).values()

    assert len(provider.effects) == 3
    assert {o.state for o in ledger.outcomes("second")} == {State.DONE}
    assert result.counts == {State.SKIPPED: 3}, "once the second one had let the mailbox go"


def test_a_process_that_is_told_to_end_gives_back_claims_and_leases(provider, ledger, clock):
    boxes = deliver(provider, ann=2, bob=2)
    retractions = recorded(ledger, *every(boxes))
    provider.faults[boxes["bob"][1].message_id] = [Fault.CRASH_AFTER]
    with pytest.raises(Crash):
        act(retractions, provider, ledger, RUN, clock)

    states = ledger.current(each.copy_id for each in every(boxes)).values()
    assert {(s.state, s.claim_expires_at) for s in states} == {(State.PLANNED, None)}
    assert all("Crash" in s.reason for s in states)

    assert counted(act(retractions, provider, ledger, RUN, clock)) == {State.DONE: 4}
    assert max(Counter(provider.effects).values()) == 1


# --- what was there before ---


def test_how_far_the_reader_got_is_recorded_before_the_action(provider, ledger, clock):
    one = copy(1)
    provider.deliver(one)
    retractions = recorded(ledger, one)
    opened = replace(INBOX, is_read=True, replied=True, forwarded=False)
    provider.deliver(one, opened)  # read and answered between collecting and acting

    act(retractions, provider, ledger, RUN, clock)

    (outcome,) = ledger.outcomes(RUN)
    assert outcome.location_before == opened
    assert [e.location_before for e in ledger.history(one.copy_id)] == [opened, opened]


def test_a_copy_moved_while_its_answer_was_lost_is_retracted_where_it_is_next(
    provider, ledger, clock
):
    one = copy(1)
    provider.deliver(one)
    retractions = recorded(ledger, one)
    provider.faults[one.message_id] = [Fault.NOT_DONE_504]
    filed = Location(Place.OTHER, folder_id="projects")
    moves = iter([None, None, lambda: provider.deliver(one, filed)])
    provider.meanwhile = lambda: (next(moves, None) or (lambda: None))()

    (first,) = act(retractions, provider, ledger, RUN, clock).values()
    assert first.unfinished == 1
    assert "still seen in other" in first.problem
    act(retractions, provider, ledger, RUN, clock)

    (outcome,) = ledger.outcomes(RUN)
    assert (outcome.state, outcome.location_before) == (State.DONE, filed)
    assert provider.effects == [(one.message_id, Action.TRASH)]


def test_progress_is_told_every_few_seconds_not_per_copy(provider, ledger, clock, caplog):
    caplog.set_level("INFO")
    boxes = deliver(provider, ann=40)
    provider.meanwhile = lambda: clock.turn(seconds=0.2)

    act(recorded(ledger, *every(boxes)), provider, ledger, RUN, clock, wave=5)

    lines = [r.getMessage() for r in caplog.records if " of 40 copies" in r.getMessage()]
    assert 3 <= len(lines) <= 6
    assert lines[0].startswith("10 of 40 copies, ")
