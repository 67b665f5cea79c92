"""One mailbox's retractions, against a provider that misbehaves in every known way."""

from datetime import timedelta

import pytest
from fake_provider import INBOX, Crash, FakeProvider, Fault
from words import RUN, START, DyingLedger, TurnableClock, act, copy, plan, recorded

from retract.errors import (
    AuthenticationFailed,
    ClaimLost,
    LedgerError,
    MailboxError,
    MailboxUnavailable,
    OutcomeUnknown,
    PermissionDenied,
    PlanError,
    TenantUnreachable,
    Throttled,
)
from retract.model import Action, Copy, Location, Mode, Place, State
from retract.retraction.act import LEASE, MailboxResult
from retract.retraction.ledger import Ledger
from retract.retraction.plan import PlannedRetraction
from retract.retraction.records import Outcome, mailbox_key

LATER = {"minutes": 6}
"""Longer than a lease."""


class Bench:
    """A provider, a ledger and a clock, with one go at a mailbox as one word."""

    def __init__(
        self, provider: FakeProvider, ledger: Ledger, ledger_url: str, clock: TurnableClock
    ) -> None:
        self.provider = provider
        self.ledger = ledger
        self.ledger_url = ledger_url
        self.clock = clock

    def deliver(self, count: int) -> list[Copy]:
        copies = [copy(number) for number in range(count)]
        for each in copies:
            self.provider.deliver(each)
        return copies

    def plan(self, *copies: Copy, action: Action = Action.TRASH, run_id: str = RUN):
        return recorded(self.ledger, *copies, action=action, run_id=run_id)

    def act(self, retractions: tuple[PlannedRetraction, ...], run_id: str = RUN) -> MailboxResult:
        """One go at one mailbox."""
        (result,) = act(retractions, self.provider, self.ledger, run_id, self.clock).values()
        return result

    def outcome(self, of: Copy, run_id: str = RUN) -> Outcome:
        return next(o for o in self.ledger.outcomes(run_id) if o.copy_id == of.copy_id)

    def place(self, of: Copy) -> Place | None:
        location = self.provider.locations.get(of.message_id)
        return location.place if location else None

    def crash_when(self, of: Copy, fault: Fault, retractions: tuple[PlannedRetraction, ...]):
        """A go during which the process is killed: nothing is given back or tidied up."""
        dying = DyingLedger(self.ledger_url)
        self.provider.faults[of.message_id].append(fault)
        self.provider.on_crash = lambda: setattr(dying, "killed_by", Crash())
        with pytest.raises(Crash):
            act(retractions, self.provider, dying, RUN, self.clock)
        self.provider.on_crash = lambda: None


@pytest.fixture
def bench(provider: FakeProvider, ledger: Ledger, ledger_url: str, clock: TurnableClock) -> Bench:
    return Bench(provider, ledger, ledger_url, clock)


@pytest.mark.parametrize(
    ("action", "place"),
    [
        (Action.JUNK, Place.JUNK),
        (Action.TRASH, Place.TRASH),
        (Action.SOFT_DELETE, Place.RECOVERABLE),
        (Action.HARD_DELETE, Place.PURGED),
    ],
)
def test_every_action_is_done_once_verified_and_written_down(bench, action, place):
    one, two = bench.deliver(2)
    retractions = bench.plan(one, two, action=action)

    result = bench.act(retractions)

    assert result.counts == {State.DONE: 2}
    assert result.problem == ""
    outcome = bench.outcome(one)
    assert (outcome.state, outcome.action) == (State.DONE, action)
    assert outcome.location_before == INBOX
    assert outcome.location_after is not None
    assert outcome.location_after.place is place
    state = bench.ledger.current([one.copy_id])[one.copy_id]
    assert (state.origin, state.settled_action) == (INBOX, action)
    assert [e.state for e in bench.ledger.history(one.copy_id)] == [State.PLANNED, State.DONE]


def test_a_graver_plan_of_the_same_run_is_carried_out_though_the_milder_one_was(bench):
    (one,) = bench.deliver(1)
    bench.act(bench.plan(one, action=Action.JUNK))

    result = bench.act(bench.plan(one, action=Action.TRASH))

    assert result.counts == {State.DONE: 1}
    assert bench.place(one) is Place.TRASH
    assert bench.outcome(one).action is Action.TRASH


