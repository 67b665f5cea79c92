"""Faults, crashes, owners and a second run, in any order: at the end the ledger tells the truth."""

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from fake_provider import Crash, FakeProvider, Fault, content_of
from hypothesis import event, given, settings
from hypothesis import strategies as st
from test_never_twice import new_ledger_file
from words import RUN, DyingLedger, TurnableClock, act, copy, recorded

from retract.model import Action, Copy, Location, Place, State
from retract.retraction.ledger import Ledger

ACTIONS = st.sampled_from([Action.JUNK, Action.TRASH, Action.HARD_DELETE])
SECOND = "second"
FILED = Location(Place.OTHER, folder_id="filed")
HAPPENINGS = ("file", "delete", "new_id", "other_run", "hang", "kill")
FINAL = {State.DONE, State.ALREADY_THERE, State.GONE, State.SKIPPED, State.RESTORED}


@dataclass(frozen=True)
class Happening:
    """What happens in the midst of a provider's call."""

    after: int
    """So many copies' turns later than the one before."""
    kind: str
    whom: int
    """Which of the copies, where it concerns one."""


happenings = st.lists(
    st.builds(Happening, st.integers(0, 8), st.sampled_from(HAPPENINGS), st.integers(0, 7)),
    max_size=8,
)
copies_drawn = st.lists(
    st.tuples(st.sampled_from(["ann", "bob"]), st.integers(0, 2), st.booleans()),
    min_size=1,
    max_size=6,
)
"""Of each copy its mailbox, its Message-ID, and whether it shares its content with the others
that have it."""
all_faults = st.lists(
    st.lists(st.sampled_from([f for f in Fault if f is not Fault.VANISHES]), max_size=3),
    max_size=6,
)


class World:
    """A tenant with two runs that want something of the same copies."""

    def __init__(self, drawn: list[tuple[str, int, bool]], actions: tuple[Action, Action]) -> None:
        self.file = new_ledger_file()
        self.url = f"sqlite:///{self.file}"
        self.ledger = Ledger(self.url)
        self.clock = TurnableClock()
        self.provider = FakeProvider(self.clock)
        self.copies = [
            replace(copy(n, box), internet_message_id=f"<{message}@x.example>")
            for n, (box, message, _) in enumerate(drawn)
        ]
        shared = [alike for _, _, alike in drawn]
        self.bystanders: list[Copy] = []
        for each, alike in zip(self.copies, shared, strict=True):
            # The plan's subject is "Subject <id>": a copy alike carries another's as well.
            self.provider.deliver(each, content=content_of(each))
            other = replace(each, message_id=f"by{each.message_id}")
            subject = "" if alike else content_of(each).subject
            unlike = content_of(other, subject=subject, words="" if alike else "other words")
            self.provider.deliver(other, content=unlike)
            self.bystanders.append(other)
        self.to_do = {
            run_id: recorded(self.ledger, *self.copies, action=action, run_id=run_id)
            for run_id, action in zip((RUN, SECOND), actions, strict=True)
        }
        self.mildest = min(
            (self.provider.destination(action) for action in actions), key=lambda p: p.gravity
        )
        self.farthest: Counter[str] = Counter()
        """By the copy's first id, the gravity of the farthest place where it ever was."""
        self.ignored: set[str] = set()
        """Whose calls may be accepted and come to nothing: one that is filed meanwhile looks put
        back, and one that gets a new id looks purged."""
        self.workers: list[DyingLedger] = []
        self.checked = 0

    def close(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.file.parent)

    def go(self, run_id: str) -> None:
        """One worker's go, which may be killed."""
        worker = DyingLedger(self.url)
        self.workers.append(worker)
        self.provider.on_crash = lambda: self.workers and self.kill()
        try:
            with suppress(Crash):
                act(self.to_do[run_id], self.provider, worker, run_id, self.clock, wave=3)
        finally:
            self.workers.pop()
            worker.close()

    def kill(self) -> None:
        self.workers[-1].killed_by = Crash()

    # --- what others do ---

    def happen(self, what: Happening) -> None:
        event(what.kind)
        whom = self.copies[what.whom % len(self.copies)].message_id
        now = next((m for m in self.provider.locations if root(m) == whom), None)
        moved_by_us = any(root(message_id) == whom for message_id, _ in self.provider.effects)
        if what.kind == "hang":
            self.clock.turn(minutes=6)
        elif what.kind == "other_run" and len(self.workers) == 1:
            self.go(SECOND)
        elif what.kind == "kill":
            self.kill()
            raise Crash
        elif now is None or (whom in self.ignored and what.kind in ("file", "new_id")):
            pass
        elif what.kind == "delete":
            del self.provider.locations[now]
            self.farthest[whom] = Place.PURGED.gravity
        elif what.kind == "new_id":
            self.provider.give_new_id(now, now + "+")
        elif what.kind == "file" and not moved_by_us:
            self.provider.locations[now] = FILED

    # --- what must be true ---

    def look(self) -> None:
        """Nothing is moved twice, no bystander at all, and what is called done is done."""
        assert all(times == 1 for times in Counter(map(by_root, self.provider.effects)).values())
        assert not any(message_id.startswith("by") for message_id, _ in self.provider.effects)
        for message_id, location in self.provider.locations.items():
            first = root(message_id)
            self.farthest[first] = max(self.farthest[first], location.place.gravity)
        for message_id, action in self.provider.effects:
            gravity = self.provider.destination(action).gravity
            self.farthest[root(message_id)] = max(self.farthest[root(message_id)], gravity)
        for message_id, item in self.provider.items.items():
            for line in self.ledger.history(item.copy.copy_id):
                if line.state is State.DONE:
                    destination = self.provider.destination(line.action)
                    assert self.farthest[root(message_id)] >= destination.gravity


