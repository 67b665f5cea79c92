"""Whatever happens in whatever order: nothing is done twice, and no history is lost."""

import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations
from pathlib import Path

import words
from fake_provider import INBOX, Crash, FakeProvider, Fault
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from words import RUN, DyingLedger, TurnableClock, act, copy, recorded

from retract.errors import ClaimLost, LedgerError, MessageNotFound
from retract.model import Action, Location, Place, State
from retract.retraction.ledger import Ledger
from retract.retraction.records import Claim, CopyState

ACTIONS = [Action.JUNK, Action.TRASH, Action.HARD_DELETE]
WHO = st.integers(0, 1)


@dataclass
class Worker:
    """One worker's progress on the copy: what it has seen, and the claim it believes it has."""

    seen: CopyState | None = None
    looked_at: datetime | None = None
    here: Location | None = None
    claim: Claim | None = None
    called: bool = False


def new_ledger_file(migrated: list[bytes] = []) -> Path:  # noqa: B006
    """A new ledger, in memory where the machine allows: thousands of commits go through it."""
    shared_memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    file = folder / "ledger.db"
    if migrated:
        file.write_bytes(migrated[0])
    else:
        with Ledger(f"sqlite:///{file}") as ledger:
            ledger.migrate()
        migrated.append(file.read_bytes())
    return file


class TwoWorkersOneCopy(RuleBasedStateMachine):
    """Two workers take the steps of `act` in any interleaving, with crashes and late writes.

    No mailbox lease keeps them apart here: the claims alone must do. Each step is one that the
    program itself takes under these conditions; it claims only what a look shows to be due, and
    calls once, under a claim that has not run out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.file = new_ledger_file()
        self.ledger = Ledger(f"sqlite:///{self.file}")
        self.clock = TurnableClock()
        self.provider = FakeProvider(self.clock)
        self.copy = copy(1)
        self.provider.deliver(self.copy)
        self.workers = [Worker(), Worker()]
        self.settled: Counter[Action] = Counter()
        self.history: list[object] = []

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.file.parent)

    def state(self) -> CopyState | None:
        return self.ledger.current([self.copy.copy_id]).get(self.copy.copy_id)

    def reached(self, here: Location | None, action: Action) -> bool:
        destination = self.provider.destination(action)
        return here is None or here.place.gravity >= destination.gravity

    @rule(who=WHO, action=st.sampled_from([Action.JUNK, Action.HARD_DELETE]))
    def step(self, who: int, action: Action) -> None:
        """The worker's next step: look, claim, call, settle."""
        worker = self.workers[who]
        if worker.looked_at is None:
            seen, looked_at = self.state(), self.clock()
            self.workers[who] = Worker(seen, looked_at, self.provider.locate_one(self.copy))
        elif worker.claim is None:
            self.workers[who] = self.claimed(worker, action)
        elif not worker.called:
            self.call(worker)
        else:
            self.settle(worker.claim)
            self.workers[who] = Worker()

    def claimed(self, worker: Worker, action: Action) -> Worker:
        """Where the look shows that the call is still to be made, or that it was made."""
        interrupted = worker.seen is not None and worker.seen.state is State.PLANNED
        adopt = interrupted and self.reached(worker.here, worker.seen.action)
        if adopt:
            action = worker.seen.action
        elif self.reached(worker.here, action):
            return Worker()
        try:
            claim = words.claim(
                self.ledger,
                self.copy,
                action,
                seen=worker.seen,
                looked_at=worker.looked_at,
                before=worker.here or INBOX,
                now=self.clock(),
            )
        except LedgerError:
            return Worker()
        return replace(worker, claim=claim, called=adopt)

    def call(self, worker: Worker) -> None:
        worker.called = True
        if self.clock() < worker.claim.expires_at:
            with suppress(MessageNotFound):
                self.provider.retract_one(self.copy, worker.claim.action)

    def settle(self, claim: Claim) -> None:
        here = self.provider.locate_one(self.copy)
        try:
            if self.reached(here, claim.action):
                there = here or Location(Place.PURGED)
                words.settle(self.ledger, claim, State.DONE, location_after=there, now=self.clock())
                self.settled[claim.action] += 1
            else:
                words.release(self.ledger, claim, reason="open", now=self.clock())
        except ClaimLost:
            assert self.state().token != claim.token, "the newest token may always write"

    @rule(who=WHO)
    def crash(self, who: int) -> None:
        self.workers[who] = Worker()

    @rule(minutes=st.sampled_from([1, 6]))
    def time_passes(self, minutes: int) -> None:
        self.clock.turn(minutes=minutes)

    @invariant()
    def an_action_is_executed_and_settled_at_most_once(self) -> None:
        assert all(times == 1 for times in Counter(self.provider.effects).values())
        assert all(times == 1 for times in self.settled.values())
        assert len(self.provider.calls) == len(self.provider.effects)

    @invariant()
    def history_only_grows(self) -> None:
        history = self.ledger.history(self.copy.copy_id)
        assert history[: len(self.history)] == self.history
        tokens = [event.token for event in history]
        assert tokens == sorted(set(tokens))
        self.history = list(history)

    @invariant()
    def one_worker_at_most_may_write(self) -> None:
        state = self.state()
        holders = [w for w in self.workers if w.claim and state and w.claim.token == state.token]
        assert len(holders) <= 1


