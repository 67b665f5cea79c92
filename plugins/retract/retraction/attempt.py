"""One go at some copies of one connection: look, claim, call, look again, settle.

Every step is taken for all of them at once: one call to the provider, one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from retract.errors import (
    ActionNotSupported,
    AuthenticationFailed,
    ClaimLost,
    LedgerError,
    MailboxError,
    MailboxUnavailable,
    OutcomeUnknown,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.protocol import MailboxProvider
from retract.model import Action, Copy, Location, Place, State
from retract.retraction.decide import (
    Ending,
    Step,
    ending_after,
    step_before,
    why_not_due,
)
from retract.retraction.ledger import Clock, Ledger
from retract.retraction.ledger_changes import Changes
from retract.retraction.ledger_leases import MailboxLeases
from retract.retraction.plan import PlannedRetraction
from retract.retraction.records import Claim, CopyState
from retract.retraction.search import Sought, note_of, seek

REFUSED: Final = (AuthenticationFailed, PermissionDenied, MailboxUnavailable)
"""The whole mailbox is refused: a person has to mend it."""
NOT_NOW: Final = (Throttled, TenantUnreachable)
"""The whole mailbox has to wait."""

_NO_CALL_AFTER: Final = 0.5
"""The part of a lease after which no call is begun: one begun before ends within the lease."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)

_FINAL: Final = (State.DONE, State.ALREADY_THERE, State.GONE, State.RESTORED, State.SKIPPED)

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Work:
    """One copy on its way to its outcome."""

    retraction: PlannedRetraction
    copy: Copy
    note: str = ""
    """Whose place it takes; goes ahead of every reason."""
    destination: Place = Place.INBOX
    state: CopyState | None = None
    looked_at: datetime = _NEVER
    here: Location | None = None
    """Where it was before the call."""
    answer: MailboxError | None = None
    """What the provider answered to the call; None when it accepted it."""

    @property
    def copy_id(self) -> str:
        return self.copy.copy_id

    @property
    def key(self) -> str:
        return self.retraction.mailbox_key

    @property
    def action(self) -> Action:
        return self.retraction.action

    @property
    def interrupted(self) -> bool:
        """Whether an earlier attempt's intent stands open: its call may have been made."""
        return self.state is not None and self.state.state is State.PLANNED

    def told(self, reason: str) -> str:
        return "; ".join(part for part in (self.note, reason) if part)


