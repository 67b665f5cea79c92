"""Changes of copies in the ledger, many in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from retract.errors import ClaimLost, LedgerError
from retract.model import Action, Copy, Disposition, Location, State
from retract.retraction.ledger_engine import insert_new
from retract.retraction.records import STANDING, Claim, CopyState, Purpose, mailbox_key
from retract.retraction.schema import copies, copy_fields, events


class Changes:
    """What one transaction changes. Got from `Ledger.writing`; nothing of it is true before that
    ends well.

    ClaimLost concerns the copy asked for alone: a caller that catches it keeps the others'
    changes. Who changes many copies at once does so in the order of their copy ids, so that no
    two transactions wait for each other.
    """

    def __init__(self, db: sa.Connection, now: datetime) -> None:
        self._db = db
        self._now = now
        self._lines: list[dict[str, Any]] = []

    def claim(
        self,
        copy: Copy,
        action: Action,
        *,
        seen: CopyState | None,
        looked_at: datetime,
        disposition: Disposition,
        location_before: Location,
        run_id: str,
        expires_at: datetime,
        purpose: Purpose = Purpose.RETRACT,
        actor: str = "",
    ) -> Claim:
        """Write the intent to act once on a copy, and take the sole right to do it.

        ``seen`` is the copy's state as it was read before looking into the mailbox, at
        ``looked_at``: a look taken while another worker's claim ran shows nothing, for that one
        may have called later. Raises ClaimLost then, and when the copy has changed since;
        LedgerError when the action is not due (restored, gone, or done before).
        """
        _require_free(copy, seen, looked_at)
        if seen and purpose is Purpose.RETRACT and not seen.due(action):
            raise LedgerError(f"copy {copy.copy_id} is {seen.state}: {action} is not due")
        changes: dict[str, Any] = {}
        if seen and purpose is Purpose.RESTORE:  # where to is kept, should this be interrupted
            changes["origin"] = seen.origin or seen.before
        token = self._change(
            copy,
            seen,
            state=State.PLANNED,
            action=action,
            disposition=disposition,
            purpose=purpose,
            claim_expires_at=expires_at,
            before=location_before,
            reason="",
            run_id=run_id,
            **changes,
        )
        claim = Claim(
            copy_id=copy.copy_id,
            mailbox_key=mailbox_key(copy),
            token=token,
            action=action,
            purpose=purpose,
            run_id=run_id,
            before=location_before,
            expires_at=expires_at,
        )
        self._tell(claim, State.PLANNED, token, location_before=location_before, actor=actor)
        return claim

    def settle(
        self, claim: Claim, state: State, *, location_after: Location | None, reason: str = ""
    ) -> None:
        """Write the verified outcome, and give the claim back.

        Raises ClaimLost when somebody else took the copy over meanwhile.
        """
        changes: dict[str, Any] = {"before": None}
        if location_after is not None:
            changes["location"] = location_after
        if state is State.DONE:
            changes["settled_action"] = claim.action
            changes["origin"] = sa.func.coalesce(copies.c.origin, copies.c.before)
        self._end(claim, state, location_after, reason, **changes)

    def release(self, claim: Claim, *, reason: str, failed: bool = False) -> None:
        """Give the claim back with its outcome open: whoever comes next looks first.

        ``failed`` says that it is a failure for the run all the same. Raises ClaimLost when
        somebody else took the copy over meanwhile.
        """
        told = State.FAILED if failed else State.PLANNED
        self._end(claim, State.PLANNED, None, reason, told=told)

    def record(
        self,
        copy: Copy,
        state: State,
        *,
        seen: CopyState | None,
        action: Action,
        disposition: Disposition,
        run_id: str,
        location: Location | None = None,
        reason: str = "",
        actor: str = "",
    ) -> None:
        """Write down what was found without acting, or why nothing was tried.

        FAILED and SKIPPED do not take the place of a state that says more. Raises ClaimLost when
        the copy has changed since it was ``seen``, or another worker holds it.
        """
        stands = seen is not None and seen.state in (*STANDING, State.PLANNED)
        if stands and seen and state in (State.FAILED, State.SKIPPED):
            token = seen.token
        else:
            _require_free(copy, seen, self._now)
            changes: dict[str, Any] = {"before": None, "claim_expires_at": None}
            if location:
                changes["location"] = location
            if state is State.ALREADY_THERE:
                changes["settled_action"] = action
            token = self._change(
                copy,
                seen,
                state=state,
                action=action,
                disposition=disposition,
                purpose=Purpose.RETRACT,
                reason=reason,
                run_id=run_id,
                **changes,
            )
        self._lines.append(
            {
                "copy_id": copy.copy_id,
                "mailbox_key": mailbox_key(copy),
                "run_id": run_id,
                "at": self._now,
                "state": state,
                "action": action,
                "purpose": Purpose.RETRACT,
                "token": token,
                "location_before": None,
                "location_after": location,
                "reason": reason,
                "actor": actor,
            }
        )

    def write_history(self) -> None:
        """Add the events of these changes; the transaction's last statement."""
        if self._lines:
            self._db.execute(sa.insert(events), self._lines)
        self._lines = []

    def _change(
        self, copy: Copy, seen: CopyState | None, *, disposition: Disposition, **changes: Any
    ) -> int:
        """Write a copy's new state over the one that was seen; returns the new token."""
        changes |= {"updated_at": self._now, "mailbox": copy.mailbox}
        if seen is None:
            row = {"copy_id": copy.copy_id, **copy_fields(copy, disposition), **changes}
            written = insert_new(self._db, copies, {**row, "token": 1})
        else:
            change = (
                sa.update(copies)
                .where(copies.c.copy_id == copy.copy_id, copies.c.token == seen.token)
                .values(disposition=disposition, token=seen.token + 1, **changes)
            )
            written = self._db.execute(change).rowcount == 1
        if not written:
            raise ClaimLost(f"copy {copy.copy_id} was changed by another worker just now")
        return 1 if seen is None else seen.token + 1

    def _end(
        self,
        claim: Claim,
        state: State,
        location_after: Location | None,
        reason: str,
        *,
        told: State | None = None,
        **changes: Any,
    ) -> None:
        """End a claim, if it is still the newest thing that happened to the copy."""
        token = claim.token + 1
        change = (
            sa.update(copies)
            .where(copies.c.copy_id == claim.copy_id, copies.c.token == claim.token)
            .values(
                state=state,
                token=token,
                claim_expires_at=None,
                reason=reason,
                updated_at=self._now,
                **changes,
            )
        )
        if self._db.execute(change).rowcount != 1:
            raise ClaimLost(f"copy {claim.copy_id} was taken over by another worker")
        self._tell(
            claim,
            told or state,
            token,
            location_before=claim.before,
            location_after=location_after,
            reason=reason,
        )

    def _tell(
        self,
        claim: Claim,
        state: State,
        token: int,
        *,
        location_before: Location | None,
        location_after: Location | None = None,
        reason: str = "",
        actor: str = "",
    ) -> None:
        self._lines.append(
            {
                "copy_id": claim.copy_id,
                "mailbox_key": claim.mailbox_key,
                "run_id": claim.run_id,
                "at": self._now,
                "state": state,
                "action": claim.action,
                "purpose": claim.purpose,
                "token": token,
                "location_before": location_before,
                "location_after": location_after,
                "reason": reason,
                "actor": actor,
            }
        )


def _require_free(copy: Copy, seen: CopyState | None, at: datetime) -> None:
    if seen and seen.claim_expires_at and seen.claim_expires_at > at:
        raise ClaimLost(
            f"copy {copy.copy_id} is held by run {seen.run_id} for the moment",
            until=seen.claim_expires_at,
        )