TwoWorkersOneCopy.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None
)
TestTwoWorkersOneCopy = TwoWorkersOneCopy.TestCase


def test_every_interleaving_of_two_workers_executes_once() -> None:
    """Two workers' four steps in all 70 orders, with the leases running out at any point."""
    for firsts in combinations(range(8), 4):
        turns = [0 if number in firsts else 1 for number in range(8)]
        for runs_out_after in range(8):
            machine = TwoWorkersOneCopy()
            for number, turn in enumerate(turns):
                machine.step(turn, Action.JUNK)
                if number == runs_out_after:
                    machine.time_passes(6)
            machine.time_passes(6)
            machine.crash(0)
            for _ in range(4):
                machine.step(0, Action.JUNK)
            effects, state = machine.provider.effects, machine.state()
            machine.an_action_is_executed_and_settled_at_most_once()
            machine.history_only_grows()
            machine.teardown()
            assert (len(effects), state.state) == (1, State.DONE), (turns, runs_out_after)


@settings(max_examples=50, deadline=None)
@given(
    action=st.sampled_from(ACTIONS),
    faults=st.lists(
        st.lists(st.sampled_from([f for f in Fault if f is not Fault.VANISHES]), max_size=4),
        min_size=1,
        max_size=3,
    ),
    pauses=st.lists(st.integers(0, 7), min_size=1, max_size=6),
)
def test_retries_after_any_faults_end_with_everything_done_exactly_once(
    action: Action, faults: list[list[Fault]], pauses: list[int]
) -> None:
    clock = TurnableClock()
    provider = FakeProvider(clock)
    copies = [copy(number) for number in range(len(faults))]
    file = new_ledger_file()
    url = f"sqlite:///{file}"
    with Ledger(url) as ledger:
        for each, its_faults in zip(copies, faults, strict=True):
            provider.deliver(each)
            provider.faults[each.message_id] = list(its_faults)
        retractions = recorded(ledger, *copies, action=action)
        histories: dict[str, list[object]] = {each.copy_id: [] for each in copies}

        for attempt in range(sum(map(len, faults)) + 3):
            worker = DyingLedger(url)

            def kill(worker: DyingLedger = worker) -> None:
                worker.killed_by = Crash()

            provider.on_crash = kill
            with suppress(Crash):
                act(retractions, provider, worker, RUN, clock)
            clock.turn(minutes=pauses[attempt % len(pauses)])
            for copy_id, before in histories.items():
                history = ledger.history(copy_id)
                assert history[: len(before)] == before
                histories[copy_id] = list(history)
        clock.turn(minutes=7)
        provider.faults.clear()
        (result,) = act(retractions, provider, ledger, RUN, clock).values()

        assert result.counts == {State.DONE: len(copies)}
        assert Counter(provider.effects) == Counter((c.message_id, action) for c in copies)
        states = ledger.current(histories)
        assert all(state.origin == INBOX for state in states.values())
        done = [e for h in histories for e in ledger.history(h) if e.state is State.DONE]
        assert len(done) == len(copies)
    shutil.rmtree(file.parent)
