"""What the service refuses is refused, with its status, code and message."""

from __future__ import annotations

import jwt
import pytest

from local_tenant.mailbox import Hosting
from local_tenant.microsoft.identity import issue_token
from local_tenant.server import running_tenant

USER = "anna@north.example"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
NOT_FOUND = (
    "The specified object was not found in the store., "
    "The process failed to get the correct properties."
)


@pytest.fixture(scope="module")
def asking():
    """A client of one tenant for all tests that only ask."""
    with running_tenant() as tenant:
        tenant.add_mailbox(USER)
        headers = {"Authorization": f"Bearer {token_with(tenant)}"}
        with tenant.http_client(headers=headers) as client:
            yield lambda method, path: client.request(method, f"/v1.0/{path}")


def refusal(answer):
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "innerError"}
    assert set(error["innerError"]) == {"date", "request-id", "client-request-id"}
    return answer.status_code, error["code"], error["message"]


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ("$top=0", 400, "BadRequest",
         "The limit of '1000' for Top query has been exceeded. "
         "The value from the incoming request is '0'."),
        ("$top=1001", 400, "BadRequest",
         "The limit of '1000' for Top query has been exceeded. "
         "The value from the incoming request is '1001'."),
        ("$top=ten", 400, "BadRequest",
         "Invalid value 'ten' for $top query option found. "
         "The $top query option requires a non-negative integer value."),
        ("$select=subject,isJunk", 400, "BadRequest",
         "Parsing OData Select and Expand failed: "
         "Could not find a property named 'isJunk' on type 'microsoft.graph.message'."),
        ("$filter=isJunk ne true", 400, "RequestBroker--ParseUri",
         "Could not find a property named 'isJunk' on type 'microsoft.graph.message'."),
        ("$filter=receivedDateTime ge '2026-03-01T00:00:00Z'", 400, "BadRequest",
         "Invalid filter clause: A binary operator with incompatible types was detected. Found "
         "operand types 'Edm.DateTimeOffset' and 'Edm.String' "
         "for operator kind 'GreaterThanOrEqual'."),
        # An offset whose plus sign was not encoded arrives as a blank.
        ("$filter=receivedDateTime ge 2026-03-01T00:00:00+00:00", 400, "BadRequest",
         "Invalid filter clause: Syntax error at position 33 in "
         "'receivedDateTime ge 2026-03-01T00:00:00 00:00'."),
        ("$filter=receivedDateTime", 400, "BadRequest",
         "Invalid filter clause: Syntax error at position 16 in 'receivedDateTime'."),
        ("$filter=receivedDateTime is 2026-03-01", 400, "BadRequest",
         "Invalid filter clause: Syntax error at position 17 in "
         "'receivedDateTime is 2026-03-01'."),
        ("$filter=isRead eq false&$orderby=receivedDateTime", 400, "InefficientFilter",
         "The restriction or sort order is too complex for this operation."),
        ("$filter=isRead eq false and receivedDateTime ge 2026-03-01&$orderby=receivedDateTime",
         400, "InefficientFilter",
         "The restriction or sort order is too complex for this operation."),
        ("$orderby=junk", 400, "BadRequest", "Invalid $orderby clause: 'junk'."),
        ("$count=maybe", 400, "BadRequest",
         "Invalid value 'maybe' for $count query option found."),
        ("$skiptoken=garbage", 400, "BadRequest", "Badly formed token."),
        ("$banana=1", 400, "BadRequest", "The query parameter '$banana' is not supported."),
        ("$search=\"pizza\"", 501, "NotEmulated",
         "The local tenant does not emulate the query option '$search' here."),
        ("filter=isRead eq true", 501, "NotEmulated",
         "The local tenant does not emulate the query option 'filter' without its '$'."),
        ("$filter=startswith(subject,'x')", 501, "NotEmulated",
         "The local tenant does not emulate functions and 'not' in $filter: "
         "startswith(subject,'x')."),
        ("$filter=isRead eq true or isRead eq false", 501, "NotEmulated",
         "The local tenant does not emulate 'or' in $filter."),
    ],
)  # fmt: skip
def test_wrong_queries_for_messages(asking, query, status, code, message):
    assert refusal(asking("GET", f"users/{USER}/messages?{query}")) == (status, code, message)


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("$top=1000", "Request_UnsupportedQuery",
         "Invalid page size specified: '1000'. Must be between 1 and 999 inclusive."),
        ("$filter=mail gt 'a'", "Request_UnsupportedQuery",
         "Unsupported or invalid query filter clause specified for property 'mail' "
         "of resource 'User'."),
        ("$select=mailbox", "BadRequest",
         "Parsing OData Select and Expand failed: "
         "Could not find a property named 'mailbox' on type 'microsoft.graph.user'."),
    ],
)  # fmt: skip
def test_wrong_queries_for_users(asking, query, code, message):
    assert refusal(asking("GET", f"users?{query}")) == (400, code, message)


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        ("users/nobody@north.example", 404, "Request_ResourceNotFound",
         "Resource 'nobody@north.example' does not exist or one of its queried "
         "reference-property objects are not present."),
        ("users/nobody@north.example/messages", 404, "ErrorInvalidUser",
         "The requested user 'nobody@north.example' is invalid."),
        ("users/11111111-2222-3333-4444-555555555555/messages", 404, "ResourceNotFound",
         "Resource could not be discovered."),
        (f"users/{USER}/messages/not-an-id", 400, "ErrorInvalidIdMalformed", "Id is malformed."),
        (f"users/{USER}/messages/AAMkAGshort", 400, "ErrorInvalidIdMalformed", "Id is malformed."),
        (f"users/{USER}/mailFolders/nowhere", 400, "ErrorInvalidIdMalformed", "Id is malformed."),
        (f"users/{USER}/messages/delta", 400, "BadRequest",
         "Unsupported request: Change tracking is not supported against "
         "'microsoft.graph.message'."),
        ("me/messages", 400, "BadRequest",
         "/me request is only valid with delegated authentication flow."),
        ("mailboxes", 400, "BadRequest", "Resource not found for the segment 'mailboxes'."),
        (f"users/{USER}/folders", 400, "BadRequest",
         "Resource not found for the segment 'folders'."),
        (f"users/{USER}/events", 501, "NotEmulated",
         f"The local tenant does not emulate /users/{USER}/events."),
    ],
)  # fmt: skip
def test_wrong_paths(asking, path, status, code, message):
    assert refusal(asking("GET", path)) == (status, code, message)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", f"users/{USER}/messages", 405, "Request_BadRequest"),
        ("DELETE", "users", 405, "Request_BadRequest"),
        ("GET", "$batch", 405, "Request_BadRequest"),
        ("POST", f"users/{USER}/messages", 501, "NotEmulated"),
        ("DELETE", f"users/{USER}/messages/any", 501, "NotEmulated"),
    ],
)
def test_wrong_methods(asking, method, path, status, code):
    assert refusal(asking(method, path))[:2] == (status, code)


