"""What an examination concludes from what it is told: pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from retract.errors import MailboxUnavailable, PermissionDenied
from retract.mailboxes.examination.findings import (
    Finding,
    Grade,
    clock_finding,
    list_some,
    read_one,
)
from retract.mailboxes.examination.google_workspace import needed_scopes
from retract.mailboxes.examination.microsoft365 import (
    certificate_finding,
    claims_of,
    role_findings,
    token_finding,
)
from retract.mailboxes.settings import GoogleWorkspaceSettings, Microsoft365Settings, SignIn
from retract.model import Mailbox, Provider, UnwatchedMailbox, UnwatchedReason

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ENOUGH = ("Mail.ReadWrite", "User.Read.All")


@pytest.mark.parametrize(
    ("seconds", "grade"),
    [
        (0, Grade.GOOD),
        (60, Grade.GOOD),
        (-60, Grade.GOOD),
        (61, Grade.WARNING),
        (-300, Grade.WARNING),
        (301, Grade.WRONG),
        (-301, Grade.WRONG),
    ],
)
def test_a_clock_is_wrong_from_five_minutes_on(seconds: int, grade: Grade) -> None:
    date = format_datetime(NOW - timedelta(seconds=seconds), usegmt=True)
    found = clock_finding(date, NOW)
    assert found.grade is grade
    if grade is not Grade.GOOD:
        assert ("ahead of" if seconds > 0 else "behind") in found.told
        assert "NTP" in found.mend


def test_a_date_without_a_time_zone_is_utc() -> None:
    assert clock_finding("Mon, 05 Jan 2026 12:00:00 -0000", NOW).grade is Grade.GOOD


@pytest.mark.parametrize(
    ("now", "grade", "told"),
    [
        (NOW, Grade.GOOD, "valid until 2026-03-01"),
        (NOW + timedelta(days=40), Grade.WARNING, "expires on 2026-03-01"),
        (NOW + timedelta(days=60), Grade.WRONG, "expired on 2026-03-01"),
        (NOW - timedelta(days=60), Grade.WRONG, "not valid before 2026-01-01 00:00 UTC"),
    ],
)
def test_a_certificate_is_warned_of_a_month_before_it_ends(
    tmp_path: Path, now: datetime, grade: Grade, told: str
) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "retract")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 3, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    settings = Microsoft365Settings(tenant_id="t", client_id="c", certificate_file=file)
    found = certificate_finding(settings, now)
    assert (found.grade, found.told) == (grade, told)
    assert bool(found.mend) is (grade is not Grade.GOOD)


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_service_without_a_date_gives_no_verdict_on_the_clock(date: str | None) -> None:
    assert clock_finding(date, NOW).grade is Grade.WARNING


# ---- permissions of Microsoft Graph -----------------------------------------------------


def judged(*roles: str, **settings: Any) -> list[Finding]:
    known = Microsoft365Settings.model_validate(
        {"tenant_id": "t", "client_id": "c", "client_secret": "s", **settings}
    )
    return list(role_findings(frozenset(roles), known))


def grades(findings: Collection[Finding]) -> list[Grade]:
    return [found.grade for found in findings]


def test_the_two_permissions_are_enough() -> None:
    assert set(grades(judged(*ENOUGH))) == {Grade.GOOD}


@pytest.mark.parametrize(
    ("settings", "role"),
    [
        ({}, "User.Read.All"),
        ({"watch": {"groups": ["staff@x.example"]}}, "GroupMember.Read.All"),
        ({"collect_from": "advanced_hunting"}, "ThreatHunting.Read.All"),
    ],
)
def test_a_permission_that_the_settings_need_is_missed_by_name(
    settings: dict[str, Any], role: str
) -> None:
    others = {*ENOUGH, "GroupMember.Read.All", "ThreatHunting.Read.All"} - {role}
    (missed,) = (f for f in judged(*others, **settings) if f.grade is Grade.WRONG)
    assert role in missed.told
    assert role in missed.mend
    assert not any(f.grade is Grade.WRONG for f in judged(*others, role, **settings))


def test_the_mail_permission_may_come_from_rbac_for_applications() -> None:
    findings = judged("User.Read.All")
    assert set(grades(findings)) == {Grade.GOOD}
    assert any("RBAC for Applications must grant it" in f.told for f in findings)


@pytest.mark.parametrize("role", ["Mail.Read", "Mail.ReadBasic.All"])
def test_a_permission_to_read_alone_is_not_taken_for_one_to_retract(role: str) -> None:
    """A mailbox that can be read by it shows nothing: every retraction may be refused."""
    findings = judged("User.Read.All", role)
    (warned,) = (f for f in findings if f.check == "mail permission")
    assert warned.grade is Grade.WARNING
    assert f"{role} is, by which mail is read and nothing retracted" in warned.told
    assert "Test-ServicePrincipalAuthorization" in warned.mend


def test_a_tenant_wide_mail_permission_defeats_a_scope() -> None:
    findings = judged(*ENOUGH, watch={"addresses": ["ann@x.example"]})
    (warned,) = (f for f in findings if f.grade is Grade.WARNING)
    assert "every mailbox of the tenant, and watch names only some" in warned.told
    assert "defeats any scope" in warned.mend


def test_what_is_granted_and_not_needed_is_told_with_what_it_could_do() -> None:
    excess = ("Mail.Send", "Directory.ReadWrite.All", "full_access_as_app", "Calendars.Read")
    warned = [f for f in judged(*ENOUGH, *excess) if f.grade is Grade.WARNING]
    told = " ".join(f.told for f in warned)
    assert all(role in told for role in excess)
    assert "in everybody's name" in told
    assert len(warned) == 4


# ---- tokens -----------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "..", "a.bm90IGpzb24.c", "a.W10.c"])
def test_a_token_that_cannot_be_read_has_no_claims_and_is_warned_of(token: str) -> None:
    assert claims_of(token) == {}
    assert token_finding({}, SignIn.CERTIFICATE).grade is Grade.WARNING


def test_a_token_is_told_with_its_way_and_its_end() -> None:
    found = token_finding({"exp": NOW.timestamp()}, SignIn.CERTIFICATE)
    assert found.told == "given by certificate_file, good until 2026-01-05 12:00 UTC"


# ---- mailboxes --------------------------------------------------------------------------


def box(name: str) -> Mailbox:
    return Mailbox(Provider.MICROSOFT365, "work", name, f"{name}@x.example")


def unwatched(name: str, reason: UnwatchedReason) -> UnwatchedMailbox:
    return UnwatchedMailbox("work", f"{name}@x.example", reason)


def test_mailboxes_are_counted_and_the_unwatched_by_their_reasons() -> None:
    listed = [
        *(box(str(n)) for n in range(7)),
        unwatched("a", UnwatchedReason.UNLICENSED),
        unwatched("b", UnwatchedReason.ON_PREMISES),
        unwatched("c", UnwatchedReason.UNLICENSED),
    ]
    listing = list_some(lambda: listed)
    assert listing.finding == Finding(
        "mailboxes", Grade.GOOD, "7 watched; not watched: on premises 1, unlicensed 2"
    )
    assert [one.address for one in listing.some] == [f"{n}@x.example" for n in range(5)]


def test_named_mailboxes_that_nobody_has_are_warned_of() -> None:
    listing = list_some(lambda: [box("1"), unwatched("gone", UnwatchedReason.NOT_FOUND)])
    assert listing.finding.grade is Grade.WARNING
    assert "gone@x.example" in listing.finding.mend


def test_no_mailbox_at_all_is_wrong() -> None:
    assert list_some(list).finding.grade is Grade.WRONG


def test_a_listing_that_is_refused_says_what_the_service_said() -> None:
    def refused() -> list[Mailbox | UnwatchedMailbox]:
        raise PermissionDenied("grant User.Read.All")

    assert list_some(refused).finding == Finding("mailboxes", Grade.WRONG, "grant User.Read.All")


def test_a_mailbox_out_of_reach_is_a_warning_where_another_can_be_read() -> None:
    def newest(mailbox: Mailbox) -> datetime | None:
        if mailbox.mailbox_id == "far":
            raise PermissionDenied("not yours")
        return NOW

    found = read_one([box("far"), box("near")], newest)
    assert found.grade is Grade.WARNING
    assert "near@x.example can be read: its newest message came 2026-01-05 12:00 UTC" in found.told
    assert "far@x.example cannot: not yours" in found.told
    assert read_one([box("far")], newest).grade is Grade.WRONG
    assert read_one([box("near")], newest).grade is Grade.GOOD
    assert read_one([], newest).grade is Grade.WARNING


def test_an_empty_mailbox_can_be_read() -> None:
    found = read_one([box("new")], lambda _: None)
    assert found == Finding("one mailbox", Grade.GOOD, "new@x.example can be read: it is empty")


def test_the_first_of_several_refusals_is_told() -> None:
    errors = iter([MailboxUnavailable("first"), PermissionDenied("second")])

    def newest(_: Mailbox) -> datetime | None:
        raise next(errors)

    assert read_one([box("1"), box("2")], newest).told == "1@x.example: first"


# ---- scopes of Google -------------------------------------------------------------------


def scopes(**settings: Any) -> set[str]:
    given = {"service_account_info": "{}", "admin_subject": "admin@x.example", **settings}
    prefix = "https://www.googleapis.com/auth/"
    return {
        scope.removeprefix(prefix)
        for scope in needed_scopes(GoogleWorkspaceSettings.model_validate(given))
    }


def test_the_scopes_are_those_that_the_settings_need() -> None:
    assert scopes() == {"admin.directory.user.readonly", "gmail.modify"}
    assert "admin.directory.group.member.readonly" in scopes(watch={"groups": ["g@x.example"]})
    assert scopes(allow_hard_delete=True) == {
        "admin.directory.user.readonly",
        "https://mail.google.com/",
    }
