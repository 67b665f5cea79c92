"""Changes of one folder since a token."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from local_tenant.mailbox import Provider
from local_tenant.microsoft import delta
from local_tenant.state import TenantSettings

USER = "anna@north.example"
INBOX = f"users/{USER}/mailFolders/inbox/messages/delta"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


def full_round(graph, url, headers=IMMUTABLE, **params):
    """Every row of a round, and its delta link."""
    rows, answer = [], graph.get(url, headers=headers, params=params or None)
    while True:
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["value"]
        if "@odata.deltaLink" in page:
            return rows, page["@odata.deltaLink"]
        answer = graph.get(page["@odata.nextLink"], headers=headers)


def test_the_first_round_tells_of_all_and_the_next_of_what_changed(tenant, graph, deliver):
    ids = [deliver(f"number {number}", hours=number) for number in range(25)]
    rows, link = full_round(graph, INBOX, **{"$select": "subject"})
    assert [row["id"] for row in rows] == ids[::-1]
    assert set(rows[0]) == {"@odata.type", "@odata.etag", "id", "subject"}
    nothing, link = full_round(graph, link)
    assert nothing == []

    url = f"users/{USER}/messages"
    graph.patch(f"{url}/{ids[3]}", json={"isRead": True}, headers=IMMUTABLE)
    graph.post(f"{url}/{ids[4]}/move", json={"destinationId": "junkemail"}, headers=IMMUTABLE)
    graph.post(f"{url}/{ids[5]}/permanentDelete", headers=IMMUTABLE)
    new = deliver("new", hours=50)
    came_and_went = deliver("gone again", hours=51)
    graph.post(f"{url}/{came_and_went}/move", json={"destinationId": "archive"}, headers=IMMUTABLE)

    rows, link = full_round(graph, link)
    told = {row["id"]: row.get("@removed", row.get("subject")) for row in rows}
    assert told == {
        ids[3]: "number 3",
        ids[4]: {"reason": "deleted"},
        ids[5]: {"reason": "deleted"},
        new: "new",
    }
    assert full_round(graph, link)[0] == []


def test_without_the_preference_a_removal_names_the_id_the_folder_knew(graph, deliver):
    deliver()
    rows, link = full_round(graph, INBOX, headers={})
    known = rows[0]["id"]
    graph.post(f"users/{USER}/messages/{known}/move", json={"destinationId": "junkemail"})
    rows, _ = full_round(graph, link, headers={})
    assert [(row["id"], row["@removed"]["reason"]) for row in rows] == [(known, "deleted")]


def test_a_message_moved_in_is_told_in_the_folder_it_came_to(graph, deliver):
    immutable = deliver()
    junk = INBOX.replace("inbox", "junkemail")
    rows, link = full_round(graph, junk)
    assert rows == []
    graph.post(
        f"users/{USER}/messages/{immutable}/move",
        json={"destinationId": "junkemail"},
        headers=IMMUTABLE,
    )
    rows, _ = full_round(graph, link)
    assert [row["id"] for row in rows] == [immutable]


def test_the_page_size_is_a_preference(graph, deliver):
    for number in range(5):
        deliver(hours=number)
    page = graph.get(INBOX, headers={"Prefer": "odata.maxpagesize=2"}).json()
    assert len(page["value"]) == 2
    assert "@odata.deltaLink" not in page


def test_changes_during_a_round_come_in_the_next_one(graph, deliver):
    for number in range(4):
        deliver(f"number {number}", hours=number)
    small = {"Prefer": 'odata.maxpagesize=2, IdType="ImmutableId"'}
    first = graph.get(INBOX, headers=small).json()
    late = deliver("late", hours=9)
    rows, link = full_round(graph, first["@odata.nextLink"], headers=small)
    assert late not in {row["id"] for row in rows}
    assert [row["id"] for row in full_round(graph, link)[0]] == [late]


@pytest.mark.parametrize(("kind", "expected"), [("created", 1), ("updated", 1), ("deleted", 1)])
def test_one_kind_of_change_can_be_asked_for(graph, deliver, kind, expected):
    first, second = deliver(hours=1), deliver(hours=2)
    _, link = full_round(graph, INBOX, changeType=kind)
    deliver(hours=3)
    graph.patch(f"users/{USER}/messages/{first}", json={"isRead": True}, headers=IMMUTABLE)
    graph.post(f"users/{USER}/messages/{second}/permanentDelete", headers=IMMUTABLE)
    assert len(full_round(graph, link)[0]) == expected


def test_a_filtered_round_is_cut_at_the_documented_number(graph, deliver, monkeypatch):
    monkeypatch.setattr(delta, "FILTERED_LIMIT", 12)
    for number in range(20):
        deliver(hours=number)
    since = {"$filter": "receivedDateTime ge 2026-03-01T13:00:00Z"}
    assert len(full_round(graph, INBOX, **since)[0]) == 12
    assert len(full_round(graph, INBOX)[0]) == 20


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("$filter=receivedDateTime lt 2026-03-01T13:00:00Z", "ErrorInvalidUrlQuery"),
        ("$filter=isRead eq false", "ErrorInvalidUrlQuery"),
        ("$filter=receivedDateTime ge 2026-01-01 and receivedDateTime lt 2026-02-01",
         "ErrorInvalidUrlQuery"),
        ("$orderby=receivedDateTime", "ErrorInvalidUrlQuery"),
        ("$search=pizza", "ErrorInvalidUrlQuery"),
        ("changeType=moved", "BadRequest"),
        ("$deltatoken=garbage", "BadRequest"),
    ],
)  # fmt: skip
def test_what_delta_does_not_support_is_refused(graph, query, code):
    answer = graph.get(f"{INBOX}?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_an_expired_token_asks_for_a_full_resync(tenant, graph, deliver):
    deliver()
    _, link = full_round(graph, INBOX)
    mailbox = tenant.state.store.mailbox(Provider.MICROSOFT365, USER)
    tenant.state.store.forget_changes(mailbox)
    answer = graph.get(link)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "SyncStateNotFound")
    assert len(full_round(graph, INBOX)[0]) == 1


def test_times_are_compared_as_times(graph, tenant):
    tenant.deliver(b"Subject: x\n\nx", [USER], datetime(2026, 3, 1, 12, tzinfo=UTC))
    for text, found in (
        ("2026-03-01T13:00:00%2B01:00", 1),
        ("2026-03-01T12:00:00.001Z", 0),
        ("2026-03-01", 1),
    ):
        answer = graph.get(f"users/{USER}/messages?$filter=receivedDateTime ge {text}")
        assert len(answer.json()["value"]) == found, text


@pytest.mark.parametrize(
    ("status", "code"),
    [(410, "SyncStateNotFound"), (404, "syncStateNotFound"), (400, "syncStateNotFound")],
)
def test_an_expired_token_gets_any_of_the_documented_answers(
    running_tenants, graph_of, status, code
):
    tenant = running_tenants(settings=TenantSettings(expired_delta_status=status))
    mailbox = tenant.add_mailbox(USER)
    graph = graph_of(tenant)
    links = [full_round(graph, url)[1] for url in (INBOX, f"users/{USER}/mailFolders/delta")]
    tenant.state.store.forget_changes(mailbox)
    for link in links:
        refused = graph.get(link)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
