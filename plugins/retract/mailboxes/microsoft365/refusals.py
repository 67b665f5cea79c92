"""Microsoft Graph's refusals in the program's words."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

from pydantic import ValidationError

from retract.errors import (
    AuthenticationFailed,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    OutcomeUnknown,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.microsoft365.calls import Call, GraphAnswer, Reply
from retract.mailboxes.microsoft365.told import first_line
from retract.mailboxes.patience import parse_retry_after

_MESSAGE_CODES = frozenset({"ErrorItemNotFound", "ErrorFolderNotFound"})
_MAILBOX_CODES = frozenset(
    {
        "ErrorInvalidUser",
        "MailboxNotEnabledForRESTAPI",
        "MailboxNotSupportedForRESTAPI",
        "Request_ResourceNotFound",
        "ResourceNotFound",
    }
)
# Not "grant Mail.ReadWrite": consented to for the tenant it would undo a scope that is meant.
_NO_PERMISSION_ADVICE = (
    "see that the application's permission for it is granted and, where mail permissions are "
    "scoped (RBAC for Applications), that the mailbox is in scope; doctor names what is missing"
)


class _Problem(GraphAnswer):
    code: str = ""
    message: str = ""


class _Refusal(GraphAnswer):
    error: _Problem = _Problem()


def refusal(reply: Reply, call: Call, now: datetime) -> MailboxError:
    """The error for an answer that is not a success, chosen by the provider's own code."""
    status = reply.status
    problem = _problem(reply)
    code = problem.code or f"HTTP {status}"
    told = f"Microsoft Graph refused to {call.task}: {code} {first_line(problem.message)}".rstrip()
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return AuthenticationFailed(f"{told}; a fresh token did not help", code=code)
        case HTTPStatus.FORBIDDEN:
            return PermissionDenied(f"{told}; {_NO_PERMISSION_ADVICE}", code=code)
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE:
            asked = parse_retry_after(reply.headers.get("retry-after"), now)
            return Throttled(told, retry_after=asked, code=code)
    if status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT:
        if call.changing:
            return OutcomeUnknown(f"{told}; it may have been carried out", code=code)
        return TenantUnreachable(f"{told}; the service failed, try again later", code=code)
    if code in _MAILBOX_CODES:
        return MailboxUnavailable(
            f"{told}; there is no such mailbox, or it is inactive or on-premises", code=code
        )
    if code in _MESSAGE_CODES:
        return MessageNotFound(told, code=code)
    return MailboxError(told, code=code)


def lost(call: Call, told: str) -> MailboxError:
    """The error for a call that was sent and not answered."""
    if call.changing:
        return OutcomeUnknown(
            f"no answer from Microsoft Graph to the call to {call.task}: it may have been "
            f"carried out ({told})"
        )
    return TenantUnreachable(
        f"no answer from Microsoft Graph to the call to {call.task}: try again later ({told})"
    )


def nonsense(call: Call) -> MailboxError:
    """The error for a success that says something else than Graph documents."""
    told = f"Microsoft Graph answered the call to {call.task} with something else than it documents"
    return OutcomeUnknown(told) if call.changing else MailboxError(told)


def _problem(reply: Reply) -> _Problem:
    try:
        return _Refusal.model_validate(reply.json()).error
    except (ValidationError, ValueError):
        return _Problem()
