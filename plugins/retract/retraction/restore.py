"""Put a copy back where it was before we first moved it."""

from __future__ import annotations

from datetime import timedelta

from retract.errors import (
    ActionNotSupported,
    LedgerError,
    MailboxError,
    MessageNotFound,
    OutcomeUnknown,
)
from retract.mailboxes.protocol import MailboxProvider
from retract.model import Copy, Location, State
from retract.retraction.act import LEASE
from retract.retraction.attempt import reason_of
from retract.retraction.ledger import Clock, Ledger
from retract.retraction.records import Purpose, mailbox_key


def restore_copy(
    copy: Copy,
    provider: MailboxProvider,
    ledger: Ledger,
    clock: Clock,
    actor: str,
    *,
    lease: timedelta = LEASE,
) -> Location:
    """Restore the copy for ``actor``, verify it, and exempt it from then on; returns where it is:
    the Inbox, say, when the folder it came from is gone.

    Raises LedgerError when we never moved it, MessageNotFound when it is gone,
    ActionNotSupported when it cannot be brought back, OutcomeUnknown when it is not seen where
    it should be; asking again is safe.
    """
    key = mailbox_key(copy)
    with ledger.mailbox_leases(
        [key], owner=f"restore by {actor}", clock=clock, duration=lease
    ) as held:
        held.require(key)
        seen = ledger.current([copy.copy_id]).get(copy.copy_id)
        origin = (seen.origin or seen.before) if seen else None
        if seen is None or origin is None:
            raise LedgerError(f"copy {copy.copy_id} was never moved: there is nothing to restore")
        looked_at = clock()
        here = _look(provider, copy)
        if here is None:
            raise MessageNotFound(f"copy {copy.copy_id} is no longer in the mailbox")
        with ledger.writing(clock()) as changes:
            claim = changes.claim(
                copy,
                seen.settled_action or seen.action,
                seen=seen,
                looked_at=looked_at,
                disposition=seen.disposition,
                location_before=here,
                run_id="",
                expires_at=held.expires_at,
                purpose=Purpose.RESTORE,
                actor=actor,
            )
        try:
            if not _is_back(here, origin):
                provider.restore(copy, origin)
            there = _look(provider, copy)
        except ActionNotSupported as error:
            with ledger.writing(clock()) as changes:
                changes.settle(claim, State.FAILED, location_after=here, reason=str(error))
            raise
        except BaseException as error:
            with ledger.writing(clock()) as changes:
                changes.release(claim, reason=reason_of(error))
            raise
        # Where the old folder is gone the provider takes the nearest that is left.
        if there is None or there.place.gravity > origin.place.gravity:
            where = there.place if there else "nowhere"
            reason = f"restored to {origin.place}, but seen {where}"
            with ledger.writing(clock()) as changes:
                changes.release(claim, reason=reason)
            raise OutcomeUnknown(f"copy {copy.copy_id}: {reason}")
        with ledger.writing(clock()) as changes:
            changes.settle(claim, State.RESTORED, location_after=there)
        return there


def _is_back(here: Location, origin: Location) -> bool:
    return here.place is origin.place and here.folder_id == origin.folder_id


def _look(provider: MailboxProvider, copy: Copy) -> Location | None:
    (seen,) = provider.locate([copy])
    if isinstance(seen, MailboxError):
        raise seen
    return seen