def test_a_crash_after_a_milder_call_was_found_done_leaves_the_graver_one_to_do(bench):
    (one,) = bench.deliver(1)
    bench.crash_when(one, Fault.CRASH_AFTER, bench.plan(one, action=Action.JUNK))
    bench.clock.turn(**LATER)
    graver = bench.plan(one, action=Action.TRASH, run_id="next")
    bench.ledger.writing, works = fails_after(bench.ledger.writing, 1), bench.ledger.writing
    with pytest.raises(LedgerError):
        bench.act(graver, run_id="next")
    bench.ledger.writing = works
    assert bench.place(one) is Place.JUNK
    assert bench.outcome(one, "next").state is State.PLANNED

    assert bench.act(graver, run_id="next").counts == {State.DONE: 1}
    assert bench.place(one) is Place.TRASH


def fails_after(writing, times: int):
    """A ledger's `writing` that works so many times, and then no more."""
    left = iter(range(times))

    def fails(now):
        if next(left, None) is None:
            raise LedgerError("the disk is full")
        return writing(now)

    return fails


def test_the_intent_with_the_location_before_is_written_ahead_of_the_call(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    bench.crash_when(one, Fault.CRASH_BEFORE, retractions)

    state = bench.ledger.current([one.copy_id])[one.copy_id]

    assert (state.state, state.before, state.action) == (State.PLANNED, INBOX, Action.TRASH)
    assert bench.provider.calls == []


def test_a_second_go_and_a_second_run_do_nothing_more(bench):
    copies = bench.deliver(3)
    retractions = bench.plan(*copies)
    bench.act(retractions)
    history = bench.ledger.history(copies[0].copy_id)

    again = bench.act(retractions)
    next_plan = plan(*copies, ledger=bench.ledger, run_id="next")

    assert again.counts == {State.DONE: 3}
    assert len(bench.provider.calls) == 3
    assert bench.ledger.history(copies[0].copy_id) == history
    assert next_plan.retractions == ()


@pytest.mark.parametrize("place", [Place.TRASH, Place.RECOVERABLE, Place.PURGED])
def test_a_copy_at_an_equal_or_graver_place_is_never_moved_back(bench, place):
    (one,) = bench.deliver(1)
    bench.provider.deliver(one, Location(place))

    result = bench.act(bench.plan(one, action=Action.TRASH))

    assert result.counts == {State.ALREADY_THERE: 1}
    assert bench.provider.calls == []
    assert bench.place(one) is place
    assert plan(one, ledger=bench.ledger).skipped[0].reason == "already_there"


def test_a_graver_action_goes_on_from_where_the_milder_one_left_it(bench):
    (one,) = bench.deliver(1)
    bench.act(bench.plan(one, action=Action.JUNK))

    result = bench.act(bench.plan(one, action=Action.HARD_DELETE, run_id="second"), "second")

    assert result.counts == {State.DONE: 1}
    assert bench.place(one) is None
    state = bench.ledger.current([one.copy_id])[one.copy_id]
    assert state.origin == INBOX, "the origin stays what it was before we first moved it"
    assert bench.outcome(one, "second").location_before.place is Place.JUNK


def test_a_copy_that_is_gone_is_told_as_gone(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    del bench.provider.locations[one.message_id]

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert plan(one, ledger=bench.ledger).skipped[0].reason == "gone"


@pytest.mark.parametrize("action", [Action.TRASH, Action.HARD_DELETE])
def test_a_copy_that_vanishes_under_the_call_is_gone_and_not_done(bench, action):
    (one,) = bench.deliver(1)
    bench.provider.faults[one.message_id] = [Fault.VANISHES]

    assert bench.act(bench.plan(one, action=action)).counts == {State.GONE: 1}


def test_a_404_means_look_again(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    bench.provider.faults[one.message_id] = [Fault.NOT_FOUND]

    first = bench.act(retractions)

    assert first.unfinished == 1
    assert "still seen in inbox" in first.problem
    assert bench.act(retractions).counts == {State.DONE: 1}


@pytest.mark.parametrize("action", [Action.TRASH, Action.HARD_DELETE])
def test_a_504_after_success_is_verified_and_not_repeated(bench, action):
    (one,) = bench.deliver(1)
    bench.provider.faults[one.message_id] = [Fault.DONE_504]

    result = bench.act(bench.plan(one, action=action))

    assert result.counts == {State.DONE: 1}
    assert len(bench.provider.calls) == 1
    assert "OutcomeUnknown" in bench.outcome(one).reason


@pytest.mark.parametrize("fault", [Fault.NOT_DONE_504, Fault.IGNORED])
def test_a_call_without_visible_effect_is_unfinished_and_tried_again(bench, fault):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    bench.provider.faults[one.message_id] = [fault]

    assert bench.act(retractions).counts == {State.PLANNED: 1}
    assert not bench.outcome(one).finished
    assert bench.act(retractions).counts == {State.DONE: 1}
    assert bench.provider.effects == [(one.message_id, Action.TRASH)]


def test_an_effect_that_shows_late_is_adopted_and_not_repeated(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    bench.provider.faults[one.message_id] = [Fault.NOT_DONE_504]
    bench.act(retractions)
    bench.provider._move(one.message_id, Action.TRASH)  # the slow service gets to it

    assert bench.act(retractions).counts == {State.DONE: 1}
    assert len(bench.provider.calls) == 1
    assert bench.ledger.current([one.copy_id])[one.copy_id].origin == INBOX


@pytest.mark.parametrize("action", [Action.JUNK, Action.HARD_DELETE])
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_after_a_crash_the_next_go_looks_first_and_never_acts_twice(bench, fault, action):
    copies = bench.deliver(3)
    retractions = bench.plan(*copies, action=action)
    bench.crash_when(copies[1], fault, retractions)

    held = bench.act(retractions).error  # the dead worker's lease still holds the mailbox
    assert isinstance(held, ClaimLost)
    assert held.until == START + LEASE
    bench.clock.turn(**LATER)
    result = bench.act(retractions)

    assert result.counts == {State.DONE: 3}
    assert sorted(bench.provider.effects) == sorted((c.message_id, action) for c in copies)
    assert bench.outcome(copies[1]).location_before == INBOX


def test_after_a_crash_another_run_may_finish_it_and_says_so(bench):
    (one,) = bench.deliver(1)
    first = bench.plan(one, action=Action.JUNK)
    bench.crash_when(one, Fault.CRASH_AFTER, first)
    bench.clock.turn(**LATER)

    second = bench.act(bench.plan(one, action=Action.TRASH, run_id="second"), "second")
    late = bench.act(first)

    assert second.counts == {State.DONE: 1}
    assert bench.provider.effects == [(one.message_id, Action.JUNK), (one.message_id, Action.TRASH)]
    assert late.counts == {State.SKIPPED: 1}
    assert "settled before, in run second" in bench.outcome(one).reason
    assert bench.ledger.current([one.copy_id])[one.copy_id].state is State.DONE


def test_a_process_that_is_told_to_end_leaves_nothing_locked(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    bench.provider.faults[one.message_id] = [Fault.CRASH_AFTER]
    with pytest.raises(Crash):
        bench.act(retractions)

    assert bench.act(retractions).counts == {State.DONE: 1}
    assert len(bench.provider.calls) == 1


def test_a_refused_copy_fails_alone_and_is_tried_again(bench):
    copies = bench.deliver(3)
    retractions = bench.plan(*copies)
    bench.provider.faults[copies[0].message_id] = [Fault.REFUSED]

    result = bench.act(retractions)

    assert result.counts == {State.DONE: 2, State.FAILED: 1}
    assert "bad request" in result.problem
    assert bench.act(retractions).counts == {State.DONE: 3}


def test_a_look_that_fails_fails_the_copy_alone(bench):
    one, two = bench.deliver(2)
    retractions = bench.plan(one, two)
    bench.provider.locate_fails[one.message_id] = [OutcomeUnknown("timed out")]

    assert bench.act(retractions).counts == {State.DONE: 1, State.FAILED: 1}
    assert bench.act(retractions).counts == {State.DONE: 2}


def test_a_copy_that_cannot_be_looked_at_in_a_mailbox_that_refuses_fails_once(bench, caplog):
    first, second = bench.deliver(2)
    bench.provider.locate_fails[first.message_id] = [MailboxError("an odd message")]
    bench.provider.locate_fails[second.message_id] = [PermissionDenied("access is denied")]

    result = bench.act(bench.plan(first, second))

    assert result.counts == {State.FAILED: 2}
    assert isinstance(result.error, PermissionDenied)
    for each in (first, second):
        assert [line.state for line in bench.ledger.history(each.copy_id)] == [State.FAILED]
    assert "another worker" not in caplog.text  # there is none


def test_a_verification_that_fails_leaves_the_outcome_open(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    bench.provider.locate_fails[one.message_id] = [None, OutcomeUnknown("timed out")]
    bench.act(retractions)

    assert bench.ledger.current([one.copy_id])[one.copy_id].state is State.PLANNED
    assert bench.act(retractions).counts == {State.DONE: 1}
    assert len(bench.provider.calls) == 1
    assert bench.ledger.current([one.copy_id])[one.copy_id].origin == INBOX


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.UNAUTHENTICATED, AuthenticationFailed),
        (Fault.DENIED, PermissionDenied),
        (Fault.NO_MAILBOX, MailboxUnavailable),
    ],
)
def test_a_refused_mailbox_stops_and_every_copy_says_why(bench, fault, error):
    copies = bench.deliver(4)
    retractions = bench.plan(*copies)
    bench.provider.faults[retractions[1].message_id] = [fault]

    assert isinstance(bench.act(retractions).error, error)

    states = [o.state for o in bench.ledger.outcomes(RUN)]
    assert sorted(states) == [State.DONE, State.FAILED, State.FAILED, State.FAILED]
    failed = [o for o in bench.ledger.outcomes(RUN) if o.state is State.FAILED]
    assert all(error.__name__ in o.reason for o in failed)
    assert len(bench.provider.calls) == 2
    assert bench.act(retractions).counts == {State.DONE: 4}, "mended, and cleared by a person"


def test_an_unreachable_tenant_leaves_the_rest_unfinished(bench):
    copies = bench.deliver(3)
    retractions = bench.plan(*copies)
    bench.provider.faults[retractions[1].message_id] = [Fault.UNREACHABLE]

    assert isinstance(bench.act(retractions).error, TenantUnreachable)

    outcomes = {o.copy_id: o for o in bench.ledger.outcomes(RUN)}
    assert outcomes[retractions[0].copy_id].state is State.DONE
    assert not outcomes[retractions[1].copy_id].finished
    assert not outcomes[retractions[2].copy_id].finished
    assert bench.act(retractions).counts == {State.DONE: 3}


def test_a_throttled_mailbox_is_not_asked_again_too_early(bench):
    copies = bench.deliver(2)
    retractions = bench.plan(*copies)
    bench.provider.faults[retractions[0].message_id] = [Fault.THROTTLED]
    assert isinstance(bench.act(retractions).error, Throttled)

    bench.clock.turn(seconds=30)
    early = bench.act(retractions)
    assert isinstance(early.error, Throttled)
    assert early.error.retry_after == 60
    assert "not to be asked before" in early.problem
    assert len(bench.provider.calls) == 1

    bench.clock.turn(seconds=60)
    assert bench.act(retractions).counts == {State.DONE: 2}
    assert bench.ledger.next_attempt(mailbox_key(copies[0])) is None


def test_an_absurd_wait_is_bounded(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    bench.provider.locate_fails[one.message_id] = [Throttled("later", retry_after=1e300)]
    assert isinstance(bench.act(retractions).error, Throttled)

    assert bench.ledger.next_attempt(mailbox_key(one)) == START + timedelta(days=1)


def test_a_copy_its_user_put_back_is_exempt_from_then_on(bench):
    (one,) = bench.deliver(1)
    bench.act(bench.plan(one, action=Action.JUNK))
    bench.provider.deliver(one, Location(Place.OTHER, folder_id="kept"))

    result = bench.act(bench.plan(one, action=Action.HARD_DELETE, run_id="second"), "second")

    assert result.counts == {State.RESTORED: 1}
    assert bench.place(one) is Place.OTHER
    assert plan(one, ledger=bench.ledger, run_id="third").skipped[0].reason == "restored"


@pytest.mark.parametrize(
    ("answered", "seen", "ending"),
    [
        ("accepted", Location(Place.OTHER, folder_id="kept"), State.RESTORED),
        ("accepted", Location(Place.INBOX, folder_id="another inbox folder"), State.RESTORED),
        # As it was before the call: perhaps the service shows late what it did.
        ("accepted", INBOX, State.PLANNED),
        # Perhaps a part of what we changed, that shows first.
        ("accepted", Location(Place.OTHER, labels=("Label_1",)), State.PLANNED),
        # Farther from the reader than it was: nobody wanted it back.
        ("accepted", Location(Place.JUNK, folder_id="junk"), State.PLANNED),
        # Perhaps it was moved before a call that came to nothing.
        ("504", Location(Place.OTHER, folder_id="kept"), State.PLANNED),
    ],
)
def test_a_copy_that_is_back_elsewhere_when_we_verify_was_put_back_if_the_move_was_accepted(
    bench, answered, seen, ending
):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    if answered == "504":
        bench.provider.faults[one.message_id] = [Fault.DONE_504]

    def put_back() -> None:
        if bench.provider.effects:
            bench.provider.locations[one.message_id] = seen

    bench.provider.meanwhile = put_back
    assert bench.act(retractions).counts == {ending: 1}

    if ending is State.RESTORED:
        assert bench.outcome(one).location_after == seen
        assert bench.act(retractions).counts == {State.RESTORED: 1}
        assert len(bench.provider.calls) == 1
        assert plan(one, ledger=bench.ledger, run_id="third").skipped[0].reason == "restored"


def test_a_purged_copy_that_is_still_seen_was_not_put_back_by_its_owner(bench):
    (one,) = bench.deliver(1)
    bench.provider.faults[one.message_id] = [Fault.IGNORED]
    retractions = bench.plan(one, action=Action.HARD_DELETE)
    moved = Location(Place.OTHER, folder_id="kept")
    bench.provider.meanwhile = lambda: (
        bench.provider.locations.update({one.message_id: moved}) if bench.provider.calls else None
    )
    assert bench.act(retractions).counts == {State.PLANNED: 1}


@pytest.mark.parametrize(
    ("origin", "found", "state"),
    [
        (Place.INBOX, Place.JUNK, State.DONE),
        (Place.INBOX, Place.OTHER, State.RESTORED),
        (Place.JUNK, Place.JUNK, State.RESTORED),
        (Place.JUNK, Place.INBOX, State.RESTORED),
    ],
)
def test_only_a_copy_back_where_it_was_or_nearer_was_put_back(bench, origin, found, state):
    (one,) = bench.deliver(1)
    bench.provider.deliver(one, Location(origin))
    bench.act(bench.plan(one, action=Action.TRASH))
    bench.provider.deliver(one, Location(found))

    result = bench.act(bench.plan(one, action=Action.HARD_DELETE, run_id="second"), "second")

    assert result.counts == {state: 1}


def test_a_copy_its_user_moved_before_we_acted_is_retracted_from_there(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one)
    filed = Location(Place.OTHER, folder_id="projects")
    bench.provider.deliver(one, filed)

    assert bench.act(retractions).counts == {State.DONE: 1}
    assert bench.ledger.current([one.copy_id])[one.copy_id].origin == filed


def test_an_action_the_provider_lacks_fails_with_the_reason(bench):
    (one,) = bench.deliver(1)
    retractions = bench.plan(one, action=Action.SOFT_DELETE)
    del bench.provider.destinations[Action.SOFT_DELETE]

    result = bench.act(retractions)

    assert result.failed == 1
    assert "ActionNotSupported" in result.problem


def test_a_preview_plan_is_refused(bench):
    (one,) = bench.deliver(1)
    retractions = recorded(bench.ledger, one, mode=Mode.PREVIEW)

    with pytest.raises(PlanError, match="preview"):
        bench.act(retractions)
    assert bench.provider.calls == []


def test_only_what_was_recorded_is_carried_out(bench):
    one, two = bench.deliver(2)
    with pytest.raises(PlanError, match="not in the ledger"):
        bench.act(plan(one).retractions)

    bench.plan(one)
    with pytest.raises(PlanError, match="recorded plan"):
        bench.act(plan(two).retractions)
    with pytest.raises(PlanError, match="recorded plan"):
        bench.act(plan(one, action=Action.HARD_DELETE).retractions)
    assert bench.provider.calls == []