@dataclass(slots=True)
class Attempt:
    """One worker's go at mailboxes whose leases it holds."""

    provider: MailboxProvider
    ledger: Ledger
    run_id: str
    clock: Clock
    leases: MailboxLeases
    duration: timedelta
    """How long the leases run."""
    planned: Mapping[str, Collection[str]]
    """The copy ids of each mailbox's whole plan."""
    stopped: dict[str, MailboxError]
    """By its key, what stopped a mailbox: nothing more is tried in it."""
    claims_lost: dict[str, ClaimLost] = field(default_factory=dict)
    """By mailbox key, why copies were left to another worker."""
    not_reached: list[PlannedRetraction] = field(default_factory=list)
    """What there was no time for under these leases, though nothing speaks against it."""
    _open: dict[str, Claim] = field(default_factory=dict)
    """By copy id, the claims that are neither settled nor given back."""

    def carry_out(self, retractions: Iterable[PlannedRetraction]) -> None:
        """Bring every copy as near to its outcome as this go can.

        Whatever ends it early, the process's end included, open claims are given back first: the
        calls may have been made.
        """
        try:
            lost = self._retract([_Work(each, each.to_copy()) for each in retractions])
            if lost:
                self._follow(lost)
        except BaseException as error:
            self._release_all(reason_of(error))
            raise

    def _retract(self, works: list[_Work]) -> list[_Work]:
        """Act on the copies that are where they can be seen; returns those that are not."""
        works = self._adopted(self._looked_at(self._supported(works)))
        self.leases.renew()
        self._decide(works)
        claimed = [work for work in works if work.copy_id in self._open]
        if claimed:
            self._call(claimed)
            self._verify(claimed)
        return [
            work for work in works if work.copy_id in self._open or self._step(work) is Step.SEARCH
        ]

    # --- look ---

    def _supported(self, works: Sequence[_Work]) -> list[_Work]:
        """Those whose action the provider has. The others fail."""
        supported: list[_Work] = []
        failed: list[tuple[_Work, str]] = []
        for work in works:
            try:
                work.destination = self.provider.destination(work.action)
                supported.append(work)
            except ActionNotSupported as error:
                failed.append((work, reason_of(error)))
        self._fail(failed)
        return supported

    def _looked_at(self, works: list[_Work]) -> list[_Work]:
        """Those that the ledger and a look into the mailbox tell of. The others fail or wait."""
        states = self.ledger.current(work.copy_id for work in works)
        for work in works:
            work.state = states.get(work.copy_id)
        due = [work for work in works if work.state is None or work.state.due(work.action)]
        asked = [work for work in due if work.key not in self.stopped]
        looked_at = self.clock()
        seen = _answers(lambda: self.provider.locate([work.copy for work in asked]), len(asked))
        located: list[_Work] = []
        failed: dict[str, tuple[_Work, str]] = {}
        for work, here in zip(asked, seen, strict=True):
            work.looked_at = looked_at
            if not isinstance(here, MailboxError):
                work.here = here
                located.append(work)
            elif not self._stop(work, here):
                failed[work.copy_id] = (work, reason_of(here))
        refusals = {
            key: reason_of(error)
            for key, error in self.stopped.items()
            if isinstance(error, REFUSED)
        }
        for work in due:
            if work.key in refusals:
                failed[work.copy_id] = (work, refusals[work.key])
        self._fail(list(failed.values()))
        not_due = [work for work in works if work.state and not work.state.due(work.action)]
        return [*not_due, *(work for work in located if work.key not in self.stopped)]

    def _adopted(self, works: Sequence[_Work]) -> list[_Work]:
        """Write the outcomes of calls that interrupted attempts turn out to have made.

        Returns what is left to do: all other copies, and those due for something graver.
        """
        to_adopt = [work for work in works if self._step(work) is Step.ADOPT]
        if not to_adopt:
            return list(works)
        adopted: set[str] = set()
        with self.ledger.writing(self.clock()) as changes:
            for work in _in_order(to_adopt):
                if work.state:
                    with self._claim_lost(work):
                        self._adopt(changes, work, work.state)
                        adopted.add(work.copy_id)
        states = self.ledger.current(adopted)
        passed_over = {work.copy_id for work in to_adopt}
        for work in to_adopt:
            work.state = states.get(work.copy_id)
            if work.state and work.state.due(work.action):
                passed_over.discard(work.copy_id)
        return [work for work in works if work.copy_id not in passed_over]

    def _adopt(self, changes: Changes, work: _Work, state: CopyState) -> None:
        before = state.before or Location(Place.INBOX)
        claim = self._claimed(changes, work, state.action, before)
        there = work.here or Location(Place.PURGED)
        reason = work.told("found done after an interrupted attempt")
        changes.settle(claim, State.DONE, location_after=there, reason=reason)

    # --- decide ---

    def _step(self, work: _Work) -> Step:
        intended: Place | None = None
        if work.state and work.state.state is State.PLANNED:
            with suppress(ActionNotSupported):
                intended = self.provider.destination(work.state.action)
        return step_before(work.state, work.here, work.action, work.destination, intended)

    def _decide(self, works: Sequence[_Work]) -> None:
        """Claim the copies to be called on, and write down what needs no call."""
        claims: dict[str, Claim] = {}
        with self.ledger.writing(self.clock()) as changes:
            for work in _in_order(works):
                with self._claim_lost(work):
                    self.leases.require(work.key)
                    self._write_step(changes, work, claims)
        self._open |= claims

    def _write_step(self, changes: Changes, work: _Work, claims: dict[str, Claim]) -> None:
        match self._step(work):
            case Step.SKIP if work.state:
                self._record(changes, work, State.SKIPPED, why_not_due(work.state))
            case Step.RESTORED:
                reason = "was put back after we moved it"
                self._record(changes, work, State.RESTORED, reason, work.here)
            case Step.ALREADY_THERE:
                self._record(changes, work, State.ALREADY_THERE, "", work.here)
            case Step.ACT if work.here:
                claims[work.copy_id] = self._claimed(changes, work, work.action, work.here)
            case _:
                pass  # what is lost is searched for, and what was adopted is written already

    def _claimed(self, changes: Changes, work: _Work, action: Action, before: Location) -> Claim:
        return changes.claim(
            work.copy,
            action,
            seen=work.state,
            looked_at=work.looked_at,
            disposition=work.retraction.disposition,
            location_before=before,
            run_id=self.run_id,
            expires_at=self.leases.expires_at,
        )

    # --- call and verify ---

    def _call(self, works: list[_Work]) -> None:
        until = self.leases.expires_at - self.duration * (1 - _NO_CALL_AFTER)
        calls = [(work.copy, work.action) for work in works]
        answers = _answers(lambda: self.provider.retract(calls, until), len(works))
        # What our own bound kept from being called on is next, if there was any going on at all.
        late = self.clock() >= until and any(answer is None for answer in answers)
        for work, answer in zip(works, answers, strict=True):
            work.answer = answer
            if late and not work.note and _no_time_left(answer):
                self.not_reached.append(work.retraction)
            elif answer is not None:
                self._stop(work, answer)

    def _verify(self, works: Sequence[_Work]) -> None:
        """Look at every copy that may have been moved, and settle what the look tells.

        A copy that is nowhere to be seen keeps its claim.
        """
        tried = [work for work in works if not isinstance(work.answer, (*REFUSED, *NOT_NOW))]
        self.leases.renew()
        seen = _answers(lambda: self.provider.locate([work.copy for work in tried]), len(tried))
        there = {work.copy_id: look for work, look in zip(tried, seen, strict=True)}
        with self._settling() as changes:
            for work in _in_order(works):
                look = there.get(work.copy_id)
                if isinstance(look, MailboxError):
                    self._stop(work, look)
                    self._release(changes, work, reason_of(look))
                elif isinstance(work.answer, (*REFUSED, *NOT_NOW)):
                    failed = isinstance(work.answer, REFUSED)
                    self._release(changes, work, reason_of(work.answer), failed=failed)
                else:
                    self._conclude(changes, work, look)

    def _conclude(self, changes: Changes, work: _Work, there: Location | None) -> None:
        reason = reason_of(work.answer) if work.answer else ""
        before = self._open[work.copy_id].before
        match ending_after(work.answer, before, there, work.destination):
            case Ending.DONE:
                self._settle(changes, work, State.DONE, there, reason)
            case Ending.RESTORED:
                reason = "was put back right after we moved it"
                self._settle(changes, work, State.RESTORED, there, reason)
            case Ending.FAILED:
                self._settle(changes, work, State.FAILED, there, reason)
            case Ending.OPEN if there:
                reason = reason or "the provider accepted it"
                reason = f"{reason}; the copy is still seen in {there.place}"
                self._release(changes, work, reason)
            case _:
                pass  # searched for under its open claim

    # --- what is nowhere to be seen ---

    def _follow(self, lost: list[_Work]) -> None:
        """Find the messages whose ids lead to nothing, and act on them where they are now.

        A lost copy gets its outcome last: if this ends before, the next attempt looks again.
        """
        sought = seek(
            [work.retraction for work in lost],
            self.planned,
            self.provider,
            self.ledger,
            self.leases.renew_when_due,
        )
        for work in lost:
            if (trouble := sought[work.copy_id].trouble) is not None:
                self._stop(work, trouble)
        found = {
            copy.copy_id: _Work(_in_place(work.retraction, copy), copy, note_of(work.copy_id))
            for work in lost
            for copy in sought[work.copy_id].found
        }
        if found:
            lost_again = self._retract(list(found.values()))
            with self._settling() as changes:
                for work in _in_order(lost_again):
                    if work.copy_id in self._open:
                        self._release(changes, work, "vanished again")
        states = self.ledger.current(found)
        with self._settling() as changes:
            for work in _in_order(lost):
                with self._claim_lost(work):
                    self._end_lost(changes, work, sought[work.copy_id], states)

    def _end_lost(
        self,
        changes: Changes,
        work: _Work,
        sought: Sought,
        states: Mapping[str, CopyState],
    ) -> None:
        if sought.trouble is not None:
            failed = not isinstance(sought.trouble, NOT_NOW)
            if work.copy_id in self._open:  # kept open: the call may have been made
                self._release(changes, work, reason_of(sought.trouble), failed=failed)
            elif failed:
                self._record(changes, work, State.FAILED, reason_of(sought.trouble))
        elif not sought.found:
            self._end_vanished(changes, work, sought.others)
        else:
            followed = {copy.copy_id: states.get(copy.copy_id) for copy in sought.found}
            told = "; ".join(
                f"now under another id: copy {copy_id} ({state.state if state else 'untouched'})"
                for copy_id, state in followed.items()
            )
            if all(state and state.state in _FINAL for state in followed.values()):
                self._end(changes, work, State.GONE, told)
            elif any(state and state.state is State.FAILED for state in followed.values()):
                self._end(changes, work, State.FAILED, told)
            elif work.copy_id in self._open:
                self._release(changes, work, told)

    def _end_vanished(self, changes: Changes, work: _Work, others: int) -> None:
        claim = self._open.get(work.copy_id)
        intent = claim or (work.state if work.interrupted else None)
        purging = intent is not None and self._purges(intent.action)
        ours = isinstance(work.answer, OutcomeUnknown) if claim else work.interrupted
        reason = reason_of(work.answer) if work.answer else ""
        if others:
            unlike = f"{others} other items carry its Message-ID, none its content"
            reason = f"{reason}; {unlike}" if reason else unlike
        if not (purging and ours):
            reason = "; ".join(part for part in ("no longer in the mailbox", reason) if part)
            self._end(changes, work, State.GONE, reason)
        elif claim:
            self._settle(changes, work, State.DONE, None, reason)
        elif work.state:
            self._adopt(changes, work, work.state)

    def _purges(self, action: Action) -> bool:
        with suppress(ActionNotSupported):
            return self.provider.destination(action) is Place.PURGED
        return False

    # --- writing ---

    @contextmanager
    def _settling(self) -> Iterator[Changes]:
        """One transaction that ends claims. They are open again should it fail."""
        before = dict(self._open)
        try:
            with self.ledger.writing(self.clock()) as changes:
                yield changes
        except BaseException:
            self._open = before
            raise

    def _settle(
        self, changes: Changes, work: _Work, state: State, there: Location | None, reason: str
    ) -> None:
        if state is State.DONE and there is None:
            there = Location(Place.PURGED)
        claim = self._open.pop(work.copy_id)
        with self._claim_lost(work):
            changes.settle(claim, state, location_after=there, reason=work.told(reason))

    def _release(self, changes: Changes, work: _Work, reason: str, *, failed: bool = False) -> None:
        claim = self._open.pop(work.copy_id)
        with self._claim_lost(work):
            changes.release(claim, reason=work.told(reason), failed=failed)

    def _end(self, changes: Changes, work: _Work, state: State, reason: str) -> None:
        """The outcome of a copy that is nowhere to be seen, claimed or not."""
        if work.copy_id in self._open:
            self._settle(changes, work, state, None, reason)
        else:
            self._record(changes, work, state, reason)

    def _record(
        self,
        changes: Changes,
        work: _Work,
        state: State,
        reason: str,
        location: Location | None = None,
    ) -> None:
        changes.record(
            work.copy,
            state,
            seen=work.state,
            action=work.action,
            disposition=work.retraction.disposition,
            run_id=self.run_id,
            location=location,
            reason=work.told(reason),
        )

    def _fail(self, failed: Sequence[tuple[_Work, str]]) -> None:
        if not failed:
            return
        reasons = {work.copy_id: reason for work, reason in failed}
        states = self.ledger.current(reasons)
        with self.ledger.writing(self.clock()) as changes:
            for work in _in_order(work for work, _ in failed):
                work.state = states.get(work.copy_id)
                with self._claim_lost(work):
                    self._record(changes, work, State.FAILED, reasons[work.copy_id])

    def _release_all(self, reason: str) -> None:
        claims, self._open = sorted(self._open.items()), {}
        if not claims:
            return
        try:
            with self.ledger.writing(self.clock()) as changes:
                for _, claim in claims:
                    with suppress(ClaimLost):
                        changes.release(claim, reason=reason)
        except LedgerError as error:  # what ended the attempt is to be told, not this
            log.warning("%d claims stay until they run out: %s", len(claims), error)

    # --- what goes wrong ---

    def _stop(self, work: _Work, error: MailboxError) -> bool:
        """Whether the answer concerns the whole mailbox; nothing more is tried in it then."""
        if not isinstance(error, (*REFUSED, *NOT_NOW)):
            return False
        before = self.stopped.get(work.key)
        if before is None or _weight(error) > _weight(before):
            self.stopped[work.key] = error
        return True

    @contextmanager
    def _claim_lost(self, work: _Work) -> Iterator[None]:
        """A copy that another worker holds is left to it, or to the next attempt."""
        try:
            yield
        except ClaimLost as error:
            log.warning("left for the next attempt: %s", error)
            self.claims_lost[work.key] = error


