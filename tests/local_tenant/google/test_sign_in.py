"""The token endpoint, and what a token is good for."""

from __future__ import annotations

import time

import jwt
import pytest
from google.auth.exceptions import RefreshError

from local_tenant.state import TenantSettings

READONLY = "https://www.googleapis.com/auth/gmail.readonly"
METADATA = "https://www.googleapis.com/auth/gmail.metadata"
LABELS = "https://www.googleapis.com/auth/gmail.labels"
CALENDAR = "https://www.googleapis.com/auth/calendar"
GOOGLE = "https://oauth2.googleapis.com/token"


@pytest.fixture
def ask(tenant, ann):
    """POST /token with an assertion of these claims; status and body."""
    account = tenant.state.service_account

    def ask(key=None, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", **changes):
        now = int(time.time())
        claims = {
            "iss": account.email,
            "aud": GOOGLE,
            "sub": "ann@south.example",
            "scope": READONLY,
            "iat": now,
            "exp": now + 3600,
        }
        claims |= changes
        claims = {name: value for name, value in claims.items() if value is not None}
        assertion = jwt.encode(claims, key or account.key.private, "RS256")
        with tenant.http_client() as client:
            answer = client.post("/token", data={"grant_type": grant_type, "assertion": assertion})
        return answer.status_code, answer.json()

    return ask


def test_a_delegated_service_account_gets_a_token(ask, tenant):
    for audience in (GOOGLE, tenant.state.origin + "/token"):
        status, body = ask(aud=audience)
        assert status == 200
        assert body.keys() == {"access_token", "expires_in", "token_type"}
        assert body["token_type"] == "Bearer"
        assert body["expires_in"] == 3599


@pytest.mark.parametrize(
    ("changes", "status", "error", "description"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type", "Invalid grant_type: password"),
        ({"iss": "x@y.example"}, 400, "invalid_grant", "Invalid grant: account not found"),
        ({"aud": "https://elsewhere.example/"}, 400, "invalid_grant", "Failed audience check"),
        ({"exp": int(time.time()) + 7200}, 400, "invalid_grant", "short-lived token"),
        ({"iat": 1, "exp": 3601}, 400, "invalid_grant", "short-lived token"),
        ({"iat": None}, 400, "invalid_grant", "short-lived token"),
        ({"scope": None}, 400, "invalid_scope", "Empty or missing scope"),
        ({"scope": CALENDAR}, 401, "unauthorized_client", "not authorized for any of the scopes"),
        ({"sub": "ann@other.example"}, 401, "unauthorized_client", "Client is unauthorized"),
        ({"sub": "nobody@south.example"}, 400, "invalid_grant", "Invalid email or User ID"),
    ],
)
def test_wrong_assertions_are_refused(ask, changes, status, error, description):
    code, body = ask(**changes)
    assert (code, body["error"]) == (status, error)
    assert description in body["error_description"]


def test_another_key_s_signature_is_refused(ask, tenant):
    status, body = ask(key=tenant.state.token_key.private)
    assert status == 400
    assert body == {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}


def test_a_suspended_user_cannot_be_impersonated(ask, tenant):
    tenant.add_mailbox("gone@south.example", enabled=False)
    assert ask(sub="gone@south.example")[1]["error"] == "access_denied"


def test_garbage_is_refused(tenant):
    with tenant.http_client() as client:
        answer = client.post(
            "/token",
            data={"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x.y"},
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert client.post("/token", content=b"\xff").json()["error"] == "unsupported_grant_type"


def test_the_client_reports_the_refusal(tenant, connect):
    with pytest.raises(RefreshError, match="invalid_grant: Invalid email or User ID"):
        connect(tenant, subject="nobody@south.example").users().getProfile(userId="me").execute()


def test_without_a_token_and_with_a_wrong_one(tenant, ann):
    with tenant.http_client() as client:
        for header, reason in (
            ({}, "required"),
            ({"Authorization": "Bearer ya29.forged"}, "authError"),
            ({"Authorization": "Basic YTpi"}, "authError"),
        ):
            answer = client.get("/gmail/v1/users/me/profile", headers=header)
            assert answer.status_code == 401
            assert answer.json()["error"]["errors"][0]["reason"] == reason
            assert answer.json()["error"]["status"] == "UNAUTHENTICATED"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_ends(running_tenants, connect, refusal):
    settings = TenantSettings.model_validate({"token_lifetime": "PT0S"})
    tenant = running_tenants(settings=settings)
    tenant.add_mailbox("ann@south.example")
    answer = refusal(connect(tenant).users().getProfile(userId="me"))
    assert (answer.status, answer.reason) == (401, "authError")


def test_each_method_needs_its_scope(tenant, ann, connect, refusal, deliver):
    message = deliver()
    reading = connect(tenant, scopes=(READONLY,)).users().messages()
    reading.get(userId="me", id=message).execute()
    for request in (
        reading.trash(userId="me", id=message),
        reading.modify(userId="me", id=message, body={"addLabelIds": ["SPAM"]}),
        reading.delete(userId="me", id=message),
        reading.insert(userId="me", body={"raw": "eA=="}),
    ):
        answer = refusal(request)
        assert (answer.status, answer.reason) == (403, "insufficientPermissions")
        assert answer.body["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    modify = ("https://www.googleapis.com/auth/gmail.modify",)
    changing = connect(tenant, scopes=modify).users().messages()
    changing.trash(userId="me", id=message).execute()
    for request in (
        changing.delete(userId="me", id=message),
        changing.batchDelete(userId="me", body={"ids": [message]}),
    ):
        assert refusal(request).reason == "insufficientPermissions"
    assert refusal(connect(tenant, scopes=(LABELS,)).users().getProfile(userId="me")).status == 403


def test_the_metadata_scope_narrows_a_wider_one(tenant, ann, connect, refusal, deliver):
    message = deliver()
    narrow = connect(tenant, scopes=(READONLY, METADATA)).users().messages()
    narrow.list(userId="me", labelIds=["INBOX"]).execute()
    narrow.get(userId="me", id=message, format="metadata").execute()
    assert refusal(narrow.list(userId="me", q="")).message == (
        "Metadata scope does not support 'q' parameter"
    )
    for form in ("full", "raw"):
        answer = refusal(narrow.get(userId="me", id=message, format=form))
        assert answer.message == f"Metadata scope doesn't allow format {form.upper()}"


def test_whose_mailbox_may_be_used(tenant, ann, connect, refusal):
    tenant.add_mailbox("bob@south.example")
    users = connect(tenant).users()
    assert users.getProfile(userId="ANN@south.example").execute()["emailAddress"] == ann.address
    answer = refusal(users.getProfile(userId="bob@south.example"))
    assert (answer.status, answer.reason) == (403, "forbidden")
    assert answer.message == "Delegation denied for ann@south.example"


def test_a_user_without_a_mailbox(tenant, connect, refusal):
    from local_tenant.mailbox import Hosting

    tenant.add_mailbox("new@south.example", hosting=Hosting.UNLICENSED)
    answer = refusal(connect(tenant, subject="new@south.example").users().getProfile(userId="me"))
    assert (answer.status, answer.reason) == (400, "failedPrecondition")
    assert answer.message == "Mail service not enabled"
    assert answer.body["status"] == "FAILED_PRECONDITION"


def test_the_service_account_itself_has_no_mailbox(tenant, ann, connect, refusal):
    answer = refusal(connect(tenant, subject=None).users().getProfile(userId="me"))
    assert (answer.reason, answer.message) == ("failedPrecondition", "Precondition check failed.")
