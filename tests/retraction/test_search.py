"""A copy whose id leads to nothing: found under another one by its content, or gone."""

from dataclasses import replace

import pytest
from fake_provider import INBOX, Crash, FakeProvider, Fault, content_of
from words import RUN, START, DyingLedger, TurnableClock, act, copy, recorded

from retract.errors import AuthenticationFailed, MailboxError, OutcomeUnknown, Throttled
from retract.mailboxes.protocol import MOST_FOUND
from retract.model import Action, Copy, Location, Place, State
from retract.retraction.act import MailboxResult, act_on_mailboxes
from retract.retraction.ledger import Ledger
from retract.retraction.search import MOST_CANDIDATES

ONE = copy(1)
ARCHIVE = Location(Place.OTHER, folder_id="archive-id", folder_name="Archive")


class Bench:
    def __init__(self, provider: FakeProvider, ledger: Ledger, clock: TurnableClock) -> None:
        self.provider = provider
        self.ledger = ledger
        self.clock = clock
        provider.deliver(ONE)

    def act(self, retractions, run_id: str = RUN, ledger: Ledger | None = None) -> MailboxResult:
        go = act(retractions, self.provider, ledger or self.ledger, run_id, self.clock)
        (result,) = go.values()
        return result

    def outcome(self, of: Copy):
        return next(o for o in self.ledger.outcomes(RUN) if o.copy_id == of.copy_id)

    def state(self, of: Copy):
        return self.ledger.current([of.copy_id]).get(of.copy_id)

    def place(self, of: Copy) -> Place | None:
        location = self.provider.locations.get(of.message_id)
        return location.place if location else None

    def twin(self, name: str, of: Copy = ONE, location: Location = INBOX, **content: str) -> Copy:
        """Another item with the copy's Message-ID, and its content but for what is given."""
        twin = replace(of, message_id=name)
        same = replace(content_of(of), **content)
        self.provider.deliver(twin, location, same)
        return twin


@pytest.fixture
def bench(provider: FakeProvider, ledger: Ledger, clock: TurnableClock) -> Bench:
    return Bench(provider, ledger, clock)


# --- under another id ---


@pytest.mark.parametrize("action", [Action.TRASH, Action.HARD_DELETE])
def test_a_message_moved_to_another_id_is_retracted_there_and_its_old_copy_is_gone(bench, action):
    retractions = recorded(bench.ledger, ONE, action=action)
    now = bench.provider.give_new_id("m1", "m1-archived", ARCHIVE)

    result = bench.act(retractions)

    assert result.counts == {State.GONE: 1}
    assert bench.outcome(ONE).reason == f"now under another id: copy {now.copy_id} (done)"
    assert bench.provider.effects == [("m1-archived", action)]
    state = bench.state(now)
    assert (state.state, state.origin, state.run_id) == (State.DONE, ARCHIVE, RUN)
    assert bench.ledger.history(now.copy_id)[-1].location_before == ARCHIVE


@pytest.mark.parametrize("action", [Action.TRASH, Action.HARD_DELETE])
@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.NOT_DONE_504])
def test_a_message_that_gets_another_id_just_before_the_call_is_followed(bench, action, fault):
    retractions = recorded(bench.ledger, ONE, action=action)
    bench.provider.faults["m1"] = [fault]
    turns = iter(["look", "call"])

    def just_before_the_call():
        if next(turns, None) == "call":
            bench.provider.give_new_id("m1", "m1-archived", ARCHIVE)

    bench.provider.meanwhile = just_before_the_call

    result = bench.act(retractions)

    assert result.counts == {State.GONE: 1}
    assert bench.provider.effects == [("m1-archived", action)]
    assert "now under another id" in bench.outcome(ONE).reason
    assert [e.state for e in bench.ledger.history(ONE.copy_id)] == [State.PLANNED, State.GONE]


def test_a_message_found_where_the_action_would_put_it_is_left_there(bench):
    retractions = recorded(bench.ledger, ONE)
    now = bench.provider.give_new_id("m1", "m1-deleted", Location(Place.TRASH))

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.state(now).state is State.ALREADY_THERE
    assert bench.provider.calls == []


def test_an_interrupted_purge_is_not_taken_as_done_while_the_message_lives_on(bench):
    retractions = recorded(bench.ledger, ONE, action=Action.HARD_DELETE)
    bench.provider.faults["m1"] = [Fault.NOT_DONE_504]
    assert bench.act(retractions).unfinished == 1
    now = bench.provider.give_new_id("m1", "m1-archived", ARCHIVE)

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.state(now).state is State.DONE
    assert bench.provider.effects == [("m1-archived", Action.HARD_DELETE)]


def test_each_of_several_items_of_the_message_is_retracted(bench):
    retractions = recorded(bench.ledger, ONE)
    twins = [bench.twin("t1"), bench.twin("t2")]
    bench.provider.give_new_id("m1", "m1-archived")

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert {bench.place(each) for each in twins} == {Place.TRASH}
    assert len(bench.provider.effects) == 3
    assert bench.act(retractions).counts == {State.GONE: 1}
    assert len(bench.provider.effects) == 3


