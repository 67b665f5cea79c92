"""Reading and changing mail through Graph, over TLS, and the tenant's own view of it."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from local_tenant.mailbox import Provider

USER = "anna@north.example"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


def test_users_are_listed_in_pages_and_filtered(tenant, graph):
    for number in range(5):
        tenant.add_mailbox(f"user{number}@north.example", enabled=number != 3)
    first = graph.get("users", params={"$select": "id,userPrincipalName", "$top": 4}).json()
    assert "accountEnabled" not in first["value"][0]
    second = graph.get(first["@odata.nextLink"]).json()
    names = {user["userPrincipalName"] for user in first["value"] + second["value"]}
    assert "@odata.nextLink" not in second
    assert names == {USER, *(f"user{number}@north.example" for number in range(5))}
    enabled = graph.get("users", params={"$filter": "accountEnabled eq true"}).json()["value"]
    assert {user["mail"] for user in enabled} == names - {"user3@north.example"}


def test_a_user_is_found_by_id_and_by_name_and_google_s_are_not(tenant, graph):
    by_name = graph.get(f"users/{USER.upper()}", params={"$select": "id,accountEnabled"}).json()
    by_id = graph.get(f"users/{by_name['id']}").json()
    assert by_id["displayName"] == "Anna Archer"
    assert by_name["accountEnabled"] is True
    assert graph.get(f"users/{tenant.info['google_admin']}").status_code == 404


def test_a_message_has_the_documented_shape(graph, deliver):
    deliver("Grüße", body="Hello <Anna>")
    listed = graph.get(f"users/{USER}/messages").json()
    message = listed["value"][0]
    assert listed["@odata.context"].endswith("/$metadata#users('anna%40north.example')/messages")
    assert message["@odata.etag"] == f'W/"{message["changeKey"]}"'
    assert message["receivedDateTime"] == "2026-03-01T12:00:00Z"
    assert message["sentDateTime"] == "2026-03-01T11:00:00Z"
    assert message["from"] == {
        "emailAddress": {"name": "Sam Sender", "address": "sam@sender.example"}
    }
    assert message["toRecipients"] == [{"emailAddress": {"name": "Anna Archer", "address": USER}}]
    assert message["internetMessageId"] == "<1@sender.example>"
    assert message["isRead"] is False
    assert message["flag"] == {"flagStatus": "notFlagged"}
    assert message["hasAttachments"] is False
    assert message["bodyPreview"] == "Hello <Anna>"
    assert "Hello &lt;Anna&gt;" in message["body"]["content"]
    assert "internetMessageHeaders" not in message
    inbox = graph.get(f"users/{USER}/mailFolders/inbox").json()
    assert message["parentFolderId"] == inbox["id"]


def test_headers_come_only_when_selected(graph, deliver):
    deliver()
    select = {"$select": "internetMessageHeaders"}
    message = graph.get(f"users/{USER}/messages", params=select).json()["value"][0]
    assert set(message) == {"@odata.etag", "id", "internetMessageHeaders"}
    assert {"name": "Subject", "value": "Hello"} in message["internetMessageHeaders"]


def test_mime_is_the_bytes_that_were_delivered(tenant, graph):
    raw = b"From: a@b.example\r\nSubject: \xff\xfe raw\r\n\r\nbody \x00\xe9 here"
    item = tenant.deliver(raw, [USER])[0]
    answer = graph.get(f"users/{USER}/messages/{item.rest_id}/$value")
    assert answer.content == raw


def test_listing_pages_filters_and_orders(graph, deliver):
    for number in range(25):
        deliver(f"number {number}", hours=number)
    options = {
        "$select": "subject",
        "$filter": "receivedDateTime ge 2026-03-01T14:00:00Z and "
        "receivedDateTime lt 2026-03-02T10:00:00Z",
        "$orderby": "receivedDateTime",
        "$top": 6,
        "$count": "true",
    }
    page = graph.get(f"users/{USER}/messages", params=options).json()
    assert page["@odata.count"] == 20
    subjects = [message["subject"] for message in page["value"]]
    while "@odata.nextLink" in page:
        page = graph.get(page["@odata.nextLink"]).json()
        subjects += [message["subject"] for message in page["value"]]
    assert subjects == [f"number {number}" for number in range(2, 22)]


def test_a_page_is_ten_long_and_newest_first_by_default(graph, deliver):
    for number in range(12):
        deliver(f"number {number}", hours=number)
    page = graph.get(f"users/{USER}/messages", params={"$select": "subject"}).json()
    assert [m["subject"] for m in page["value"]] == [f"number {n}" for n in range(11, 1, -1)]
    assert "@odata.nextLink" in page


def test_messages_that_come_between_two_pages_shift_nothing(graph, deliver):
    for number in range(4):
        deliver(f"number {number}", hours=number)
    first = graph.get(f"users/{USER}/messages", params={"$select": "subject", "$top": 2}).json()
    deliver("late", hours=9)
    second = graph.get(first["@odata.nextLink"]).json()
    assert [m["subject"] for m in second["value"]] == ["number 1", "number 0"]


def test_one_message_id_can_match_several_items(graph, deliver):
    deliver("one", message_id="<same's@x.example>")
    deliver("two", message_id="<same's@x.example>")
    deliver("other", message_id="<other@x.example>")
    found = graph.get(
        f"users/{USER}/messages",
        params={"$filter": "internetMessageId eq '<same''s@x.example>'", "$select": "subject"},
    ).json()["value"]
    assert {message["subject"] for message in found} == {"one", "two"}


@pytest.mark.parametrize(
    ("destination", "place"),
    [
        ("junkemail", "junk"),
        ("DeletedItems", "trash"),
        ("recoverableitemsdeletions", "recoverable"),
        ("archive", "other"),
    ],
)
def test_a_move_changes_the_classic_id_and_keeps_the_immutable_one(
    tenant, graph, deliver, destination, place
):
    immutable = deliver()
    classic = graph.get(f"users/{USER}/messages").json()["value"][0]["id"]
    moved = graph.post(f"users/{USER}/messages/{classic}/move", json={"destinationId": destination})
    assert moved.status_code == 201
    assert moved.json()["id"] != classic
    folder = graph.get(f"users/{USER}/mailFolders/{destination}").json()
    assert moved.json()["parentFolderId"] == folder["id"]
    gone = graph.get(f"users/{USER}/messages/{classic}")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "ErrorItemNotFound")
    still = graph.get(f"users/{USER}/messages/{immutable}", headers=IMMUTABLE)
    assert still.json()["id"] == immutable
    assert still.json()["parentFolderId"] == folder["id"]
    assert still.headers["Preference-Applied"] == 'IdType="ImmutableId"'
    [copy] = tenant.copies()
    assert (copy["message_id"], copy["place"]) == (immutable, place)


def test_with_the_preference_a_move_answers_with_the_same_id(graph, deliver):
    immutable = deliver()
    moved = graph.post(
        f"users/{USER}/messages/{immutable}/move",
        json={"destinationId": "junkemail"},
        headers=IMMUTABLE,
    )
    assert (moved.status_code, moved.json()["id"]) == (201, immutable)


def test_a_message_can_be_moved_back_to_the_folder_it_came_from(tenant, graph, deliver):
    immutable = deliver()
    url = f"users/{USER}/messages/{immutable}"
    home = graph.get(url, headers=IMMUTABLE).json()["parentFolderId"]
    graph.post(f"{url}/move", json={"destinationId": "deleteditems"}, headers=IMMUTABLE)
    graph.post(f"{url}/move", json={"destinationId": home}, headers=IMMUTABLE)
    assert tenant.copies()[0]["place"] == "inbox"


def test_recoverable_items_are_not_among_messages_but_in_their_folder(graph, deliver):
    kept, deleted = deliver("kept", hours=1), deliver("deleted")
    graph.post(
        f"users/{USER}/messages/{deleted}/move",
        json={"destinationId": "recoverableitemsdeletions"},
        headers=IMMUTABLE,
    )
    listed = graph.get(f"users/{USER}/messages", headers=IMMUTABLE).json()["value"]
    below = graph.get(
        f"users/{USER}/mailFolders/recoverableitemsdeletions/messages", headers=IMMUTABLE
    ).json()["value"]
    assert [message["id"] for message in listed] == [kept]
    assert [message["id"] for message in below] == [deleted]


def test_permanent_delete_leads_to_purges_and_nobody_moves_it_from_there(tenant, graph, deliver):
    immutable = deliver()
    url = f"users/{USER}/messages/{immutable}"
    answer = graph.post(f"{url}/permanentDelete", headers=IMMUTABLE)
    assert (answer.status_code, answer.content) == (204, b"")
    [copy] = tenant.copies()
    assert (copy["place"], copy["folder"]) == ("purged", "recoverableitemspurges")
    assert graph.get(f"users/{USER}/messages").json()["value"] == []
    back = graph.post(f"{url}/move", json={"destinationId": "inbox"}, headers=IMMUTABLE)
    assert (back.status_code, back.json()["error"]["code"]) == (403, "ErrorAccessDenied")
    assert tenant.copies()[0]["place"] == "purged"


def test_read_and_flag_state_can_be_set(tenant, graph, deliver):
    immutable = deliver()
    update = {"isRead": True, "flag": {"flagStatus": "flagged"}}
    answer = graph.patch(f"users/{USER}/messages/{immutable}", json=update, headers=IMMUTABLE)
    assert answer.status_code == 200
    assert answer.json()["isRead"] is True
    assert answer.json()["flag"]["flagStatus"] == "flagged"
    graph.patch(f"users/{USER}/messages/{immutable}", json={"isRead": False}, headers=IMMUTABLE)
    [copy] = tenant.copies()
    assert (copy["is_read"], copy["is_flagged"]) == (False, True)


def test_the_audit_log_tells_every_change_and_no_refusal(tenant, graph, deliver):
    immutable = deliver()
    url = f"users/{USER}/messages/{immutable}"
    graph.get(url, headers=IMMUTABLE)
    graph.post(f"{url}/move", json={"destinationId": "nowhere"}, headers=IMMUTABLE)
    graph.post(f"{url}/move", json={"destinationId": "junkemail"}, headers=IMMUTABLE)
    graph.patch(url, json={"isRead": True}, headers=IMMUTABLE)
    graph.post(f"{url}/permanentDelete", headers=IMMUTABLE)
    told = [
        (entry["operation"], entry["from"], entry["to"], entry["status"])
        for entry in tenant.audit()
    ]
    assert told == [
        ("move", "inbox", "junkemail", 201),
        ("update", "unread", "read", 200),
        ("permanentDelete", "junkemail", "recoverableitemspurges", 204),
    ]
    assert {entry["message_id"] for entry in tenant.audit()} == {immutable}


def test_folders_are_listed_in_pages_without_hidden_ones(tenant, graph):
    mailbox = tenant.state.store.mailbox(Provider.MICROSOFT365, USER)
    inbox = mailbox.well_known("inbox")
    projects = tenant.state.store.add_folder(mailbox, "Projects", inbox.folder_id)
    page = graph.get(f"users/{USER}/mailFolders", params={"$top": 5}).json()
    folders = page["value"] + graph.get(page["@odata.nextLink"]).json()["value"]
    by_name = {folder["displayName"]: folder for folder in folders}
    assert {"Inbox", "Junk Email", "Deleted Items", "Sent Items"} <= set(by_name)
    assert not {"Deletions", "Purges", "Recoverable Items", "Projects"} & set(by_name)
    assert by_name["Inbox"]["childFolderCount"] == 1
    children = graph.get(f"users/{USER}/mailFolders/inbox/childFolders").json()["value"]
    assert [child["id"] for child in children] == [projects.folder_id]


def test_a_folder_counts_its_items(graph, deliver):
    first, _ = deliver(hours=1), deliver()
    graph.patch(f"users/{USER}/messages/{first}", json={"isRead": True}, headers=IMMUTABLE)
    inbox = graph.get(f"users/{USER}/mailFolders/Inbox").json()
    assert (inbox["totalItemCount"], inbox["unreadItemCount"]) == (2, 1)


def test_attachments_come_with_their_bytes(tenant, graph):
    raw = (
        b"Subject: two\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
        b"--b\nContent-Type: text/plain\n\nbody\n"
        b"--b\nContent-Type: application/pdf; name=invoice.pdf\n"
        b"Content-Transfer-Encoding: base64\nContent-Disposition: attachment\n\n"
        + base64.b64encode(b"%PDF-1.7 \x00\xff")
        + b"\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ninner body\n--b--\n"
    )
    item = tenant.deliver(raw, [USER])[0]
    url = f"users/{USER}/messages/{item.rest_id}"
    assert graph.get(url, params={"$select": "hasAttachments"}).json()["hasAttachments"] is True
    pdf, inner = graph.get(f"{url}/attachments").json()["value"]
    assert pdf["@odata.type"] == "#microsoft.graph.fileAttachment"
    assert pdf["name"] == "invoice.pdf"
    assert base64.b64decode(pdf["contentBytes"]) == b"%PDF-1.7 \x00\xff"
    assert inner["@odata.type"] == "#microsoft.graph.itemAttachment"
    assert "contentBytes" not in inner
    value = graph.get(f"{url}/attachments/{inner['id']}/$value")
    assert value.content == b"Subject: inner\n\ninner body"
    one = graph.get(f"{url}/attachments/{pdf['id']}").json()
    assert one["id"] == pdf["id"]


def test_every_real_message_is_served_whole(tenant, graph, shared_data):
    files = sorted((shared_data / "mail").rglob("*.eml"))[::8]
    assert files
    for number, file in enumerate(files):
        received = tenant.state.clock() - timedelta(minutes=number)
        item = tenant.deliver(file.read_bytes(), [USER], received)[0]
        assert graph.get(f"users/{USER}/messages/{item.rest_id}").status_code == 200, file.name
    page = graph.get(f"users/{USER}/messages", params={"$top": 1000})
    assert len(page.json()["value"]) == len(files)
