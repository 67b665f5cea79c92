"""What an application may do: roles in its token, grants for some mailboxes, a secret's end."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime

import jwt
import pytest

ANNA, BEN = "anna@north.example", "ben@north.example"


@pytest.fixture
def with_roles(tenant, graph_of):
    """A client whose application was given these permissions."""

    def with_roles(*roles):
        tenant.state.microsoft.roles = roles
        return graph_of(tenant)

    for address in (ANNA, BEN):
        tenant.add_mailbox(address)
    return with_roles


def test_an_application_without_permissions_gets_a_token_without_roles(tenant, sign_in):
    tenant.state.microsoft.roles = ()
    token = sign_in(tenant)["access_token"]
    assert "roles" not in jwt.decode(token, options={"verify_signature": False})


def test_permissions_given_later_come_with_the_next_token(with_roles):
    poor, rich = with_roles("User.Read.All"), with_roles("User.Read.All", "Mail.Read")
    assert poor.get(f"users/{ANNA}/messages").status_code == 403
    assert rich.get(f"users/{ANNA}/messages").status_code == 200


def test_a_grant_reaches_its_mailboxes_and_no_other(tenant, with_roles):
    graph = with_roles("User.Read.All")
    tenant.state.microsoft.grant("Mail.ReadWrite", [ANNA.upper()])
    [item] = tenant.deliver(b"Subject: hi\n\nx", [ANNA])
    assert graph.get(f"users/{ANNA}/messages").status_code == 200
    moved = graph.post(
        f"users/{ANNA}/messages/{item.rest_id}/move", json={"destinationId": "junkemail"}
    )
    assert moved.status_code == 201
    refused = graph.get(f"users/{BEN}/messages")
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "ErrorAccessDenied"
    assert refused.json()["error"]["message"] == (
        "Access is denied. Check credentials and try again."
    )


def test_a_grant_to_read_does_not_let_anyone_write(tenant, with_roles):
    graph = with_roles()
    tenant.state.microsoft.grant("Mail.Read", [ANNA])
    [item] = tenant.deliver(b"Subject: hi\n\nx", [ANNA])
    url = f"users/{ANNA}/messages/{item.rest_id}"
    assert graph.get(url).status_code == 200
    assert graph.post(f"{url}/move", json={"destinationId": "junkemail"}).status_code == 403


def test_a_permission_for_all_mailboxes_makes_a_grant_s_scope_mean_nothing(tenant, with_roles):
    graph = with_roles("Mail.ReadWrite")
    tenant.state.microsoft.grant("Mail.ReadWrite", [ANNA])
    assert graph.get(f"users/{BEN}/messages").status_code == 200


def test_a_secret_has_an_end(running_tenants, sign_in, clock):
    tenant = running_tenants(clock=clock)
    tenant.state.microsoft.secret_expires_at = clock.now + timedelta(days=1)
    assert "access_token" in sign_in(tenant)
    clock.now += timedelta(days=1)
    refused = sign_in(tenant)
    assert (refused["error"], refused["error_codes"]) == ("invalid_client", [7000222])
    assert "are expired" in refused["error_description"]


@pytest.mark.parametrize("path", ["/v1.0/users", "/_tenant/audit", "/no/such/path"])
def test_each_answer_is_dated_by_the_tenant_s_clock(running_tenants, clock, path):
    tenant = running_tenants(clock=clock)
    with tenant.http_client() as client:
        answer = client.get(path)
    assert answer.headers.get_list("date") == [answer.headers["date"]]
    assert parsedate_to_datetime(answer.headers["date"]) == clock.now