def test_a_message_that_cannot_be_retracted_under_its_new_id_is_not_called_gone(bench):
    retractions = recorded(bench.ledger, ONE)
    now = bench.provider.give_new_id("m1", "m1-archived")
    bench.provider.faults["m1-archived"] = [Fault.REFUSED]

    result = bench.act(retractions)

    assert result.counts == {State.FAILED: 1}
    assert f"now under another id: copy {now.copy_id} (failed)" in result.problem
    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.state(now).state is State.DONE


def test_a_mailbox_that_asks_for_patience_meanwhile_leaves_the_copy_unfinished(bench):
    retractions = recorded(bench.ledger, ONE)
    bench.provider.give_new_id("m1", "m1-archived")
    bench.provider.faults["m1-archived"] = [Fault.THROTTLED]

    first = bench.act(retractions)
    assert (first.unfinished, first.error.retry_after) == (1, 90)
    bench.clock.turn(seconds=91)

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.provider.effects == [("m1-archived", Action.TRASH)]


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_after_a_crash_in_between_the_next_go_comes_to_the_same_end(bench, ledger_url, fault):
    retractions = recorded(bench.ledger, ONE)
    now = bench.provider.give_new_id("m1", "m1-archived")
    dying = DyingLedger(ledger_url)
    bench.provider.faults["m1-archived"] = [fault]
    bench.provider.on_crash = lambda: setattr(dying, "killed_by", Crash())
    with pytest.raises(Crash):
        bench.act(retractions, ledger=dying)
    bench.clock.turn(minutes=6)

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.outcome(ONE).reason == f"now under another id: copy {now.copy_id} (done)"
    assert bench.provider.effects == [("m1-archived", Action.TRASH)]


def test_a_crash_before_the_old_copy_is_written_down_changes_nothing_either(bench, ledger_url):
    retractions = recorded(bench.ledger, ONE)
    now = bench.provider.give_new_id("m1", "m1-archived")
    dying = DyingLedger(ledger_url)
    real = dying.current

    def dies_when_the_new_copy_is_done(copy_ids):
        states = real(copy_ids)
        if any(state.state is State.DONE for state in states.values()):
            dying.killed_by = Crash()
            raise Crash
        return states

    dying.current = dies_when_the_new_copy_is_done
    with pytest.raises(Crash):
        bench.act(retractions, ledger=dying)
    assert bench.state(now).state is State.DONE
    assert bench.state(ONE) is None
    bench.clock.turn(minutes=6)

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.outcome(ONE).reason == f"now under another id: copy {now.copy_id} (done)"
    assert len(bench.provider.effects) == 1
    assert bench.outcome(now).state is State.DONE


# --- what is not the message ---


@pytest.mark.parametrize(
    "content",
    [
        {"subject": "another"},
        {"sender_address": "friend@north.example"},
        {"body_fingerprint": "other words"},
    ],
)
def test_another_message_with_the_same_message_id_is_left_alone(bench, content):
    retractions = recorded(bench.ledger, ONE)
    del bench.provider.locations["m1"]
    other = bench.twin("other", **content)

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert "1 other items carry its Message-ID, none its content" in bench.outcome(ONE).reason
    assert bench.place(other) is Place.INBOX
    assert bench.state(other) is None


def test_a_copy_that_the_plan_holds_itself_stands_for_no_other(bench):
    two = replace(copy(2), internet_message_id=ONE.internet_message_id)
    bench.provider.deliver(two, content=content_of(ONE))
    retractions = recorded(bench.ledger, ONE, two)
    del bench.provider.locations["m1"]

    assert bench.act(retractions).counts == {State.GONE: 1, State.DONE: 1}
    assert bench.outcome(ONE).reason == "no longer in the mailbox"
    assert len(bench.provider.effects) == 1


def test_a_copy_whose_turn_in_the_plan_is_yet_to_come_stands_for_no_other(bench):
    two = replace(copy(2), internet_message_id=ONE.internet_message_id)
    bench.provider.deliver(two, content=content_of(ONE))
    retractions = recorded(bench.ledger, ONE, two)
    del bench.provider.locations["m1"]
    to_do = {retractions[0].mailbox_key: retractions}
    clock = bench.clock

    (result,) = act_on_mailboxes(to_do, bench.provider, bench.ledger, RUN, clock, wave=1).values()

    assert result.counts == {State.GONE: 1, State.DONE: 1}
    assert bench.outcome(ONE).reason == "no longer in the mailbox"


def test_a_copy_that_the_ledger_has_dealt_with_stands_for_no_other(bench):
    two = bench.twin("two")
    bench.act(recorded(bench.ledger, two, run_id="earlier"), "earlier")
    bench.provider.locations["two"] = INBOX  # put back by its owner, and known to be exempt
    retractions = recorded(bench.ledger, ONE)
    del bench.provider.locations["m1"]

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.place(two) is Place.INBOX
    assert len(bench.provider.effects) == 1


