"""Carry out a plan in the mailboxes of a connection: look, claim, act once, verify, write down.

What one copy's retraction ends in is in the ledger when this returns *or raises*, so a retry
takes only what is unfinished or failed:

- DONE, ALREADY_THERE, GONE, RESTORED, SKIPPED are final;
- FAILED says that the provider refused, and why; the next attempt tries it again;
- PLANNED is unfinished: not tried, or tried without a verified outcome. The next attempt looks
  first, and never repeats a call that turns out to have succeeded.

The copies are gone over in waves of bounded size, so that memory stays flat and a worker that
dies leaves little open. Waves are no larger than their steps' time allows, so that leases are
renewed long before they run out. What one mailbox meets does not stop the others.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from retract.errors import ClaimLost, MailboxError, PlanError, RetractError, Throttled
from retract.mailboxes.protocol import MailboxProvider
from retract.model import Mode, State
from retract.retraction.attempt import REFUSED, Attempt, reason_of
from retract.retraction.ledger import Clock, Ledger
from retract.retraction.ledger_leases import MailboxLeases
from retract.retraction.plan import PlannedRetraction
from retract.retraction.records import Outcome, mailbox_key
from retract.retraction.waves import FIRST_WAVE, Part, Waves, next_size

LEASE: Final = timedelta(minutes=5)
"""How long a worker that died keeps its mailboxes from others."""

WAVE: Final = 400
"""Copies that are dealt with at once, at most: it bounds memory, and what a worker's death leaves
open."""

_PAUSES: Final = (1.0, 2.0, 4.0, 6.0, 7.0)
"""Seconds between the tries at mailboxes that another worker holds: 20 in all."""

_LONGEST_WAIT: Final = timedelta(days=1)
_TOLD_EVERY: Final = timedelta(seconds=5)
_TRIED_AGAIN: Final = (State.PLANNED, State.FAILED)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MailboxResult:
    """What became of a mailbox's retractions, counted by state."""

    mailbox_key: str
    counts: dict[State, int]
    reasons: tuple[str, ...] = ()
    """Why copies failed or are unfinished; each reason once."""
    error: RetractError | None = None
    """What stopped the work in the mailbox before its end: a refusal, a wait the provider asked
    for (Throttled), or another worker (ClaimLost, with ``until`` where it is known)."""

    @property
    def failed(self) -> int:
        return self.counts.get(State.FAILED, 0)

    @property
    def unfinished(self) -> int:
        return self.counts.get(State.PLANNED, 0)

    @property
    def problem(self) -> str:
        """What is wrong, for people; empty when every copy has a final outcome."""
        if not self.failed and not self.unfinished:
            return ""
        reasons = list(self.reasons[:3])
        if self.error and not any(str(self.error) in reason for reason in reasons):
            reasons.insert(0, str(self.error))
        told = "; ".join(reasons)
        return f"{self.failed} copies failed, {self.unfinished} unfinished: {told}"


def act_on_mailboxes(
    to_do: Mapping[str, Sequence[PlannedRetraction]],
    provider: MailboxProvider,
    ledger: Ledger,
    run_id: str,
    clock: Clock,
    *,
    lease: timedelta = LEASE,
    wave: int = WAVE,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, MailboxResult]:
    """Carry out the recorded plan's retractions in mailboxes of one connection.

    ``to_do`` holds all of each mailbox's retractions by its key, as `Plan.by_mailbox` gives them.
    Returns a result for each mailbox, by its key. What stops one does not stop the others, and
    is its result's ``error``: AuthenticationFailed, PermissionDenied and MailboxUnavailable leave
    the rest of it FAILED; Throttled, TenantUnreachable and ClaimLost leave it unfinished.
    Throttled is also the answer, without a call, before the time the provider asked for.
    Mailboxes that another worker holds are tried again for about 20 seconds in all.

    Raises PlanError when the plan was not recorded or is a preview, LedgerError when the ledger
    cannot be used. ``lease`` must be at least twice as long as any single call to the provider;
    ``wave`` bounds the copies that are dealt with at once.
    """
    _require_enforced(ledger, run_id)
    return _Acting(to_do, provider, ledger, run_id, clock, lease, wave).carry_out(sleep)


