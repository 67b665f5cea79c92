"""What stands before every Gmail method: token, scopes, mailbox, concurrency and quota."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request

from local_tenant.google import errors
from local_tenant.google.oauth import Caller, caller_of
from local_tenant.mailbox import Hosting, Mailbox, Provider
from local_tenant.state import TenantState

MAIL = "https://mail.google.com/"
MODIFY = "https://www.googleapis.com/auth/gmail.modify"
READONLY = "https://www.googleapis.com/auth/gmail.readonly"
METADATA = "https://www.googleapis.com/auth/gmail.metadata"
INSERT = "https://www.googleapis.com/auth/gmail.insert"
LABELS = "https://www.googleapis.com/auth/gmail.labels"

_READ = frozenset({MAIL, MODIFY, READONLY})
_LOOK = _READ | {METADATA}
_CHANGE = frozenset({MAIL, MODIFY})


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the Gmail API: any one of the scopes will do; units are of the quota."""

    name: str
    units: int
    scopes: frozenset[str]


# Scopes are those of the discovery document; units those in force since May 2026.
GET_PROFILE = Method("GetProfile", 1, _LOOK)
LIST_MESSAGES = Method("ListMessages", 5, _LOOK)
GET_MESSAGE = Method("GetMessage", 20, _LOOK)
GET_ATTACHMENT = Method("GetAttachment", 20, _READ)
MODIFY_MESSAGE = Method("ModifyMessage", 5, _CHANGE)
BATCH_MODIFY = Method("BatchModifyMessages", 50, _CHANGE)
TRASH_MESSAGE = Method("TrashMessage", 20, _CHANGE)
UNTRASH_MESSAGE = Method("UntrashMessage", 5, _CHANGE)
DELETE_MESSAGE = Method("DeleteMessage", 10, frozenset({MAIL}))
BATCH_DELETE = Method("BatchDeleteMessages", 50, frozenset({MAIL}))
INSERT_MESSAGE = Method("InsertMessage", 25, _CHANGE | {INSERT})
IMPORT_MESSAGE = Method("ImportMessage", 25, _CHANGE | {INSERT})
LIST_LABELS = Method("ListLabels", 1, _LOOK | {LABELS})
GET_LABEL = Method("GetLabel", 1, _LOOK | {LABELS})
CREATE_LABEL = Method("CreateLabel", 5, _CHANGE | {LABELS})
LIST_HISTORY = Method("ListHistory", 2, _LOOK)


@dataclass(frozen=True, slots=True)
class Session:
    """One admitted call: whose mailbox it works on, and with which scopes."""

    mailbox: Mailbox
    scopes: frozenset[str]

    @property
    def metadata_only(self) -> bool:
        """The metadata scope narrows a token even when a wider scope stands beside it."""
        return METADATA in self.scopes


class Gmail:
    """The doorkeeper of one tenant's Gmail API."""

    def __init__(self, state: TenantState) -> None:
        self._state = state

    @asynccontextmanager
    async def call(self, request: Request, user_id: str, method: Method) -> AsyncIterator[Session]:
        """Admit the call for as long as the block runs. Raises GoogleError."""
        state = self._state
        caller = caller_of(state, request.headers)
        if not caller.scopes & method.scopes:
            raise errors.insufficient_scopes(
                "gmail.googleapis.com",
                f"caribou.api.proto.MailboxService.{method.name}",
                method.scopes,
            )
        mailbox = self._mailbox(caller, user_id)
        with state.gmail_user_slots.hold(mailbox.mailbox_id) as granted:
            self._spend(mailbox, method.units)
            await asyncio.sleep(state.settings.latency_seconds)
            if not granted:
                raise errors.too_many_concurrent_requests()
            yield Session(mailbox, caller.scopes)

    def _mailbox(self, caller: Caller, user_id: str) -> Mailbox:
        mailbox = self._state.store.mailbox(Provider.GOOGLE_WORKSPACE, caller.address)
        if mailbox is None:
            # The service account itself, acting for nobody: it has no mailbox.
            raise errors.failed_precondition("Precondition check failed.")
        if user_id != "me" and user_id.lower() != mailbox.address.lower():
            raise errors.forbidden(f"Delegation denied for {mailbox.address}")
        if mailbox.hosting is not Hosting.CLOUD or not mailbox.enabled:
            raise errors.failed_precondition("Mail service not enabled")
        return mailbox

    def _spend(self, mailbox: Mailbox, units: int) -> None:
        state = self._state
        project = state.service_account.project_id
        if state.gmail_user_units.spend(mailbox.mailbox_id, units):
            raise errors.quota_exceeded("Queries per minute per user", project)
        if state.gmail_project_units.spend(project, units):
            raise errors.quota_exceeded("Queries per minute", project)
