"""What a report says about one run: facts and rows, nothing about how they look.

`RunReport` holds exact values, hostile ones included; the writers make them fit to show.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

from retract.lake.store import LakeVersions
from retract.model import (
    Action,
    Disposition,
    Mode,
    ObservableType,
    Place,
    Provider,
    UnwatchedMailbox,
    UnwatchedReason,
)
from retract.policy import PolicyRow
from retract.reevaluation.held_back import HeldBackHits
from retract.retraction.plan import JudgedCopy, Skipped, SkipReason

FORMAT_VERSION: Final = 3
"""Of the JSON file; a change that a reader of the file would notice raises it."""


class Result(StrEnum):
    """What became of a planned copy in this run; what needs a person comes first."""

    FAILED = "failed"
    UNFINISHED = "unfinished"
    """Not tried, or tried and not verified yet."""
    DONE = "done"
    """Retracted, and seen at its destination."""
    WOULD_RETRACT = "would_retract"
    """Planned in preview mode: nothing was touched."""
    ALREADY_THERE = "already_there"
    """Found at an equal or graver place, and left alone."""
    GONE = "gone"
    """No longer in the mailbox."""
    RESTORED = "restored"
    """Found put back after we had moved it, and left alone."""
    SKIPPED = "skipped"
    """Left alone when the run came to it."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunFacts(_Facts):
    """What the run was."""

    dag_id: str
    run_id: str
    started_at: AwareDatetime
    finished_at: AwareDatetime
    mailboxes: int | None
    """Mailboxes looked into; None when what was judged came from no mailbox."""
    narrowed_to: tuple[str, ...] = ()
    """The addresses the run was narrowed to; empty means all."""


class Versions(_Facts):
    """What the run was computed from: enough to compute it again."""

    program: str
    extractor: int
    policy_digest: str
    plan_digest: str
    lake: LakeVersions


class Where(_Facts):
    """Where a copy was seen."""

    place: Place
    folder: str = ""
    """Folder or labels as the provider names them."""


class Exposure(StrEnum):
    """What the mailbox's owner had done with a copy before it was moved; what is worst first."""

    FORWARDED = "forwarded"
    REPLIED = "replied"
    READ = "read"
    UNREAD = "unread"


class CopyResult(JudgedCopy):
    """A copy the run planned to act on, and what became of it."""

    result: Result
    result_at: AwareDatetime | None = None
    """When the result was established; None in preview and for what is unfinished."""
    was: Where | None = None
    """Where it was before the run acted."""
    exposure: Exposure | None = None
    """The worst that its owner had done with it by then; None when nobody looked. Who only read
    it may have answered it all the same, where the provider does not tell."""
    now: Where | None = None
    """Where it was seen last."""
    note: str = ""
    """Why the result is what it is, where that is not plain."""

    @property
    def time_to_result(self) -> timedelta | None:
        """From delivery to the result."""
        return None if self.result_at is None else self.result_at - self.received_at


class Trouble(_Facts):
    """One reason why copies failed or are unfinished."""

    result: Result
    reason: str
    copies: int
    mailboxes: int
    example: str
    """One of the mailboxes."""


class MailboxFacts(_Facts):
    """What the run did in one mailbox, or why it could not."""

    provider: Provider | None
    """None for a mailbox that could not be opened."""
    mailbox: str
    results: dict[Result, int] = {}
    skipped: int = 0
    problem: str = ""
    """Why the mailbox could not be read."""

    @property
    def planned(self) -> int:
        return sum(self.results.values())


class DayFacts(_Facts):
    """One day of deliveries (UTC)."""

    day: date
    judged: int
    planned: int
    done: int


class SourceFacts(_Facts):
    """One indicator source, as the run used it."""

    source: str
    active: int | None = None
    """Indicators that could match; None when nobody counted."""
    held_back: int | None = None
    matched: int = 0
    """Copies its indicators met, those left alone included."""