def root(message_id: str) -> str:
    return message_id.rstrip("+")


def by_root(effect: tuple[str, Action]) -> tuple[str, Action]:
    return root(effect[0]), effect[1]


def in_turn(world: World, schedule: list[Happening]) -> Callable[[], None]:
    """Let the happenings happen, each so many turns after the one before."""
    left = list(schedule)
    waited = 0

    def turn() -> None:
        nonlocal waited
        if left and waited >= left[0].after:
            waited = 0
            world.happen(left.pop(0))
        else:
            waited += 1

    return turn


@settings(max_examples=40, deadline=timedelta(seconds=20))
@given(
    drawn=copies_drawn,
    actions=st.tuples(ACTIONS, ACTIONS),
    faults=all_faults,
    schedule=happenings,
    runs=st.lists(st.sampled_from([RUN, SECOND]), min_size=2, max_size=5),
)
def test_whatever_happens_the_ledger_tells_the_truth_at_the_end(
    drawn: list[tuple[str, int, bool]],
    actions: tuple[Action, Action],
    faults: list[list[Fault]],
    schedule: list[Happening],
    runs: list[str],
) -> None:
    world = World(drawn, actions)
    for each, its_faults in zip(world.copies, faults, strict=False):
        world.provider.faults[each.message_id] = list(its_faults)
        if Fault.IGNORED in its_faults:
            world.ignored.add(each.message_id)
    world.provider.meanwhile = in_turn(world, schedule)
    for run_id in runs:
        world.go(run_id)
        world.look()
        world.clock.turn(minutes=2)

    world.provider.meanwhile = lambda: None
    world.provider.faults.clear()
    for run_id in (RUN, SECOND, RUN, SECOND):
        world.clock.turn(minutes=6)
        world.go(run_id)
        world.look()

    for run_id in (RUN, SECOND):
        outcomes = {o.copy_id: o for o in world.ledger.outcomes(run_id)}
        assert {outcomes[each.copy_id].state for each in world.copies} <= FINAL
    for message_id, location in world.provider.locations.items():
        if not message_id.startswith("by"):
            assert location.place.gravity >= world.mildest.gravity
    assert all(world.provider.locations[b.message_id] for b in world.bystanders)
    world.close()
