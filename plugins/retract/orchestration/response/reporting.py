"""The report of a run, from its plan and the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from retract.installation import Settings
from retract.model import Mode, UnwatchedMailbox, UnwatchedReason
from retract.orchestration import clock
from retract.orchestration.response.pinned import (
    HELD_BACK,
    PLAN,
    judged_copies,
    open_ledger,
    pinned_indicators,
)
from retract.orchestration.runs import (
    Collected,
    Listing,
    RunFolder,
    ShardCollected,
    listing_file,
)

if TYPE_CHECKING:
    from retract.reports.model import RunReport

log = logging.getLogger(__name__)


def report(settings: Settings, path: str) -> list[str]:
    """Write the report from plan and ledger. Returns what went wrong in the run, if anything."""
    from retract.reevaluation.held_back import HeldBackHits
    from retract.reevaluation.late_lookups import rules_left_out
    from retract.reevaluation.match import in_force
    from retract.reports import build, model
    from retract.reports.write import write_report
    from retract.retraction.plan import read_plan

    folder = RunFolder(path)
    run = folder.run()
    if not (folder.path / PLAN).exists():
        return ["the run ended before a plan was made: see its first red task for the reason"]
    plan = read_plan(folder.path / PLAN)
    lake, messages = judged_copies(settings, folder)
    indicators = pinned_indicators(lake, plan.lake_versions)
    parts = folder.read_all("collected", ShardCollected)
    collected = [result for part in parts for result in part.mailboxes]
    mailbox_problems = {result.mailbox: result.problem for result in collected if result.problem}
    with open_ledger(settings) as ledger:
        written = build.make_report(
            model.RunFacts(
                dag_id=run.dag_id,
                run_id=run.run_id,
                started_at=run.started_at,
                finished_at=clock.utc_now(),
                mailboxes=sum(not result.vanished for result in collected),
                narrowed_to=run.mailboxes,
            ),
            plan,
            ledger.outcomes(plan.run_id) if plan.mode is Mode.ENFORCE else (),
            folder.policy(),
            judged_by_day=build.judged_by_day(messages.select("delivery_date").collect()),
            sources=build.sources_of(indicators, run.started_at),
            held_back=folder.read(HELD_BACK, HeldBackHits),
            problems=[
                *_problems(folder, collected),
                *rules_left_out(in_force(indicators, run.started_at)),
            ],
            mailbox_problems=mailbox_problems,
            unwatched=list(_unwatched(folder, collected)),
            timings=[model.Timing(step=s, seconds=t) for s, t in folder.step_seconds().items()],
        )
        paths = write_report(written, folder.path)
        log.info("the report is %s", paths.html)
        problems = _summary(written)
        ledger.finish_run(plan.run_id, succeeded=not problems, now=clock.utc_now())
    return problems


def _problems(folder: RunFolder, collected: Iterable[Collected]) -> list[str]:
    """What went wrong outside single mailboxes: connections, and mailboxes never heard of again."""
    told = [
        f"{connection}: listing its mailboxes ended without a result: see the task's log"
        for connection in folder.run().connections
        if not (folder.path / listing_file(connection)).exists()
    ]
    listings = folder.read_all("mailboxes", Listing)
    told += [
        f"{listing.connection}: {problem}" if listing.connection else problem
        for listing in listings
        for problem in listing.problems
    ]
    listed = {entry.key for listing in listings for entry in listing.mailboxes}
    silent = listed - {result.key for result in collected}
    if silent:
        told.append(
            f"{len(silent)} mailbox(es) were not read: their collecting tasks ended without a word "
            "about them: see the tasks' logs"
        )
    return told


def _unwatched(folder: RunFolder, collected: Iterable[Collected]) -> Iterator[UnwatchedMailbox]:
    """The addresses whose mail is not judged."""
    for listing in folder.read_all("mailboxes", Listing):
        yield from listing.unwatched
    for result in collected:
        if result.vanished:
            yield UnwatchedMailbox(
                result.connection, result.mailbox, UnwatchedReason.INACTIVE, result.vanished
            )


def _summary(report: RunReport) -> list[str]:
    from retract.reports.model import Result

    if not report.failed:
        return []
    results = report.counts.by_result
    amiss = [
        f"{results[word]} copies {word.value}"
        for word in (Result.FAILED, Result.UNFINISHED)
        if results.get(word)
    ]
    mailboxes = [f"{m.mailbox}: {m.problem}" for m in report.mailboxes if m.problem]
    return [*report.problems, *mailboxes, *amiss]
