"""When many calls in a row come to nothing, the service is to blame: the others can be spared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from retract.errors import (
    MailboxError,
    OutcomeUnknown,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.reading import WHOLE_MAILBOX, answered

A = TypeVar("A")
R = TypeVar("R")

_USERS_IN_A_ROW = 12
_CALLS_IN_A_ROW = 3
_FAILURES = (OutcomeUnknown, TenantUnreachable, Throttled)


class Outage:
    """Whether the service is down, or has enough of us, as one piece of work for many users shows.

    Each of them would wait as long as one may, and a few hundred would wait for hours. Safe to
    share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._told: MailboxError | None = None

    @property
    def told(self) -> MailboxError | None:
        """What everyone is told who was not asked for yet; None while there is no outage."""
        return self._told

    def note(self, answers: Sequence[object]) -> None:
        """What came of one user."""
        failed = [answer for answer in answers if isinstance(answer, _FAILURES)]
        with self._lock:
            if not failed or len(failed) < len(answers):
                self._in_a_row = 0
                return
            self._in_a_row += 1
            if self._in_a_row >= _USERS_IN_A_ROW:
                self._told = _for_others(failed[-1])


def one_by_one(ask: Callable[[A], R], wanted: Sequence[A]) -> list[R | MailboxError]:
    """What is answered for each of one user's. What concerns the whole mailbox, or the service,
    is not found out again and again."""
    found: list[R | MailboxError] = []
    unreachable = 0
    for one in wanted:
        answer = answered(lambda one=one: ask(one))  # type: ignore[misc]
        found.append(answer)
        unreachable = unreachable + 1 if isinstance(answer, TenantUnreachable) else 0
        if isinstance(answer, WHOLE_MAILBOX) or unreachable == _CALLS_IN_A_ROW:
            return found + [answer] * (len(wanted) - len(found))
    return found


def _for_others(error: MailboxError) -> MailboxError:
    """Nothing was asked for them: no outcome of theirs is unknown, and no wait is theirs."""
    if isinstance(error, Throttled):
        return Throttled(f"Google asks for patience again and again: {error}", code=error.code)
    return TenantUnreachable(f"Google is down: {error}")