@pytest.mark.parametrize(
    ("hosting", "code"),
    [
        (Hosting.ON_PREMISES, "MailboxNotEnabledForRESTAPI"),
        (Hosting.UNLICENSED, "MailboxNotEnabledForRESTAPI"),
    ],
)
def test_users_without_a_mailbox_in_the_cloud(tenant, graph, hosting, code):
    tenant.add_mailbox("olga@north.example", hosting=hosting)
    assert graph.get("users/olga@north.example").status_code == 200
    assert refusal(graph.get("users/olga@north.example/messages")) == (
        404,
        code,
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    )


def test_an_id_of_another_mailbox_is_told_apart_from_one_that_leads_nowhere(tenant, graph, deliver):
    tenant.add_mailbox("otto@north.example")
    immutable = deliver()
    foreign = graph.get(f"users/otto@north.example/messages/{immutable}", headers=IMMUTABLE)
    assert refusal(foreign) == (
        404,
        "ErrorInvalidMailboxItemId",
        f"Item '{immutable}' doesn't belong to the targeted mailbox 'otto@north.example'.",
    )


def test_ids_are_case_sensitive(graph, deliver):
    immutable = deliver()
    last = immutable[-1]
    swapped = immutable[:-1] + (last.lower() if last.isupper() else last.upper())
    if swapped == immutable:
        swapped = immutable[:-1] + ("A" if last != "A" else "B")
    answer = graph.get(f"users/{USER}/messages/{swapped}", headers=IMMUTABLE)
    assert refusal(answer) == (404, "ErrorItemNotFound", NOT_FOUND)


