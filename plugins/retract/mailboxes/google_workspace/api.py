"""Calls to Google's APIs in a user's name: tokens, short waits, errors in the program's words."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import google_auth_httplib2
import httplib2
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from pydantic import BaseModel, ConfigDict, ValidationError

from retract.errors import (
    AuthenticationFailed,
    ConnectionSettingsError,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    OutcomeUnknown,
    PermissionDenied,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.patience import Patience, parse_retry_after
from retract.mailboxes.settings import GoogleWorkspaceSettings

DIRECTORY_SCOPE = "https://www.googleapis.com/auth/admin.directory.user.readonly"

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


class GoogleAnswer(BaseModel):
    """What Google sends. It adds fields at any time, so unknown ones are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Detail(GoogleAnswer):
    reason: str = ""


class _Problem(GoogleAnswer):
    message: str = ""
    status: str = ""
    errors: tuple[_Detail, ...] = ()


class _Refusal(GoogleAnswer):
    error: _Problem = _Problem()


class GoogleApi:
    """Gmail and the Directory of one customer. Not thread-safe: httplib2 is not.

    httplib2 sends a request once more by itself when the connection breaks before an answer
    came. Every change made here has the same outcome when made twice.
    """

    def __init__(self, settings: GoogleWorkspaceSettings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._patience = Patience(settings.max_wait_seconds)
        self._credentials = _credentials(settings)
        self._http = httplib2.Http(
            timeout=settings.timeout_seconds,
            ca_certs=str(settings.ca_file) if settings.ca_file else None,
        )
        self._http.follow_redirects = False
        self._authorized: dict[tuple[str, tuple[str, ...]], Any] = {}
        # From the descriptions that the library ships: nothing is asked for here.
        self.gmail = self._service("gmail", "v1", settings.gmail_url)
        self.directory = self._service("admin", "directory_v1", settings.directory_url)

    def close(self) -> None:
        """Release connections."""
        self._http.close()

    def gmail_call(
        self, request: Any, user: str, task: str, *, changing: bool = False
    ) -> dict[str, Any]:
        """The answer to a Gmail request made in the user's name.

        Raises OutcomeUnknown where a change may have been made.
        """
        return self._call(request, user, self._settings.gmail_scopes, task, changing)

    def directory_call(self, request: Any, task: str) -> dict[str, Any]:
        """The answer to a Directory request made in the administrator's name."""
        return self._call(request, self._settings.admin_subject, (DIRECTORY_SCOPE,), task, False)

    def _service(self, name: str, version: str, url: str) -> Any:
        return build(
            name,
            version,
            http=self._http,
            client_options={"api_endpoint": f"{url}/"},
            static_discovery=True,
            cache_discovery=False,
        )

    def _call(
        self, request: Any, user: str, scopes: tuple[str, ...], task: str, changing: bool
    ) -> dict[str, Any]:
        authorized = self._authorized.get((user, scopes))
        if authorized is None:
            credentials = self._credentials.with_subject(user).with_scopes(scopes)
            authorized = google_auth_httplib2.AuthorizedHttp(credentials, http=self._http)
            self._authorized[user, scopes] = authorized
        return self._patience.call(
            lambda: self._call_once(request, authorized, user, task, changing)
        )

    def _call_once(
        self, request: Any, authorized: Any, user: str, task: str, changing: bool
    ) -> dict[str, Any]:
        try:
            # The library's own retries ignore Retry-After, and know no limit in seconds.
            answer = request.execute(http=authorized, num_retries=0)
        except HttpError as error:
            raise _refusal(error, task, changing, self._clock()) from error
        except RefreshError as error:
            raise _token_refusal(error, user, task) from error
        except (
            GoogleAuthError,
            httplib2.HttpLib2Error,
            http.client.HTTPException,
            OSError,
        ) as error:
            raise self._broken(error, task, changing) from error
        if isinstance(answer, dict):
            return answer
        if changing:  # a deletion is answered with nothing
            return {}
        raise MailboxError(f"Google answered the call to {task} with something else than JSON")

    def _broken(self, error: Exception, task: str, changing: bool) -> MailboxError:
        """No answer came. Whether the request arrived is known only when nobody listened."""
        told = str(error) or type(error).__name__
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


def _credentials(settings: GoogleWorkspaceSettings) -> Any:
    try:
        key = settings.key()
        return service_account.Credentials.from_service_account_info(key)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, GoogleAuthError) as error:
        # Not the error's own words: they may quote the key.
        raise ConnectionSettingsError(
            "the service account key cannot be read: give the JSON key file as Google Cloud "
            f"hands it out ({type(error).__name__})"
        ) from None


def _token_refusal(error: RefreshError, user: str, task: str) -> MailboxError:
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


def _refusal(error: HttpError, task: str, changing: bool, now: datetime) -> MailboxError:
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
