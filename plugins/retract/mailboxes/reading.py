"""Reading the messages of one mailbox, so that no single one can keep the others from us."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from retract.errors import (
    AuthenticationFailed,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.model import CollectedMessage, Extraction, Watermark, Window

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

WHOLE_MAILBOX = (AuthenticationFailed, PermissionDenied, MailboxUnavailable, Throttled)
"""What concerns the whole mailbox: its other messages would be answered the same."""
NOT_NOW = (*WHOLE_MAILBOX, TenantUnreachable)
"""What says nothing of the message that was asked for."""

_FAILURES_IN_A_ROW = 3
_LATE = timedelta(days=1)


def reaches_now(window: Window, now: datetime) -> bool:
    """Whether a reading of the window is one that the next can go on from.

    A run's window ends when its interval did, and its last mailbox may be read hours later.
    """
    return now - window.end < _LATE


def read_each(
    answers: Iterable[tuple[T, R | MailboxError]],
    refused: Callable[[T, MailboxError], R],
    unread: list[T],
) -> Iterator[R]:
    """What was read of each message, in order.

    A message that vanished since it was listed is left out. One that the service cannot
    deliver now is added to ``unread``, for the next reading to try again; several in a row mean
    that the service is down, and the error is raised, as is one that concerns the whole
    mailbox. One that the service refuses to convert is given to ``refused``, to be kept with
    its problem.
    """
    failures = 0
    for message, answer in answers:
        match answer:
            case MessageNotFound():
                continue
            case AuthenticationFailed() | PermissionDenied() | MailboxUnavailable() | Throttled():
                raise answer
            case TenantUnreachable():
                failures += 1
                if failures == _FAILURES_IN_A_ROW:
                    raise answer
                _LOG.warning("a message was left for the next run: %s", answer)
                unread.append(message)
                continue
            case MailboxError():
                failures = 0
                yield refused(message, answer)
            case _:
                failures = 0
                yield answer


def without_content(error: MailboxError, internet_message_id: str = "") -> Extraction:
    """What is known of a message whose content the provider refuses to give: why."""
    return Extraction(
        internet_message_id=internet_message_id,
        subject="",
        sender_address="",
        sender_name="",
        observables=(),
        problems=(f"the content could not be read: {error}",),
    )


@dataclass(frozen=True, slots=True)
class WholeReading:
    """A reading that leaves no watermark: the next one reads everything anew."""

    messages: Iterable[CollectedMessage]

    def __iter__(self) -> Iterator[CollectedMessage]:
        return iter(self.messages)

    @property
    def watermark(self) -> Watermark | None:
        return None


def answered(ask: Callable[[], R]) -> R | MailboxError:
    """What ``ask`` returns or raises."""
    try:
        return ask()
    except MailboxError as error:
        return error
