"""Mail learnt from advanced hunting: described by Defender's tables, found in the mailboxes."""

from __future__ import annotations

import itertools
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from hashlib import sha256
from typing import Any, cast

import pytest

from local_tenant.mailbox import Item
from local_tenant.server import RunningTenant, running_tenant
from local_tenant.state import TenantSettings
from retract.errors import MailboxError, PermissionDenied, Throttled
from retract.mailboxes.connect import open_mailboxes
from retract.mailboxes.microsoft365 import hunting
from retract.mailboxes.microsoft365.calls import Call, Reply
from retract.mailboxes.microsoft365.graph import Graph
from retract.mailboxes.microsoft365.hunting import AdvancedHunting
from retract.mailboxes.protocol import MailboxProvider
from retract.mailboxes.settings import Microsoft365Settings
from retract.model import (
    CollectedMessage,
    Disposition,
    Mailbox,
    ObservableType,
    Provider,
    Watermark,
    Window,
)

ANN, BEN = "ann@north.example", "ben@north.example"
NOW = datetime.now(UTC).replace(microsecond=0)
WEEK = Window(NOW - timedelta(days=7), NOW + timedelta(minutes=1))
ROLES = ("Mail.ReadWrite", "User.Read.All", "ThreatHunting.Read.All")


@pytest.fixture(scope="module")
def tenant() -> Iterator[RunningTenant]:
    settings = TenantSettings(latency_seconds=0, microsoft_roles=ROLES, hunting_calls=1000)
    with running_tenant(settings=settings) as running:
        yield running


@pytest.fixture
def provider(tenant: RunningTenant) -> Iterator[MailboxProvider]:
    with closing(open_mailboxes(settings_of(tenant), "work", tenant.state.clock)) as mailboxes:
        yield mailboxes


def settings_of(tenant: RunningTenant) -> Microsoft365Settings:
    names = ("tenant_id", "client_id", "client_secret", "authority_url", "graph_url", "ca_file")
    known = {name: tenant.info[name] for name in names}
    return Microsoft365Settings.model_validate(known | {"collect_from": "advanced_hunting"})


def mailbox_of(tenant: RunningTenant, address: str) -> Mailbox:
    box = tenant.add_mailbox(address)
    return Mailbox(Provider.MICROSOFT365, "work", box.mailbox_id, address)


def deliver(
    tenant: RunningTenant,
    *recipients: str,
    subject: str = "Invoice",
    at: datetime = NOW - timedelta(hours=1),
) -> list[Item]:
    message = EmailMessage()
    message["From"] = "Mallory <mallory@evil.example>"
    message["To"] = "list@north.example"
    message["Subject"] = subject
    message["Message-ID"] = f"<{uuid.uuid4()}'x@evil.example>"
    message.set_content("See https://evil.example/login now")
    message.add_attachment(b"MZ", maintype="application", subtype="zip", filename="invoice.zip")
    return tenant.deliver(message.as_bytes(), recipients, at)


def collect(
    provider: MailboxProvider, mailbox: Mailbox, watermark: Watermark | None = None
) -> tuple[list[CollectedMessage], Watermark | None]:
    reading = provider.collect(mailbox, WEEK, (), watermark)
    return list(reading), reading.watermark


def test_what_defender_tells_is_collected_with_the_copies_ids(
    tenant: RunningTenant, provider: MailboxProvider
) -> None:
    ann, ben = mailbox_of(tenant, ANN), mailbox_of(tenant, BEN)
    to_ann, to_ben = deliver(tenant, ANN, BEN)
    provider.prepare([(ann, None), (ben, None)], WEEK)
    (message,) = (one for one in collect(provider, ann)[0] if one.copy.message_id)
    assert message.copy.message_id == to_ann.message_id
    seen = {(one.type, one.value) for one in message.extraction.observables}
    assert {
        (ObservableType.URL, "https://evil.example/login"),
        (ObservableType.DOMAIN, "evil.example"),
        (ObservableType.EMAIL_ADDRESS, "mallory@evil.example"),
        (ObservableType.FILE_NAME, "invoice.zip"),
        (ObservableType.SHA256, sha256(b"MZ").hexdigest()),
    } <= seen
    assert message.extraction.delivered_disposition is Disposition.UNKNOWN
    assert [one.copy.message_id for one in collect(provider, ben)[0]] == [to_ben.message_id]


