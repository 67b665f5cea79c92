"""Reading the messages of one mailbox, so that no single one can keep the others from us."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
from retract.model import CollectedMessage, Extraction, Watermark

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_FAILURES_IN_A_ROW = 3
_WHOLE_MAILBOX = (AuthenticationFailed, PermissionDenied, MailboxUnavailable, Throttled)


def read_each(
    listed: Iterable[T], read: Callable[[T], R], refused: Callable[[T, MailboxError], R]
) -> Iterator[R]:
    """What ``read`` makes of each, in order.

    A message that vanished since it was listed is left out. One that the service cannot
    deliver now is left out with a warning: it is not in the lake, so the next run tries it
    again; several in a row mean that the service is down, and the error is raised. One that
    the service refuses to convert is given to ``refused``, to be kept with its problem.
    """
    failures = 0
    for item in listed:
        try:
            result = read(item)
        except MessageNotFound:
            continue
        except _WHOLE_MAILBOX:
            raise
        except TenantUnreachable as error:
            failures += 1
            if failures == _FAILURES_IN_A_ROW:
                raise
            _LOG.warning("a message was left for the next run: %s", error)
            continue
        except MailboxError as error:
            result = refused(item, error)
        failures = 0
        yield result


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
