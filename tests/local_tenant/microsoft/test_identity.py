"""Signing in with the real msal, and what is refused."""

from __future__ import annotations

import re
from datetime import timedelta

import jwt
import pytest


def test_a_right_secret_gets_a_token_with_the_granted_roles(tenant, sign_in):
    answer = sign_in(tenant)
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3599
    assert claims["roles"] == ["Mail.ReadWrite", "User.Read.All"]
    assert claims["aud"] == "https://graph.microsoft.com"


def test_the_published_key_verifies_the_token(tenant, sign_in):
    token = sign_in(tenant)["access_token"]
    with tenant.http_client() as client:
        discovery = client.get(
            f"{tenant.info['authority_url']}/v2.0/.well-known/openid-configuration"
        ).json()
        keys = jwt.PyJWKSet.from_dict(client.get(discovery["jwks_uri"]).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, audience="https://graph.microsoft.com")
    assert claims["appid"] == tenant.info["client_id"]


@pytest.mark.parametrize(
    ("changes", "error", "number", "says"),
    [
        ({"client_secret": "wrong"}, "invalid_client", 7000215, "Invalid client secret provided."),
        ({"client_id": "11111111-2222-3333-4444-555555555555"}, "unauthorized_client", 700016,
         "was not found in the directory"),
        ({"scope": "graph/.default"}, "invalid_scope", 70011, "scope graph/.default is not valid"),
        ({"scope": "https://graph.microsoft.com/Mail.Read"}, "invalid_scope", 1002012,
         "Client credential flows must have a scope value with /.default"),
        ({"scope": "https://other.example/.default"}, "invalid_resource", 500011,
         "The resource principal named https://other.example was not found"),
    ],
)  # fmt: skip
def test_wrong_sign_ins_are_refused_in_the_platform_s_words(
    tenant, sign_in, changes, error, number, says
):
    answer = sign_in(tenant, **changes)
    assert "access_token" not in answer
    assert answer["error"] == error
    assert answer["error_codes"] == [number]
    assert f"AADSTS{number}" in answer["error_description"]
    assert says in answer["error_description"]
    assert re.search(r"Trace ID: \S+ Correlation ID: \S+", answer["error_description"])


def test_a_wrong_secret_is_401_and_an_unknown_application_400(tenant):
    url = f"{tenant.info['authority_url']}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": tenant.info["client_id"],
        "client_secret": "wrong",
        "scope": "https://graph.microsoft.com/.default",
    }
    with tenant.http_client() as client:
        assert client.post(url, data=form).status_code == 401
        assert client.post(url, data=form | {"client_id": "unknown"}).status_code == 400
        nothing = client.post(url, data={})
    assert nothing.status_code == 400
    assert nothing.json()["error_codes"] == [900144]


def test_an_unknown_tenant_is_refused(tenant, sign_in):
    authority = f"{tenant.state.origin}/99999999-2222-3333-4444-555555555555"
    with tenant.http_client() as client:
        discovery = client.get(f"{authority}/v2.0/.well-known/openid-configuration")
        token = client.post(f"{authority}/oauth2/v2.0/token", data={})
    assert (discovery.status_code, discovery.json()["error"]) == (400, "invalid_tenant")
    assert (token.status_code, token.json()["error"]) == (400, "invalid_request")
    assert discovery.json()["error_codes"] == token.json()["error_codes"] == [90002]
    with pytest.raises(ValueError, match="double check your tenant name or GUID"):
        sign_in(tenant, authority=authority)


def test_an_expired_token_is_refused(running_tenants, graph_of, clock):
    tenant = running_tenants(clock=clock)
    graph = graph_of(tenant)
    assert graph.get("users").status_code == 200
    clock.now += timedelta(hours=1)
    refused = graph.get("users")
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "InvalidAuthenticationToken"
    assert "expired" in refused.json()["error"]["message"]
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
