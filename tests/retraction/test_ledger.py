"""Claims, tokens, leases and history; with several processes on one file."""

import multiprocessing
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from traceback import format_exception

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fake_provider import INBOX
from words import RUN, START, claim, copy, plan, record, recorded, release, settle

from retract.errors import ClaimLost, ConfigurationError, LedgerError
from retract.model import Action, Disposition, Location, Mode, Place, State
from retract.retraction.ledger import Ledger
from retract.retraction.records import mailbox_key
from retract.retraction.schema import metadata

TRASH = Location(Place.TRASH, folder_id="trash-id", labels=("TRASH",))
JUNK = Location(Place.JUNK, folder_id="junk-id")
LATER = START + timedelta(minutes=10)


def state_of(ledger, of):
    return ledger.current([of.copy_id]).get(of.copy_id)


# --- claims ---


def test_a_copy_has_one_claim_at_a_time(ledger):
    one = copy(1)
    claim(ledger, one)

    with pytest.raises(ClaimLost):
        claim(ledger, one)
    with pytest.raises(ClaimLost):
        claim(ledger, one, seen=state_of(ledger, one))


def test_an_expired_claim_can_be_taken_over_and_its_holder_cannot_write_any_more(ledger):
    one = copy(1)
    stale = claim(ledger, one)
    fresh = claim(ledger, one, seen=state_of(ledger, one), now=LATER)

    for write in (
        lambda: settle(ledger, stale, State.DONE, location_after=TRASH, now=LATER),
        lambda: release(ledger, stale, reason="late", now=LATER),
    ):
        with pytest.raises(ClaimLost):
            write()
    assert state_of(ledger, one).token == fresh.token
    settle(ledger, fresh, State.DONE, location_after=TRASH, now=LATER)
    assert state_of(ledger, one).state is State.DONE


def test_a_claim_settles_once(ledger):
    one = copy(1)
    mine = claim(ledger, one)
    settle(ledger, mine, State.DONE, location_after=TRASH, now=START)

    with pytest.raises(ClaimLost):
        settle(ledger, mine, State.FAILED, location_after=None, now=START)
    assert state_of(ledger, one).state is State.DONE


def test_who_looked_before_the_copy_changed_cannot_claim(ledger):
    one = copy(1)
    first = claim(ledger, one)
    seen = state_of(ledger, one)
    settle(ledger, first, State.FAILED, location_after=None, reason="refused", now=START)

    with pytest.raises(ClaimLost):
        claim(ledger, one, seen=seen, now=LATER)
    claim(ledger, one, seen=state_of(ledger, one))


def test_a_look_taken_while_another_claim_ran_shows_nothing(ledger):
    one = copy(1)
    claim(ledger, one)
    seen = state_of(ledger, one)  # the other one calls just after this look, and dies

    with pytest.raises(ClaimLost):
        claim(ledger, one, seen=seen, looked_at=START + timedelta(minutes=4), now=LATER)


@pytest.mark.parametrize("state", [State.GONE, State.RESTORED])
def test_what_is_gone_or_restored_is_not_claimed(ledger, state):
    one = copy(1)
    record(ledger, one, state, location=INBOX)

    with pytest.raises(LedgerError, match="not due"):
        claim(ledger, one, Action.HARD_DELETE, seen=state_of(ledger, one))


def test_only_a_graver_action_than_the_one_done_is_claimed(ledger):
    one = copy(1)
    settle(ledger, claim(ledger, one), State.DONE, location_after=TRASH, now=START)

    for action in (Action.JUNK, Action.TRASH):
        with pytest.raises(LedgerError, match="not due"):
            claim(ledger, one, action, seen=state_of(ledger, one))
    graver = claim(ledger, one, Action.HARD_DELETE, seen=state_of(ledger, one), before=TRASH)
    settle(ledger, graver, State.FAILED, location_after=None, reason="refused", now=START)

    state = state_of(ledger, one)
    assert (state.state, state.settled_action, state.origin) == (State.FAILED, Action.TRASH, INBOX)


