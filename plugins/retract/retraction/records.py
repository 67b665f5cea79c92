"""What plan, ledger and act tell each other about a copy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from retract.model import Action, Copy, Disposition, Location, Mode, Place, State

STANDING: Final = (State.DONE, State.ALREADY_THERE, State.GONE, State.RESTORED)
"""States that stand: a later failure or skip is history, not the copy's state."""


def mailbox_key(copy: Copy) -> str:
    """The name of the copy's mailbox in plan and ledger."""
    return f"{copy.provider}:{copy.connection}:{copy.mailbox_id}"


class Purpose(StrEnum):
    """What a claim is for."""

    RETRACT = "retract"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class CopyState:
    """What the ledger knows of a copy now."""

    copy_id: str
    disposition: Disposition
    state: State
    action: Action
    """The action the state speaks of: planned, done, found done, or failed."""
    purpose: Purpose
    token: int
    """Grows with every change: who writes must have seen the newest."""
    claim_expires_at: datetime | None
    """Set while a claim is open; past, when its worker died."""
    settled_action: Action | None
    """The gravest action that was done or found done: nothing up to it is due any more."""
    before: Location | None
    """Where the copy was when the open intent was written; None without one."""
    origin: Location | None
    """Where the copy was before we first moved it; None when we never did."""
    location: Location | None
    """Where it was last seen."""
    reason: str
    run_id: str
    updated_at: datetime

    @property
    def exempt(self) -> bool:
        """Restored, or being restored: not acted on from then on."""
        restoring = self.state is State.PLANNED and self.purpose is Purpose.RESTORE
        return restoring or self.state is State.RESTORED

    def settled(self, action: Action) -> bool:
        """Whether the action, or a graver one, was done or found done."""
        return self.settled_action is not None and self.settled_action.gravity >= action.gravity

    def due(self, action: Action) -> bool:
        """Whether the action may still be carried out."""
        return not (self.exempt or self.state is State.GONE or self.settled(action))

    def put_back(self, here: Location) -> bool:
        """Whether a copy now seen ``here`` was moved back to where we had moved it away from, or
        nearer to the reader. One moved from Trash to Junk was not."""
        if self.origin is None or self.settled_action is None:
            return False
        where = self.location.place if self.location else Place.INBOX
        nearer = here.place.gravity < where.gravity
        return nearer and here.place.gravity <= self.origin.place.gravity


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act once on a copy. Without it, or after it expired, nobody may."""

    copy_id: str
    mailbox_key: str
    token: int
    action: Action
    purpose: Purpose
    run_id: str
    before: Location
    """Where the copy was when the claim was taken."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one retraction a run set out to do."""

    copy: Copy
    disposition: Disposition
    action: Action
    state: State
    """PLANNED means unfinished: not tried yet, or tried and not yet verified."""
    reason: str = ""
    location_before: Location | None = None
    location_after: Location | None = None
    at: datetime | None = None

    @property
    def copy_id(self) -> str:
        return self.copy.copy_id

    @property
    def finished(self) -> bool:
        return self.state is not State.PLANNED


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a copy's history. Lines are added, never changed."""

    copy_id: str
    run_id: str
    at: datetime
    state: State
    action: Action
    purpose: Purpose
    token: int
    location_before: Location | None
    location_after: Location | None
    reason: str
    actor: str
    """The person who asked for it; empty for the program itself."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger knows it."""

    run_id: str
    plan_digest: str
    mode: Mode
    judged: int
    matched: int
    planned: int
    started_at: datetime
    finished_at: datetime | None
    succeeded: bool | None
