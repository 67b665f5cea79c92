"""What to do with a copy, given what the ledger knows and what a look shows. Pure."""

from __future__ import annotations

from enum import StrEnum

from retract.errors import MailboxError, MessageNotFound, OutcomeUnknown
from retract.model import Action, Location, Place, State
from retract.retraction.records import CopyState


class Step(StrEnum):
    """What is to be done with a copy before any call."""

    SKIP = "skip"
    """The action is not due."""
    SEARCH = "search"
    """Its id leads to nothing: look for the message under another one."""
    ADOPT = "adopt"
    """An interrupted attempt's call turns out to have been made: write its outcome."""
    RESTORED = "restored"
    """It was put back after we had moved it: leave it alone."""
    ALREADY_THERE = "already_there"
    ACT = "act"


class Ending(StrEnum):
    """What a call on a copy came to, by the look after it."""

    DONE = "done"
    OPEN = "open"
    """It is still to be seen where the call should have taken it from: try again later."""
    FAILED = "failed"
    RESTORED = "restored"
    """It was put back between the call and the look."""
    SEARCH = "search"
    """It is nowhere to be seen: look for the message under another id."""


def reached(here: Location, destination: Place | None) -> bool:
    """Whether a copy is where an action puts it, or graver. None: the action puts it nowhere."""
    return destination is not None and here.place.gravity >= destination.gravity


def step_before(
    state: CopyState | None,
    here: Location | None,
    action: Action,
    destination: Place,
    intended: Place | None,
) -> Step:
    """What to do with a copy that the look shows ``here``.

    ``destination`` is where the action puts it, ``intended`` where the action of an intent that
    the ledger holds open would have put it.
    """
    if state and not state.due(action):
        return Step.SKIP
    if here is None:
        return Step.SEARCH
    if state and state.state is State.PLANNED and reached(here, intended):
        return Step.ADOPT
    if state and state.put_back(here):
        return Step.RESTORED
    if reached(here, destination):
        return Step.ALREADY_THERE
    return Step.ACT


def ending_after(
    answer: MailboxError | None, before: Location, there: Location | None, destination: Place
) -> Ending:
    """What a call came to that was answered so, on a copy that the look ahead of it showed
    ``before`` and the look after it shows ``there``.

    A purged copy is not seen any more, so nothing to be seen is what a purge should lead to;
    but only an answer tells it from a copy that somebody else took away.
    """
    if there is None:
        purged = destination is Place.PURGED and answer is None
        return Ending.DONE if purged else Ending.SEARCH
    if reached(there, destination):
        return Ending.DONE
    if answer is None and _put_back_at_once(before, there, destination):
        return Ending.RESTORED
    if answer is None or isinstance(answer, OutcomeUnknown | MessageNotFound):
        return Ending.OPEN
    return Ending.FAILED


def _put_back_at_once(before: Location, there: Location, destination: Place) -> bool:
    """Whether somebody put the copy back after an accepted call.

    A service that shows late what it did shows the copy where it was. Another folder, no farther
    from the reader, is somebody's doing; of labels that cannot be told, as ours may show in part.
    What was purged nobody can put back.
    """
    is_elsewhere = bool(there.folder_id) and there.folder_id != before.folder_id
    is_nearer = there.place.gravity <= before.place.gravity
    return is_elsewhere and is_nearer and destination is not Place.PURGED


def why_not_due(state: CopyState) -> str:
    """In words, for a copy that is skipped."""
    if state.exempt:
        return "restored: exempt from then on"
    if state.state is State.GONE:
        return "no longer in the mailbox"
    return f"{state.settled_action} was settled before, in run {state.run_id}"
