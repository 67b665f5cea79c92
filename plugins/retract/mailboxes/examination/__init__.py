"""Whether a connection works, may do what it must, and may do no more; what to mend if not.

Nothing is changed in any mailbox, and nothing secret is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from retract.mailboxes.connect import Settings, missing_actions
from retract.mailboxes.examination.findings import Finding, Grade
from retract.mailboxes.examination.google_workspace import examine_google_workspace
from retract.mailboxes.examination.microsoft365 import examine_microsoft365
from retract.mailboxes.settings import Microsoft365Settings
from retract.model import Action

__all__ = ["Finding", "Grade", "examine"]

_ANSWER_SECONDS = 15.0
_WAIT_SECONDS = 10.0


def examine(
    settings: Settings, connection: str, clock: Callable[[], datetime], mailbox: str = ""
) -> Iterator[Finding]:
    """What there is to say of a connection, as soon as each thing is known.

    ``mailbox`` is the address of the one that is read; left empty, one of those listed. What
    cannot be looked at, because something it needs failed, is passed over. A call is given up
    after 15 seconds.
    """
    hasty = settings.model_copy(
        update={
            "timeout_seconds": min(settings.timeout_seconds, _ANSWER_SECONDS),
            "max_wait_seconds": min(settings.max_wait_seconds, _WAIT_SECONDS),
        }
    )
    if isinstance(hasty, Microsoft365Settings):
        yield from examine_microsoft365(hasty, connection, clock, mailbox)
    else:
        yield from examine_google_workspace(hasty, connection, clock, mailbox)
    yield _hard_delete(settings)


def _hard_delete(settings: Settings) -> Finding:
    if Action.HARD_DELETE not in missing_actions(settings):
        return Finding("hard delete", Grade.GOOD, "available")
    if isinstance(settings, Microsoft365Settings):
        told, mend = "not offered in this cloud", ""
    else:
        told = "not asked for"
        mend = "Set allow_hard_delete and grant https://mail.google.com/ only if the policy uses it"
    instead = "the policy's hard_delete_fallback says what is done in its place"
    return Finding("hard delete", Grade.GOOD, f"{told}: {instead}", mend)
