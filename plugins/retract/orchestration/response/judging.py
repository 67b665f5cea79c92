"""From what was collected to a plan, everything computed from pinned versions."""

from __future__ import annotations

import logging
from typing import Any

from retract.installation import Settings
from retract.model import Mode
from retract.orchestration import clock
from retract.orchestration.connections import missing_actions_of
from retract.orchestration.response.pinned import (
    HELD_BACK,
    MATCHES,
    PINNED,
    PLAN,
    judged_copies,
    listed_mailboxes,
    open_ledger,
    pinned_indicators,
    pinned_versions,
)
from retract.orchestration.response.shards import Shard, label_of, most_so_far, padded, shards_of
from retract.orchestration.runs import RunFolder, part_file

log = logging.getLogger(__name__)


def pin(settings: Settings, path: str) -> dict[str, Any]:
    """Fix the lake's versions: everything after this step is computed from them alone."""
    from retract.lake.store import Lake

    folder = RunFolder(path)
    folder.forget(PINNED, MATCHES, HELD_BACK, PLAN)
    versions = Lake(settings.lake).versions()
    folder.write(PINNED, versions)
    return versions.model_dump()


def match(settings: Settings, path: str) -> int:
    """Join the window's observables with the indicators. Returns the number of matches.

    What the indicators that are held back would have met is counted beside it.
    """
    from retract.reevaluation.held_back import held_back_hits
    from retract.reevaluation.match import full_match

    folder = RunFolder(path)
    folder.forget(MATCHES, HELD_BACK, PLAN)
    run, versions = folder.run(), pinned_versions(folder)
    with folder.timed("match"):
        lake, messages = judged_copies(settings, folder)
        observables = lake.scan_observables(versions.observables, run.window)
        indicators = pinned_indicators(lake, versions)
        matches = full_match(messages, observables, indicators, run.window, run.started_at)
        folder.write_bytes(MATCHES, matches.write_parquet)
    with folder.timed("count_held_back"):
        held_back = held_back_hits(messages, observables, indicators, run.window, run.started_at)
        folder.write(HELD_BACK, held_back)
    return matches.height


def make_plan(settings: Settings, path: str) -> list[Shard]:
    """Decide, and plan what is still to do. Returns the shards to act on, empty in preview."""
    import polars as pl

    from retract.reevaluation.decide import decide, may_be_something
    from retract.retraction import plan as planning
    from retract.retraction.parts import PlanPart, parts_of

    folder = RunFolder(path)
    folder.forget(PLAN)
    run, policy = folder.run(), folder.policy()
    with folder.timed("plan"), open_ledger(settings) as ledger:
        judged, matches = judged_copies(settings, folder)[1], pl.read_parquet(folder.path / MATCHES)
        messages = may_be_something(judged, matches).collect()
        verdicts = decide(messages, matches, policy, run.started_at)
        plan = planning.make_plan(
            verdicts,
            messages,
            ledger.current(verdict.copy_id for verdict in verdicts),
            policy,
            run_id=run.key,
            mode=run.mode,
            window=run.window,
            lake_versions=pinned_versions(folder),
            made_at=clock.utc_now(),
            missing_actions=missing_actions_of(run.connections, policy),
            judged_copies=judged.select(pl.len()).collect().item(),
            aliases={key: entry.aliases for key, entry in listed_mailboxes(folder).items()},
        )
        planning.write_plan(plan, folder.path / PLAN)
        ledger.record_run(plan, clock.utc_now())
    log.info("%d to retract, %d left alone", len(plan.retractions), len(plan.skipped))
    parts = parts_of(plan, settings.max_shards) if plan.mode is Mode.ENFORCE else []
    nothing = PlanPart(run_id=plan.run_id, plan_digest=plan.digest, retractions=())
    labels = []
    for index, part in enumerate(padded(parts, nothing, most_so_far(folder, "to_act"))):
        folder.write(part_file("to_act", index), part)
        labels.append(label_of(part.addresses))
    return shards_of(labels, len(parts))
