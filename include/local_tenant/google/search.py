"""Gmail's search language, as far as programs use it: the ``q`` of messages.list.

Words are joined by AND; ``-`` before one negates it. An operator that is not understood is
refused rather than ignored, so that no caller takes too many messages for the right ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from local_tenant.google.errors import GoogleError, not_emulated
from local_tenant.mailbox import Item, Mailbox

Test = Callable[[Item], bool]

_TERM = re.compile(r'(-?)(?:([a-z0-9_]+):)?("[^"]*"|\([^)]*\)|\S+)', re.IGNORECASE)
# A date without a time is midnight in this zone, says Gmail's guide to searching.
_PACIFIC = ZoneInfo("America/Los_Angeles")
_IN = {"inbox": "INBOX", "spam": "SPAM", "trash": "TRASH", "sent": "SENT", "draft": "DRAFT"}
_IS = {"unread": "UNREAD", "starred": "STARRED", "important": "IMPORTANT"}


@dataclass(frozen=True, slots=True)
class Search:
    """A query, understood."""

    tests: tuple[Test, ...] = ()
    everywhere: bool = False
    """The query itself asks for spam and trash, by ``in:anywhere``, ``in:spam``, ``in:trash``."""

    def __call__(self, item: Item) -> bool:
        return all(test(item) for test in self.tests)


def parse_search(query: str, mailbox: Mailbox) -> Search:
    """Raises GoogleError 501 for what the local tenant does not understand."""
    tests: list[Test] = []
    everywhere = False
    for minus, operator, quoted in _TERM.findall(query):
        value = quoted.strip('"')
        if quoted.startswith("(") or value in ("OR", "AROUND") or value[:1] in "{}":
            raise not_emulated(f"groups and OR in q: {quoted}")
        if operator.lower() == "in" and value.lower() in ("anywhere", "spam", "trash"):
            everywhere = everywhere or not minus
        test = _test(operator.lower(), value, mailbox)
        tests.append(_negated(test) if minus else test)
    return Search(tuple(tests), everywhere)


def _test(operator: str, value: str, mailbox: Mailbox) -> Test:
    wanted = value.lower()
    match operator:
        case "after" | "newer":
            # Whether the second itself belongs to it is not documented: it does not here.
            start = _seconds(value)
            return lambda item: item.received_at.timestamp() > start
        case "before" | "older":
            end = _seconds(value)
            return lambda item: item.received_at.timestamp() < end
        case "rfc822msgid":
            message_id = value.strip("<>")
            return lambda item: item.content.internet_message_id.strip("<>") == message_id
        case "from":
            return lambda item: (
                wanted in f"{item.content.sender_name} {item.content.sender_address}".lower()
            )
        case "subject" | "":
            return lambda item: wanted in item.content.subject.lower()
        case "in" if wanted == "anywhere":
            return _always
        case "in" if wanted in _IN:
            return _has_label(_IN[wanted])
        case "is" if wanted == "read":
            return _negated(_has_label("UNREAD"))
        case "is" if wanted in _IS:
            return _has_label(_IS[wanted])
        case "label":
            return _has_label(_label_id(wanted, mailbox))
    raise not_emulated(f"{operator}:{value} in q")


def _always(_: Item) -> bool:
    return True


def _seconds(value: str) -> float:
    """Of the epoch, from epoch seconds or a date such as 2026/07/31."""
    if value.isdigit():
        return int(value)
    for form in ("%Y/%m/%d", "%Y-%m-%d"):
        try:
            return datetime.strptime(value, form).replace(tzinfo=_PACIFIC).timestamp()
        except ValueError:
            continue
    raise _unreadable(value)


def _unreadable(value: str) -> GoogleError:
    return not_emulated(f"{value} as a date in q")


def _label_id(name: str, mailbox: Mailbox) -> str:
    """A name as the search box spells it: lower case, hyphens for blanks and slashes."""
    for label in mailbox.labels.values():
        if re.sub(r"[ /]", "-", label.name.lower()) == re.sub(r"[ /]", "-", name):
            return label.label_id
    return ""


def _has_label(label_id: str) -> Test:
    return lambda item: label_id in item.labels


def _negated(test: Test) -> Test:
    return lambda item: not test(item)
