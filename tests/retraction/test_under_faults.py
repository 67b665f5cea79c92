"""Whatever goes wrong at the service, the ledger says of every copy what the tenant knows of it,
and no copy is moved twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from tenant_scene import Scene, contradictions, scene

from local_tenant.faults.profile import EVERYTHING, PROFILES, FaultProfile, put_together
from retract.model import Action, Provider, State
from retract.retraction.plan import Plan

RUN, OTHER_RUN = "post_delivery_response/1", "backfill/1"
LONGER_THAN_ANY_TEST = timedelta(days=30)

ACTED_UNDER = [name for name in PROFILES if name not in ("duplicates", "expired_history", "slow")]
"""Those that concern a copy that is acted on; duplicates are in every scene."""
SLOW = FaultProfile(slow=0.05, slow_seconds=1.0)

pytestmark = pytest.mark.parametrize("provider", list(Provider))


def act_and_compare(stage: Scene, profile: FaultProfile, seed: int) -> dict[State, int]:
    """How many copies ended in which state, once it is known that the tenant says the same."""
    plan = stage.plan(RUN)
    door = stage.use_faults(profile, seed)
    stage.act(plan)
    assert contradictions(stage, RUN) == []
    if not (profile.held_mailboxes or profile.token_seconds or profile.app_requests_per_second):
        assert door.happened.total() > 0, "nothing went wrong: the test proves nothing"
    states = [outcome.state for outcome in stage.outcomes(RUN).values()]
    return {state: states.count(state) for state in set(states)}


@pytest.mark.parametrize("name", ACTED_UNDER)
def test_the_ledger_says_what_the_tenant_knows_under(
    name: str, provider: Provider, tmp_path: Path
) -> None:
    action = Action.HARD_DELETE if name in ("held", "lost_answers") else Action.TRASH
    with scene(provider, tmp_path, action=action) as stage:
        ended = act_and_compare(stage, PROFILES[name], seed=7)
    if name not in ("busy_owners", "vanishing_mailboxes"):
        assert ended == {State.DONE: 90}
    assert (State.FAILED in ended) is (name == "vanishing_mailboxes")


def test_a_deletion_whose_answer_was_lost_is_ours_though_the_second_call_finds_nothing(
    provider: Provider, tmp_path: Path
) -> None:
    with scene(provider, tmp_path, action=Action.HARD_DELETE, mailboxes=3, each=1) as stage:
        reset = FaultProfile(reset_after=1, most_each=1)
        assert act_and_compare(stage, reset, seed=1) == {State.DONE: 3}


def test_answers_that_come_after_the_timeout_are_looked_after(
    provider: Provider, tmp_path: Path
) -> None:
    with scene(provider, tmp_path, mailboxes=12, timeout_seconds=0.5) as stage:
        assert act_and_compare(stage, SLOW, seed=7) == {State.DONE: 36}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_ledger_says_what_the_tenant_knows_when_everything_goes_wrong(
    seed: int, provider: Provider, tmp_path: Path
) -> None:
    everything = put_together([EVERYTHING]) | FaultProfile(slow=0, most_each=2)
    with scene(provider, tmp_path) as stage:
        act_and_compare(stage, everything, seed)


@pytest.mark.parametrize("name", ["throttled", "lost_answers", "resets", "busy_owners"])
def test_two_runs_on_the_same_mailboxes_move_each_copy_once(
    name: str, provider: Provider, tmp_path: Path
) -> None:
    with scene(provider, tmp_path) as stage:
        plans = [stage.plan(RUN), stage.plan(OTHER_RUN)]
        stage.use_faults(PROFILES[name], seed=7)

        def work(plan: Plan) -> None:
            # The clock is turned by both, and must not take a lease from one who is at work.
            stage.act(plan, lease=LONGER_THAN_ANY_TEST, pause=200)

        with ThreadPoolExecutor(2) as workers:
            list(workers.map(work, plans))
        assert contradictions(stage, RUN, OTHER_RUN) == []
        assert stage.outcomes(RUN).keys() == stage.outcomes(OTHER_RUN).keys()
