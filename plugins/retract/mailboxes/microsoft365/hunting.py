"""Delivered mail as Microsoft Defender's advanced hunting tells it.

EmailEvents has a row a message and recipient, EmailUrlInfo one a URL, EmailAttachmentInfo one an
attachment; NetworkMessageId joins them. Needs ThreatHunting.Read.All, and Defender for Office 365
Plan 2. learn.microsoft.com/graph/api/security-security-runhuntingquery: thirty days, 100,000 rows
and three minutes a query, and 45 queries a minute for the whole tenant: so one query asks for many
mailboxes, and is cut by time where its rows are too many.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError

from retract.errors import MailboxError, PermissionDenied
from retract.mailboxes.microsoft365.calls import Call, GraphAnswer
from retract.mailboxes.microsoft365.graph import Graph
from retract.model import Disposition, Mailbox
from retract.observables.described import DescribedAttachment, DescribedMessage

KEPT: Final = timedelta(days=30)
"""How far back advanced hunting looks."""

_MOST_ROWS: Final = 50_000
_MAILBOXES_A_QUERY: Final = 500
_SHORTEST: Final = timedelta(seconds=1)
_TIMES_AS_LONG: Final = 3
"""A query may take three minutes, and other calls one, if the settings say nothing else."""
_APART: Final = timedelta(hours=1)
"""The tables' times of one message differ by less."""
_SETTLED: Final = timedelta(minutes=30)
"""How long a message without the rows it should have elsewhere is left for a later query."""
_TOO_LARGE: Final = "result size"
"""In the message of a 400 where the rows have too many bytes, however few they are:
learn.microsoft.com/defender-endpoint/api/run-advanced-query-api."""
_OBJECT_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
# learn.microsoft.com/defender-xdr/advanced-hunting-emailevents-table, "ThreatTypes"
_THREATS: Final = {
    "malware": Disposition.MALICIOUS,
    "phish": Disposition.MALICIOUS,
    "spam": Disposition.SPAM,
}

Text = Annotated[str, BeforeValidator(lambda value: value or "")]
"""A column may be null."""

log = logging.getLogger(__name__)


class _Answer(GraphAnswer):
    results: list[dict[str, Any]]


class _Event(GraphAnswer):
    at: AwareDatetime = Field(alias="Timestamp")
    network_message_id: str = Field(alias="NetworkMessageId")
    internet_message_id: Text = Field(default="", alias="InternetMessageId")
    mailbox_id: str = Field(alias="RecipientObjectId")
    recipient: str = Field(alias="RecipientEmailAddress")
    sender_address: Text = Field(default="", alias="SenderFromAddress")
    sender_name: Text = Field(default="", alias="SenderDisplayName")
    return_path: Text = Field(default="", alias="SenderMailFromAddress")
    sending_ip: Text = Field(default="", alias="SenderIPv4")
    subject: Text = Field(default="", alias="Subject")
    threats: Text = Field(default="", alias="ThreatTypes")
    urls: int | None = Field(default=None, alias="UrlCount")
    attachments: int | None = Field(default=None, alias="AttachmentCount")

    @property
    def disposition(self) -> Disposition:
        named = (_THREATS.get(name.strip().lower()) for name in self.threats.split(","))
        said = [one for one in named if one]
        return Disposition.gravest(said) if said else Disposition.UNKNOWN


_EVENT_COLUMNS: Final = ", ".join(str(field.alias) for field in _Event.model_fields.values())


