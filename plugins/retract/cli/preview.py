"""Judge exported mail with indicators and a policy: what would be done, and why.

No tenant, no lake, no ledger, no Airflow: the same pure functions as in a run, on frames that
are built in memory. Exported mail is old, so every message is judged, whenever it came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from retract.cli.record import Record
from retract.indicators.feeds import FeedsFile, load_feeds
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.loose_files import feeds_of_files
from retract.indicators.merge import merge
from retract.indicators.refresh import read_source
from retract.indicators.snapshot import Snapshot
from retract.lake.frames import lookups_frame, messages_frame, observables_frame
from retract.lake.store import LakeVersions
from retract.lake.tables import INDICATORS_TABLE
from retract.mailboxes.exported_mail import ExportedMessage
from retract.model import (
    Action,
    CollectedMessage,
    Copy,
    Disposition,
    Location,
    Mode,
    ObservableType,
    Place,
    Provider,
    Window,
)
from retract.observables import EXTRACTOR_VERSION
from retract.observables.mime import extract
from retract.observables.structure import split_headers
from retract.policy import Policy
from retract.reevaluation.decide import decide
from retract.reevaluation.held_back import HeldBackHits, held_back_of
from retract.reevaluation.incremental import Mail
from retract.reevaluation.match import full_match
from retract.reports.build import judged_by_day, make_report, sources_of
from retract.reports.model import RunFacts, RunReport
from retract.retraction.plan import JudgedCopy, Plan, Reason, Skipped, SkipReason, make_plan

EXPORT: Final = "exported mail"
"""Stands for the connection, which an export does not have."""
_FEEDS_FILES: Final = frozenset({".yaml", ".yml"})
_OLDEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PreviewMatch(Record):
    """One indicator that met something in the message."""

    type: ObservableType
    value: str
    """What was seen in the message."""
    indicator: str
    disposition: Disposition
    confidence: int
    source: str
    campaign: str
    reference: str


class PreviewOverruled(PreviewMatch):
    """One that does not count, because an allow rule of the policy beats it."""

    rule: str
    """The rule's value."""
    rule_reason: str


class PreviewMessage(Record):
    """What would be done with one message, and why."""

    source: str
    """The file it is in."""
    number: int | None
    """Its place in an mbox, from 1; null for a file that is one message."""
    message_id: str
    subject: str
    sender: str
    disposition: Disposition
    action: Action
    left_alone: SkipReason | None
    """Why nothing would be done with it though it is judged to be something."""
    matches: tuple[PreviewMatch, ...]
    overruled: tuple[PreviewOverruled, ...]
    problems: tuple[str, ...]
    """What of it could not be read."""


class PreviewSource(Record):
    """One source of indicators, as it was read."""

    source: str
    indicators: int
    """Those that can match."""
    held_back: int
    rejected: int
    matched: int
    """Messages its indicators met."""


class PreviewSummary(Record):
    """All messages in numbers; the mappings hold only what occurs."""

    messages: int
    unreadable: int
    """Entries of the export that are no readable message."""
    matched: int
    """Those that an indicator meets, allowed ones included."""
    retracted: int
    """Messages something would be done with."""
    by_disposition: dict[Disposition, int]
    by_action: dict[Action, int]
    provider: Provider
    policy_digest: str
    sources: tuple[PreviewSource, ...]
    held_back: HeldBackHits
    """What would have been met but for the hold-back; counts messages."""


class Preview(Record):
    """What ``python -m retract preview --json`` writes."""

    messages: tuple[PreviewMessage, ...]
    """In the order of the export, those without any match included."""
    summary: PreviewSummary


