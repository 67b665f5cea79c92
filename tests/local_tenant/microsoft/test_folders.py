"""Folders: listed ones, hidden ones, those below others, and what changes among them."""

from __future__ import annotations

import pytest

from local_tenant.mailbox import Provider

USER = "anna@north.example"
FOLDERS = f"users/{USER}/mailFolders"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


@pytest.fixture
def mailbox(tenant, graph):
    return tenant.state.store.mailbox(Provider.MICROSOFT365, USER)


@pytest.fixture
def add_folder(tenant, mailbox):
    def add_folder(name, parent="", **more):
        return tenant.state.store.add_folder(mailbox, name, parent, **more)

    return add_folder


def full_round(graph, url, **params):
    """Every row of a round of folder changes, and its delta link."""
    rows, answer = [], graph.get(url, params=params or None)
    while True:
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["value"]
        if "@odata.deltaLink" in page:
            return rows, page["@odata.deltaLink"]
        answer = graph.get(page["@odata.nextLink"])


def test_hidden_folders_are_listed_on_request_alone(graph, add_folder):
    add_folder("RSS Feeds and more", hidden=True)
    names = {
        hidden: {
            folder["displayName"]
            for folder in graph.get(
                FOLDERS, params={"$top": 100, "includeHiddenFolders": hidden}
            ).json()["value"]
        }
        for hidden in ("true", "false")
    }
    assert names["true"] - names["false"] == {"RSS Feeds and more"}


@pytest.mark.parametrize("hidden", ["true", "false"])
def test_recoverable_items_are_reached_by_name_and_never_listed(graph, mailbox, hidden):
    query = {"$top": 100, "includeHiddenFolders": hidden}
    listed = {folder["id"] for folder in graph.get(FOLDERS, params=query).json()["value"]}
    told = {row["id"] for row in full_round(graph, f"{FOLDERS}/delta")[0]}
    deletions = graph.get(f"{FOLDERS}/recoverableitemsdeletions").json()
    assert deletions["displayName"] == "Deletions"
    assert deletions["id"] not in listed | told
    assert mailbox.well_known("msgfolderroot").folder_id not in listed


def test_a_round_of_changes_tells_of_folders_at_every_depth(graph, add_folder, mailbox):
    outer = add_folder("Projects", mailbox.well_known("inbox").folder_id)
    inner = add_folder("2026", outer.folder_id)
    hidden = add_folder("Hidden", hidden=True)
    rows, link = full_round(graph, f"{FOLDERS}/delta", **{"$select": "displayName"})
    told = {row["id"]: row["displayName"] for row in rows}
    assert told[outer.folder_id] == "Projects"
    assert told[inner.folder_id] == "2026"
    assert hidden.folder_id not in told
    assert full_round(graph, link)[0] == []


def test_the_next_round_tells_what_folders_came_moved_and_went(tenant, graph, add_folder, mailbox):
    store = tenant.state.store
    moved, gone, kept = add_folder("moved"), add_folder("gone"), add_folder("kept")
    below = add_folder("below", gone.folder_id)
    rows, link = full_round(graph, f"{FOLDERS}/delta")
    assert {row["id"] for row in rows} >= {
        folder.folder_id for folder in (moved, gone, kept, below)
    }
    new = add_folder("new")
    store.move_folder(mailbox, moved, mailbox.well_known("deleteditems"))
    store.remove_folder(mailbox, gone, at=tenant.state.clock())
    rows, _ = full_round(graph, link)
    told = {row["id"]: row.get("@removed", row.get("parentFolderId")) for row in rows}
    assert told == {
        new.folder_id: mailbox.well_known("msgfolderroot").folder_id,
        moved.folder_id: mailbox.well_known("deleteditems").folder_id,
        gone.folder_id: {"reason": "deleted"},
        below.folder_id: {"reason": "deleted"},
    }


def test_pages_are_as_large_as_the_header_asks(graph):
    page = graph.get(f"{FOLDERS}/delta", headers={"Prefer": "odata.maxpagesize=2"}).json()
    assert len(page["value"]) == 2
    assert "@odata.nextLink" in page


def test_a_token_from_before_what_is_known_is_gone(tenant, graph, mailbox):
    _, link = full_round(graph, f"{FOLDERS}/delta")
    tenant.state.store.forget_changes(mailbox)
    refused = graph.get(link)
    assert (refused.status_code, refused.json()["error"]["code"]) == (410, "SyncStateNotFound")


def test_mail_of_a_folder_the_owner_deletes_goes_with_it(tenant, graph, add_folder, mailbox):
    folder = add_folder("Newsletters")
    tenant.state.store.deliver(
        b"Subject: hi\n\nx", [USER], tenant.state.clock(), folder=folder.folder_id
    )
    tenant.state.store.move_folder(mailbox, folder, mailbox.well_known("deleteditems"))
    assert [copy["place"] for copy in tenant.copies()] == ["trash"]
    tenant.state.store.remove_folder(mailbox, folder, at=tenant.state.clock())
    assert [copy["place"] for copy in tenant.copies()] == ["recoverable"]
    gone = graph.get(f"{FOLDERS}/{folder.folder_id}/messages/delta")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "ErrorItemNotFound")
    assert tenant.audit() == []


def test_copies_with_one_message_id_are_all_found_by_it(graph, deliver):
    ids = {deliver(hours=hours, message_id="<twin@x.example>") for hours in range(3)}
    deliver("other", message_id="<other@x.example>")
    query = {"$filter": "internetMessageId eq '<twin@x.example>'"}
    found = graph.get(f"users/{USER}/messages", params=query, headers=IMMUTABLE).json()["value"]
    assert {message["id"] for message in found} == ids


def test_a_draft_says_so(tenant, graph):
    tenant.state.store.deliver(b"Subject: x\n\nx", [USER], tenant.state.clock(), folder="drafts")
    [draft] = graph.get(f"{FOLDERS}/drafts/messages").json()["value"]
    assert draft["isDraft"] is True
