"""Tokens for a program in Azure, as the real msal asks for them."""

from __future__ import annotations

import httpx
import jwt
import msal
import pytest
import requests

from local_tenant.microsoft.managed_identity import managed_identity

GRAPH = "https://graph.microsoft.com"


@pytest.fixture
def in_azure(tenant, monkeypatch):
    """Asks for a token as a program on App Service, or else on a machine, does."""

    def in_azure(identity, *, app_service=True, resource=GRAPH):
        with (
            managed_identity(tenant.state, app_service=app_service) as environment,
            monkeypatch.context() as patched,
            requests.Session() as session,
        ):
            for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
                patched.delenv(name, raising=False)
            for name, value in environment.items():
                patched.setenv(name, value)
            client = msal.ManagedIdentityClient(identity, http_client=session)
            return client.acquire_token_for_client(resource=resource)

    return in_azure


@pytest.mark.parametrize("app_service", [True, False])
def test_msal_gets_a_token_that_graph_takes(tenant, in_azure, app_service):
    identity = msal.SystemAssignedManagedIdentity()
    answer = in_azure(identity, app_service=app_service)
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert claims["appid"] == tenant.state.microsoft.managed_identity
    assert claims["roles"] == ["Mail.ReadWrite", "User.Read.All"]
    with tenant.http_client() as client:
        bearer = {"Authorization": f"Bearer {answer['access_token']}"}
        assert client.get("/v1.0/users", headers=bearer).status_code == 200


@pytest.mark.parametrize("app_service", [True, False])
def test_an_identity_is_known_by_its_client_id_alone(tenant, in_azure, app_service):
    known = msal.UserAssignedManagedIdentity(client_id=tenant.state.microsoft.managed_identity)
    unknown = msal.UserAssignedManagedIdentity(client_id=tenant.info["client_id"])
    assert "access_token" in in_azure(known, app_service=app_service)
    assert "error" in in_azure(unknown, app_service=app_service)


@pytest.mark.parametrize("app_service", [True, False])
def test_a_resource_that_is_not_here_gets_no_token(in_azure, app_service):
    identity = msal.SystemAssignedManagedIdentity()
    answer = in_azure(identity, app_service=app_service, resource="https://other.example")
    assert "access_token" not in answer


def test_the_endpoints_want_their_headers(tenant):
    query = {"api-version": "2019-08-01", "resource": GRAPH}
    with managed_identity(tenant.state) as environment:
        url = environment["IDENTITY_ENDPOINT"]
        wrong = httpx.get(url, params=query, headers={"X-IDENTITY-HEADER": "guess"})
        right = {"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]}
        old = httpx.get(url, params=query | {"api-version": "2017-09-01"}, headers=right)
    assert (wrong.status_code, old.status_code) == (401, 400)
    with managed_identity(tenant.state, app_service=False) as environment:
        url = f"{environment['AZURE_POD_IDENTITY_AUTHORITY_HOST']}/metadata/identity/oauth2/token"
        without = httpx.get(url, params=query)
    assert (without.status_code, without.json()["error"]) == (400, "bad_request_102")
