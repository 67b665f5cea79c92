"""Every refusal of a service becomes the one fitting error, and no message tells a secret."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httplib2
import httpx
import pytest
from mailbox_bench import SECRET, Answer, Scripted, locate, retract

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
from retract.model import Action, Provider, Window

MICROSOFT = Provider.MICROSOFT365
GOOGLE = Provider.GOOGLE_WORKSPACE
DAY = Window(datetime(2026, 1, 4, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC))

Make = Callable[..., Scripted]


def refusal(provider: Provider, status: int, code: str, message: str = "No.") -> Answer:
    """The body the provider sends with a refusal of this code."""
    if provider is MICROSOFT:
        return status, {}, {"error": {"code": code, "message": message}}
    error = {"code": status, "message": message, "errors": [{"reason": code}]}
    return status, {}, {"error": error}


REFUSALS = [
    (MICROSOFT, 403, "ErrorAccessDenied", PermissionDenied),
    (MICROSOFT, 403, "Authorization_RequestDenied", PermissionDenied),
    (MICROSOFT, 404, "MailboxNotEnabledForRESTAPI", MailboxUnavailable),
    (MICROSOFT, 404, "ErrorInvalidUser", MailboxUnavailable),
    (MICROSOFT, 404, "ResourceNotFound", MailboxUnavailable),
    (MICROSOFT, 404, "Request_ResourceNotFound", MailboxUnavailable),
    (MICROSOFT, 404, "ErrorItemNotFound", MessageNotFound),
    (MICROSOFT, 400, "ErrorInvalidIdMalformed", MailboxError),
    (MICROSOFT, 429, "ApplicationThrottled", Throttled),
    (MICROSOFT, 503, "MailboxInfoStale", Throttled),
    (MICROSOFT, 302, "", MailboxError),
    (GOOGLE, 403, "insufficientPermissions", PermissionDenied),
    (GOOGLE, 403, "domainPolicy", PermissionDenied),
    (GOOGLE, 403, "rateLimitExceeded", Throttled),
    (GOOGLE, 403, "userRateLimitExceeded", Throttled),
    (GOOGLE, 429, "rateLimitExceeded", Throttled),
    (GOOGLE, 503, "backendError", Throttled),
    (GOOGLE, 404, "notFound", MessageNotFound),
    (GOOGLE, 400, "failedPrecondition", MailboxUnavailable),
    (GOOGLE, 400, "invalidArgument", MailboxError),
    (GOOGLE, 302, "", MailboxError),
]


@pytest.mark.parametrize(("provider", "status", "code", "error"), REFUSALS)
def test_the_providers_own_code_decides(
    scripted: Make, provider: Provider, status: int, code: str, error: type[MailboxError]
) -> None:
    bench = scripted(provider)
    bench.script.lines = [refusal(provider, status, code)]
    with pytest.raises(MailboxError) as caught:
        retract(bench.mailboxes, bench.copy, Action.TRASH)
    assert type(caught.value) is error
    assert caught.value.code == (code or f"HTTP {status}")
    assert SECRET not in str(caught.value)
    assert "token-" not in str(caught.value)
    assert sum(bench.script.waits) <= 20


@pytest.mark.parametrize("provider", Provider)
def test_a_refusal_is_told_on_one_line(scripted: Make, provider: Provider) -> None:
    bench = scripted(provider)
    hostile = "No\x00\x1b[31m\r\u202e."
    bench.script.lines = [refusal(provider, 400, "Error\nforged", hostile)]
    with pytest.raises(MailboxError) as told:
        locate(bench.mailboxes, bench.copy)
    assert str(told.value).isprintable()
    assert "forged" in str(told.value)


@pytest.mark.parametrize("provider", Provider)
@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("body", [{}, [], "what?", None, b"", b"<html>", {"error": "no object"}])
def test_a_failing_service_without_a_proper_body(
    scripted: Make, provider: Provider, status: int, body: object
) -> None:
    bench = scripted(provider)
    bench.script.lines = [(status, {}, body)]
    with pytest.raises(TenantUnreachable):
        locate(bench.mailboxes, bench.copy)
    assert len(bench.script.calls) == 3
    bench.script.calls.clear()
    with pytest.raises(OutcomeUnknown):
        retract(bench.mailboxes, bench.copy, Action.TRASH)
    assert len(bench.script.calls) == 1


@pytest.mark.parametrize("provider", Provider)
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"value": 7, "messages": 7, "id": []}', b""])
def test_a_success_that_makes_no_sense(scripted: Make, provider: Provider, body: bytes) -> None:
    bench = scripted(provider)
    bench.script.lines = [(200, {}, body)]
    with pytest.raises(MailboxError):
        locate(bench.mailboxes, bench.copy)
    with pytest.raises(MailboxError):
        list(bench.mailboxes.collect(bench.mailbox, DAY, ()))


BROKEN: list[tuple[Provider, Exception, type[MailboxError]]] = [
    (MICROSOFT, httpx.ConnectError("refused"), TenantUnreachable),
    (MICROSOFT, httpx.ConnectTimeout("silence"), TenantUnreachable),
    (MICROSOFT, httpx.ReadTimeout("silence"), OutcomeUnknown),
    (MICROSOFT, httpx.ReadError("reset"), OutcomeUnknown),
    (MICROSOFT, httpx.RemoteProtocolError("closed"), OutcomeUnknown),
    (GOOGLE, ConnectionRefusedError("refused"), TenantUnreachable),
    (GOOGLE, httplib2.ServerNotFoundError("no such host"), TenantUnreachable),
    (GOOGLE, ssl.SSLCertVerificationError("CERTIFICATE_VERIFY_FAILED"), TenantUnreachable),
    (GOOGLE, TimeoutError("silence"), OutcomeUnknown),
    (GOOGLE, ConnectionResetError("reset"), OutcomeUnknown),
]


@pytest.mark.parametrize(("provider", "broken", "error"), BROKEN)
def test_a_broken_connection(
    scripted: Make, provider: Provider, broken: Exception, error: type[MailboxError]
) -> None:
    bench = scripted(provider)
    bench.script.lines = [broken]
    with pytest.raises(error):
        retract(bench.mailboxes, bench.copy, Action.TRASH)
    # What was never sent may be tried again; what may have arrived may not.
    assert len(bench.script.calls) == (3 if error is TenantUnreachable else 1)
    with pytest.raises(TenantUnreachable):
        locate(bench.mailboxes, bench.copy)


@pytest.mark.parametrize("provider", Provider)
def test_a_withdrawn_token_is_renewed_once(scripted: Make, provider: Provider) -> None:
    bench = scripted(provider)
    unauthorized = refusal(provider, 401, "InvalidAuthenticationToken")
    bench.script.lines = [unauthorized, (200, {}, {})]
    retract(bench.mailboxes, bench.copy, Action.TRASH)
    assert bench.script.tokens == 2
    bench.script.lines = [unauthorized]
    with pytest.raises(AuthenticationFailed):
        retract(bench.mailboxes, bench.copy, Action.TRASH)
    assert bench.script.tokens <= 5


@pytest.mark.parametrize("provider", Provider)
@pytest.mark.parametrize("retry_after", ["1", "0", "0.01", "", "soon", "-3", None])
def test_throttling_without_end_ends(
    scripted: Make, provider: Provider, retry_after: str | None
) -> None:
    bench = scripted(provider)
    status, _, body = refusal(provider, 429, "rateLimitExceeded")  # type: ignore[misc]
    bench.script.lines = [(status, {"Retry-After": retry_after} if retry_after else {}, body)]
    with pytest.raises(Throttled):
        retract(bench.mailboxes, bench.copy, Action.TRASH)
    assert 3 < len(bench.script.calls) < 100
    assert sum(bench.script.waits) <= 20


TOKEN_REFUSALS = [
    (MICROSOFT, 401, "invalid_client", "AADSTS7000215: Invalid.", AuthenticationFailed, "value"),
    (MICROSOFT, 401, "invalid_client", "AADSTS7000222: Expired.", AuthenticationFailed, "new"),
    (MICROSOFT, 400, "unauthorized_client", "AADSTS700016: ?", AuthenticationFailed, "client_id"),
    (MICROSOFT, 400, "invalid_request", "AADSTS90002: ?", AuthenticationFailed, "tenant_id"),
    (MICROSOFT, 400, "temporarily_unavailable", "Busy.", Throttled, "now"),
    (MICROSOFT, 500, "server_error", "Broken.", TenantUnreachable, "now"),
    (GOOGLE, 401, "unauthorized_client", "Client is unauthorized", AuthenticationFailed, "scopes"),
    (GOOGLE, 400, "invalid_grant", "Invalid JWT Signature.", AuthenticationFailed, "key"),
    (GOOGLE, 400, "invalid_grant", "Invalid email or User ID", MailboxUnavailable, "no user"),
    (GOOGLE, 400, "access_denied", "Account restricted", MailboxUnavailable, "suspended"),
    (GOOGLE, 500, "server_error", "Broken.", TenantUnreachable, "now"),
]


@pytest.mark.parametrize(("provider", "status", "code", "told", "error", "advice"), TOKEN_REFUSALS)
def test_a_refused_sign_in_says_what_to_mend(
    scripted: Make,
    provider: Provider,
    status: int,
    code: str,
    told: str,
    error: type[MailboxError],
    advice: str,
) -> None:
    bench = scripted(provider)
    body = {"error": code, "error_description": f"{told}\r\nTrace ID: 1"}
    bench.script.token_lines = [(status, {}, body)]
    with pytest.raises(error, match=advice) as caught:
        locate(bench.mailboxes, bench.copy)
    assert SECRET not in str(caught.value)
    assert "Trace ID" not in str(caught.value)
    assert bench.script.calls == []


def test_the_code_of_a_refused_sign_in_is_kept(scripted: Make) -> None:
    bench = scripted(MICROSOFT)
    body = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret."}
    bench.script.token_lines = [(401, {}, body)]
    with pytest.raises(AuthenticationFailed) as caught:
        locate(bench.mailboxes, bench.copy)
    assert caught.value.code == "AADSTS7000215"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/users?$skiptoken=1",
        "http://graph.invalid/v1.0/users?$skiptoken=1",
        "https://graph.invalid:8443/v1.0/users?$skiptoken=1",
        "https://graph.invalid@evil.example/v1.0/users",
        "//evil.example/v1.0/users",
        "https://[broken/",
    ],
)
def test_the_token_is_sent_to_no_other_host(scripted: Make, link: str) -> None:
    bench = scripted(MICROSOFT)
    user = {"id": "1", "mail": "anna@north.example", "assignedLicenses": [{"skuId": "e3"}]}
    bench.script.lines = [(200, {}, {"value": [user], "@odata.nextLink": link})]
    users = bench.mailboxes.list_mailboxes()
    assert next(users).address == "anna@north.example"
    with pytest.raises(MailboxError, match="next page"):
        next(users)
    assert len(bench.script.calls) == 1


def test_pages_that_go_round_in_a_circle_end(scripted: Make) -> None:
    bench = scripted(MICROSOFT)
    link = "https://graph.invalid:443/v1.0/users?$skiptoken=1"
    bench.script.lines = [(200, {}, {"value": [], "@odata.nextLink": link})]
    with pytest.raises(MailboxError, match="circle"):
        list(bench.mailboxes.list_mailboxes())
    assert len(bench.script.calls) == 2


def listing(provider: Provider, count: int) -> Answer:
    """A page of so many messages, all of the first hour of the day."""
    if provider is GOOGLE:
        return 200, {}, {"messages": [{"id": str(number)} for number in range(count)]}
    message = {"parentFolderId": "f", "receivedDateTime": "2026-01-04T01:00:00Z"}
    return 200, {}, {"value": [{**message, "id": str(number)} for number in range(count)]}


def content(provider: Provider) -> Answer:
    if provider is MICROSOFT:
        return 200, {}, b"Subject: hello\r\n\r\nhello"
    moment = int((DAY.start + timedelta(hours=1)).timestamp() * 1000)
    return 200, {}, {"id": "1", "internalDate": str(moment), "raw": "U3ViamVjdDogaGVsbG8NCg"}


def listed(provider: Provider, count: int) -> list[Answer]:
    """What is answered until the first content is asked for."""
    profile: Answer = (200, {}, {"historyId": "7"})
    inbox: Answer = (200, {}, {"id": "f", "displayName": "Inbox"})
    return (
        [listing(provider, count), inbox]
        if provider is MICROSOFT
        else [profile, listing(provider, count)]
    )


FAILS: list[Answer] = [(500, {}, {})] * 3


# Of Microsoft 365 the same is told in microsoft365/test_reading.py.
@pytest.mark.parametrize("provider", [GOOGLE])
def test_one_message_the_service_cannot_deliver_stops_no_other(
    scripted: Make, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    bench = scripted(provider)
    bench.script.lines = [*listed(provider, 2), *FAILS, content(provider)]
    with caplog.at_level(logging.WARNING, "retract"):
        found = list(bench.mailboxes.collect(bench.mailbox, DAY, ()))
    # The first is not in the lake, so the next run asks for it again.
    assert [message.extraction.subject for message in found] == ["hello"]
    assert "left for the next run" in caplog.text


@pytest.mark.parametrize("provider", [GOOGLE])
def test_a_service_that_is_down_is_told(scripted: Make, provider: Provider) -> None:
    bench = scripted(provider)
    bench.script.lines = [*listed(provider, 50), (500, {}, {})]
    with pytest.raises(TenantUnreachable):
        list(bench.mailboxes.collect(bench.mailbox, DAY, ()))
    read = [url for _, url in bench.script.calls if "$value" in url or "format=raw" in url]
    assert len(read) == 3 * 3


@pytest.mark.parametrize("provider", [GOOGLE])
def test_a_message_the_service_will_not_convert_is_kept_with_its_problem(
    scripted: Make, provider: Provider
) -> None:
    bench = scripted(provider)
    will_not = refusal(provider, 400, "ErrorMimeContentConversionFailed")
    # Of a Gmail message, where it lies is still to be asked for.
    bench.script.lines = [*listed(provider, 1), will_not, content(provider)]
    (message,) = bench.mailboxes.collect(bench.mailbox, DAY, ())
    assert "ErrorMimeContentConversionFailed" in message.extraction.problems[0]
    assert message.extraction.observables == ()


def test_drafts_and_chats_were_never_delivered(scripted: Make) -> None:
    google = scripted(GOOGLE)
    status, headers, body = content(GOOGLE)  # type: ignore[misc]
    draft, chat = ({**body, "labelIds": [label]} for label in ("DRAFT", "CHAT"))
    google.script.lines = [*listed(GOOGLE, 2), (status, headers, draft), (status, headers, chat)]
    assert list(google.mailboxes.collect(google.mailbox, DAY, ())) == []


def test_guests_and_users_without_mail_have_no_mailbox(scripted: Make) -> None:
    bench = scripted(MICROSOFT)
    users = [
        {"id": "1", "mail": "guest@else.example", "userType": "Guest"},
        {"id": "2", "mail": None, "userPrincipalName": "robot@north.example"},
        {"id": "3", "mail": "anna@north.example", "assignedLicenses": [{"skuId": "e3"}]},
    ]
    bench.script.lines = [(200, {}, {"value": users})]
    assert [m.mailbox_id for m in bench.mailboxes.list_mailboxes()] == ["3"]


@pytest.mark.parametrize(
    ("inside", "place"),
    [("inbox", "other"), ("junk", "junk"), ("deleted", "trash"), ("sent", "sent")],
)
def test_a_folder_shares_the_place_of_the_one_around_it(
    scripted: Make, inside: str, place: str
) -> None:
    bench = scripted(MICROSOFT)
    names = ("inbox", "junk", "deleted", "sent", "recoverable", "purges", "holds")
    known: list[Answer] = [(200, {}, {"id": name, "displayName": name}) for name in names]
    state = {"id": "message-1", "parentFolderId": "own"}
    own = {"id": "own", "displayName": "Old", "parentFolderId": "older"}
    older = {"id": "older", "displayName": "Older", "parentFolderId": inside}
    bench.script.lines = [(200, {}, state), *known, (200, {}, own), (200, {}, older)]
    location = locate(bench.mailboxes, bench.copy)
    assert location is not None
    assert (location.place, location.folder_name) == (place, "Old")
    bench.script.lines = [(200, {}, state)]
    bench.script.calls.clear()
    assert locate(bench.mailboxes, bench.copy) == location
    assert len(bench.script.calls) == 1  # folders are asked for once


def test_a_folder_that_could_not_be_asked_for_is_asked_for_again(scripted: Make) -> None:
    bench = scripted(MICROSOFT)
    state: Answer = (200, {}, {"id": "message-1", "parentFolderId": "sent"})
    known: list[Answer] = [
        (200, {}, {"id": name, "displayName": name})
        for name in ("inbox", "junk", "deleted", "sent")
    ]
    bench.script.lines = [state, *known[:3], (400, {}, {})]
    with pytest.raises(MailboxError):
        locate(bench.mailboxes, bench.copy)
    bench.script.lines = [state, *known[3:]]
    location = locate(bench.mailboxes, bench.copy)
    assert location is not None
    assert location.place == "sent"


def test_every_call_asks_for_ids_that_last(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    preferences = []
    send = httpx.AsyncClient.send

    async def noting(
        self: httpx.AsyncClient, request: httpx.Request, **rest: object
    ) -> httpx.Response:
        preferences.append(request.headers.get("Prefer"))
        return await send(self, request, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(httpx.AsyncClient, "send", noting)
    bench = scripted(MICROSOFT)
    bench.script.lines = [(200, {}, {"value": []})]
    list(bench.mailboxes.list_mailboxes())
    retract(bench.mailboxes, bench.copy, Action.HARD_DELETE)
    assert preferences == ['IdType="ImmutableId"'] * 2
    assert bench.script.calls[-1][0] == "POST"
    assert bench.script.calls[-1][1].endswith("/messages/message-1/permanentDelete")


def test_the_secrets_of_the_scripts_are_really_there(scripted: Make, service_account: str) -> None:
    """Else the tests above could not fail."""
    assert SECRET in json.loads(service_account)["private_key_id"]
