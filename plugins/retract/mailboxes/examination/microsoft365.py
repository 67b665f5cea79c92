"""A connection to Microsoft 365, examined."""

from __future__ import annotations

import json
import ssl
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import AwareDatetime, Field

from retract.errors import ConnectionSettingsError, MailboxError
from retract.mailboxes.connect import open_mailboxes
from retract.mailboxes.examination.findings import (
    Finding,
    Grade,
    clock_finding,
    learn,
    list_some,
    reach,
    read_one,
    wrong,
)
from retract.mailboxes.microsoft365.calls import GraphAnswer, segment
from retract.mailboxes.microsoft365.graph import Graph, Page
from retract.mailboxes.microsoft365.tokens import Tokens, certificate_of
from retract.mailboxes.settings import CollectFrom, Microsoft365Settings, SignIn
from retract.model import Mailbox, Provider

WARN_BEFORE_EXPIRY = timedelta(days=30)

READ_WRITE = "Mail.ReadWrite"
_LIST_USERS = "User.Read.All"
_READ_ONLY = ("Mail.Read", "Mail.ReadBasic.All", "Mail.ReadBasic")
_SCOPE_TEST = "Test-ServicePrincipalAuthorization (docs/connections.md)"
_GROUPS = "GroupMember.Read.All"
_HUNTING = "ThreatHunting.Read.All"

_TOO_MUCH: Mapping[str, str] = {
    "AppRoleAssignment.ReadWrite.All": "it can give itself any permission",
    "Application.ReadWrite.All": "it can become any other application",
    "Directory.ReadWrite.All": "it can change the whole directory",
    "Group.ReadWrite.All": "it can change every group",
    "Mail.Send": "it can send mail in everybody's name",
    "MailboxSettings.ReadWrite": "it can set forwarding and automatic replies",
    "RoleManagement.ReadWrite.Directory": "it can make itself an administrator",
    "User.ReadWrite.All": "it can change every user",
    "full_access_as_app": "it opens every mailbox, whatever is scoped",
}
_ADMIN_PAGE = "in Entra ID, App registrations, API permissions"


class _Newest(GraphAnswer):
    received_at: AwareDatetime | None = Field(default=None, alias="receivedDateTime")


def examine_microsoft365(
    settings: Microsoft365Settings, connection: str, clock: Callable[[], datetime], mailbox: str
) -> Iterator[Finding]:
    """See `examine`."""
    if settings.sign_in is SignIn.CERTIFICATE:
        found = certificate_finding(settings, clock())
        yield found
        if found.grade is Grade.WRONG:
            return
    graph = reach(settings, "Microsoft Graph", f"{settings.graph_url}/v1.0/")
    yield graph.finding
    doors = [graph]
    if settings.sign_in is not SignIn.MANAGED_IDENTITY:
        discovery = f"{settings.authority}/v2.0/.well-known/openid-configuration"
        doors.append(reach(settings, "sign-in", discovery))
        yield doors[-1].finding
    if any(door.finding.grade is Grade.WRONG for door in doors):
        return
    yield clock_finding(graph.date, clock())

    try:
        claims = claims_of(_token(settings, clock))
    except (MailboxError, ConnectionSettingsError) as error:
        yield wrong("token", error)
        return
    yield token_finding(claims, settings.sign_in)
    roles = claims.get("roles") or ()
    if claims:
        yield from role_findings(frozenset(map(str, roles)), settings)

    with closing(open_mailboxes(settings, connection, clock)) as mailboxes:
        listing = list_some(mailboxes.list_mailboxes)
        yield listing.finding
        yield from learn(settings, mailboxes, listing.some, clock())
    some = (
        (Mailbox(Provider.MICROSOFT365, connection, mailbox, mailbox),) if mailbox else listing.some
    )
    with closing(Graph(settings, clock)) as asked:
        yield read_one(some, lambda one: _newest(asked, one))


def certificate_finding(settings: Microsoft365Settings, now: datetime) -> Finding:
    """How long the certificate of the sign-in is good for."""
    check = "certificate"
    try:
        certificate = certificate_of(settings)
    except ConnectionSettingsError as error:
        return wrong(check, error)
    until = f"{certificate.valid_until:%Y-%m-%d}"
    renew = "Make a new one, upload it to the application, then put it into certificate_file"
    if now >= certificate.valid_until:
        return Finding(check, Grade.WRONG, f"expired on {until}", renew)
    if now < certificate.valid_from:
        begins = f"not valid before {certificate.valid_from:%Y-%m-%d %H:%M} UTC"
        return Finding(check, Grade.WRONG, begins, "Wait, or set the clock of this machine")
    if now + WARN_BEFORE_EXPIRY >= certificate.valid_until:
        return Finding(check, Grade.WARNING, f"expires on {until}", renew)
    return Finding(check, Grade.GOOD, f"valid until {until}")


