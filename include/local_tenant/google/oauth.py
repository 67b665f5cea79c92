"""Google's token endpoint for service accounts, and the access tokens it hands out.

A service account signs an assertion with its private key (RFC 7523) and names, as ``sub``,
the user it acts for by domain-wide delegation.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Never
from urllib.parse import parse_qs

import jwt
from fastapi import APIRouter, Request, Response

from local_tenant.google import errors
from local_tenant.google.errors import google_json
from local_tenant.mailbox import Provider
from local_tenant.state import TenantState

OAUTH_PATH = "/token"
_GOOGLE_ENDPOINT = "https://oauth2.googleapis.com/token"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ACCESS_PREFIX = "ya29."
_CLOCK_SKEW = timedelta(minutes=5)
_LONGEST_ASSERTION = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who an access token speaks for."""

    address: str
    """The user's address; the service account's own when it acts for nobody."""
    scopes: frozenset[str]


class _TokenRefused(Exception):
    """An OAuth error answer (RFC 6749, section 5.2)."""

    def __init__(self, code: int, error: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.body = {"error": error, "error_description": description}


def make_router(state: TenantState) -> APIRouter:
    """POST /token."""
    router = APIRouter()

    @router.post(OAUTH_PATH)
    async def token(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        try:
            caller = _granted(state, {name: values[-1] for name, values in form.items()})
        except _TokenRefused as refused:
            return google_json(refused.body, refused.code)
        return google_json(
            {
                "access_token": issue_token(state, caller),
                "expires_in": int(state.token_lifetime.total_seconds()) - 1,
                "token_type": "Bearer",
            }
        )

    return router


def write_key_file(state: TenantState, path: Path) -> None:
    """The service account's key file, readable by its owner only, pointing at this tenant."""
    path.touch(mode=0o600)
    path.write_text(
        json.dumps(state.service_account.key_file(state.origin + OAUTH_PATH), indent=2) + "\n",
        encoding="utf-8",
    )


def issue_token(state: TenantState, caller: Caller) -> str:
    """Opaque to clients, as Google's are."""
    claims = {
        "sub": caller.address,
        "scope": " ".join(sorted(caller.scopes)),
        "jti": uuid.uuid4().hex,
        "exp": int((state.clock() + state.token_lifetime).timestamp()),
    }
    return _ACCESS_PREFIX + state.access_tokens.sign(claims)


def caller_of(state: TenantState, headers: Mapping[str, str]) -> Caller:
    """Who sent the request. Raises GoogleError 401."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not token:
        raise errors.missing_credentials()
    if scheme.lower() != "bearer" or not token.startswith(_ACCESS_PREFIX):
        raise errors.invalid_credentials()
    token = token.removeprefix(_ACCESS_PREFIX)
    try:
        claims = state.access_tokens.claims(token)
    except jwt.InvalidTokenError:
        raise errors.invalid_credentials() from None
    expired = claims["exp"] <= state.clock().timestamp()
    if expired or state.access_tokens.is_revoked(token):
        raise errors.invalid_credentials()
    return Caller(claims["sub"], frozenset(claims["scope"].split()))


def _granted(state: TenantState, form: dict[str, str]) -> Caller:
    if form.get("grant_type") != _JWT_BEARER:
        _refuse("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
    claims = _verified_claims(state, form.get("assertion", ""))
    scopes = frozenset(str(claims.get("scope", "")).split())
    if not scopes:
        _refuse("invalid_scope", "Empty or missing scope not allowed.")
    subject = str(claims.get("sub") or "")
    if not subject:
        return Caller(state.service_account.email, scopes)
    if not scopes <= frozenset(state.settings.google_scopes) or not _in_domain(state, subject):
        _refuse(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not "
            "authorized for any of the scopes requested.",
            code=401,
        )
    user = state.store.mailbox(Provider.GOOGLE_WORKSPACE, subject)
    if user is None:
        _refuse("invalid_grant", "Invalid email or User ID")
    if not user.enabled:
        _refuse("access_denied", "Account restricted")
    return Caller(user.address, scopes)


def _verified_claims(state: TenantState, assertion: str) -> dict[str, Any]:
    account = state.service_account
    try:
        unverified = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        _refuse("invalid_grant", "Bad Request")
    if unverified.get("iss") != account.email:
        _refuse("invalid_grant", "Invalid grant: account not found")
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion,
            account.key.private.public_key(),
            algorithms=["RS256"],
            options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
        )
    except jwt.InvalidTokenError:
        _refuse("invalid_grant", "Invalid JWT Signature.")
    if claims.get("aud") not in (_GOOGLE_ENDPOINT, state.origin + OAUTH_PATH):
        _refuse(
            "invalid_grant",
            "Invalid JWT: Failed audience check. The right audience is " + _GOOGLE_ENDPOINT,
        )
    if not _short_lived(claims, state.clock()):
        _refuse(
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
            "timeframe. Check your iat and exp values in the JWT claim.",
        )
    return claims


def _short_lived(claims: dict[str, Any], now: datetime) -> bool:
    try:
        issued = datetime.fromtimestamp(claims["iat"], UTC)
        expires = datetime.fromtimestamp(claims["exp"], UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return (
        issued <= now + _CLOCK_SKEW
        and now - _CLOCK_SKEW < expires
        and timedelta() < expires - issued <= _LONGEST_ASSERTION
    )


def _in_domain(state: TenantState, address: str) -> bool:
    return address.lower().endswith("@" + state.settings.google_domain)


def _refuse(error: str, description: str, *, code: int = 400) -> Never:
    raise _TokenRefused(code, error, description)