@dataclass(frozen=True, slots=True)
class Judgement:
    """A preview, and what its report is made of."""

    preview: Preview
    plan: Plan
    judged: pl.DataFrame
    """The messages, in the shape of the lake's table."""
    indicators: pl.DataFrame

    def report(
        self, policy: Policy, *, mail: Path, started_at: datetime, ended_at: datetime
    ) -> RunReport:
        """The same report that a run gets."""
        run = RunFacts(
            dag_id="preview",
            run_id=str(mail),
            started_at=started_at,
            finished_at=ended_at,
            mailboxes=None,
        )
        return make_report(
            run,
            self.plan,
            (),
            policy,
            judged_by_day=judged_by_day(self.judged),
            sources=sources_of(self.indicators.lazy(), started_at),
            held_back=self.preview.summary.held_back,
        )


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """One entry of the export with what was extracted from it; None when it is unreadable."""

    exported: ExportedMessage
    collected: CollectedMessage | None


@dataclass(frozen=True, slots=True)
class ReadFeeds:
    """What the feeds list, source by source, and all of it as rows of the indicators table."""

    snapshots: tuple[Snapshot, ...]
    indicators: pl.DataFrame


def read_feeds(files: Sequence[Path], disposition: Disposition, now: datetime) -> ReadFeeds:
    """The indicators in the files: lists, tables and exports that show what they are, or
    feeds.yaml files.

    A file that states no disposition itself gets ``disposition``. Raises FeedConfigurationError
    and FeedError for a file that is no such feed.
    """
    plain = feeds_of_files(file for file in files if file.suffix.lower() not in _FEEDS_FILES)
    stated = (one.model_copy(update={"disposition": disposition}) for one in plain.sources)
    feeds = [FeedsFile(sources=tuple(stated))]
    feeds += [load_feeds(file) for file in files if file.suffix.lower() in _FEEDS_FILES]
    snapshots: list[Snapshot] = []
    frames = [INDICATORS_TABLE.empty()]
    for each in feeds:
        read = [read_source(one, now) for one in each.enabled]
        hold_back = HoldBack.of(each.hold_back)
        frames.append(merge(None, read, now, each.enabled, hold_back=hold_back))
        snapshots += read
    return ReadFeeds(tuple(snapshots), pl.concat(frames))


def read_messages(
    exported: Iterable[ExportedMessage], provider: Provider, now: datetime
) -> Iterator[ReadMessage]:
    """Extract the messages one by one."""
    for entry in exported:
        yield ReadMessage(entry, _collected(entry, provider, now) if entry.raw else None)


def judge(
    read: Sequence[ReadMessage],
    feeds: ReadFeeds,
    policy: Policy,
    provider: Provider,
    now: datetime,
) -> Judgement:
    """Match, decide and plan, as a run does."""
    collected = [message.collected for message in read if message.collected]
    messages = messages_frame(collected, now)
    indicators = feeds.indicators
    window = _window(collected, now)
    observables = observables_frame(collected)
    mail = Mail(messages.lazy(), observables.lazy(), lookups_frame(observables).lazy())
    matches = full_match(*mail, indicators.lazy(), window, now)
    held_back = held_back_of(mail, indicators.lazy(), now)
    plan = make_plan(
        decide(messages, matches, policy, now),
        messages,
        {},
        policy,
        run_id="preview",
        mode=Mode.PREVIEW,
        window=window,
        lake_versions=LakeVersions(),
        made_at=now,
    )
    judged: dict[str, JudgedCopy] = {
        copy.copy_id: copy for copy in (*plan.retractions, *plan.skipped)
    }
    previewed = [_previewed(message, judged) for message in read]
    unreadable = sum(message.collected is None for message in read)
    summary = _summary(previewed, feeds, policy, provider, unreadable, held_back)
    return Judgement(
        Preview(messages=tuple(previewed), summary=summary), plan, messages, indicators
    )


def _collected(entry: ExportedMessage, provider: Provider, now: datetime) -> CollectedMessage:
    extraction = extract(entry.raw)
    # An export tells no mailbox. The place in it is the one name that no two messages share.
    place = entry.source if entry.number is None else f"{entry.source} no. {entry.number}"
    copy = Copy(provider, EXPORT, place, place, place, extraction.internet_message_id)
    received_at = _received_at(entry.raw, now) or now
    return CollectedMessage(copy, received_at, Location(Place.INBOX), extraction, EXTRACTOR_VERSION)


