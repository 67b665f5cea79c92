"""From plan, ledger and the run's facts to the report. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from importlib import metadata
from typing import Any, Final, TypeVar

import polars as pl

from retract.model import (
    Action,
    Disposition,
    Location,
    Mode,
    ObservableType,
    Provider,
    State,
    UnwatchedMailbox,
    UnwatchedReason,
)
from retract.observables import EXTRACTOR_VERSION
from retract.policy import Policy
from retract.reevaluation.held_back import HeldBackHits
from retract.reports.model import (
    BeatenIndicator,
    CopyResult,
    Counts,
    DayFacts,
    Exposure,
    MailboxFacts,
    Result,
    RuleFacts,
    RunFacts,
    RunReport,
    SourceFacts,
    Timing,
    Trouble,
    Versions,
    Where,
)
from retract.retraction.plan import JudgedCopy, OverruledReason, Plan, Skipped, SkipReason
from retract.retraction.records import Outcome, mailbox_key

Word = TypeVar("Word", bound=StrEnum)

MAX_FILLED_DAYS: Final = 366
"""Over a longer span, days without deliveries are left out."""

MAX_BEATEN: Final = 20
"""Indicators named of those that one allow rule beat; all are counted."""

_RESULT = {
    State.DONE: Result.DONE,
    State.ALREADY_THERE: Result.ALREADY_THERE,
    State.GONE: Result.GONE,
    State.SKIPPED: Result.SKIPPED,
    State.FAILED: Result.FAILED,
    State.RESTORED: Result.RESTORED,
}
_RANK = {result: rank for rank, result in enumerate(Result)}


def make_report(
    run: RunFacts,
    plan: Plan,
    outcomes: Iterable[Outcome],
    policy: Policy,
    *,
    judged_by_day: Mapping[date, int],
    sources: Sequence[SourceFacts] = (),
    held_back: HeldBackHits | None = None,
    problems: Sequence[str] = (),
    mailbox_problems: Mapping[str, str] | None = None,
    timings: Sequence[Timing] = (),
    unwatched: Sequence[UnwatchedMailbox] = (),
) -> RunReport:
    """The report on a run.

    ``outcomes`` are the ledger's for this run; a planned copy without one is unfinished, or in
    preview what would be retracted. ``judged_by_day`` comes from `judged_by_day`, ``sources``
    from `sources_of`, ``held_back`` from `retract.reevaluation.held_back`; ``mailbox_problems``
    says by address why a mailbox could not be read.
    """
    by_copy = {outcome.copy_id: outcome for outcome in outcomes}
    # What an earlier plan of the same run finished is left alone by a later one of it. It is
    # this run's doing all the same.
    finished = {copy_id for copy_id, outcome in by_copy.items() if outcome.finished}
    skipped = [copy for copy in plan.skipped if copy.copy_id not in finished]
    planned = [*plan.retractions, *(c for c in plan.skipped if c.copy_id in finished)]
    planned += _under_another_id(planned, by_copy)
    copies = sorted((_result(c, by_copy.get(c.copy_id), plan.mode) for c in planned), key=_order)
    return RunReport(
        run=run,
        mode=plan.mode,
        window_start=plan.window_start,
        window_end=plan.window_end,
        counts=_counts(plan, copies, skipped, unwatched),
        problems=tuple(problems),
        copies=tuple(copies),
        skipped=tuple(skipped),
        troubles=_troubles(copies),
        mailboxes=_mailboxes(copies, skipped, mailbox_problems or {}),
        days=_days(copies, judged_by_day),
        sources=_sources(plan, sources),
        rules=_rules((*copies, *skipped)),
        held_back=held_back or HeldBackHits(),
        policy=tuple(policy.describe()),
        versions=Versions(
            program=program_version(),
            extractor=EXTRACTOR_VERSION,
            policy_digest=plan.policy_digest,
            plan_digest=plan.digest,
            lake=plan.lake_versions,
        ),
        timings=tuple(timings),
        unwatched=tuple(sorted(unwatched, key=lambda one: (one.connection, one.address))),
        limits=_limits(plan.mode),
    )


def judged_by_day(messages: pl.DataFrame | pl.LazyFrame) -> dict[date, int]:
    """How many copies were delivered on each day (UTC), from the lake's messages."""
    days = messages.lazy().group_by("delivery_date").len().sort("delivery_date")
    return dict(days.collect(engine="streaming").iter_rows())


def sources_of(indicators: pl.LazyFrame, now: datetime) -> list[SourceFacts]:
    """Each source with its usable and its held-back indicators, from the lake's indicators."""
    current = pl.col("active") & (pl.col("expires_at").is_null() | (pl.col("expires_at") > now))
    held_back = pl.col("held_back").is_not_null()
    found = (
        indicators.group_by("source")
        .agg(active=(current & ~held_back).sum(), held_back=(current & held_back).sum())
        .sort("source")
        .collect()
    )
    return [SourceFacts(**row) for row in found.iter_rows(named=True)]


