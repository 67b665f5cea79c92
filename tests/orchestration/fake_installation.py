"""An installation without Airflow: fake tenants in memory, a real lake and a real ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.indicators.refreshing import refresh

from retract.errors import MailboxError, MailboxUnavailable, RetractError
from retract.indicators.feeds import load_feeds
from retract.installation import Settings
from retract.lake.store import Lake
from retract.mailboxes.protocol import MailboxReading
from retract.model import (
    Action,
    CollectedMessage,
    Copy,
    Extraction,
    Found,
    Location,
    Mailbox,
    Observable,
    ObservableType,
    Place,
    Provider,
    UnwatchedMailbox,
    Watermark,
    Window,
)
from retract.observables import EXTRACTOR_VERSION
from retract.orchestration import response
from retract.orchestration.runs import RunFolder
from retract.orchestration.windows import RunRequest
from retract.reports.model import RunReport

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
ANN, BOB = "ann@north.example", "bob@north.example"
BAD_URL = "http://bad.example.net/login"
POLICY = "mode: enforce\nactions: {malicious: trash}\n"
FEEDS = """\
sources:
  - {name: list, format: plain_list, type: url, location: list.txt, disposition: malicious,
     confidence: 90}
"""


class WorkerDied(BaseException):
    """The task's process ends here, without a word."""


@dataclass
class FakeReading:
    """Implements `retract.mailboxes.protocol.MailboxReading`."""

    messages: list[CollectedMessage]
    since: datetime
    error: Exception | None
    watermark: Watermark | None = None

    def __iter__(self) -> Iterator[CollectedMessage]:
        given = self.messages if self.error is None else self.messages[:1]
        yield from given
        left = len(self.messages) - len(given)
        self.watermark = Watermark(self.since, f"{len(given)} given, {left} left")
        if self.error:
            raise self.error


@dataclass
class FakeTenant:
    """Mailboxes in memory. Implements `retract.mailboxes.protocol.MailboxProvider`."""

    connection: str
    provider: Provider = Provider.MICROSOFT365
    boxes: dict[str, list[CollectedMessage]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    """By message id."""
    fails: BaseException | None = None
    """What every call for a mailbox's mail raises."""
    breaks_off: dict[str, Exception] = field(default_factory=dict)
    """By address: what a reading raises once it gave the first message."""
    asked: list[tuple[str, frozenset[str], Watermark | None]] = field(default_factory=list)
    """Every reading: the address, what was known, and the watermark it began from."""
    unwatched: tuple[UnwatchedMailbox, ...] = ()
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By address, the others that its mailbox has."""
    ids: dict[str, str] = field(default_factory=dict)
    """By address, the ids of mailboxes that had another one before."""

    def deliver(
        self, address: str, url: str = BAD_URL, ago: timedelta = timedelta(hours=1)
    ) -> Copy:
        number = len(self.places) + 1
        copy = Copy(self.provider, self.connection, f"id of {address}", address, f"m{number}")
        seen = Observable(ObservableType.URL, url, "text")
        message = CollectedMessage(
            copy=copy,
            received_at=NOW - ago,
            location=Location(Place.INBOX),
            extraction=Extraction("<1@x.example>", "Subject", "a@x.example", "A", (seen,)),
            extractor_version=EXTRACTOR_VERSION,
        )
        self.boxes.setdefault(address, []).append(message)
        self.places[copy.message_id] = Place.INBOX
        return copy

    def list_mailboxes(self) -> Iterator[Mailbox | UnwatchedMailbox]:
        if self.fails:
            raise self.fails
        return iter([*map(self.mailbox, self.boxes), *self.unwatched])

    def mailbox(self, address: str) -> Mailbox:
        if address not in self.boxes:
            raise MailboxUnavailable(f"there is no {address}")
        return Mailbox(
            self.provider,
            self.connection,
            self.ids.get(address, f"id of {address}"),
            address,
            self.aliases.get(address, ()),
        )

    def prepare(self, wanted: Sequence[tuple[Mailbox, Watermark | None]], window: Window) -> None:
        pass

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        if self.fails:
            raise self.fails
        self.asked.append((mailbox.address, frozenset(known), watermark))
        if mailbox.address not in self.boxes:
            raise MailboxUnavailable(f"{mailbox.address} was closed")
        new = [
            message
            for message in self.boxes[mailbox.address]
            if message.received_at in window and message.copy.message_id not in known
        ]
        since = watermark.since if watermark else window.start
        return FakeReading(new, since, self.breaks_off.get(mailbox.address))

    def locate(self, copies: Sequence[Copy]) -> list[Location | MailboxError | None]:
        return [Location(self.places[copy.message_id]) for copy in copies]

    def find(self, copies: Sequence[Copy]) -> list[tuple[Found, ...] | MailboxError]:
        raise NotImplementedError

    def read(self, copies: Sequence[Copy]) -> list[Extraction | MailboxError]:
        raise NotImplementedError

    def destination(self, action: Action) -> Place:
        return {Action.JUNK: Place.JUNK, Action.TRASH: Place.TRASH}[action]

    def retract(
        self, retractions: Sequence[tuple[Copy, Action]], until: datetime
    ) -> list[MailboxError | None]:
        for copy, action in retractions:
            self.places[copy.message_id] = self.destination(action)
        return [None for _ in retractions]

    def restore(self, copy: Copy, location: Location) -> None:
        raise NotImplementedError

    def now(self) -> datetime:
        return NOW

    def close(self) -> None:
        pass


@dataclass
class Installation:
    """Settings, tenants by connection id, and the steps in the order of the DAG."""

    settings: Settings
    tenants: dict[str, FakeTenant] = field(default_factory=dict)

    def tenant(self, connection: str) -> FakeTenant:
        return self.tenants.setdefault(connection, FakeTenant(connection))

    def configure(self, connections: str) -> None:
        self.settings = self.settings.model_copy(update={"connections": connections})

    def learn(self, *urls: str) -> None:
        file = self.settings.feeds_file
        (file.parent / "list.txt").write_text("".join(f"{url}\n" for url in urls))
        refresh(load_feeds(file), Lake(self.settings.lake), NOW - timedelta(days=1))

    def open_run(self, **params: object) -> str:
        request = RunRequest(
            dag_id="post_delivery_response",
            run_id="manual__1",
            run_type="manual",
            run_after=NOW,
            interval_start=None,
            interval_end=None,
            params=params,
        )
        return response.open_run(self.settings, request)

    def list_mailboxes(self, folder: str) -> None:
        for connection in response.connections(folder):
            with suppress(RetractError, WorkerDied):  # as the steps after it run all the same
                response.list_mailboxes(folder, connection)

    def collect(self, folder: str) -> None:
        for shard in response.shard_mailboxes(self.settings, folder):
            with suppress(RetractError, WorkerDied):
                response.collect(self.settings, folder, shard)

    def match(self, folder: str) -> None:
        for shard in response.pin(self.settings, folder):
            response.match(self.settings, folder, shard)

    def judge(self, folder: str) -> None:
        self.match(folder)
        for shard in response.make_plan(self.settings, folder):
            with suppress(RetractError, WorkerDied):
                response.act(self.settings, folder, shard)

    def problems(self, folder: str) -> list[str]:
        """The report is written; what went wrong in the run."""
        return response.report(self.settings, folder)

    def report(self, folder: str) -> RunReport:
        return RunFolder(folder).read("report.json", RunReport)

    def run(self, **params: object) -> str:
        """Every step but the report."""
        folder = self.open_run(**params)
        self.list_mailboxes(folder)
        self.collect(folder)
        self.judge(folder)
        return folder
