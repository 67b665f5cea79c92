"""Where a message is now whose id leads to nothing: found by Message-ID, known by its content.

The Message-ID is the sender's choice, so it proves nothing. A found item is the same message when
sender, subject and the body's fingerprint are those of the plan, and when it is no copy in its
own right: one that the plan holds, or that the ledger has dealt with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from retract.errors import MailboxError
from retract.mailboxes.protocol import MOST_FOUND, MailboxProvider
from retract.model import Copy, Extraction, Found, Place, State
from retract.retraction.ledger import Ledger
from retract.retraction.plan import PlannedRetraction
from retract.retraction.records import CopyState

MOST_CANDIDATES: Final = 20
"""Items with one Message-ID whose content is compared, in one mailbox."""

_READ_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Sought:
    """What the search for a message came to."""

    found: tuple[Copy, ...] = ()
    """The items that are the same message under another id."""
    others: int = 0
    """How many more items carry its Message-ID, but not its content."""
    trouble: MailboxError | None = None
    """Why it cannot be said."""


def note_of(original: str) -> str:
    """How the ledger's reasons name what is done to a copy in the place of ``original``."""
    return f"copy {original} under another id"


def seek(
    lost: Sequence[PlannedRetraction],
    planned: Mapping[str, Collection[str]],
    provider: MailboxProvider,
    ledger: Ledger,
    going_on: Callable[[], None],
) -> dict[str, Sought]:
    """Look for messages whose ids lead to nothing; the answers are by their copy ids.

    ``planned`` holds the copy ids of each mailbox's whole plan. ``going_on`` is called now and
    then while this works.
    """
    groups: dict[tuple[str, str], list[PlannedRetraction]] = {}
    sought: dict[str, Sought] = {}
    for each in lost:
        if each.internet_message_id:
            groups.setdefault((each.mailbox_key, each.internet_message_id), []).append(each)
        else:
            sought[each.copy_id] = Sought()
    answers = _found([group[0].to_copy() for group in groups.values()], provider)
    found = dict(zip(groups, answers, strict=True))
    known = ledger.current(
        item.copy.copy_id
        for answer in answers
        if not isinstance(answer, MailboxError)
        for item in answer
    )
    going_on()
    to_read: dict[tuple[str, str], list[Copy]] = {}
    for name, group in groups.items():
        answer = found[name]
        if isinstance(answer, MailboxError):
            sought.update((each.copy_id, Sought(trouble=answer)) for each in group)
            continue
        originals = {each.copy_id for each in group}
        candidates = _candidates(answer, planned[name[0]], known, originals)
        is_cut = len(answer) >= MOST_FOUND
        if is_cut or len(candidates) > MOST_CANDIDATES:
            count = f"{len(answer)} items or more" if is_cut else f"{len(candidates)} items"
            trouble = MailboxError(
                f"{count} carry its Message-ID: too many to tell which of them "
                "it is; look for them in the mailbox by hand"
            )
            sought.update((each.copy_id, Sought(trouble=trouble)) for each in group)
        else:
            to_read[name] = candidates
    contents = dict(_contents([c for cs in to_read.values() for c in cs], provider, going_on))
    for name, candidates in to_read.items():
        for each in groups[name]:
            sought[each.copy_id] = _compared(each, candidates, contents, known)
    return sought


def is_same_message(planned: PlannedRetraction, content: Extraction) -> bool:
    """Whether an item with the planned copy's Message-ID has its content, too."""
    return (
        content.sender_address == planned.sender
        and content.subject == planned.subject
        and content.body_fingerprint == planned.body_fingerprint
    )


def _candidates(
    found: Sequence[Found],
    planned: Collection[str],
    known: Mapping[str, CopyState],
    originals: Collection[str],
) -> list[Copy]:
    """The items that may be a lost message. What its owner sent is the owner's copy."""
    return [
        item.copy
        for item in found
        if item.copy.copy_id not in planned
        and item.location.place is not Place.SENT
        and not _in_its_own_right(known.get(item.copy.copy_id), originals)
    ]


def _in_its_own_right(state: CopyState | None, originals: Collection[str]) -> bool:
    dealt_with = state is not None and state.state not in (State.PLANNED, State.FAILED)
    return dealt_with and not _stands_for(state, originals)


def _stands_for(state: CopyState | None, originals: Collection[str]) -> bool:
    """Whether an earlier attempt knew it as one of the lost messages, and dealt with it."""
    return state is not None and any(state.reason.startswith(note_of(o)) for o in originals)


def _compared(
    lost: PlannedRetraction,
    candidates: Sequence[Copy],
    contents: Mapping[str, Extraction | MailboxError],
    known: Mapping[str, CopyState],
) -> Sought:
    same = []
    for candidate in candidates:
        content = contents[candidate.copy_id]
        if _stands_for(known.get(candidate.copy_id), [lost.copy_id]):
            same.append(candidate)
        elif isinstance(content, MailboxError):
            return Sought(trouble=content)
        elif is_same_message(lost, content):
            same.append(candidate)
    return Sought(tuple(same), len(candidates) - len(same))


def _found(
    copies: Sequence[Copy], provider: MailboxProvider
) -> Sequence[tuple[Found, ...] | MailboxError]:
    if not copies:
        return []
    try:
        return provider.find(copies)
    except MailboxError as error:
        return [error] * len(copies)


def _contents(
    copies: Sequence[Copy], provider: MailboxProvider, going_on: Callable[[], None]
) -> Iterator[tuple[str, Extraction | MailboxError]]:
    for start in range(0, len(copies), _READ_AT_ONCE):
        some = copies[start : start + _READ_AT_ONCE]
        try:
            answers = provider.read(some)
        except MailboxError as error:
            answers = [error] * len(some)
        yield from zip((copy.copy_id for copy in some), answers, strict=True)
        going_on()
