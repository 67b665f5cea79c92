"""Carry out a mailbox's part of a plan: look, claim, act once, verify, write down.

What one copy's retraction ends in is in the ledger when this returns *or raises*, so a retry
takes only what is unfinished or failed:

- DONE, ALREADY_THERE, GONE, RESTORED, SKIPPED are final;
- FAILED says that the provider refused, and why; the next attempt tries it again;
- PLANNED is unfinished: not tried, or tried without a verified outcome. The next attempt looks
  first, and never repeats a call that turns out to have succeeded.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from retract.errors import (
    ActionNotSupported,
    AuthenticationFailed,
    ClaimLost,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    OutcomeUnknown,
    PermissionDenied,
    PlanError,
    RetractError,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.protocol import MailboxProvider
from retract.model import Action, Copy, Location, Mode, Place, State
from retract.retraction.ledger import Clock, Ledger, MailboxLease
from retract.retraction.plan import PlannedRetraction
from retract.retraction.records import Claim, CopyState, Outcome

LEASE: Final = timedelta(minutes=5)
"""How long a worker that died keeps its mailbox from others."""

WAVE: Final = 400
"""Copies that are dealt with at once: it bounds memory, and what a worker's death leaves open."""

_LONGEST_WAIT: Final = timedelta(days=1)
_REFUSED: Final = (AuthenticationFailed, PermissionDenied, MailboxUnavailable)
"""The whole mailbox is refused: a person has to mend it."""
_NOT_NOW: Final = (Throttled, TenantUnreachable)
"""The whole mailbox has to wait."""

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
        told = "; ".join(self.reasons[:3]) or str(self.error)
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

    ``to_do`` holds each mailbox's retractions by its key, as `Plan.by_mailbox` gives them.
    Returns a result for each mailbox, by its key: what stops one does not stop the others, and
    is its result's ``error``.

    Raises PlanError when the plan was not recorded or is a preview, LedgerError when the ledger
    cannot be used. ``lease`` must outlast any single call to the provider; ``wave`` bounds the
    copies that are dealt with at once.
    """
    results: dict[str, MailboxResult] = {}
    for key, retractions in to_do.items():
        error: RetractError | None = None
        try:
            act_on_mailbox(retractions, provider, ledger, run_id, clock, lease=lease)
        except (MailboxError, ClaimLost) as stopped:
            error = stopped
        outcomes = _recorded_outcomes(retractions, ledger, run_id, key)
        results[key] = replace(_result(key, outcomes), error=error)
    return results


def act_on_mailbox(
    retractions: Sequence[PlannedRetraction],
    provider: MailboxProvider,
    ledger: Ledger,
    run_id: str,
    clock: Clock,
    *,
    lease: timedelta = LEASE,
) -> MailboxResult:
    """Carry out the recorded plan's retractions of one mailbox, in their order.

    A copy that fails is written down and does not stop the others. What concerns the whole
    mailbox does, and is raised after it is written down: AuthenticationFailed, PermissionDenied
    and MailboxUnavailable leave the rest FAILED, Throttled and TenantUnreachable leave it
    unfinished. Throttled is also raised, without a call, before the time the provider asked for.

    Raises ClaimLost when another worker holds the mailbox, PlanError when the plan was not
    recorded or is a preview. ``lease`` must outlast any single call to the provider.
    """
    key = _only_mailbox(retractions)
    outcomes = _recorded_outcomes(retractions, ledger, run_id, key)
    unfinished = [r for r in retractions if outcomes[r.copy_id].state in _TRIED_AGAIN]
    if unfinished:
        with ledger.mailbox_lease(key, owner=run_id, clock=clock, duration=lease) as held:
            _wait_for_turn(ledger, key, clock())
            _Attempt(provider, ledger, run_id, clock, held, key).carry_out(unfinished)
            ledger.set_next_attempt(key, None)
    outcomes = _recorded_outcomes(retractions, ledger, run_id, key)
    return _result(key, outcomes)


_TRIED_AGAIN: Final = (State.PLANNED, State.FAILED)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One worker's go at one mailbox, whose lease it holds."""

    provider: MailboxProvider
    ledger: Ledger
    run_id: str
    clock: Clock
    lease: MailboxLease
    mailbox_key: str

    def carry_out(self, retractions: Sequence[PlannedRetraction]) -> None:
        states = self.ledger.current(r.copy_id for r in retractions)
        for number, retraction in enumerate(retractions):
            self.lease.renew_when_due()
            try:
                self._retract(retraction, states.get(retraction.copy_id))
            except _REFUSED as error:
                for left in retractions[number:]:
                    self._fail(left, _told(error))
                raise
            except _NOT_NOW as error:
                self._remember_wait(error)
                raise
            except (MailboxError, ActionNotSupported) as error:
                self._fail(retraction, _told(error))
            except ClaimLost as error:
                log.warning("left for the next attempt: %s", error)

    def _retract(self, retraction: PlannedRetraction, state: CopyState | None) -> None:
        """Bring one copy to its outcome, looking first."""
        if state and not state.due(retraction.action):
            self._record(retraction, state, State.SKIPPED, None, _why_not_due(state))
            return
        looked_at = self.clock()
        here = self._look(retraction.to_copy())
        if state and state.state is State.PLANNED and self._reached(here, state.action):
            state = self._adopt(retraction, state, here, looked_at)
            if not state.due(retraction.action):
                return
        if here is None:
            self._record(retraction, state, State.GONE, None, "no longer in the mailbox")
        elif state and state.put_back(here):
            self._record(retraction, state, State.RESTORED, here, "was put back after we moved it")
        elif self._reached(here, retraction.action):
            self._record(retraction, state, State.ALREADY_THERE, here, "")
        else:
            self._act(retraction, state, here, looked_at)

    def _reached(self, here: Location | None, action: Action) -> bool:
        """Whether the copy is where the action puts it, or graver. Purged ones are not found."""
        destination = self.provider.destination(action)
        if here is None:
            return destination is Place.PURGED
        return here.place.gravity >= destination.gravity

    def _adopt(
        self,
        retraction: PlannedRetraction,
        state: CopyState,
        here: Location | None,
        looked_at: datetime,
    ) -> CopyState:
        """The interrupted attempt's call turns out to have been made: write its outcome."""
        claim = self.ledger.claim(
            retraction.to_copy(),
            state.action,
            seen=state,
            looked_at=looked_at,
            disposition=retraction.disposition,
            location_before=state.before or Location(Place.INBOX),
            run_id=self.run_id,
            now=self.clock(),
            expires_at=self.lease.expires_at,
        )
        self._settle(claim, State.DONE, here, "found done after an interrupted attempt")
        return self.ledger.current([state.copy_id])[state.copy_id]

    def _act(
        self,
        retraction: PlannedRetraction,
        state: CopyState | None,
        here: Location,
        looked_at: datetime,
    ) -> None:
        """The intent, the one call, and its verified outcome."""
        copy = retraction.to_copy()
        claim = self.ledger.claim(
            copy,
            retraction.action,
            seen=state,
            looked_at=looked_at,
            disposition=retraction.disposition,
            location_before=here,
            run_id=self.run_id,
            now=self.clock(),
            expires_at=self.lease.expires_at,
        )
        trouble: MailboxError | None = None
        try:
            if self.clock() >= claim.expires_at:
                raise ClaimLost(f"the claim on copy {copy.copy_id} ran out before the call")
            try:
                until = claim.expires_at
                (refusal,) = self.provider.retract([(copy, retraction.action)], until)
                if refusal is not None:
                    raise refusal
            except (*_REFUSED, *_NOT_NOW):
                raise
            except MailboxError as error:
                trouble = error
            there = self._look(copy)
        except BaseException as error:
            # Whatever it was, the process's end included: the call may have been made.
            self.ledger.release(claim, reason=_told(error), now=self.clock())
            raise
        self._conclude(claim, there, trouble)

    def _conclude(self, claim: Claim, there: Location | None, trouble: MailboxError | None) -> None:
        reason = _told(trouble) if trouble else ""
        vanished = there is None and isinstance(trouble, MessageNotFound)
        if self._reached(there, claim.action) and not vanished:
            self._settle(claim, State.DONE, there, reason)
        elif there is None:
            self._settle(claim, State.GONE, None, reason or f"vanished during {claim.action}")
        elif trouble is None or isinstance(trouble, OutcomeUnknown | MessageNotFound):
            reason = reason or "the provider accepted it"
            reason = f"{reason}; the copy is still seen in {there.place}"
            self.ledger.release(claim, reason=reason, now=self.clock())
        else:
            self._settle(claim, State.FAILED, there, reason)

    def _look(self, copy: Copy) -> Location | None:
        (seen,) = self.provider.locate([copy])
        if isinstance(seen, MailboxError):
            raise seen
        return seen

    def _settle(self, claim: Claim, state: State, there: Location | None, reason: str) -> None:
        if state is State.DONE and there is None:
            there = Location(Place.PURGED)
        self.ledger.settle(claim, state, location_after=there, reason=reason, now=self.clock())

    def _record(
        self,
        retraction: PlannedRetraction,
        seen: CopyState | None,
        state: State,
        location: Location | None,
        reason: str,
    ) -> None:
        self.ledger.record(
            retraction.to_copy(),
            state,
            seen=seen,
            action=retraction.action,
            disposition=retraction.disposition,
            run_id=self.run_id,
            now=self.clock(),
            location=location,
            reason=reason,
        )

    def _fail(self, retraction: PlannedRetraction, reason: str) -> None:
        seen = self.ledger.current([retraction.copy_id]).get(retraction.copy_id)
        self._record(retraction, seen, State.FAILED, None, reason)

    def _remember_wait(self, error: MailboxError) -> None:
        if isinstance(error, Throttled) and error.retry_after is not None:
            wait = min(timedelta(seconds=min(error.retry_after, 1e6)), _LONGEST_WAIT)
            self.ledger.set_next_attempt(self.mailbox_key, self.clock() + wait, reason=_told(error))


