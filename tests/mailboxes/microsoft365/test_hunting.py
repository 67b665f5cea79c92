"""Mail learnt from advanced hunting: described by Defender's tables, found in the mailboxes."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from hashlib import sha256
from typing import Any

import pytest

from local_tenant.mailbox import Item
from local_tenant.server import RunningTenant, running_tenant
from local_tenant.state import TenantSettings
from retract.errors import MailboxError, PermissionDenied
from retract.mailboxes.connect import open_mailboxes
from retract.mailboxes.microsoft365 import hunting
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