def test_immutable_ids_need_the_preference_on_every_request(graph, deliver):
    immutable = deliver()
    listed = graph.get(f"users/{USER}/messages", headers=IMMUTABLE).json()["value"]
    assert [message["id"] for message in listed] == [immutable]
    without = graph.get(f"users/{USER}/messages/{immutable}")
    assert refusal(without) == (400, "ErrorInvalidIdMalformed", "Id is malformed.")
    classic = graph.get(f"users/{USER}/messages").json()["value"][0]["id"]
    assert classic != immutable
    again = graph.get(f"users/{USER}/messages/{classic}", headers=IMMUTABLE).json()
    assert again["id"] == immutable


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "BadRequest"),
        (b"[]", 400, "BadRequest"),
        (b"{", 400, "BadRequest"),
        (b"{}", 400, "ErrorInvalidParameter"),
        (b'{"destinationId": 5}', 400, "RequestBodyRead"),
        (b'{"destinationId": "junkemail", "why": "phish"}', 400, "RequestBodyRead"),
        (b'{"destinationId": "trash"}', 400, "ErrorInvalidIdMalformed"),
    ],
)
def test_wrong_moves_change_nothing(tenant, graph, deliver, body, status, code):
    immutable = deliver()
    answer = graph.post(
        f"users/{USER}/messages/{immutable}/move",
        content=body,
        headers={**IMMUTABLE, "Content-Type": "application/json"},
    )
    assert refusal(answer)[:2] == (status, code)
    assert tenant.audit() == []
    assert tenant.copies()[0]["place"] == "inbox"


@pytest.mark.parametrize(
    ("update", "status", "code"),
    [
        ({"isRead": "yes"}, 400, "RequestBodyRead"),
        ({"colour": "red"}, 400, "RequestBodyRead"),
        ({"categories": ["Red"]}, 501, "NotEmulated"),
        ({"flag": {"flagStatus": "half"}}, 400, "RequestBodyRead"),
    ],
)
def test_wrong_updates_change_nothing(tenant, graph, deliver, update, status, code):
    url = f"users/{USER}/messages/{deliver()}"
    answer = graph.patch(url, json=update, headers=IMMUTABLE)
    assert refusal(answer)[:2] == (status, code)
    assert tenant.audit() == []


def token_with(tenant, **claims):
    good = issue_token(
        tenant.state, "https://graph.microsoft.com", ("Mail.ReadWrite", "User.Read.All")
    )
    stated = jwt.decode(good, options={"verify_signature": False})
    return jwt.encode(stated | claims, tenant.state.token_key.private, "RS256")


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "Access token is empty."),
        ("Basic YTpi", "Access token is empty."),
        ("Bearer nonsense", "IDX14100: JWT is not well formed, there are no dots (.)."),
        ("Bearer a.b.c", "Access token validation failure. Invalid signature."),
    ],
)
def test_without_a_good_token_nothing_is_told(tenant, authorization, message):
    headers = {"Authorization": authorization} if authorization else {}
    with tenant.http_client(headers=headers) as client:
        for path in ("users", f"users/{USER}/messages", "mailboxes"):
            answer = client.get(f"/v1.0/{path}")
            assert refusal(answer) == (401, "InvalidAuthenticationToken", message)
            assert "WWW-Authenticate" in answer.headers


def test_a_token_for_another_resource_is_refused(tenant):
    token = token_with(tenant, aud="https://vault.azure.net")
    with tenant.http_client(headers={"Authorization": f"Bearer {token}"}) as client:
        assert refusal(client.get("/v1.0/users")) == (
            401,
            "InvalidAuthenticationToken",
            "Access token validation failure. Invalid audience.",
        )


def test_permissions_are_needed_for_each_thing(tenant):
    tenant.add_mailbox(USER)
    item = tenant.deliver(b"Subject: x\n\nx", [USER])[0]

    def calls(*roles):
        token = token_with(tenant, roles=list(roles))
        with tenant.http_client(headers={"Authorization": f"Bearer {token}"}) as client:
            url = f"/v1.0/users/{USER}/messages"
            move = {"destinationId": "inbox"}
            return [
                refusal(answer)[:2] if answer.is_error else answer.status_code
                for answer in (
                    client.get("/v1.0/users"),
                    client.get(url),
                    client.post(f"{url}/{item.rest_id}/move", json=move),
                )
            ]

    no_users = (403, "Authorization_RequestDenied")
    no_mail = (403, "ErrorAccessDenied")
    assert calls() == [no_users, no_mail, no_mail]
    assert calls("User.Read.All") == [200, no_mail, no_mail]
    assert calls("Mail.Read") == [no_users, 200, no_mail]
    assert calls("Mail.ReadWrite") == [no_users, 200, 201]