def _result(planned: JudgedCopy, outcome: Outcome | None, mode: Mode) -> CopyResult:
    if outcome is None or not outcome.finished:
        unfinished = Result.WOULD_RETRACT if mode is Mode.PREVIEW else Result.UNFINISHED
        note = outcome.reason if outcome and mode is Mode.ENFORCE else ""
        return CopyResult(**_fields(planned), result=unfinished, note=note)
    before = outcome.location_before
    return CopyResult(
        **_fields(planned),
        result=_RESULT[outcome.state],
        result_at=outcome.at,
        was=_where(before),
        exposure=_exposure(before),
        now=_where(outcome.location_after),
        note=outcome.reason,
    )


def _under_another_id(
    planned: Sequence[JudgedCopy], outcomes: Mapping[str, Outcome]
) -> list[JudgedCopy]:
    """The copies that the run found in the place of planned ones whose id led to nothing: the
    same messages under other ids, with outcomes of their own."""
    known = {copy.copy_id for copy in planned}
    same = {(copy.mailbox_key, copy.internet_message_id): copy for copy in planned}
    found = []
    for copy_id, outcome in outcomes.items():
        if copy_id in known or not outcome.finished:
            continue
        told = same.get((mailbox_key(outcome.copy), outcome.copy.internet_message_id))
        if told is not None:
            its = {"copy_id": copy_id, "message_id": outcome.copy.message_id}
            found.append(JudgedCopy(**_fields(told) | its))
    return found


def _exposure(before: Location | None) -> Exposure | None:
    if before is None:
        return None
    if before.forwarded:
        return Exposure.FORWARDED
    if before.replied:
        return Exposure.REPLIED
    return Exposure.READ if before.is_read else Exposure.UNREAD


def _troubles(copies: Sequence[CopyResult]) -> tuple[Trouble, ...]:
    """Why copies failed or are unfinished: one row a reason."""
    amiss: dict[tuple[Result, str], list[CopyResult]] = {}
    for copy in copies:
        if copy.result in (Result.FAILED, Result.UNFINISHED):
            # The mailbox's own name would make every mailbox a reason of its own.
            reason = copy.note.replace(copy.mailbox, "the mailbox")
            amiss.setdefault((copy.result, reason or "no reason was written down"), []).append(copy)
    rows = [
        Trouble(
            result=result,
            reason=reason,
            copies=len(those),
            mailboxes=len({copy.mailbox_key for copy in those}),
            example=those[0].mailbox,
        )
        for (result, reason), those in amiss.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.copies, row.reason)))


def _fields(planned: JudgedCopy) -> dict[str, Any]:
    return {name: getattr(planned, name) for name in JudgedCopy.model_fields}


def _where(location: Location | None) -> Where | None:
    if location is None:
        return None
    folder = location.folder_name or ", ".join(location.labels)
    return Where(place=location.place, folder=folder)


def _order(copy: CopyResult) -> tuple[int, int, float, str]:
    return (
        _RANK[copy.result],
        -copy.disposition.severity,
        -copy.received_at.timestamp(),
        copy.copy_id,
    )


def _counts(
    plan: Plan,
    copies: Sequence[CopyResult],
    skipped: Sequence[Skipped],
    unwatched: Sequence[UnwatchedMailbox],
) -> Counts:
    return Counts(
        judged=plan.judged,
        matched=plan.matched,
        planned=len(copies),
        by_result=_tally(Result, (copy.result for copy in copies)),
        by_disposition=_tally(Disposition, (copy.disposition for copy in copies)),
        by_action=_tally(Action, (copy.action for copy in copies)),
        by_provider=_tally(Provider, (copy.provider for copy in copies)),
        skipped_by_reason=_tally(SkipReason, (copy.reason for copy in skipped)),
        by_exposure=_tally(Exposure, (copy.exposure for copy in copies if copy.exposure)),
        unwatched_by_reason=_tally(UnwatchedReason, (one.reason for one in unwatched)),
    )


def _mailboxes(
    copies: Sequence[CopyResult], skipped: Sequence[Skipped], problems: Mapping[str, str]
) -> tuple[MailboxFacts, ...]:
    results: dict[str, Counter[Result]] = {}
    judged: dict[str, JudgedCopy] = {}
    left_alone = Counter(copy.mailbox_key for copy in skipped)
    for copy in copies:
        results.setdefault(copy.mailbox_key, Counter())[copy.result] += 1
    for each in (*copies, *skipped):
        judged.setdefault(each.mailbox_key, each)
    mailboxes = [
        MailboxFacts(
            provider=each.provider,
            mailbox=each.mailbox,
            results=_tally(Result, results.get(key, Counter()).elements()),
            skipped=left_alone[key],
            problem=problems.get(each.mailbox, ""),
        )
        for key, each in judged.items()
    ]
    known = {mailbox.mailbox for mailbox in mailboxes}
    mailboxes += [
        MailboxFacts(provider=None, mailbox=address, problem=problem)
        for address, problem in problems.items()
        if address not in known
    ]
    return tuple(sorted(mailboxes, key=_mailbox_order))


