"""Sign-ins without a secret: a JWT that a registered certificate or a trusted issuer signed.

After "Microsoft identity platform application authentication certificate credentials" and
"Workload identity federation"; wording as reported in the issues named below.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from local_tenant.microsoft.sign_in_errors import SignInRefused, invalid_client
from local_tenant.state import TenantState

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SKEW = timedelta(minutes=5)
_ALGORITHMS = ("RS256", "PS256")
_FEDERATION_PAGE = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
_CERTIFICATE_PAGE = (
    "https://docs.microsoft.com/azure/active-directory/develop/"
    "active-directory-certificate-credentials"
)
# Every claim that "Assertion format" lists but iat, which is optional there, too.
_CLAIMS = ("aud", "exp", "iss", "sub")


def check_assertion(state: TenantState, kind: str, assertion: str) -> None:
    """Raises SignInRefused for an assertion that does not prove the application."""
    if kind != ASSERTION_TYPE:
        raise _malformed(f"The client assertion type '{kind}' is not supported.")
    try:
        header = jwt.get_unverified_header(assertion)
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError):
        raise _malformed("JWT token is invalid or malformed.") from None
    missing = next((name for name in _CLAIMS if not claims.get(name)), None)
    if missing is not None:
        raise _malformed(f"Invalid JWT token. No '{missing}' claim in the token.")
    if claims["iss"] == claims["sub"] or "x5t" in header or "x5t#S256" in header:
        _check_certificate(state, assertion, header, claims)
    else:
        _check_federated(state, assertion, header, claims)


def _malformed(description: str) -> SignInRefused:
    return SignInRefused(400, "invalid_request", 50027, description)


# ---- certificates ----------------------------------------------------------------------


def _check_certificate(
    state: TenantState, assertion: str, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    application = state.microsoft
    if claims["sub"] != application.client_id or claims["iss"] != application.client_id:
        raise invalid_client(
            700021,
            "Client assertion application identifier doesn't match 'client_id' parameter. "
            f"Review the documentation at {_CERTIFICATE_PAGE} .",
        )
    if not claims.get("jti"):
        raise _malformed("Invalid JWT token. No 'jti' claim in the token.")
    # msal keeps the padding that RFC 7515 leaves out; both are taken.
    thumbprint = str(header.get("x5t#S256") or header.get("x5t") or "").rstrip("=")
    if not thumbprint:
        # microsoft-authentication-library-for-dotnet issue 124
        raise _malformed("Invalid JWT token. No certificate thumbprint specified in token header.")
    certificate = next(
        (known for known in application.certificates if thumbprint in _thumbprints(known)), None
    )
    shown = _hex(thumbprint)
    if certificate is None:
        # microsoft-authentication-library-for-js issue 8339
        raise invalid_client(
            700027,
            "The certificate with identifier used to sign the client assertion is not registered "
            "on application. [Reason - The key was not found., Thumbprint of key used by client: "
            f"'{shown}', Please visit the Azure Portal, Graph Explorer or directly use MS Graph "
            f"to see configured keys for app Id '{application.client_id}'].",
        )
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    found = f"Found key 'Start={start:%m/%d/%Y %H:%M:%S}, End={end:%m/%d/%Y %H:%M:%S}'"
    if not start <= state.clock() <= end:
        raise _bad_signature("The key used is expired.", shown, found)
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey) or not _is_signed(assertion, header, key):
        # azure-sdk-for-java issue 25109
        raise _bad_signature(
            "The provided signature value did not match the expected signature value.",
            shown,
            found,
        )
    base = f"{state.origin}/{application.tenant_id}"
    if claims["aud"] not in (f"{base}/oauth2/v2.0/token", f"{base}/oauth2/token", f"{base}/v2.0"):
        raise invalid_client(
            700023,
            "Client assertion audience claim does not match Realm issuer. Review the "
            f"documentation at {_CERTIFICATE_PAGE} .",
        )
    _check_time(state, claims)


def _bad_signature(reason: str, thumbprint: str, found: str) -> SignInRefused:
    return invalid_client(
        700027,
        f"Client assertion contains an invalid signature. [Reason - {reason}, Thumbprint of key "
        f"used by client: '{thumbprint}', {found}].",
    )


def _thumbprints(certificate: x509.Certificate) -> tuple[str, str]:
    """As x5t and as x5t#S256 write it."""
    # SHA-1 names the certificate, as RFC 7515 has it; nothing is trusted for it.
    sha1 = certificate.fingerprint(hashes.SHA1())  # noqa: S303
    return _base64url(sha1), _base64url(certificate.fingerprint(hashes.SHA256()))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _hex(thumbprint: str) -> str:
    """As the platform shows it; nothing of what is not a thumbprint."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{20,60}", thumbprint):
        return ""
    return base64.urlsafe_b64decode(thumbprint + "=" * (-len(thumbprint) % 4)).hex().upper()


# ---- federated credentials -------------------------------------------------------------


def _check_federated(
    state: TenantState, assertion: str, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    application = state.microsoft
    if not application.federated:
        raise invalid_client(
            70025,
            f"The client '{application.client_id}' has no configured federated identity "
            "credentials.",
        )
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    left = application.federated
    # The order of these three, and their words: azure-workload-identity issue 1200.
    for number, what, shown, matching in (
        (700211, "issuer", claims["iss"], lambda known: known.issuer == claims["iss"]),
        (700212, "audience", audiences[0], lambda known: known.audience in audiences),
        (700213, "subject", claims["sub"], lambda known: known.subject == claims["sub"]),
    ):
        left = [known for known in left if matching(known)]
        if not left:
            raise invalid_client(
                number,
                f"No matching federated identity record found for presented assertion {what} "
                f"'{shown}'. Check your federated identity credential Subject, Audience and "
                f"Issuer against the presented assertion. {_FEDERATION_PAGE}",
            )
    keys = application.issuer_keys.get(claims["iss"], [])
    if not any(_is_signed(assertion, header, key) for key in keys):
        raise invalid_client(
            50013, "Assertion failed signature validation. [Reason - The key was not found.]."
        )
    _check_time(state, claims)


# ---- both ------------------------------------------------------------------------------


def _is_signed(assertion: str, header: dict[str, Any], key: RSAPublicKey) -> bool:
    if header.get("alg") not in _ALGORITHMS:
        return False
    names = ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub")
    try:
        jwt.decode(assertion, key, list(_ALGORITHMS), options=dict.fromkeys(names, False))  # type: ignore[arg-type]
    except jwt.InvalidTokenError:
        return False
    return True


def _check_time(state: TenantState, claims: dict[str, Any]) -> None:
    now = state.clock()
    begins, ends = _moment(claims.get("nbf") or claims.get("iat") or 0), _moment(claims["exp"])
    if begins - _SKEW <= now <= ends + _SKEW:
        return
    raise invalid_client(
        700024,
        "Client assertion is not within its valid time range. Current time: "
        f"{now:%Y-%m-%dT%H:%M:%SZ}, assertion valid from {begins:%Y-%m-%dT%H:%M:%SZ}, expiry "
        f"time of assertion {ends:%Y-%m-%dT%H:%M:%SZ}. Review the documentation at "
        f"{_CERTIFICATE_PAGE} .",
    )


def _moment(value: object) -> datetime:
    try:
        return datetime.fromtimestamp(float(str(value)), UTC)
    except (OverflowError, ValueError):
        raise _malformed("JWT token is invalid or malformed.") from None