class BeatenIndicator(_Facts):
    """One indicator that an allow rule beat."""

    type: ObservableType
    indicator: str
    source: str
    copies: int


class RuleFacts(_Facts):
    """One allow rule of the policy that beat indicators in this run."""

    rule: str
    """Its value."""
    reason: str
    copies: int
    """Copies in which it beat an indicator."""
    left_alone: int
    """Of these, the ones left alone for that: nothing else speaks against them."""
    beaten: int
    """Distinct indicators, one a source."""
    examples: tuple[BeatenIndicator, ...]
    """Those of them with the most copies."""


class Timing(_Facts):
    """How long one step took."""

    step: str
    seconds: float


class Counts(_Facts):
    """The report in numbers. The mappings hold only what occurs; all count planned copies."""

    judged: int
    matched: int
    planned: int
    by_result: dict[Result, int]
    by_disposition: dict[Disposition, int]
    by_action: dict[Action, int]
    by_provider: dict[Provider, int]
    skipped_by_reason: dict[SkipReason, int]
    """Copies that were judged to be something, or would be but for an allow rule, and are not
    planned."""
    by_exposure: dict[Exposure, int] = {}
    """Planned copies by what their owners had done with them before; those looked at."""
    unwatched_by_reason: dict[UnwatchedReason, int] = {}
    """Addresses of the connections whose mail is not judged."""

    @property
    def skipped(self) -> int:
        return sum(self.skipped_by_reason.values())


class RunReport(_Facts):
    """Everything a report says about one run."""

    format: int = FORMAT_VERSION
    run: RunFacts
    mode: Mode
    window_start: AwareDatetime
    window_end: AwareDatetime
    counts: Counts
    problems: tuple[str, ...]
    """What went wrong outside single copies: a tenant unreachable, a feed unreadable."""
    copies: tuple[CopyResult, ...]
    """Failures first, then the gravest, then the newest."""
    skipped: tuple[Skipped, ...]
    troubles: tuple[Trouble, ...]
    """Why copies failed or are unfinished, the reason of the most copies first."""
    mailboxes: tuple[MailboxFacts, ...]
    """Those with something planned, skipped or wrong; what is wrong comes first."""
    days: tuple[DayFacts, ...]
    sources: tuple[SourceFacts, ...]
    rules: tuple[RuleFacts, ...]
    """Those with the most copies first."""
    held_back: HeldBackHits
    policy: tuple[PolicyRow, ...]
    versions: Versions
    timings: tuple[Timing, ...]
    unwatched: tuple[UnwatchedMailbox, ...] = ()
    """Addresses of the connections whose mail is not judged, and why."""
    limits: tuple[str, ...]
    """What the report does not say, one sentence each."""

    @property
    def preview(self) -> bool:
        """Whether nothing was touched."""
        return self.mode is Mode.PREVIEW

    @property
    def needing_attention(self) -> int:
        """Planned copies that failed or are unfinished."""
        by_result = self.counts.by_result
        return by_result.get(Result.FAILED, 0) + by_result.get(Result.UNFINISHED, 0)

    @property
    def met_by_owner(self) -> tuple[CopyResult, ...]:
        """The copies that their owners had read, answered or passed on; the worst first."""
        met = [copy for copy in self.copies if copy.exposure not in (None, Exposure.UNREAD)]
        return tuple(sorted(met, key=lambda copy: _EXPOSURE_RANK[copy.exposure]))

    @property
    def failed(self) -> bool:
        """Whether something needs a person: such a run ends red."""
        return bool(
            self.problems
            or self.needing_attention
            or any(mailbox.problem for mailbox in self.mailboxes)
        )


_EXPOSURE_RANK: Final = {exposure: rank for rank, exposure in enumerate((*Exposure, None))}


class ReportSummary(_Facts):
    """A report in one line, for lists of reports."""

    headline: str
    failed: bool
    preview: bool
    changed: int
    """Copies retracted in this run, or that would be."""
