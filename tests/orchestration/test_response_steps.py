"""The steps of post_delivery_response, without Airflow: what a step that fails leaves behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.indicators.refreshing import refresh

from retract.errors import ConfigurationError, MailboxError, MailboxUnavailable, RetractError
from retract.indicators.feeds import load_feeds
from retract.indicators.hold_back.rules import OWN_DOMAIN
from retract.installation import Settings
from retract.lake.store import Lake
from retract.mailboxes.protocol import MailboxReading
from retract.mailboxes.reading import WholeReading
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
    Watermark,
    Window,
)
from retract.observables import EXTRACTOR_VERSION
from retract.orchestration import clock, response
from retract.orchestration.response import providers
from retract.orchestration.response.pinned import HELD_BACK
from retract.orchestration.runs import RunFolder
from retract.orchestration.windows import RunRequest
from retract.policy import Policy
from retract.reevaluation.held_back import HeldBackHits
from retract.reports.model import RunReport
from retract.retraction.plan import SkipReason

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
class FakeTenant:
    """Mailboxes in memory. Implements `retract.mailboxes.protocol.MailboxProvider`."""

    connection: str
    provider: Provider = Provider.MICROSOFT365
    boxes: dict[str, list[CollectedMessage]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    """By message id."""
    fails: BaseException | None = None

    def deliver(self, address: str, url: str = BAD_URL) -> Copy:
        number = len(self.places) + 1
        copy = Copy(self.provider, self.connection, f"id of {address}", address, f"m{number}")
        seen = Observable(ObservableType.URL, url, "text")
        message = CollectedMessage(
            copy=copy,
            received_at=NOW - timedelta(hours=1),
            location=Location(Place.INBOX),
            extraction=Extraction("<1@x.example>", "Subject", "a@x.example", "A", (seen,)),
            extractor_version=EXTRACTOR_VERSION,
        )
        self.boxes.setdefault(address, []).append(message)
        self.places[copy.message_id] = Place.INBOX
        return copy

    def list_mailboxes(self) -> Iterator[Mailbox]:
        if self.fails:
            raise self.fails
        return (self.mailbox(address) for address in self.boxes)

    def mailbox(self, address: str) -> Mailbox:
        if address not in self.boxes:
            raise MailboxUnavailable(f"there is no {address}")
        return Mailbox(self.provider, self.connection, f"id of {address}", address)

    def collect(
        self,
        mailbox: Mailbox,
        window: Window,
        known: Collection[str],
        watermark: Watermark | None = None,
    ) -> MailboxReading:
        if self.fails:
            raise self.fails
        return WholeReading(
            message
            for message in self.boxes[mailbox.address]
            if message.received_at in window and message.copy.message_id not in known
        )

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

    def judge(self, folder: str) -> None:
        response.pin(self.settings, folder)
        response.match(self.settings, folder)
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


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "feeds.yaml").write_text(FEEDS)
    made = Installation(
        Settings(
            home=tmp_path / "home",
            policy_file=tmp_path / "policy.yaml",
            feeds_file=tmp_path / "feeds.yaml",
            connections="north",
        )
    )

    def open_connection(
        connection: str, _policy: Policy, _clock: object, **_: object
    ) -> FakeTenant:
        return made.tenants[connection]

    monkeypatch.setattr(providers, "open_connection", open_connection)
    return made


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new moment at each look: two attempts at a run are never opened in one."""
    moments = (NOW + timedelta(seconds=n) for n in range(10_000))
    monkeypatch.setattr(clock, "utc_now", lambda: next(moments))


def test_a_run_retracts_what_is_listed_and_nothing_else(installation: Installation) -> None:
    north = installation.tenant("north")
    bad = north.deliver(ANN)
    good = north.deliver(ANN, "http://bad.example.net/other")
    installation.learn(BAD_URL)
    folder = installation.run()
    assert installation.problems(folder) == []
    counts = installation.report(folder).counts
    assert (counts.judged, counts.planned) == (2, 1)
    assert north.places == {bad.message_id: Place.TRASH, good.message_id: Place.INBOX}