def test_a_released_claim_leaves_the_intent_standing(ledger):
    one = copy(1)
    release(ledger, claim(ledger, one), reason="504", now=START)

    state = state_of(ledger, one)

    assert (state.state, state.before, state.reason) == (State.PLANNED, INBOX, "504")
    assert state.claim_expires_at is None


@pytest.mark.parametrize("later", [State.FAILED, State.SKIPPED])
def test_a_failure_or_skip_does_not_hide_what_was_done(ledger, later):
    one = copy(1)
    settle(ledger, claim(ledger, one), State.DONE, location_after=TRASH, now=START)

    record(ledger, one, later, seen=state_of(ledger, one), reason="because")

    assert state_of(ledger, one).state is State.DONE
    assert ledger.history(one.copy_id)[-1].state is later


def test_a_record_does_not_pass_over_an_open_claim(ledger):
    one = copy(1)
    claim(ledger, one)

    with pytest.raises(ClaimLost):
        record(ledger, one, State.GONE, seen=state_of(ledger, one))
    with pytest.raises(ClaimLost):
        record(ledger, one, State.GONE, seen=None)


def test_history_keeps_every_step_with_both_locations(ledger):
    one = copy(1)
    release(ledger, claim(ledger, one), reason="504", now=START)
    again = claim(ledger, one, seen=state_of(ledger, one), now=LATER)
    settle(ledger, again, State.DONE, location_after=TRASH, now=LATER)

    lines = ledger.history(one.copy_id)

    assert [(e.state, e.reason, e.at) for e in lines] == [
        (State.PLANNED, "", START),
        (State.PLANNED, "504", START),
        (State.PLANNED, "", LATER),
        (State.DONE, "", LATER),
    ]
    assert (lines[-1].location_before, lines[-1].location_after) == (INBOX, TRASH)
    assert [e.token for e in lines] == [1, 2, 3, 4]


def test_ids_that_differ_in_case_are_different_copies(ledger):
    lower, upper = replace(copy(1), message_id="aAbB"), replace(copy(1), message_id="AABB")
    record(ledger, lower, State.GONE)

    assert state_of(ledger, upper) is None
    assert mailbox_key(replace(lower, mailbox_id="X")) != mailbox_key(
        replace(lower, mailbox_id="x")
    )


def test_many_copies_are_asked_for_at_once(ledger):
    record(ledger, copy(1), State.GONE)

    ids = [copy(number).copy_id for number in range(2000)]

    assert list(ledger.current(ids)) == [copy(1).copy_id]


# --- runs ---


def test_a_run_owes_an_outcome_for_everything_it_planned(ledger):
    one, two, three = copy(1), copy(2), copy(3, "bob")
    recorded(ledger, one, two, three)
    settle(ledger, claim(ledger, one), State.DONE, location_after=TRASH, now=START)

    outcomes = {o.copy: o for o in ledger.outcomes(RUN)}

    assert outcomes[one].state is State.DONE
    assert [outcomes[each].finished for each in (one, two, three)] == [True, False, False]
    assert [o.copy for o in ledger.outcomes(RUN, copy_ids=[three.copy_id])] == [three]
    assert ledger.outcomes("another") == []


def test_outcomes_are_those_of_the_run_asked_for(ledger):
    one = copy(1)
    recorded(ledger, one)
    settle(ledger, claim(ledger, one, run_id="x"), State.DONE, location_after=TRASH, now=START)

    assert [o.state for o in ledger.outcomes(RUN)] == [State.PLANNED]


def test_a_run_planned_anew_keeps_what_was_finished_and_drops_what_was_not(ledger):
    one, two, three = copy(1), copy(2), copy(3)
    recorded(ledger, one, two)
    settle(ledger, claim(ledger, one), State.DONE, location_after=TRASH, now=START)
    claim(ledger, two)

    recorded(ledger, three)

    assert {o.copy: o.state for o in ledger.outcomes(RUN)} == {
        one: State.DONE,
        three: State.PLANNED,
    }