def claims_of(token: str) -> Mapping[str, Any]:
    """What an access token says; empty where it is none that can be read.

    Only for people to look at. That it is genuine is for the service to check.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def token_finding(claims: Mapping[str, Any], way: SignIn) -> Finding:
    """That a token was given, by which way of signing in, and until when."""
    told = f"given by {way.value}"
    try:
        until = datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return Finding("token", Grade.WARNING, f"{told}; it cannot be read, so its roles neither")
    told += f", good until {until:%Y-%m-%d %H:%M} UTC"
    if way is SignIn.CLIENT_SECRET:
        told += "; a certificate would be safer than a secret"
    return Finding("token", Grade.GOOD, told)


def role_findings(roles: Collection[str], settings: Microsoft365Settings) -> Iterator[Finding]:
    """Whether the application permissions in a token are those needed, and no more."""
    needed = {_LIST_USERS: "to list the mailboxes"}
    if settings.watch.groups:
        needed[_GROUPS] = "because watch names groups"
    if settings.collect_from is CollectFrom.ADVANCED_HUNTING:
        needed[_HUNTING] = "because collect_from is advanced_hunting"
    missing = {role: why for role, why in needed.items() if role not in roles}
    for role, why in missing.items():
        yield Finding(
            "permissions",
            Grade.WRONG,
            f"{role} is not granted; it is needed {why}",
            f"Add the application permission {role} {_ADMIN_PAGE}, and have an administrator "
            "consent",
        )
    if not missing:
        yield Finding("permissions", Grade.GOOD, f"granted: {', '.join(needed)}")
    yield _mail_finding(roles, settings)
    yield from _excess(roles, {*needed, READ_WRITE})


def _mail_finding(roles: Collection[str], settings: Microsoft365Settings) -> Finding:
    check = "mail permission"
    if READ_WRITE not in roles:
        told = (
            f"{READ_WRITE} is not in the token: then RBAC for Applications must grant it, which "
            "no token tells of"
        )
        reading = next((role for role in _READ_ONLY if role in roles), None)
        if reading is None:
            told += "; that mail may be read, reading a mailbox shows; that it may be moved, "
            return Finding(check, Grade.GOOD, f"{told}only {_SCOPE_TEST}")
        return Finding(
            check,
            Grade.WARNING,
            f"{told}; {reading} is, by which mail is read and nothing retracted",
            f"See by {_SCOPE_TEST} that Application {READ_WRITE} is in scope",
        )
    if settings.watch.everyone:
        return Finding(check, Grade.GOOD, f"{READ_WRITE} for every mailbox of the tenant")
    return Finding(
        check,
        Grade.WARNING,
        f"{READ_WRITE} is granted for every mailbox of the tenant, and watch names only some",
        "Scope it by RBAC for Applications (docs/connections.md), and withdraw it "
        f"{_ADMIN_PAGE}: granted there it defeats any scope",
    )


def _excess(roles: Collection[str], wanted: Collection[str]) -> Iterator[Finding]:
    excess = sorted(set(roles) - set(wanted))
    grave = [role for role in excess if role in _TOO_MUCH]
    for role in grave:
        told = f"{role} is granted and not needed: {_TOO_MUCH[role]}"
        yield Finding("too much", Grade.WARNING, told, f"Withdraw it {_ADMIN_PAGE}")
    rest = [role for role in excess if role not in _TOO_MUCH]
    if rest:
        told = f"granted and not needed: {', '.join(rest)}"
        yield Finding("too much", Grade.WARNING, told, f"Withdraw them {_ADMIN_PAGE}")


def _token(settings: Microsoft365Settings, clock: Callable[[], datetime]) -> str:
    trust: ssl.SSLContext | bool = (
        ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
    )
    with httpx.Client(verify=trust, timeout=settings.timeout_seconds) as http:
        return Tokens(settings, http, clock).current()


def _newest(graph: Graph, mailbox: Mailbox) -> datetime | None:
    page = graph.read(
        f"/users/{segment(mailbox.mailbox_id)}/messages",
        Page[_Newest],
        f"read the newest message of {mailbox.address}",
        **{"$top": "1", "$select": "receivedDateTime", "$orderby": "receivedDateTime desc"},
    )
    return page.value[0].received_at if page.value else None