def _in_order(works: Iterable[_Work]) -> list[_Work]:
    """In the one order in which all writers change copies."""
    return sorted(works, key=lambda work: work.copy_id)


def reason_of(error: BaseException) -> str:
    """An error as the ledger keeps it."""
    return f"{type(error).__name__}: {error}"[:500]


def _in_place(lost: PlannedRetraction, found: Copy) -> PlannedRetraction:
    """The same retraction of the same message, under the id it was found with."""
    return lost.model_copy(update={"copy_id": found.copy_id, "message_id": found.message_id})


def _answers(ask: Callable[[], list[T | MailboxError]], count: int) -> list[T | MailboxError]:
    """The provider's answers, or for each the one error that it raised for all."""
    if not count:
        return []
    try:
        return ask()
    except MailboxError as error:
        return [error] * count


def _no_time_left(answer: MailboxError | None) -> bool:
    return isinstance(answer, Throttled) and answer.retry_after is None


def _weight(error: MailboxError) -> tuple[int, float]:
    """Which of two errors says more about a mailbox: a refusal, then the longest wait."""
    wait = (error.retry_after or 0.0) if isinstance(error, Throttled) else 0.0
    return (2 if isinstance(error, REFUSED) else 1 if isinstance(error, NOT_NOW) else 0, wait)