def test_a_later_reading_tells_only_what_is_new(
    tenant: RunningTenant, provider: MailboxProvider
) -> None:
    cleo = mailbox_of(tenant, "cleo@north.example")
    deliver(tenant, cleo.address)
    found, watermark = collect(provider, cleo)
    assert len(found) == 1
    (second,) = deliver(tenant, cleo.address, subject="Another")
    provider.prepare([(cleo, watermark)], WEEK)
    assert [one.copy.message_id for one in collect(provider, cleo, watermark)[0]] == [
        second.message_id
    ]


def test_rows_beyond_what_one_answer_holds_are_asked_for_in_shorter_times(
    tenant: RunningTenant, provider: MailboxProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    dan = mailbox_of(tenant, "dan@north.example")
    for hour in range(9):
        message = EmailMessage()
        message["From"], message["Subject"] = "a@evil.example", f"Number {hour}"
        message["Message-ID"] = f"<{hour}@evil.example>"
        message.set_content(f"https://evil.example/{hour}")
        tenant.deliver(message.as_bytes(), [dan.address], NOW - timedelta(hours=1 + hour))
    monkeypatch.setattr(hunting, "_MOST_ROWS", 3)
    found = collect(provider, dan)[0]
    urls = {
        one.value
        for message in found
        for one in message.extraction.observables
        if one.type is ObservableType.URL
    }
    assert urls == {f"https://evil.example/{hour}" for hour in range(9)}


def test_more_rows_in_a_moment_than_one_answer_holds_is_an_error_and_no_loss(
    tenant: RunningTenant, provider: MailboxProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    eve = mailbox_of(tenant, "eve@north.example")
    for number in range(3):
        deliver(tenant, eve.address, subject=f"Number {number}")
    monkeypatch.setattr(hunting, "_MOST_ROWS", 2)
    reading = provider.collect(eve, WEEK, ())
    with pytest.raises(MailboxError, match="RETRACT_MAX_SHARDS"):
        list(reading)
    assert reading.watermark is None


def test_a_message_to_everybody_is_not_too_many_rows(
    tenant: RunningTenant, provider: MailboxProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    gus, *others = (mailbox_of(tenant, f"{name}@north.example") for name in ("gus", "x", "y", "z"))
    deliver(tenant, gus.address, *(other.address for other in others))
    monkeypatch.setattr(hunting, "_MOST_ROWS", 3)
    assert len(collect(provider, gus)[0]) == 1


def test_a_message_full_of_urls_stops_no_other(
    tenant: RunningTenant, provider: MailboxProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    hal = mailbox_of(tenant, "hal@north.example")
    message = EmailMessage()
    message["From"], message["Subject"] = "a@evil.example", "Full"
    message["Message-ID"] = "<full@evil.example>"
    message.set_content(" ".join(f"https://evil.example/{n}" for n in range(20)))
    tenant.deliver(message.as_bytes(), [hal.address], NOW - timedelta(hours=2))
    deliver(tenant, hal.address)
    monkeypatch.setattr(hunting, "_MOST_ROWS", 5)
    assert sorted(one.extraction.subject for one in collect(provider, hal)[0]) == [
        "Full",
        "Invoice",
    ]


@pytest.mark.parametrize("table", ["EmailUrlInfo", "EmailAttachmentInfo"])
def test_a_young_message_waits_for_its_rows_in_the_other_tables(
    tenant: RunningTenant, provider: MailboxProvider, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    ida = mailbox_of(tenant, f"{table}@north.example")
    deliver(tenant, ida.address, at=NOW)
    deliver(tenant, ida.address, subject="Of an hour ago")
    ask = hunting.AdvancedHunting._ask

    def late(self: hunting.AdvancedHunting, query: str) -> list[dict[str, Any]]:
        return [] if query.startswith(table) else ask(self, query)

    with monkeypatch.context() as patch:
        patch.setattr(hunting.AdvancedHunting, "_ask", late)
        found, watermark = collect(provider, ida)
    assert [one.extraction.subject for one in found] == ["Of an hour ago"]
    provider.prepare([(ida, None)], WEEK)
    found, _ = collect(provider, ida, watermark)
    (whole,) = (one for one in found if one.extraction.subject == "Invoice")
    values = {one.value for one in whole.extraction.observables}
    assert {"https://evil.example/login", "invoice.zip"} <= values


def test_mail_older_than_defender_keeps_is_said_to_be_missing(
    tenant: RunningTenant, provider: MailboxProvider, caplog: pytest.LogCaptureFixture
) -> None:
    fay = mailbox_of(tenant, "fay@north.example")
    with caplog.at_level(logging.WARNING):
        list(provider.collect(fay, Window(NOW - timedelta(days=60), NOW), ()))
    assert any("keeps 30 days" in message for message in caplog.messages)


def test_without_the_permission_the_error_says_so() -> None:
    settings = TenantSettings(latency_seconds=0, microsoft_roles=ROLES[:2])
    with running_tenant(settings=settings) as tenant:
        box = mailbox_of(tenant, ANN)
        with (
            closing(open_mailboxes(settings_of(tenant), "work", tenant.state.clock)) as provider,
            pytest.raises(PermissionDenied, match="ThreatHunting"),
        ):
            list(provider.collect(box, WEEK, ()))


@dataclass
class Defender:
    """In the place of a graph: answers each query as told, and counts them."""

    say: Callable[[str], list[dict[str, Any]]]
    queries: list[str] = field(default_factory=list)

    def make(self, call: Call) -> Reply:
        assert call.body is not None
        self.queries.append(str(call.body["Query"]))
        return Reply(200, {}, {"results": self.say(self.queries[-1])})


def hunting_by(say: Callable[[str], list[dict[str, Any]]]) -> tuple[AdvancedHunting, Defender]:
    defender = Defender(say)
    return AdvancedHunting(cast(Graph, defender), lambda: NOW), defender


def many(count: int) -> list[Mailbox]:
    return [
        Mailbox(Provider.MICROSOFT365, "work", f"id-{number:04}", f"u{number}@north.example")
        for number in range(count)
    ]


def test_what_is_refused_for_many_mailboxes_is_not_asked_again_for_each() -> None:
    """45 queries a minute are for the whole tenant, and each would wait in the task's slot."""

    def busy_from_the_second_on(query: str) -> list[dict[str, Any]]:
        if "id-0500" in query:
            raise Throttled("too many queries", retry_after=60)
        return []

    hunting, defender = hunting_by(busy_from_the_second_on)
    mailboxes = many(1_000)
    with pytest.raises(Throttled):
        hunting.prepare(mailboxes, WEEK.start)
    asked = len(defender.queries)
    assert [list(hunting.of(one, WEEK.start)) for one in mailboxes[:500]] == [[]] * 500
    for one in mailboxes[500:]:
        with pytest.raises(Throttled):
            list(hunting.of(one, WEEK.start))
    assert len(defender.queries) == asked == 2


def test_a_result_that_is_too_large_is_asked_for_in_shorter_times() -> None:
    """learn.microsoft.com/defender-endpoint/api/run-advanced-query-api, "Limitations"."""
    told: list[tuple[datetime, datetime]] = []

    def at_most_a_day(query: str) -> list[dict[str, Any]]:
        since, until = map(datetime.fromisoformat, re.findall(r"datetime\(([^)]+)\)", query)[:2])
        if until - since > timedelta(days=1):
            raise MailboxError(
                "Microsoft Graph refused to ask: BadRequest Query execution has exceeded the "
                "allowed result size. Optimize your query by limiting the number of results"
            )
        told.append((since, until))
        return []

    hunting, _ = hunting_by(at_most_a_day)
    hunting.prepare(many(1), WEEK.start)
    assert min(told)[0] == WEEK.start
    assert max(told)[1] >= NOW
    assert all(one[1] == next_one[0] for one, next_one in itertools.pairwise(sorted(told)))


@pytest.mark.parametrize("why", ["allowed result size", "failed to resolve a column"])
def test_a_query_that_is_always_refused_is_told(why: str) -> None:
    def refuse(query: str) -> list[dict[str, Any]]:
        raise MailboxError(f"refused: {why}")

    hunting, defender = hunting_by(refuse)
    with pytest.raises(MailboxError, match=why):
        hunting.prepare(many(1), WEEK.start)
    assert len(defender.queries) < 50