def test_a_milder_action_of_an_earlier_plan_is_not_the_outcome_of_a_graver_one(ledger):
    one, two = copy(1), copy(2)
    recorded(ledger, one, two, action=Action.JUNK)
    for each in (one, two):
        mine = claim(ledger, each, Action.JUNK)
        settle(ledger, mine, State.DONE, location_after=JUNK, now=START)

    recorded(ledger, one, action=Action.TRASH)

    outcomes = {o.copy: (o.state, o.action, o.reason) for o in ledger.outcomes(RUN)}
    assert outcomes == {
        one: (State.PLANNED, Action.TRASH, "not tried yet"),
        two: (State.DONE, Action.JUNK, ""),
    }


def test_a_skip_or_failure_told_later_does_not_hide_what_the_run_did(ledger):
    one = copy(1)
    recorded(ledger, one)
    settle(ledger, claim(ledger, one), State.DONE, location_after=TRASH, now=START)

    for later in (State.SKIPPED, State.FAILED):
        record(ledger, one, later, seen=state_of(ledger, one))

        (outcome,) = ledger.outcomes(RUN)
        assert (outcome.state, outcome.location_before) == (State.DONE, INBOX)


def test_a_run_is_remembered_with_how_it_ended(ledger):
    made = plan(copy(1), copy(2), mode=Mode.PREVIEW)
    ledger.record_run(made, START)
    ledger.record_run(made, START)

    run = ledger.run(RUN)
    assert (run.mode, run.plan_digest, run.planned, run.judged) == (
        Mode.PREVIEW,
        made.digest,
        2,
        2,
    )
    assert run.finished_at is None

    ledger.finish_run(RUN, succeeded=False, now=LATER)

    assert (ledger.run(RUN).finished_at, ledger.run(RUN).succeeded) == (LATER, False)
    assert ledger.run("another") is None
    with pytest.raises(LedgerError, match="no run"):
        ledger.finish_run("another", succeeded=True, now=LATER)


# --- many changes at once ---


def test_many_changes_are_one_transaction(ledger):
    copies = [copy(number) for number in range(50)]
    with ledger.writing(START) as changes:
        claims = [
            changes.claim(
                each,
                Action.TRASH,
                seen=None,
                looked_at=START,
                disposition=Disposition.MALICIOUS,
                location_before=INBOX,
                run_id=RUN,
                expires_at=LATER,
            )
            for each in copies
        ]
    with ledger.writing(START) as changes:
        for each in claims[:40]:
            changes.settle(each, State.DONE, location_after=TRASH)
        for each in claims[40:]:
            changes.release(each, reason="504")

    states = [state_of(ledger, each).state for each in copies]
    assert states == [State.DONE] * 40 + [State.PLANNED] * 10
    assert [e.state for e in ledger.history(copies[0].copy_id)] == [State.PLANNED, State.DONE]


def test_a_claim_that_is_lost_leaves_the_others_of_its_transaction_standing(ledger):
    one, two, three = copy(1), copy(2), copy(3)
    stale = claim(ledger, one)
    claim(ledger, one, seen=state_of(ledger, one), now=LATER)
    mine = claim(ledger, two)

    with ledger.writing(LATER) as changes:
        with pytest.raises(ClaimLost):
            changes.settle(stale, State.DONE, location_after=TRASH)
        changes.settle(mine, State.DONE, location_after=TRASH)
        with pytest.raises(ClaimLost):
            changes.record(
                one,
                State.GONE,
                seen=None,
                action=Action.TRASH,
                disposition=Disposition.SPAM,
                run_id=RUN,
            )
        changes.record(
            three,
            State.GONE,
            seen=None,
            action=Action.TRASH,
            disposition=Disposition.SPAM,
            run_id=RUN,
        )

    assert state_of(ledger, one).state is State.PLANNED
    assert state_of(ledger, two).state is State.DONE
    assert state_of(ledger, three).state is State.GONE
    assert len(ledger.history(one.copy_id)) == 2


