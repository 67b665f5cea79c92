"""What is asked of Gmail to carry out actions: label changes and deletions, many in one call.

SPAM and TRASH are labels that may be put on a message
(https://developers.google.com/workspace/gmail/api/guides/labels), so putting a message into
Trash needs no messages.trash, which costs four times as much as messages.modify.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retract.errors import MailboxError, MessageNotFound, OutcomeUnknown, Throttled
from retract.mailboxes.google_workspace import quota
from retract.mailboxes.google_workspace.api import Call, Caller
from retract.model import Place

_LABEL_CHANGES = {
    Place.JUNK: {"addLabelIds": ["SPAM"], "removeLabelIds": ["INBOX"]},
    Place.TRASH: {"addLabelIds": ["TRASH"], "removeLabelIds": ["INBOX"]},
}
_IDS_PER_CALL = 1_000
"""Of batchModify and batchDelete; more are refused as invalidArgument."""


def put(gmail: Caller, message_ids: Sequence[str], place: Place) -> list[MailboxError | None]:
    """Put the messages of one user into Spam or Trash, or delete them for good.

    Answers for each in its turn. The calls for many tell nothing of the single message, and
    are reported to pass over ids that lead nowhere: only a look tells what became of each.
    """
    single = quota.DELETE_MESSAGE if place is Place.PURGED else quota.MODIFY_MESSAGE
    many = quota.BATCH_DELETE if place is Place.PURGED else quota.BATCH_MODIFY
    found: list[MailboxError | None] = []
    for begin in range(0, len(message_ids), _IDS_PER_CALL):
        some = message_ids[begin : begin + _IDS_PER_CALL]
        if len(some) * single > many:
            found += _put_at_once(gmail, some, place)
        else:
            found += _put_each(gmail, some, place)
    return found


def _put_at_once(
    gmail: Caller, message_ids: Sequence[str], place: Place
) -> list[MailboxError | None]:
    try:
        gmail.call(_all(gmail, message_ids, place))
    except (OutcomeUnknown, Throttled) as error:
        return [error] * len(message_ids)
    except MailboxError:
        # Perhaps for one bad id among them: each shall have an answer of its own.
        return _put_each(gmail, message_ids, place)
    return [None] * len(message_ids)


def _put_each(gmail: Caller, message_ids: Sequence[str], place: Place) -> list[MailboxError | None]:
    answers = gmail.answers([_one(gmail, message_id, place) for message_id in message_ids])
    told = [answer if isinstance(answer, MailboxError) else None for answer in answers]
    return [_perhaps_deleted(answer) for answer in told] if place is Place.PURGED else told


def _perhaps_deleted(answer: MailboxError | None) -> MailboxError | None:
    """Not found may be what our own call did: httplib2 sends a request again, unasked, where
    the connection ended before its answer came."""
    if isinstance(answer, MessageNotFound):
        return OutcomeUnknown(f"{answer}; it may have been deleted by this call, sent twice")
    return answer


def _one(gmail: Caller, message_id: str, place: Place) -> Call:
    which = {"userId": "me", "id": message_id}
    task = f"put a message of {gmail.user} into {place}"
    if place is Place.PURGED:
        task = f"delete a message of {gmail.user} for good"
        return Call(gmail.messages.delete(**which), quota.DELETE_MESSAGE, task, changing=True)
    request = gmail.messages.modify(**which, body=_LABEL_CHANGES[place])
    return Call(request, quota.MODIFY_MESSAGE, task, changing=True)


def _all(gmail: Caller, message_ids: Sequence[str], place: Place) -> Call:
    body: dict[str, Any] = {"ids": list(message_ids)}
    task = f"put {len(message_ids)} messages of {gmail.user} into {place}"
    if place is Place.PURGED:
        task = f"delete {len(message_ids)} messages of {gmail.user} for good"
        request = gmail.messages.batchDelete(userId="me", body=body)
        return Call(request, quota.BATCH_DELETE, task, changing=True)
    request = gmail.messages.batchModify(userId="me", body=body | _LABEL_CHANGES[place])
    return Call(request, quota.BATCH_MODIFY, task, changing=True)