@dataclass(slots=True)
class _Acting:
    """The waves over all mailboxes, and what came of them so far."""

    to_do: Mapping[str, Sequence[PlannedRetraction]]
    provider: MailboxProvider
    ledger: Ledger
    run_id: str
    clock: Clock
    lease: timedelta
    wave: int
    stopped: dict[str, MailboxError] = field(default_factory=dict)
    """By its key, what stopped a mailbox: nothing more is tried in it."""
    held: dict[str, ClaimLost] = field(default_factory=dict)
    """By its key, why a mailbox or copies in it were left to another worker."""
    size: int = FIRST_WAVE
    """Copies in the next wave, at most."""

    def carry_out(self, sleep: Callable[[float], None]) -> dict[str, MailboxResult]:
        results = _Results(self.to_do, self.clock)
        put_off = self._go_over(Waves.of(self.to_do), results)
        for pause in _PAUSES:
            if not put_off:
                break
            sleep(pause)
            put_off = self._go_over(Waves(deque(put_off)), results)
        results.count(self._outcomes(put_off).values())
        return results.with_errors({**self.held, **self.stopped})

    def _go_over(self, waves: Waves, results: _Results) -> list[Part]:
        """Returns the parts whose mailboxes another worker holds."""
        put_off: list[Part] = []
        while waves:
            some = waves.take(min(self.size, self.wave))
            busy, not_reached = self._carry_out_wave(some)
            put_off += [part for part in some if part.key in busy]
            waves.put_back(not_reached)
            later = {each.copy_id for each in not_reached}
            over = (part.without(later) for part in some if part.key not in busy)
            results.count(self._outcomes(over).values())
        return put_off

    def _carry_out_wave(
        self, parts: Sequence[Part]
    ) -> tuple[frozenset[str], list[PlannedRetraction]]:
        """Returns the keys of the mailboxes that another worker holds, or took over, and what
        there was no time for in the others."""
        tried = [part for part in self._unfinished(parts) if not self._waits(part.key)]
        if not tried:
            return frozenset(), []
        with self.ledger.mailbox_leases(
            {part.key for part in tried}, owner=self.run_id, clock=self.clock, duration=self.lease
        ) as leases:
            self._keep_waits(leases)
            ours = [p for p in tried if p.key in leases.held and not self._waits(p.key)]
            attempt = Attempt(
                provider=self.provider,
                ledger=self.ledger,
                run_id=self.run_id,
                clock=self.clock,
                leases=leases,
                duration=self.lease,
                planned={p.key: {r.copy_id for r in self.to_do[p.key]} for p in ours},
                stopped=self.stopped,
            )
            attempt.carry_out([each for part in ours for each in part.retractions])
            for part in ours:
                self.held.pop(part.key, None)
            self.held |= attempt.claims_lost | leases.busy
            self._remember_waits(leases, {part.key for part in ours} - leases.busy.keys())
        copies = sum(len(part.retractions) for part in ours)
        if copies:
            self.size = next_size(self.size, copies, leases.longest, self.lease, self.wave)
        busy = frozenset(leases.busy)
        return busy, [each for each in attempt.not_reached if each.mailbox_key not in busy]

    def _unfinished(self, parts: Iterable[Part]) -> list[Part]:
        """The parts, without the copies that have their final outcome."""
        parts = list(parts)
        outcomes = self._outcomes(parts)
        open_parts = (
            Part(part.key, [r for r in part.retractions if _is_open(outcomes[r.copy_id])])
            for part in parts
        )
        return [part for part in open_parts if part.retractions]

    def _outcomes(self, parts: Iterable[Part]) -> dict[str, Outcome]:
        """The outcomes so far. Raises PlanError unless the run's recorded plan has them all."""
        wanted = {each.copy_id: each for part in parts for each in part.retractions}
        known = self.ledger.outcomes(self.run_id, copy_ids=wanted)
        outcomes = {outcome.copy_id: outcome for outcome in known}
        for copy_id, retraction in wanted.items():
            recorded = outcomes.get(copy_id)
            if recorded is None or recorded.action is not retraction.action:
                raise PlanError(
                    f"run {self.run_id} has no {retraction.action} of copy {copy_id} in its "
                    "recorded plan"
                )
        return outcomes

    # --- waits that providers asked for ---

    def _waits(self, key: str) -> bool:
        """Whether nothing is to be asked of the mailbox: of a refused one, too, but its copies
        are still to be told as failed."""
        error = self.stopped.get(key)
        return error is not None and not isinstance(error, REFUSED)

    def _keep_waits(self, leases: MailboxLeases) -> None:
        now = self.clock()
        for key, at in leases.not_before.items():
            if at > now:
                self.stopped[key] = Throttled(
                    f"mailbox {key} is not to be asked before {at}",
                    retry_after=(at - now).total_seconds(),
                )

    def _remember_waits(self, leases: MailboxLeases, keys: Iterable[str]) -> None:
        """Write down until when the mailboxes just worked in are to be left alone."""
        next_attempts: dict[str, datetime | None] = {}
        reasons: dict[str, str] = {}
        for key in keys:
            error = self.stopped.get(key)
            if isinstance(error, Throttled) and error.retry_after is not None:
                wait = min(timedelta(seconds=min(error.retry_after, 1e6)), _LONGEST_WAIT)
                next_attempts[key] = self.clock() + wait
                reasons[key] = reason_of(error)
            elif key in leases.not_before and error is None:
                next_attempts[key] = None
        self.ledger.set_next_attempts(next_attempts, reasons=reasons)