def test_a_transaction_that_fails_changes_nothing(ledger):
    one, two = copy(1), copy(2)
    mine = claim(ledger, one)

    transaction = ledger.writing(START)
    transaction.__enter__().settle(mine, State.DONE, location_after=TRASH)
    transaction.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert state_of(ledger, one).token == mine.token
    assert state_of(ledger, two) is None
    assert len(ledger.history(one.copy_id)) == 1


def test_a_lost_claim_says_until_when(ledger):
    one = copy(1)
    held = claim(ledger, one)

    with pytest.raises(ClaimLost) as told:
        claim(ledger, one, seen=state_of(ledger, one))

    assert told.value.until == held.expires_at


def test_a_failure_with_an_open_outcome_is_told_and_still_looked_at_first(ledger):
    one = copy(1)
    recorded(ledger, one)
    mine = claim(ledger, one)
    with ledger.writing(START) as changes:
        changes.release(mine, reason="401", failed=True)

    assert state_of(ledger, one).state is State.PLANNED
    assert [o.state for o in ledger.outcomes(RUN)] == [State.FAILED]


# --- mailbox leases ---


MINUTES = timedelta(minutes=5)


def leases(ledger, clock, *keys, owner="a"):
    return ledger.mailbox_leases(keys, owner=owner, clock=clock, duration=MINUTES)


def test_a_mailbox_has_one_worker_at_a_time(ledger, clock):
    with leases(ledger, clock, "one", "two") as mine:
        with leases(ledger, clock, "two", "three", owner="b") as others:
            assert mine.held == {"one", "two"}
            assert others.held == {"three"}
            assert others.busy["two"].until == START + MINUTES
            assert "by a until" in str(others.busy["two"])
            others.require("three")
            with pytest.raises(ClaimLost):
                others.require("two")
        with leases(ledger, clock, "three", owner="c") as free:
            assert free.held == {"three"}
    with leases(ledger, clock, "one", "two", owner="b") as free:
        assert free.held == {"one", "two"}


def test_leases_are_renewed_while_their_worker_works(ledger, clock):
    with leases(ledger, clock, "one", "two") as mine:
        for _ in range(4):
            clock.turn(minutes=4)
            mine.renew_when_due()
        assert mine.expires_at == clock() + MINUTES
        with leases(ledger, clock, "one", "two", owner="b") as others:
            assert others.held == set()
        assert mine.held == {"one", "two"}


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_learns_it(ledger, clock):
    with leases(ledger, clock, "one", "two") as late:
        clock.turn(minutes=6)
        with leases(ledger, clock, "one", owner="b") as others:
            late.renew_when_due()
            assert late.held == {"two"}
            assert "taken over" in str(late.busy["one"])
            assert others.held == {"one"}


def test_the_end_of_a_lost_lease_leaves_the_new_holder_alone(ledger, clock):
    late = leases(ledger, clock, "one", "two")
    late.__enter__()
    clock.turn(minutes=6)
    with leases(ledger, clock, "one", owner="b"):
        late.__exit__(None, None, None)
        with leases(ledger, clock, "one", "two", owner="c") as others:
            assert others.held == {"two"}
            assert "by b until" in str(others.busy["one"])


def test_a_wait_that_a_provider_asked_for_is_told_with_the_lease(ledger, clock):
    with leases(ledger, clock, "one", "two") as mine:
        assert mine.not_before == {}
        ledger.set_next_attempts({"one": LATER}, reasons={"one": "429"})
    with leases(ledger, clock, "one", "two") as mine:
        assert mine.not_before == {"one": LATER}
        ledger.set_next_attempts({"one": None})
    assert ledger.next_attempt("one") is None


def test_thousands_of_mailboxes_are_held_at_once(ledger, clock):
    keys = [f"box {number}" for number in range(1500)]
    with leases(ledger, clock, *keys) as mine:
        assert len(mine.held) == 1500
        clock.turn(minutes=3)
        mine.renew_when_due()
        assert len(mine.held) == 1500
    with leases(ledger, clock, *keys) as mine:
        assert len(mine.held) == 1500


# --- several processes ---


