"""A copy goes back to where it was before we first moved it, and stays there."""

import pytest
from fake_provider import INBOX, Crash, FakeProvider, Fault
from words import RUN, DyingLedger, TurnableClock, act, copy, plan, recorded

from retract.errors import (
    ActionNotSupported,
    ClaimLost,
    LedgerError,
    MessageNotFound,
    OutcomeUnknown,
    TenantUnreachable,
)
from retract.model import Action, Copy, Location, Place, State
from retract.retraction.ledger import Ledger
from retract.retraction.restore import restore_copy

ONE = copy(1)


@pytest.fixture
def retracted(provider: FakeProvider, ledger: Ledger, clock: TurnableClock) -> Copy:
    """A copy that a run moved to the trash."""
    provider.deliver(ONE)
    act(recorded(ledger, ONE), provider, ledger, RUN, clock)
    assert provider.locations[ONE.message_id].place is Place.TRASH
    return ONE


def state_of(ledger: Ledger, of: Copy):
    return ledger.current([of.copy_id])[of.copy_id]


def test_a_copy_goes_back_with_folder_and_flags_and_is_exempt(provider, ledger, clock, retracted):
    there = restore_copy(retracted, provider, ledger, clock, "ann@soc.example")

    assert there == provider.locations[ONE.message_id] == INBOX
    assert state_of(ledger, ONE).state is State.RESTORED
    assert {e.actor for e in ledger.history(ONE.copy_id)} == {"", "ann@soc.example"}
    again = plan(ONE, action=Action.HARD_DELETE, ledger=ledger, run_id="next")
    assert again.skipped[0].reason == "restored"
    assert [o.state for o in ledger.outcomes(RUN)] == [State.DONE], "the run did what it did"


def test_a_copy_moved_twice_goes_back_to_the_start(provider, ledger, clock):
    provider.deliver(ONE)
    act(recorded(ledger, ONE, action=Action.JUNK), provider, ledger, RUN, clock)
    graver = recorded(ledger, ONE, action=Action.SOFT_DELETE, run_id="next")
    act(graver, provider, ledger, "next", clock)

    assert restore_copy(ONE, provider, ledger, clock, "ann") == INBOX


def test_a_copy_whose_retraction_was_never_verified_can_be_restored(provider, ledger, clock):
    provider.deliver(ONE)
    provider.locate_fails[ONE.message_id] = [None, OutcomeUnknown("timed out")]
    act(recorded(ledger, ONE), provider, ledger, RUN, clock)
    assert state_of(ledger, ONE).state is State.PLANNED

    assert restore_copy(ONE, provider, ledger, clock, "ann") == INBOX


def test_a_copy_its_user_put_back_already_is_only_written_down(provider, ledger, clock, retracted):
    provider.deliver(ONE)

    restore_copy(ONE, provider, ledger, clock, "ann")

    assert state_of(ledger, ONE).state is State.RESTORED


def test_a_copy_whose_folder_is_gone_is_back_in_the_inbox(provider, ledger, clock, monkeypatch):
    provider.deliver(ONE, Location(Place.OTHER, folder_id="projects"))
    act(recorded(ledger, ONE), provider, ledger, RUN, clock)
    to_inbox = provider.restore
    monkeypatch.setattr(provider, "restore", lambda copy, _: to_inbox(copy, INBOX))

    assert restore_copy(ONE, provider, ledger, clock, "ann") == INBOX
    assert state_of(ledger, ONE).state is State.RESTORED
    assert ledger.history(ONE.copy_id)[-1].location_after == INBOX


def test_what_we_never_moved_is_not_restored(provider, ledger, clock):
    provider.deliver(ONE, Location(Place.TRASH))
    act(recorded(ledger, ONE), provider, ledger, RUN, clock)

    for each in (ONE, copy(2)):
        with pytest.raises(LedgerError, match="never moved"):
            restore_copy(each, provider, ledger, clock, "ann")


def test_a_purged_copy_cannot_be_restored(provider, ledger, clock):
    provider.deliver(ONE)
    hard = recorded(ledger, ONE, action=Action.HARD_DELETE)
    act(hard, provider, ledger, RUN, clock)

    with pytest.raises(MessageNotFound):
        restore_copy(ONE, provider, ledger, clock, "ann")
    assert state_of(ledger, ONE).state is State.DONE


def test_a_restore_the_provider_lacks_changes_nothing(
    provider, ledger, clock, retracted, monkeypatch
):
    def refuse(copy: Copy, location: Location) -> None:
        raise ActionNotSupported("not from there")

    monkeypatch.setattr(provider, "restore", refuse)
    with pytest.raises(ActionNotSupported):
        restore_copy(ONE, provider, ledger, clock, "ann")

    assert plan(ONE, ledger=ledger, run_id="next").skipped[0].reason == "already_done"


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.IGNORED, OutcomeUnknown), (Fault.UNREACHABLE, TenantUnreachable)]
)
def test_a_restore_that_does_not_get_through_can_be_asked_again(
    provider, ledger, clock, retracted, fault, error
):
    provider.faults[ONE.message_id] = [fault]
    with pytest.raises(error):
        restore_copy(ONE, provider, ledger, clock, "ann")

    left_alone = plan(ONE, action=Action.HARD_DELETE, ledger=ledger, run_id="next")
    assert left_alone.skipped[0].reason == "restored"
    assert restore_copy(ONE, provider, ledger, clock, "ann") == INBOX


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_restore_that_crashed_is_not_undone_by_a_run_and_can_be_asked_again(
    provider, ledger, ledger_url, clock, retracted, fault
):
    dying = DyingLedger(ledger_url)
    provider.on_crash = lambda: setattr(dying, "killed_by", Crash())
    provider.faults[ONE.message_id] = [fault]
    planned_before = recorded(ledger, ONE, action=Action.HARD_DELETE, run_id="next")
    with pytest.raises(Crash):
        restore_copy(ONE, provider, dying, clock, "ann")
    with pytest.raises(ClaimLost):
        restore_copy(ONE, provider, ledger, clock, "ann")
    clock.turn(minutes=6)

    (result,) = act(planned_before, provider, ledger, "next", clock).values()

    assert result.counts == {State.SKIPPED: 1}
    assert restore_copy(ONE, provider, ledger, clock, "ann") == INBOX
    assert state_of(ledger, ONE).state is State.RESTORED