def _only_mailbox(retractions: Sequence[PlannedRetraction]) -> str:
    keys = {retraction.mailbox_key for retraction in retractions}
    if len(keys) != 1:
        raise ValueError(f"retractions of exactly one mailbox are needed, not of {len(keys)}")
    return keys.pop()


def _recorded_outcomes(
    retractions: Sequence[PlannedRetraction], ledger: Ledger, run_id: str, key: str
) -> dict[str, Outcome]:
    """The outcomes so far. Raises PlanError unless the run's recorded plan enforces them all."""
    run = ledger.run(run_id)
    if run is None:
        raise PlanError(f"run {run_id} is not in the ledger: record its plan before acting on it")
    if run.mode is not Mode.ENFORCE:
        raise PlanError(f"run {run_id} is a preview: its plan is not carried out")
    outcomes = {outcome.copy_id: outcome for outcome in ledger.outcomes(run_id, mailbox=key)}
    for retraction in retractions:
        recorded = outcomes.get(retraction.copy_id)
        if recorded is None or recorded.action is not retraction.action:
            raise PlanError(
                f"run {run_id} has no {retraction.action} of copy {retraction.copy_id} in its "
                "recorded plan"
            )
    return {retraction.copy_id: outcomes[retraction.copy_id] for retraction in retractions}


def _wait_for_turn(ledger: Ledger, key: str, now: datetime) -> None:
    not_before = ledger.next_attempt(key)
    if not_before is not None and not_before > now:
        raise Throttled(
            f"mailbox {key} is not to be asked before {not_before}",
            retry_after=(not_before - now).total_seconds(),
        )


def _why_not_due(state: CopyState) -> str:
    if state.exempt:
        return "restored: exempt from then on"
    if state.state is State.GONE:
        return "no longer in the mailbox"
    return f"{state.settled_action} was settled before, in run {state.run_id}"


def _result(key: str, outcomes: Mapping[str, Outcome]) -> MailboxResult:
    counts = Counter(outcome.state for outcome in outcomes.values())
    reasons = (o.reason for o in outcomes.values() if o.state in _TRIED_AGAIN and o.reason)
    return MailboxResult(
        mailbox_key=key, counts=dict(counts), reasons=tuple(dict.fromkeys(reasons))
    )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