class AdvancedHunting:
    """Descriptions by Microsoft Defender. Implements `retract.mailboxes.described.Descriptions`."""

    def __init__(self, graph: Graph, clock: Callable[[], datetime]) -> None:
        self._graph = graph
        self._clock = clock
        self._start: datetime | None = None
        self._prepared: frozenset[str] = frozenset()
        self._told: Mapping[str, list[DescribedMessage]] = {}
        self._refused: Mapping[str, MailboxError] = {}
        """By the id of a mailbox, why nothing could be asked for it."""

    def prepare(self, mailboxes: Sequence[Mailbox], start: datetime) -> None:
        now = self._clock()
        if start < now - KEPT:
            log.warning("advanced hunting keeps 30 days: mail before %s is not seen", now - KEPT)
        told: defaultdict[str, list[DescribedMessage]] = defaultdict(list)
        ids = sorted({one.mailbox_id for one in mailboxes if _OBJECT_ID.fullmatch(one.mailbox_id)})
        self._start, self._told, self._refused = start, told, {}
        self._prepared = frozenset(one.mailbox_id for one in mailboxes)
        for first in range(0, len(ids), _MAILBOXES_A_QUERY):
            whose = ids[first : first + _MAILBOXES_A_QUERY]
            try:
                described = list(self._described(whose, max(start, now - KEPT), now))
            except MailboxError as error:
                # Not asked again mailbox by mailbox: the tenant has few queries a minute.
                self._refused = dict.fromkeys(ids[first:], error)
                raise
            for mailbox_id, one in described:
                told[mailbox_id].append(one)

    def of(self, mailbox: Mailbox, start: datetime) -> Iterable[DescribedMessage]:
        if mailbox.mailbox_id not in self._prepared or self._start is None or start < self._start:
            self.prepare([mailbox], start)
        if mailbox.mailbox_id in self._refused:
            raise self._refused[mailbox.mailbox_id]
        told = self._told.get(mailbox.mailbox_id, ())
        return (one for one in told if one.received_at >= start)

    def _described(
        self, mailbox_ids: Sequence[str], start: datetime, now: datetime
    ) -> Iterator[tuple[str, DescribedMessage]]:
        """(mailbox id, message) of everything delivered to the mailboxes."""
        whose = ", ".join(f"'{one}'" for one in mailbox_ids)

        def events(since: datetime, until: datetime) -> str:
            return (
                f"EmailEvents | where {_between(since, until)} "
                f"| where RecipientObjectId in ({whose}) "
                "| where DeliveryAction in ('Delivered', 'Junked', 'Replaced') "
            )

        def parts(table: str, columns: str) -> Callable[[datetime, datetime], str]:
            return lambda since, until: (
                f"{table} | where {_between(since - _APART, until + _APART)} "
                f"| join kind=leftsemi ({events(since, until)}) on NetworkMessageId "
                # EmailAttachmentInfo has a row a recipient, of all who got the message.
                f"| distinct NetworkMessageId, {columns}"
            )

        # A row is made some time after its delivery: an end is needed only to cut by.
        end = now + _APART
        rows = self._rows(lambda a, b: f"{events(a, b)}| project {_EVENT_COLUMNS}", start, end)
        happened = [event for row in rows if (event := _event(row))]
        if not happened:
            return
        urls: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for row in self._rows(parts("EmailUrlInfo", "Url"), start, end, cut=True):
            urls[str(row.get("NetworkMessageId"))][str(row.get("Url") or "")] = None
        files: defaultdict[str, dict[DescribedAttachment, None]] = defaultdict(dict)
        columns = "FileName, SHA256"
        for row in self._rows(parts("EmailAttachmentInfo", columns), start, end, cut=True):
            files[str(row.get("NetworkMessageId"))][_attachment(row)] = None
        for event in happened:
            name = event.network_message_id
            is_whole = (name in urls or not event.urls) and (name in files or not event.attachments)
            if not is_whole and now - event.at < _SETTLED:
                continue  # told by a later query: its other rows are still to come
            yield (
                event.mailbox_id,
                DescribedMessage(
                    recipient=event.recipient,
                    internet_message_id=event.internet_message_id,
                    received_at=event.at,
                    subject=event.subject,
                    sender_address=event.sender_address,
                    sender_name=event.sender_name,
                    return_path=event.return_path,
                    sending_ip=event.sending_ip,
                    urls=tuple(urls.get(name, ())),
                    attachments=tuple(files.get(name, ())),
                    disposition=event.disposition,
                ),
            )

    def _rows(
        self,
        query: Callable[[datetime, datetime], str],
        start: datetime,
        end: datetime,
        *,
        cut: bool = False,
    ) -> list[dict[str, Any]]:
        """All rows. Where one second has too many they are ``cut``, or else it is an error: of
        messages none may go missing, and one message full of URLs may not stop all others."""
        rows: list[dict[str, Any]] = []
        too_large: MailboxError | None = None
        try:
            rows = self._ask(f"{query(start, end)} | take {_MOST_ROWS}")
        except MailboxError as error:
            if type(error) is not MailboxError or _TOO_LARGE not in str(error).lower():
                raise
            too_large = error
        if too_large is None and len(rows) < _MOST_ROWS:
            return rows
        if end - start <= _SHORTEST and cut:
            log.warning("of a flood of URLs or attachments in one second only some are seen")
            return rows
        if end - start <= _SHORTEST:
            raise too_large or MailboxError(
                f"more than {_MOST_ROWS} rows of advanced hunting within a second: use fewer "
                "mailboxes a task (RETRACT_MAX_SHARDS)"
            )
        middle = start + (end - start) / 2
        earlier = self._rows(query, start, middle, cut=cut)
        return earlier + self._rows(query, middle, end, cut=cut)

    def _ask(self, query: str) -> list[dict[str, Any]]:
        task = "ask advanced hunting for delivered mail"
        call = Call(
            "POST",
            "/security/runHuntingQuery",
            task,
            body={"Query": query},
            times_as_long=_TIMES_AS_LONG,
        )
        try:
            return _Answer.model_validate(self._graph.make(call).json()).results
        except PermissionDenied as error:
            raise PermissionDenied(
                f"Microsoft Graph refused to {task}: grant the application "
                "ThreatHunting.Read.All with an administrator's consent, and see that the tenant "
                "has Defender for Office 365 Plan 2",
                code=error.code,
            ) from error
        except ValueError as error:
            raise MailboxError(
                "Microsoft Graph answered the hunting query with something else than it documents"
            ) from error


def _between(start: datetime, end: datetime) -> str:
    return f"Timestamp >= {_literal(start)} and Timestamp < {_literal(end)}"


def _literal(moment: datetime) -> str:
    return f"datetime({moment:%Y-%m-%dT%H:%M:%S.%fZ})"


def _event(row: dict[str, Any]) -> _Event | None:
    """None for what is no delivery that can be found again, with a warning."""
    try:
        event = _Event.model_validate(row)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        log.warning("a row of EmailEvents was left out: no usable %s", fields)
        return None
    if not event.internet_message_id:
        log.warning("a message to %s has no Message-ID, and cannot be found", event.mailbox_id)
        return None
    return event


def _attachment(row: dict[str, Any]) -> DescribedAttachment:
    name = str(row.get("FileName") or "")
    try:
        return DescribedAttachment(name=name, sha256=row.get("SHA256") or "")
    except ValidationError:
        return DescribedAttachment(name=name)