def _mailbox_order(mailbox: MailboxFacts) -> tuple[bool, int, int, str]:
    amiss = mailbox.results.get(Result.FAILED, 0) + mailbox.results.get(Result.UNFINISHED, 0)
    return (not mailbox.problem, -amiss, -mailbox.planned, mailbox.mailbox)


def _days(copies: Sequence[CopyResult], judged: Mapping[date, int]) -> tuple[DayFacts, ...]:
    """The days from the first delivery to the last."""
    planned = Counter(copy.received_at.astimezone(UTC).date() for copy in copies)
    done = Counter(
        copy.received_at.astimezone(UTC).date() for copy in copies if copy.result is Result.DONE
    )
    seen = judged.keys() | planned.keys()
    if not seen:
        return ()
    first, span = min(seen), (max(seen) - min(seen)).days + 1
    # Exported mail may claim any date: a span of centuries must not become a row a day.
    filled = (first + timedelta(days=n) for n in range(span))
    days = filled if span <= MAX_FILLED_DAYS else sorted(seen)
    return tuple(
        DayFacts(day=day, judged=judged.get(day, 0), planned=planned[day], done=done[day])
        for day in days
    )


def _sources(plan: Plan, counted: Sequence[SourceFacts]) -> tuple[SourceFacts, ...]:
    matched = Counter(
        source
        for copy in (*plan.retractions, *plan.skipped)
        for source in {reason.source for reason in (*copy.reasons, *copy.overruled)}
    )
    known = {facts.source: facts for facts in counted}
    sources = [
        known.get(name, SourceFacts(source=name)).model_copy(update={"matched": matched[name]})
        for name in known.keys() | matched.keys()
    ]
    return tuple(sorted(sources, key=lambda facts: (-facts.matched, facts.source)))


def _rules(copies: Sequence[JudgedCopy]) -> tuple[RuleFacts, ...]:
    """The allow rules that beat something in these copies."""
    of_rule: dict[tuple[str, str], Counter[tuple[ObservableType, str, str]]] = {}
    met: Counter[tuple[str, str]] = Counter()
    left_alone: Counter[tuple[str, str]] = Counter()
    for copy in copies:
        rules = {_rule(beaten) for beaten in copy.overruled}
        met.update(rules)
        if isinstance(copy, Skipped) and copy.reason is SkipReason.ALLOWED:
            left_alone.update(rules)
        for rule, indicator in {
            (_rule(b), (b.type, b.indicator, b.source)) for b in copy.overruled
        }:
            of_rule.setdefault(rule, Counter())[indicator] += 1
    facts = [
        RuleFacts(
            rule=rule[0],
            reason=rule[1],
            copies=met[rule],
            left_alone=left_alone[rule],
            beaten=len(indicators),
            examples=tuple(
                BeatenIndicator(type=kind, indicator=value, source=source, copies=number)
                for (kind, value, source), number in sorted(
                    indicators.items(), key=lambda item: (-item[1], item[0])
                )[:MAX_BEATEN]
            ),
        )
        for rule, indicators in of_rule.items()
    ]
    return tuple(sorted(facts, key=lambda fact: (-fact.copies, fact.rule)))


def _rule(beaten: OverruledReason) -> tuple[str, str]:
    return beaten.rule, beaten.rule_reason


def _tally(kind: type[Word], things: Iterable[Word]) -> dict[Word, int]:
    """How often each occurs, in the order of their enum."""
    counts = Counter(things)
    return {word: counts[word] for word in kind if counts[word]}


def program_version() -> str:
    """The installed program's."""
    try:
        return metadata.version("retract")
    except metadata.PackageNotFoundError:
        return "not installed as a package"


def _limits(mode: Mode) -> tuple[str, ...]:
    """What a reader might wrongly take from the report."""
    said = (
        "It counts copies: one message delivered to ten mailboxes is ten copies.",
        "It speaks of the copies that the mailboxes held in the window when they were read. Mail "
        "forwarded elsewhere, downloaded or printed is out of reach.",
        "A message is judged by what the indicator sources listed at the version named here. "
        "No match does not mean harmless.",
    )
    if mode is Mode.PREVIEW:
        return (
            *said,
            "It is a preview: nobody looked where the copies are now. Some may have been moved or "
            "deleted since they were read.",
        )
    return (
        *said,
        "“Done” means that the copy was seen at its destination right after it was moved. What "
        "anybody did with it since is not in this report.",
        "“Read before” means that the copy was marked as read when it was moved. Whether a link "
        "was followed is not known here.",
    )