def test_what_the_owner_sent_stands_for_no_other(bench):
    retractions = recorded(bench.ledger, ONE)
    del bench.provider.locations["m1"]
    sent = bench.twin("sent", location=Location(Place.SENT))

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.place(sent) is Place.SENT


def test_an_item_of_another_mailbox_stands_for_no_other(bench):
    retractions = recorded(bench.ledger, ONE)
    del bench.provider.locations["m1"]
    bob = replace(copy(1, "bob"), message_id="bobs")
    bench.provider.deliver(bob, content=content_of(ONE))

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert bench.place(bob) is Place.INBOX


def test_a_copy_without_a_message_id_cannot_be_sought(bench):
    bare = replace(copy(3), internet_message_id="")
    bench.provider.deliver(bare)
    retractions = recorded(bench.ledger, bare)
    del bench.provider.locations["m3"]

    assert bench.act(retractions).counts == {State.GONE: 1}
    assert ("find", 1) not in bench.provider.asked


# --- bounds and troubles ---


def test_a_flood_of_items_with_one_message_id_is_told_and_not_read(bench):
    retractions = recorded(bench.ledger, ONE)
    del bench.provider.locations["m1"]
    flood = [bench.twin(f"flood{number}", subject="flood") for number in range(3000)]

    result = bench.act(retractions)

    assert result.counts == {State.FAILED: 1}
    assert "25 items or more carry its Message-ID: too many" in result.problem
    assert not any(name == "read" for name, _ in bench.provider.asked)
    for each in flood[MOST_CANDIDATES:]:
        del bench.provider.locations[each.message_id]
    assert bench.act(retractions).counts == {State.GONE: 1}


def test_a_message_that_may_be_beyond_what_a_search_tells_is_not_called_gone(bench):
    """Copies in their own right fill the answer; the message itself would come after them."""
    others = [bench.twin(f"other{number}") for number in range(MOST_FOUND)]
    retractions = recorded(bench.ledger, ONE, *others)
    del bench.provider.locations["m1"]
    moved = bench.twin("moved")

    assert bench.act(retractions).counts == {State.FAILED: 1, State.DONE: MOST_FOUND}
    assert "too many" in bench.outcome(ONE).reason
    assert bench.place(moved) is Place.INBOX


def test_a_message_id_is_sought_once_however_many_copies_carry_it(bench):
    copies = [replace(copy(n), internet_message_id="<same@x.example>") for n in range(10, 30)]
    for each in copies:
        bench.provider.deliver(each)
    retractions = recorded(bench.ledger, *copies)
    for each in copies:
        del bench.provider.locations[each.message_id]

    assert bench.act(retractions).counts == {State.GONE: 20}
    assert [asked for asked in bench.provider.asked if asked[0] == "find"] == [("find", 1)]


@pytest.mark.parametrize(
    ("trouble", "state"),
    [
        (MailboxError("bad request"), State.FAILED),
        (OutcomeUnknown("gateway timeout"), State.FAILED),
        (AuthenticationFailed("expired"), State.FAILED),
        (Throttled("too many requests", retry_after=5), State.PLANNED),
    ],
)
@pytest.mark.parametrize("called", [False, True])
def test_a_search_that_fails_calls_nothing_gone(bench, trouble, state, called):
    retractions = recorded(bench.ledger, ONE)
    if called:
        bench.provider.faults["m1"] = [Fault.VANISHES]
    else:
        del bench.provider.locations["m1"]
    bench.provider.find_fails["m1"] = [trouble]

    assert bench.act(retractions).counts == {state: 1}
    held = bench.state(ONE)
    assert held is None or held.claim_expires_at is None
    bench.clock.turn(seconds=6)

    assert bench.act(retractions).counts == {State.GONE: 1}


def test_a_copy_that_was_called_on_can_be_restored_though_the_search_for_it_failed(bench):
    retractions = recorded(bench.ledger, ONE)
    bench.provider.find_fails["m1"] = [MailboxError("bad request")]
    turns = iter(["look", "call", "look"])
    hidden = []

    def is_not_seen_right_after_the_call():
        if next(turns, None) == "look" and bench.provider.effects:
            hidden.append(bench.provider.locations.pop("m1"))

    bench.provider.meanwhile = is_not_seen_right_after_the_call
    assert bench.act(retractions).counts == {State.FAILED: 1}
    bench.provider.locations["m1"] = hidden.pop()

    assert bench.act(retractions).counts == {State.DONE: 1}
    assert bench.state(ONE).origin == INBOX


def test_a_lost_copy_does_not_keep_the_others_waiting(bench):
    others = [copy(number) for number in range(2, 6)]
    for each in others:
        bench.provider.deliver(each)
    retractions = recorded(bench.ledger, ONE, *others)
    bench.provider.give_new_id("m1", "m1-archived")

    assert bench.act(retractions).counts == {State.DONE: 4, State.GONE: 1}
    assert bench.provider.asked == [
        ("locate", 5),
        ("retract", 4),
        ("locate", 4),
        ("find", 1),
        ("read", 1),
        ("locate", 1),
        ("retract", 1),
        ("locate", 1),
    ]
    assert bench.ledger.history(ONE.copy_id)[-1].at == START