class _Results:
    """The outcomes so far by mailbox, told of in the log every few seconds."""

    def __init__(self, to_do: Mapping[str, Sequence[PlannedRetraction]], clock: Clock) -> None:
        self._counts: dict[str, Counter[State]] = {key: Counter() for key in to_do}
        self._reasons: dict[str, dict[str, None]] = {key: {} for key in to_do}
        self._all = sum(map(len, to_do.values()))
        self._counted = 0
        self._clock = clock
        self._started = self._told = clock()

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Add the outcomes of some copies; each is counted once."""
        for outcome in outcomes:
            key = mailbox_key(outcome.copy)
            self._counted += 1
            self._counts[key][outcome.state] += 1
            if _is_open(outcome) and outcome.reason:
                self._reasons[key][outcome.reason] = None
        self._tell()

    def with_errors(self, errors: Mapping[str, RetractError]) -> dict[str, MailboxResult]:
        """The results by mailbox; an error tells only of what has no final outcome."""
        return {
            key: MailboxResult(
                mailbox_key=key,
                counts=dict(counts),
                reasons=tuple(self._reasons[key]),
                error=errors.get(key) if any(counts[s] for s in _TRIED_AGAIN) else None,
            )
            for key, counts in self._counts.items()
        }

    def _tell(self) -> None:
        now = self._clock()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            rate = self._counted / (now - self._started).total_seconds()
            log.info("%d of %d copies, %.1f a second", self._counted, self._all, rate)


def _require_enforced(ledger: Ledger, run_id: str) -> None:
    run = ledger.run(run_id)
    if run is None:
        raise PlanError(f"run {run_id} is not in the ledger: record its plan before acting on it")
    if run.mode is not Mode.ENFORCE:
        raise PlanError(f"run {run_id} is a preview: its plan is not carried out")


def _is_open(outcome: Outcome) -> bool:
    return outcome.state in _TRIED_AGAIN
