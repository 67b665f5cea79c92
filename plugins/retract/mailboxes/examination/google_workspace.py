"""A connection to Google Workspace, examined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import google_auth_httplib2
import httplib2
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.oauth2 import service_account

from retract.errors import AuthenticationFailed, ConnectionSettingsError, MailboxError
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
from retract.mailboxes.google_workspace import quota
from retract.mailboxes.google_workspace.api import (
    DIRECTORY_SCOPE,
    MEMBERS_SCOPE,
    Call,
    GoogleApi,
)
from retract.mailboxes.google_workspace.refusals import broken, token_refusal
from retract.mailboxes.settings import GoogleWorkspaceSettings
from retract.model import Mailbox, Provider

_WHOLE_GMAIL = "https://mail.google.com/"
_TOO_BROAD = {
    _WHOLE_GMAIL: "it can delete mail for good, and send",
    "https://www.googleapis.com/auth/gmail.send": "it can send mail in everybody's name",
    "https://www.googleapis.com/auth/gmail.settings.sharing": "it can forward everybody's mail",
    "https://www.googleapis.com/auth/admin.directory.user": "it can change every user",
    "https://www.googleapis.com/auth/drive": "it can read and change everybody's files",
}
"""What such delegations are often given besides. There is no asking for all that is granted."""
_ADMIN_PAGE = "in the Admin console, Security, API controls, Domain-wide delegation"


def examine_google_workspace(
    settings: GoogleWorkspaceSettings, connection: str, clock: Callable[[], datetime], mailbox: str
) -> Iterator[Finding]:
    """See `examine`."""
    try:
        api = GoogleApi(settings, clock)
        key = settings.key()
    except (ConnectionSettingsError, OSError, ValueError) as error:
        known = isinstance(error, ConnectionSettingsError)
        told = error if known else ConnectionSettingsError("the key cannot be read")
        yield wrong("key", told)
        return
    with closing(api):
        account = f"of {key.get('client_email', '?')}, client id {key.get('client_id', '?')}"
        yield Finding("key", Grade.GOOD, account)
        doors = [
            reach(settings, "Gmail API", settings.gmail_url),
            reach(settings, "Admin SDK", settings.directory_url),
            reach(settings, "sign-in", str(key.get("token_uri", ""))),
        ]
        yield from (door.finding for door in doors)
        if any(door.finding.grade is Grade.WRONG for door in doors):
            return
        yield clock_finding(doors[0].date, clock())

        delegation = list(_delegation(settings, str(key.get("client_id", "?"))))
        yield from delegation
        if any(found.grade is Grade.WRONG for found in delegation):
            return

        with closing(open_mailboxes(settings, connection, clock)) as mailboxes:
            listing = list_some(mailboxes.list_mailboxes)
            yield listing.finding
            yield from learn(settings, mailboxes, listing.some, clock())
        some = (
            (Mailbox(Provider.GOOGLE_WORKSPACE, connection, mailbox, mailbox),)
            if mailbox
            else listing.some
        )
        yield read_one(some, lambda one: _newest(api, one))


def needed_scopes(settings: GoogleWorkspaceSettings) -> dict[str, str]:
    """The scopes that the delegation must grant, and what each is for."""
    needed = {DIRECTORY_SCOPE: "list the mailboxes"}
    if settings.watch.groups:
        needed[MEMBERS_SCOPE] = "read the groups that watch names"
    does = "read and delete mail" if settings.allow_hard_delete else "read mail and change labels"
    return needed | dict.fromkeys(settings.gmail_scopes, does)


def _delegation(settings: GoogleWorkspaceSettings, client_id: str) -> Iterator[Finding]:
    """Each scope by itself: asked for together, Google does not say which one it refuses."""
    with closing(_http(settings)) as http:
        ask = _asker(settings, http)
        needed = needed_scopes(settings)
        for scope, purpose in needed.items():
            try:
                ask(scope)
            except MailboxError as error:
                if error.code != "unauthorized_client":
                    # Not about this scope: the key, the administrator, the network.
                    yield wrong("delegation", error)
                    return
                yield Finding(
                    "delegation",
                    Grade.WRONG,
                    f"{scope} is not granted; it is needed to {purpose}",
                    f"Add exactly this scope to client id {client_id} {_ADMIN_PAGE}; it may take "
                    "up to a day to count",
                )
            else:
                yield Finding("delegation", Grade.GOOD, f"{scope}, to {purpose}")
        for scope, why in _TOO_BROAD.items():
            if scope not in needed and _is_granted(ask, scope):
                yield Finding(
                    "too much",
                    Grade.WARNING,
                    f"{scope} is granted and not needed: {why}",
                    f"Take it out of client id {client_id} {_ADMIN_PAGE}",
                )


def _is_granted(ask: Callable[[str], None], scope: str) -> bool:
    try:
        ask(scope)
    except MailboxError:
        return False
    return True


def _http(settings: GoogleWorkspaceSettings) -> httplib2.Http:
    return httplib2.Http(
        timeout=settings.timeout_seconds,
        ca_certs=str(settings.ca_file) if settings.ca_file else None,
    )


def _credentials(key: dict[str, Any]) -> Any:
    return service_account.Credentials.from_service_account_info(key)  # type: ignore[no-untyped-call]


def _asker(settings: GoogleWorkspaceSettings, http: httplib2.Http) -> Callable[[str], None]:
    """Asks for a token of one scope in the administrator's name. Raises MailboxError."""
    key = _credentials(settings.key())
    in_the_administrators_name = key.with_subject(settings.admin_subject)
    request = google_auth_httplib2.Request(http)

    def ask(scope: str) -> None:
        try:
            in_the_administrators_name.with_scopes([scope]).refresh(request)
        except RefreshError as error:
            raise token_refusal(error, settings.admin_subject, "ask for a token") from error
        except (GoogleAuthError, httplib2.HttpLib2Error, OSError) as error:
            raise broken(error, "ask for a token", changing=False) from error
        except ValueError as error:
            raise AuthenticationFailed("Google's answer to the sign-in is no token") from error

    return ask


def _newest(api: GoogleApi, mailbox: Mailbox) -> datetime | None:
    gmail = api.gmail(mailbox.address)
    task = f"read the newest message of {mailbox.address}"
    listed = gmail.messages.list(userId=gmail.user, maxResults=1)
    found = gmail.call(Call(listed, quota.LIST_MESSAGES, task)).get("messages") or ()
    if not found:
        return None
    got = gmail.messages.get(userId=gmail.user, id=found[0]["id"], format="minimal")
    message = gmail.call(Call(got, gmail.get_units, task))
    return datetime.fromtimestamp(int(message["internalDate"]) / 1000, UTC)
