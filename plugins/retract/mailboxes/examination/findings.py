"""What an examination finds, and what both services have in common."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urlsplit

import httpx

from retract.errors import ConfigurationError, MailboxError
from retract.mailboxes.microsoft365.told import unreachable
from retract.mailboxes.protocol import MailboxProvider
from retract.mailboxes.settings import CollectFrom, ConnectionSettings
from retract.model import Mailbox, UnwatchedMailbox, UnwatchedReason, Window

WARN_OF_SKEW = timedelta(minutes=1)
MOST_SKEW = timedelta(minutes=5)
"""Microsoft Entra and Google refuse what is signed further off than that."""
_TRIED_MAILBOXES = 5
_NAMED = 3
_LEARNT = timedelta(hours=1)


class Grade(StrEnum):
    """How bad a finding is."""

    GOOD = "good"
    WARNING = "warning"
    """It works, but not as it should."""
    WRONG = "wrong"
    """It does not work until somebody mends it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """What was looked at, in a word or two."""
    grade: Grade
    told: str
    """What was seen."""
    mend: str = ""
    """What to do about it, where there is something to do."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A service that was knocked at."""

    finding: Finding
    date: str | None = None
    """The Date header of its answer."""


def reach(settings: ConnectionSettings, name: str, url: str) -> Reached:
    """Whether a service answers at all, and with a certificate that is trusted."""
    trust: ssl.SSLContext | bool = (
        ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
    )
    try:
        with httpx.Client(verify=trust, timeout=settings.timeout_seconds) as http:
            answer = http.get(url)
    except httpx.RequestError as error:
        return Reached(wrong(name, unreachable(url, error)))
    host = urlsplit(url).netloc
    return Reached(
        Finding(name, Grade.GOOD, f"{host} answers, and its certificate is trusted"),
        answer.headers.get("Date"),
    )


def clock_finding(date: str | None, now: datetime) -> Finding:
    """How far this machine's clock is from a service's. ``date`` is a Date header."""
    try:
        theirs = parsedate_to_datetime(date or "")
        theirs = theirs.astimezone(UTC) if theirs.tzinfo else theirs.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return Finding("clock", Grade.WARNING, "the service does not say what time it has")
    skew = now - theirs
    # The header has whole seconds, and the answer took a while.
    seconds = round(abs(skew.total_seconds()))
    if timedelta(seconds=seconds) <= WARN_OF_SKEW:
        return Finding("clock", Grade.GOOD, f"{seconds} s from the service's")
    direction = "ahead of" if skew > timedelta() else "behind"
    grade = Grade.WRONG if timedelta(seconds=seconds) > MOST_SKEW else Grade.WARNING
    return Finding(
        "clock",
        grade,
        f"this machine's clock is {seconds} s {direction} the service's",
        "Set the clock, and have NTP keep it: sign-ins are refused from 5 minutes on",
    )


def wrong(check: str, error: Exception) -> Finding:
    """What an error says; our errors say themselves what to do."""
    return Finding(check, Grade.WRONG, str(error))


@dataclass(frozen=True, slots=True)
class Listing:
    """What a connection's list of mailboxes came to."""

    finding: Finding
    some: tuple[Mailbox, ...] = ()
    """A few of those that are watched."""


def list_some(mailboxes: Callable[[], Iterable[Mailbox | UnwatchedMailbox]]) -> Listing:
    """Go through the whole list."""
    count, some = 0, list[Mailbox]()
    reasons: Counter[UnwatchedReason] = Counter()
    lost: list[str] = []
    try:
        for each in mailboxes():
            if isinstance(each, Mailbox):
                count += 1
                if len(some) < _TRIED_MAILBOXES:
                    some.append(each)
            else:
                reasons[each.reason] += 1
                if each.reason is UnwatchedReason.NOT_FOUND:
                    lost.append(each.address)
    except (MailboxError, ConfigurationError, OSError) as error:
        return Listing(wrong("mailboxes", error), tuple(some))
    told = f"{count:,} watched"
    if reasons:
        parts = (f"{reason.replace('_', ' ')} {n:,}" for reason, n in sorted(reasons.items()))
        told += f"; not watched: {', '.join(parts)}"
    if not count:
        mend = "See that watch names mailboxes that exist, and that they have a licence"
        return Listing(Finding("mailboxes", Grade.WRONG, told, mend))
    if lost:
        more = f" and {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
        mend = f"Take out of watch, or correct: {', '.join(lost[:_NAMED])}{more}"
        return Listing(Finding("mailboxes", Grade.WARNING, told, mend), tuple(some))
    return Listing(Finding("mailboxes", Grade.GOOD, told), tuple(some))


def learn(
    settings: ConnectionSettings,
    mailboxes: MailboxProvider,
    some: Sequence[Mailbox],
    now: datetime,
) -> Iterator[Finding]:
    """Whether delivered mail can be learnt from where the settings say, if not the mailboxes."""
    if settings.collect_from is CollectFrom.MAILBOXES:
        return
    check = "delivered mail"
    try:
        mailboxes.prepare([(one, None) for one in some], Window(now - _LEARNT, now))
    except MailboxError as error:
        yield wrong(check, error)
    else:
        yield Finding(check, Grade.GOOD, f"learnt from {settings.collect_from.value}")


def read_one(some: Iterable[Mailbox], newest: Callable[[Mailbox], datetime | None]) -> Finding:
    """Whether the newest message of a mailbox can be read; ``newest`` tells when it came.

    Some of the others are tried where the first cannot be read.
    """
    refused: list[tuple[str, MailboxError]] = []
    for mailbox in some:
        try:
            came = newest(mailbox)
        except MailboxError as error:
            refused.append((mailbox.address, error))
            continue
        told = f"{mailbox.address} can be read: " + (
            f"its newest message came {came:%Y-%m-%d %H:%M} UTC" if came else "it is empty"
        )
        if refused:
            others = ", ".join(address for address, _ in refused)
            return Finding(
                "one mailbox",
                Grade.WARNING,
                f"{told}; {others} cannot: {refused[0][1]}",
                "Have watch name the mailboxes that the connection may touch, and no others",
            )
        return Finding("one mailbox", Grade.GOOD, told)
    if not refused:
        return Finding("one mailbox", Grade.WARNING, "there is none to read")
    address, first = refused[0]
    return wrong("one mailbox", MailboxError(f"{address}: {first}"))