def _claim_all(url, worker, won):
    with Ledger(url) as ledger:
        ledger.migrate()
        for number in range(30):
            try:
                claim(ledger, copy(number), run_id=f"worker {worker}")
            except ClaimLost:
                continue
            won.put((number, worker))


def test_processes_that_race_share_the_claims_between_them(ledger_url):
    """Each migrates a new file and claims the same copies, all at once."""
    context = multiprocessing.get_context("spawn")
    won = context.Queue()
    workers = [context.Process(target=_claim_all, args=(ledger_url, n, won)) for n in range(3)]
    for worker in workers:
        worker.start()
    winners = dict(won.get(timeout=120) for _ in range(30))
    for worker in workers:
        worker.join(timeout=120)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert won.empty()
    assert sorted(winners) == list(range(30))
    with Ledger(ledger_url) as ledger:
        states = ledger.current(copy(number).copy_id for number in range(30))
        for number, worker in winners.items():
            state = states[copy(number).copy_id]
            assert (state.token, state.run_id) == (1, f"worker {worker}")


# --- the database ---


def test_the_migrations_make_the_tables_the_program_uses(ledger, ledger_url):
    ledger.migrate()
    with sa.create_engine(ledger_url, poolclass=sa.NullPool).connect() as db:
        context = MigrationContext.configure(db, opts={"version_table": "ledger_version"})
        assert compare_metadata(context, metadata) == []


def test_a_ledger_that_was_never_migrated_says_what_to_do(ledger_url):
    with Ledger(ledger_url) as ledger, pytest.raises(LedgerError, match="migrate first"):
        ledger.current(["x"])


def test_a_damaged_file_is_told_as_such(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"this is no database" * 100)
    with (
        Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger,
        pytest.raises(LedgerError, match="not a database"),
    ):
        ledger.migrate()


def test_migrating_makes_the_folder(tmp_path):
    with Ledger(f"sqlite:///{tmp_path}/var/new/ledger.db") as ledger:
        ledger.migrate()
    assert Path(tmp_path, "var/new/ledger.db").exists()


@pytest.mark.parametrize("url", ["sqlite://", "mysql://host/db", "nonsense", "oracle+x://h/d"])
def test_a_url_that_cannot_hold_a_ledger_is_refused(url):
    with pytest.raises(ConfigurationError, match="ledger's URL"):
        Ledger(url)


def test_an_error_names_no_password():
    with (
        pytest.raises((ConfigurationError, LedgerError)) as told,  # without, or with the driver
        Ledger("postgresql+psycopg2://u:topsecret@127.0.0.1:1/none") as ledger,
    ):
        ledger.migrate()
    assert "topsecret" not in str(told.value)


@pytest.mark.parametrize("password", ["top:secret/x", "top@secret:x", "[topsecret"])
def test_a_password_that_breaks_the_url_is_not_told_either(password):
    with pytest.raises(ConfigurationError, match="ledger's URL") as told:
        Ledger(f"postgresql://u:{password}@127.0.0.1:port/none")
    assert "secret" not in "".join(format_exception(told.value))


def test_on_sqlite_a_reader_is_not_stopped_by_a_writer(sqlite_url):
    with (
        Ledger(sqlite_url) as ledger,
        closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as writer,
    ):
        ledger.migrate()
        record(ledger, copy(1), State.GONE)
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        writer.isolation_level = None
        writer.execute("BEGIN EXCLUSIVE")
        assert state_of(ledger, copy(1)).state is State.GONE


def test_naive_times_are_refused(ledger):
    with pytest.raises(Exception, match="aware"):
        claim(ledger, copy(1), now=START.replace(tzinfo=None))


def test_a_copy_is_told_under_its_mailbox_s_newest_address(ledger):
    one = copy(1)
    record(ledger, one, State.FAILED, reason="no time")
    renamed = replace(one, mailbox="ann.new@north.example")
    held = claim(ledger, renamed, seen=ledger.current([one.copy_id])[one.copy_id])
    settle(ledger, held, State.DONE, now=START, location_after=TRASH)
    (outcome,) = ledger.outcomes(RUN)
    assert outcome.copy == renamed
