"""Google's refusals in the program's words, chosen by the reason that Google gives."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime

import httplib2
from google.auth.exceptions import GoogleAuthError, RefreshError
from googleapiclient.errors import HttpError
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
from retract.mailboxes.google_workspace.answers import GoogleAnswer
from retract.mailboxes.patience import parse_retry_after

_QUOTA_REASONS = frozenset(
    {
        "dailyLimitExceeded",
        "quotaExceeded",
        "rateLimitExceeded",
        "userRateLimitExceeded",
    }
)
_PERMISSION_ADVICE = {
    "accessNotConfigured": "enable this API in the service account's Google Cloud project",
    "insufficientPermissions": "grant the delegation the scopes named in the documentation",
    "domainPolicy": "the customer's administrators have disabled this service for the user",
}
_NO_PERMISSION_ADVICE = "check the delegation's scopes and the administrator's role"
_DELEGATION_ADVICE = (
    "grant the service account domain-wide delegation for the scopes asked for, "
    "in the Admin console under API controls"
)
_TOLD_CHARACTERS = 300


class _Detail(GoogleAnswer):
    reason: str = ""


class _Problem(GoogleAnswer):
    message: str = ""
    status: str = ""
    errors: tuple[_Detail, ...] = ()


class _Refusal(GoogleAnswer):
    error: _Problem = _Problem()


def broken(error: Exception, task: str, changing: bool) -> MailboxError:
    """No answer came. Whether the request arrived is known only when nobody listened."""
    told = _short(str(error) or type(error).__name__)
    never_sent = isinstance(
        error,
        GoogleAuthError
        | httplib2.ServerNotFoundError
        | ConnectionRefusedError
        | ssl.SSLCertVerificationError,
    )
    if changing and not never_sent:
        return OutcomeUnknown(
            f"the connection to Google broke during the call to {task}: it may have been "
            f"carried out ({told})"
        )
    advice = (
        "the certificate is not trusted: name the certificate authority in ca_file"
        if "CERTIFICATE_VERIFY_FAILED" in told
        else "check the network and the addresses in the connection"
    )
    return TenantUnreachable(f"no answer from Google to the call to {task}: {advice} ({told})")


def unreadable(task: str, changing: bool) -> MailboxError:
    """An answer came, of which nothing can be made."""
    told = f"Google answered the call to {task} with something else than it documents"
    if changing:
        return OutcomeUnknown(f"{told}: it may have been carried out")
    return MailboxError(told)


def token_refusal(error: RefreshError, user: str, task: str) -> MailboxError:
    """The token endpoint's own words are the first argument, its whole answer the second."""
    told = _short(str(error.args[0]) if error.args else "no reason given")
    answer = error.args[1] if len(error.args) > 1 else None
    code = str(answer.get("error", "")) if isinstance(answer, Mapping) else ""
    if error.retryable:
        return TenantUnreachable(f"Google gives out no tokens now: {told}")
    if code == "invalid_grant" and "Invalid email or User ID" in told:
        return MailboxUnavailable(f"there is no user {user} in this Workspace ({told})", code=code)
    if code == "access_denied":
        return MailboxUnavailable(f"the account of {user} is suspended ({told})", code=code)
    if code == "unauthorized_client":
        return AuthenticationFailed(
            f"the service account may not act for {user}: {_DELEGATION_ADVICE} ({told})", code=code
        )
    return AuthenticationFailed(
        f"Google refused the service account's sign-in to {task}: check that the key belongs to "
        f"it and was not withdrawn, and the clock of this machine ({told})",
        code=code or None,
    )


def refusal(error: HttpError, task: str, changing: bool, now: datetime) -> MailboxError:
    """The error for an answer that is not a success, chosen by the provider's own reason."""
    status = int(error.resp.status)
    problem = _problem(error.content)
    reason = problem.errors[0].reason if problem.errors else problem.status
    code = reason or f"HTTP {status}"
    told = f"Google refused to {task}: {code} {_short(problem.message)}".rstrip()
    if status in (429, 503) or (status == 403 and reason in _QUOTA_REASONS):
        asked = parse_retry_after(error.resp.get("retry-after"), now)
        return Throttled(told, retry_after=asked, code=code)
    if status >= 500 or status == 408:
        if changing:
            return OutcomeUnknown(f"{told}; it may have been carried out", code=code)
        return TenantUnreachable(f"{told}; the service failed, try again later", code=code)
    if status == 401:
        return AuthenticationFailed(f"{told}; a fresh token did not help", code=code)
    if status == 403:
        advice = _PERMISSION_ADVICE.get(reason, _NO_PERMISSION_ADVICE)
        return PermissionDenied(f"{told}; {advice}", code=code)
    if status == 404:
        return MessageNotFound(told, code=code)
    if reason == "failedPrecondition":
        return MailboxUnavailable(f"{told}; the user has no Gmail", code=code)
    return MailboxError(told, code=code)


def _problem(content: bytes) -> _Problem:
    try:
        return _Refusal.model_validate_json(content).error
    except ValidationError:
        return _Problem()


def _short(told: str) -> str:
    return told.partition("\n")[0].strip()[:_TOLD_CHARACTERS]
