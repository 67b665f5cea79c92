"""How either service refuses when it is the service that is in trouble."""

from __future__ import annotations

from datetime import timedelta

from fastapi import Response

from local_tenant.faults.profile import RetryAfter
from local_tenant.google.errors import GoogleError, quota_exceeded, too_many_concurrent_requests
from local_tenant.mailbox import Provider
from local_tenant.microsoft.errors import GraphError
from local_tenant.state import TenantState

_TOLD = {
    RetryAfter.WHOLE: "2",
    RetryAfter.DECIMAL: "0.35",
    RetryAfter.MISSING: None,
    RetryAfter.ONE: "1",
    RetryAfter.NONSENSE: "soon",
    RetryAfter.LONG: "150",
}


def throttled(state: TenantState, provider: Provider, told: RetryAfter, draw: float) -> Response:
    """429; of Gmail a quota's 403 just as well, as ``draw`` (0 to 1) has it."""
    value = _TOLD[told]
    headers = {} if value is None else {"Retry-After": value}
    if provider is Provider.MICROSOFT365:
        message = "Application is over its MailboxConcurrency limit."
        return GraphError(429, "ApplicationThrottled", message, headers).answer(state.clock())
    if draw < 1 / 3:
        project = state.service_account.project_id
        return quota_exceeded("Queries per minute per user", project).response()
    if draw < 2 / 3:
        return too_many_concurrent_requests().response()
    # The time is in the message, and only there: reported of the live service for years.
    seconds = float(value or 2) if told is not RetryAfter.NONSENSE else 2
    later = state.clock() + timedelta(seconds=seconds)
    return GoogleError(
        429,
        "userRateLimitExceeded",
        f"User-rate limit exceeded.  Retry after {later:%Y-%m-%dT%H:%M:%S}.000Z",
        domain="usageLimits",
        headers=headers,
    ).response()


def unavailable(state: TenantState, provider: Provider) -> Response:
    """503."""
    if provider is Provider.MICROSOFT365:
        message = "The mailbox information is stale. Please try again."
        return GraphError(503, "MailboxInfoStale", message).answer(state.clock())
    return GoogleError(
        503, "backendError", "The service is currently unavailable.", status="UNAVAILABLE"
    ).response()


def timed_out(state: TenantState, provider: Provider) -> Response:
    """504, with no word on whether the call was carried out."""
    if provider is Provider.MICROSOFT365:
        return GraphError(504, "UnknownError", "").answer(state.clock())
    return GoogleError(
        504,
        "backendError",
        "Deadline expired before operation could complete.",
        status="DEADLINE_EXCEEDED",
    ).response()
