"""From what was matched to a plan, everything computed from pinned versions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from retract.installation import Settings
from retract.model import Mode
from retract.orchestration import clock
from retract.orchestration.connections import missing_actions_of
from retract.orchestration.response.pinned import (
    AFTER_MATCHING,
    HELD_BACK,
    JUDGED,
    MATCHES,
    PLAN,
    judged_copies,
    listed_mailboxes,
    open_ledger,
    pinned_indicators,
    read_pin,
)
from retract.orchestration.response.shards import Shard, label_of, most_so_far, padded, shards_of
from retract.orchestration.runs import Judged, RunFolder, part_file

if TYPE_CHECKING:
    import polars as pl

    from retract.retraction.plan import Plan

log = logging.getLogger(__name__)


def make_plan(settings: Settings, path: str) -> list[Shard]:
    """Decide, and plan what is still to do. Returns the shards to act on, empty in preview."""
    from retract.retraction.parts import PlanPart, parts_of

    folder = RunFolder(path)
    folder.forget(*AFTER_MATCHING)
    with folder.timed("gather"):
        suspects, matches = _gather(settings, folder)
    with folder.timed("plan"):
        plan = _plan(settings, folder, suspects, matches)
    log.info("%d to retract, %d left alone", len(plan.retractions), len(plan.skipped))
    parts = parts_of(plan, settings.max_shards) if plan.mode is Mode.ENFORCE else []
    nothing = PlanPart(run_id=plan.run_id, plan_digest=plan.digest, retractions=())
    labels = []
    for index, part in enumerate(padded(parts, nothing, most_so_far(folder, "to_act"))):
        folder.write(part_file("to_act", index), part)
        labels.append(label_of(part.addresses))
    return shards_of(labels, len(parts))


def _gather(settings: Settings, folder: RunFolder) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The copies that something may speak against, and what matches they have.

    Leaves the matches in the run's folder, what would have been met but for the hold-back, and
    how many copies are judged.
    """
    from retract.lake.store import Lake
    from retract.observables import EXTRACTOR_VERSION
    from retract.reevaluation.days import DaysToMatch
    from retract.reevaluation.decide import may_be_something
    from retract.reevaluation.held_back import held_back_hits
    from retract.reevaluation.incremental import still_there
    from retract.reevaluation.match import READING, in_force, matches_of
    from retract.reports.build import judged_by_day

    run, pin, lake = folder.run(), read_pin(folder), Lake(settings.lake)
    lake.require_tables(pin.tables)
    parts = folder.read_all("to_match", DaysToMatch)
    days = [one.day for part in parts for one in part.days]
    indicators = pinned_indicators(lake, pin)
    messages = lake.scan_messages(pin.versions.messages, run.window)
    known = still_there(
        lake.suspects(days, pin.messages), messages, EXTRACTOR_VERSION, lake.kept_since()
    )
    # Of most columns, and of what only indicators spoke against that are gone, nothing is read.
    columns = ("copy_id", "extractor_version", "delivered_disposition")
    judged = judged_copies(folder, known).select(columns).collect(engine="streaming").lazy()
    listed = in_force(indicators, run.started_at)
    matches = matches_of(judged, lake.scan_hits(days), listed)
    readings = may_be_something(judged, matches).select(READING)
    suspects = judged_copies(folder, lake.suspects(days, pin.messages, readings)).collect()
    folder.write_bytes(MATCHES, matches.write_parquet)
    counts = lake.scan_held_back_counts(days)
    folder.write(HELD_BACK, held_back_hits(counts, indicators, run.started_at))
    folder.write(JUDGED, Judged(by_day=judged_by_day(judged_copies(folder, messages))))
    return suspects, matches


def _plan(
    settings: Settings, folder: RunFolder, suspects: pl.DataFrame, matches: pl.DataFrame
) -> Plan:
    """The plan, written to the run's folder and to the ledger."""
    from retract.reevaluation.decide import decide
    from retract.retraction import plan as planning

    run, policy = folder.run(), folder.policy()
    verdicts = decide(suspects, matches, policy, run.started_at)
    with open_ledger(settings) as ledger:
        plan = planning.make_plan(
            verdicts,
            suspects,
            ledger.current(verdict.copy_id for verdict in verdicts),
            policy,
            run_id=run.key,
            mode=run.mode,
            window=run.window,
            lake_versions=read_pin(folder).versions,
            made_at=clock.utc_now(),
            judged=folder.read(JUDGED, Judged).copies,
            missing_actions=missing_actions_of(run.connections, policy),
            aliases={key: entry.aliases for key, entry in listed_mailboxes(folder).items()},
        )
        planning.write_plan(plan, folder.path / PLAN)
        ledger.record_run(plan, clock.utc_now())
    return plan