def test_campaign_rules_that_are_too_many_to_evaluate_are_a_problem_of_the_run(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retract.reevaluation.late_lookups.MAX_RULES", 1)
    north = installation.tenant("north")
    copy = north.deliver(ANN, "http://good.example.net/")
    feeds_file = installation.settings.feeds_file
    feeds_file.write_text(
        FEEDS.replace("url", "display_name_pattern, campaign: Winter, time_to_live: P30D")
    )
    installation.learn("the name of the campaign", "another campaign's name")
    folder = installation.run()
    (problem,) = installation.problems(folder)
    assert "2 campaign rules are in force, and only the 1 first seen" in problem
    assert north.places == {copy.message_id: Place.INBOX}


ALLOWING = POLICY + "allow: [{value: 'http://bad.example.net/login', reason: our own test}]\n"


def test_an_allow_rule_of_the_run_s_policy_leaves_a_listed_link_alone_and_is_reported(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    allowed, other = north.deliver(ANN), north.deliver(BOB, "http://bad.example.net/other")
    installation.learn(BAD_URL, "http://bad.example.net/other")
    installation.settings.policy_file.write_text(ALLOWING)
    folder = installation.run()
    assert installation.problems(folder) == []
    assert north.places == {allowed.message_id: Place.INBOX, other.message_id: Place.TRASH}
    report = installation.report(folder)
    assert report.counts.skipped_by_reason == {SkipReason.ALLOWED: 1}
    assert [(rule.rule, rule.reason, rule.left_alone) for rule in report.rules] == [
        (BAD_URL, "our own test", 1)
    ]


def test_a_rule_that_is_taken_out_of_the_policy_beats_nothing_any_more(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    copy = north.deliver(ANN)
    installation.learn(BAD_URL)
    installation.settings.policy_file.write_text(ALLOWING)
    installation.run()
    assert north.places == {copy.message_id: Place.INBOX}
    installation.settings.policy_file.write_text(POLICY)
    installation.run()
    assert north.places == {copy.message_id: Place.TRASH}


def test_what_is_held_back_is_counted_in_the_run_s_folder_and_reported(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    bad = north.deliver(ANN)
    for _ in range(2):
        north.deliver(BOB, "http://docs.google.com/")
    installation.learn(BAD_URL, "http://docs.google.com/")
    folder = installation.run()
    assert installation.problems(folder) == []
    assert [m for m, place in north.places.items() if place is Place.TRASH] == [bad.message_id]
    held_back = installation.report(folder).held_back
    assert held_back == RunFolder(folder).read(HELD_BACK, HeldBackHits)
    assert [(hit.value, hit.sources, hit.copies) for hit in held_back.top] == [
        ("http://docs.google.com/", ("list",), 2)
    ]


def test_without_mail_and_indicators_a_run_ends_well(installation: Installation) -> None:
    installation.tenant("north").boxes[ANN] = []
    folder = installation.run()
    assert installation.problems(folder) == []
    assert installation.report(folder).counts.judged == 0


@pytest.mark.parametrize("connections", ["", " , "])
def test_without_connections_no_run_is_opened(installation: Installation, connections: str) -> None:
    installation.configure(connections)
    with pytest.raises(ConfigurationError, match="RETRACT_CONNECTIONS"):
        installation.open_run()


def test_a_connection_whose_listing_ended_without_a_word_is_told(
    installation: Installation,
) -> None:
    installation.configure("north,south")
    installation.tenant("north").deliver(ANN)
    installation.tenant("south").fails = WorkerDied()
    folder = installation.run()
    assert any("south" in problem for problem in installation.problems(folder))
    assert installation.report(folder).counts.judged == 1


def test_a_connection_id_may_hold_what_a_file_name_may_not(installation: Installation) -> None:
    installation.configure("tenants/north,../south")
    for connection in ("tenants/north", "../south"):
        installation.tenant(connection).deliver(ANN)
    folder = installation.run()
    assert installation.problems(folder) == []
    assert installation.report(folder).counts.judged == 2


def test_a_tenant_that_was_taken_out_is_left_alone(installation: Installation) -> None:
    installation.configure("north,south")
    for connection in ("north", "south"):
        installation.tenant(connection).deliver(ANN)
    installation.run()
    installation.configure("north")
    installation.learn(BAD_URL)
    folder = installation.run()
    assert installation.problems(folder) == []
    counts = installation.report(folder).counts
    assert (counts.judged, counts.planned) == (1, 1)
    assert set(installation.tenant("south").places.values()) == {Place.INBOX}


def test_a_mailbox_that_was_closed_is_left_alone(installation: Installation) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    of_bob = north.deliver(BOB)
    installation.run()
    del north.boxes[BOB]
    installation.learn(BAD_URL)
    folder = installation.run()
    assert installation.problems(folder) == []
    counts = installation.report(folder).counts
    assert (counts.judged, counts.planned) == (1, 1)
    assert north.places[of_bob.message_id] is Place.INBOX


def test_a_run_narrowed_to_a_mailbox_judges_that_one(installation: Installation) -> None:
    north = installation.tenant("north")
    of_ann, of_bob = north.deliver(ANN), north.deliver(BOB)
    installation.run()
    installation.learn(BAD_URL)
    folder = installation.run(mailboxes=[BOB])
    assert installation.problems(folder) == []
    assert north.places == {of_ann.message_id: Place.INBOX, of_bob.message_id: Place.TRASH}


@pytest.mark.parametrize("error", [MailboxError("down"), WorkerDied()])
def test_a_mailbox_that_fails_after_its_task_was_cleared_is_told(
    installation: Installation, error: BaseException
) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    folder = installation.run()
    assert installation.problems(folder) == []
    north.fails = error
    installation.collect(folder)
    assert installation.problems(folder) != []


@pytest.mark.parametrize(
    ("step", "inside"),
    [
        (response.pin, "retract.lake.store.Lake.versions"),
        (response.match, "retract.reevaluation.match.full_match"),
        (response.match, "retract.reevaluation.held_back.held_back_hits"),
        (response.make_plan, "retract.reevaluation.decide.decide"),
    ],
)
def test_a_step_that_fails_after_it_was_cleared_is_not_covered_by_the_earlier_plan(
    installation: Installation, step: object, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.tenant("north").deliver(ANN)
    folder = installation.run()
    assert installation.problems(folder) == []

    def die(*_: object) -> None:
        raise WorkerDied

    monkeypatch.setattr(inside, die)
    with pytest.raises(WorkerDied):
        step(installation.settings, folder)  # type: ignore[operator]
    assert "before a plan was made" in installation.problems(folder)[0]


def test_a_mailbox_that_is_there_when_the_listing_is_cleared_is_not_missed_any_more(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    folder = installation.run(mailboxes=[ANN, BOB])
    assert any(BOB in problem for problem in installation.problems(folder))
    north.boxes[BOB] = []
    installation.list_mailboxes(folder)
    installation.collect(folder)
    installation.judge(folder)
    assert installation.problems(folder) == []


def test_a_mailbox_that_is_gone_when_the_listing_is_cleared_is_not_collected_any_more(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    north.boxes[BOB] = []
    folder = installation.run()
    del north.boxes[BOB]
    installation.list_mailboxes(folder)
    installation.collect(folder)
    installation.judge(folder)
    assert installation.problems(folder) == []
    assert installation.report(folder).run.mailboxes == 1


def test_the_tenants_own_domain_is_known_in_the_run_that_first_collects_its_mail(
    installation: Installation,
) -> None:
    tenant = installation.tenant("north")
    copy = tenant.deliver(ANN)
    (message,) = tenant.boxes[ANN]
    seen = Observable(ObservableType.DOMAIN, "intranet.north.example", "text")
    extraction = replace(message.extraction, observables=(seen,))
    tenant.boxes[ANN] = [replace(message, extraction=extraction)]
    feeds = installation.settings.feeds_file
    feeds.write_text(FEEDS.replace("type: url", "type: domain"))
    installation.learn("north.example")

    folder = installation.run()

    assert tenant.places[copy.message_id] is Place.INBOX
    hits = RunFolder(folder).read("held_back.json", HeldBackHits)
    assert [(hit.value, hit.reason, hit.copies) for hit in hits.top] == [
        ("north.example", OWN_DOMAIN, 1)
    ]
    assert installation.problems(folder) == []
    (facts,) = installation.report(folder).sources
    assert facts.held_back == 1
