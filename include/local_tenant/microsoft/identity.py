"""The Microsoft identity platform, as far as a daemon's sign-in goes: client credentials."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from local_tenant.microsoft.client_assertions import check_assertion
from local_tenant.microsoft.sign_in_errors import SignInRefused, invalid_client
from local_tenant.state import TenantState

GRAPH_AUDIENCES = ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
_DEFAULT_SCOPE = "/.default"


def make_router(state: TenantState) -> APIRouter:
    """Discovery, keys and the token endpoint."""
    router = APIRouter(include_in_schema=False)

    @router.get("/{tenant}/v2.0/.well-known/openid-configuration")
    async def discovery(tenant: str) -> Response:
        if tenant.lower() != state.microsoft.tenant_id:
            return _refusal(state, _unknown_tenant(tenant, "invalid_tenant"))
        base = f"{state.origin}/{state.microsoft.tenant_id}"
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
            }
        )

    @router.get("/{tenant}/discovery/v2.0/keys")
    async def keys(tenant: str) -> Response:
        if tenant.lower() != state.microsoft.tenant_id:
            return _refusal(state, _unknown_tenant(tenant, "invalid_tenant"))
        numbers = state.token_key.private.public_key().public_numbers()
        return JSONResponse({"keys": [_public_jwk(state.token_key.key_id, numbers)]})

    @router.post("/{tenant}/oauth2/v2.0/token")
    async def token(tenant: str, request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        try:
            body = _sign_in(state, tenant, {name: values[-1] for name, values in form.items()})
        except SignInRefused as refused:
            return _refusal(state, refused, form.get("client-request-id", [""])[0])
        return JSONResponse(body, headers=_NO_STORE)

    return router


_NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}


def _sign_in(state: TenantState, tenant: str, form: Mapping[str, str]) -> dict[str, str | int]:
    """The token response. Raises SignInRefused."""
    application = state.microsoft
    if tenant.lower() != application.tenant_id:
        raise _unknown_tenant(tenant, "invalid_request")
    for name in ("grant_type", "client_id", "scope"):
        if not form.get(name):
            raise SignInRefused(
                400,
                "invalid_request",
                900144,
                f"The request body must contain the following parameter: '{name}'.",
            )
    if form["grant_type"] != "client_credentials":
        raise SignInRefused(
            400,
            "unsupported_grant_type",
            70003,
            f"The app requested an unsupported grant type '{form['grant_type']}'.",
        )
    if form["client_id"].lower() != application.client_id:
        raise SignInRefused(
            400,
            "unauthorized_client",
            700016,
            f"Application with identifier '{form['client_id']}' was not found in the directory "
            f"'{application.tenant_id}'. This can happen if the application has not been "
            "installed by the administrator of the tenant or consented to by any user in the "
            "tenant. You may have sent your authentication request to the wrong tenant.",
        )
    _check_credential(state, form)
    audience = _audience(state, form["scope"])
    return {
        "token_type": "Bearer",
        "expires_in": int(state.token_lifetime.total_seconds()) - 1,
        "ext_expires_in": int(state.token_lifetime.total_seconds()) - 1,
        "access_token": issue_token(state, audience, application.roles),
    }


def _check_credential(state: TenantState, form: Mapping[str, str]) -> None:
    """Raises SignInRefused unless the application proves that it is itself."""
    application = state.microsoft
    if "client_assertion" in form:
        check_assertion(state, form.get("client_assertion_type", ""), form["client_assertion"])
        return
    if "client_secret" not in form:
        raise invalid_client(
            7000216,
            "'client_assertion', 'client_secret' or 'request' is required for the "
            "'client_credentials' grant type.",
        )
    secret = application.client_secret.get_secret_value()
    if not hmac.compare_digest(form["client_secret"].encode(), secret.encode()):
        raise invalid_client(
            7000215,
            "Invalid client secret provided. Ensure the secret being sent in the request is the "
            "client secret value, not the client secret ID, for a secret added to app "
            f"'{application.client_id}'.",
        )
    if application.secret_expires_at is not None and (
        application.secret_expires_at <= state.clock()
    ):
        raise invalid_client(
            7000222,
            f"The provided client secret keys for app '{application.client_id}' are expired. "
            "Visit the Azure portal to create new keys for your app: "
            "https://aka.ms/NewClientSecret, or consider using certificate credentials for added "
            "security: https://aka.ms/certCreds.",
        )


def _audience(state: TenantState, scope: str) -> str:
    """The resource of a ``resource/.default`` scope. Raises SignInRefused."""
    if not urlsplit(scope).scheme and scope != f"{GRAPH_AUDIENCES[1]}{_DEFAULT_SCOPE}":
        raise SignInRefused(
            400,
            "invalid_scope",
            70011,
            "The provided request must include a 'scope' input parameter. The provided value "
            f"for the input parameter 'scope' is not valid. The scope {scope} is not valid.",
        )
    if not scope.endswith(_DEFAULT_SCOPE):
        raise SignInRefused(
            400,
            "invalid_scope",
            1002012,
            f"The provided value for scope {scope} is not valid. Client credential flows must "
            "have a scope value with /.default suffixed to the resource identifier "
            "(application ID URI).",
        )
    audience = scope.removesuffix(_DEFAULT_SCOPE).rstrip("/")
    if audience not in (*GRAPH_AUDIENCES, state.origin):
        raise SignInRefused(
            400,
            "invalid_resource",
            500011,
            f"The resource principal named {audience} was not found in the tenant named "
            f"{state.settings.microsoft_domain}. This can happen if the application has not "
            "been installed by the administrator of the tenant or consented to by any user in "
            "the tenant. You might have sent your authentication request to the wrong tenant.",
        )
    return audience


def issue_token(
    state: TenantState, audience: str, roles: tuple[str, ...], client_id: str = ""
) -> str:
    """An application's access token, as Graph accepts it; ours unless another one is named."""
    now = int(state.clock().timestamp())
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{state.microsoft.tenant_id}/",
        "iat": now,
        "nbf": now,
        "exp": now + int(state.token_lifetime.total_seconds()),
        "app_displayname": "Retract",
        "appid": client_id or state.microsoft.client_id,
        "idtyp": "app",
        "tid": state.microsoft.tenant_id,
        "uti": uuid.uuid4().hex,
        "ver": "1.0",
    }
    # The claim is missing, not empty, where no permission was consented to.
    return state.access_tokens.sign(claims | ({"roles": list(roles)} if roles else {}))


def _unknown_tenant(tenant: str, error: str) -> SignInRefused:
    return SignInRefused(
        400,
        error,
        90002,
        f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are "
        "signing into the correct cloud. Check with your subscription administrator, this may "
        "happen if there are no active subscriptions for the tenant.",
    )


def _refusal(state: TenantState, refused: SignInRefused, correlation_id: str = "") -> Response:
    body = refused.body(state.clock(), state.origin, correlation_id)
    return JSONResponse(body, refused.status, headers=_NO_STORE)


def _public_jwk(key_id: str, numbers: RSAPublicNumbers) -> dict[str, str]:
    return {
        "kty": "RSA",
        "use": "sig",
        "kid": key_id,
        "n": jwt.utils.to_base64url_uint(numbers.n).decode(),
        "e": jwt.utils.to_base64url_uint(numbers.e).decode(),
    }