def _received_at(raw: bytes, now: datetime) -> datetime | None:
    """When it was delivered, by the topmost Received header or else by Date; None if neither says.

    Headers can claim any time: one that no mailbox could have received it at says nothing.
    """
    headers, _, _ = split_headers(raw)
    claims = (headers.first("Received").rpartition(";")[2], headers.first("Date"))
    for claim in claims:
        try:
            moment = parsedate_to_datetime(claim.strip()[:200])
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            moment = moment.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        if _OLDEST <= moment <= now:
            return moment
    return None


def _window(collected: Sequence[CollectedMessage], now: datetime) -> Window:
    """One that leaves no message out."""
    times = [message.received_at for message in collected] or [now]
    return Window(min(times), max(times) + timedelta(microseconds=1))


def _previewed(message: ReadMessage, judged: dict[str, JudgedCopy]) -> PreviewMessage:
    exported, collected = message.exported, message.collected
    copy = judged.get(collected.copy.copy_id) if collected else None
    extraction = collected.extraction if collected else None
    skipped = copy if isinstance(copy, Skipped) else None
    problems = [exported.problem, *(extraction.problems if extraction else ())]
    return PreviewMessage(
        source=exported.source,
        number=exported.number,
        message_id=extraction.internet_message_id if extraction else "",
        subject=extraction.subject if extraction else "",
        sender=extraction.sender_address if extraction else "",
        disposition=copy.disposition if copy else Disposition.NONE,
        action=copy.action if copy and not skipped else Action.NO_ACTION,
        left_alone=skipped.reason if skipped else None,
        matches=_matches(copy),
        overruled=_overruled(copy),
        problems=tuple(problem for problem in problems if problem),
    )


def _matches(copy: JudgedCopy | None) -> tuple[PreviewMatch, ...]:
    return tuple(PreviewMatch(**_match(reason)) for reason in (copy.reasons if copy else ()))


def _overruled(copy: JudgedCopy | None) -> tuple[PreviewOverruled, ...]:
    return tuple(
        PreviewOverruled(**_match(beaten), rule=beaten.rule, rule_reason=beaten.rule_reason)
        for beaten in (copy.overruled if copy else ())
    )


def _match(reason: Reason) -> dict[str, Any]:
    return {
        "type": reason.type,
        "value": reason.observable,
        "indicator": reason.indicator,
        "disposition": reason.disposition,
        "confidence": reason.confidence,
        "source": reason.source,
        "campaign": reason.campaign,
        "reference": reason.reference,
    }


def _summary(
    previewed: Sequence[PreviewMessage],
    feeds: ReadFeeds,
    policy: Policy,
    provider: Provider,
    unreadable: int,
    would_have_met: HeldBackHits,
) -> PreviewSummary:
    dispositions = Counter(message.disposition for message in previewed)
    actions = Counter(message.action for message in previewed)
    met = Counter(
        source
        for message in previewed
        for source in {match.source for match in (*message.matches, *message.overruled)}
    )
    in_force = feeds.indicators.filter("active")
    matching = Counter(in_force.filter(pl.col("held_back").is_null())["source"])
    held_back = Counter(in_force.filter(pl.col("held_back").is_not_null())["source"])
    return PreviewSummary(
        messages=len(previewed),
        unreadable=unreadable,
        matched=sum(bool(message.matches or message.overruled) for message in previewed),
        retracted=len(previewed) - actions[Action.NO_ACTION],
        by_disposition={one: dispositions[one] for one in Disposition if dispositions[one]},
        by_action={one: actions[one] for one in Action if actions[one]},
        provider=provider,
        policy_digest=policy.digest,
        sources=tuple(
            PreviewSource(
                source=snapshot.source,
                indicators=matching[snapshot.source],
                held_back=held_back[snapshot.source],
                rejected=snapshot.facts.rejected,
                matched=met[snapshot.source],
            )
            for snapshot in feeds.snapshots
        ),
        held_back=would_have_met,
    )
