"""Gmail: labels and history."""

from __future__ import annotations

import pytest


@pytest.fixture
def labels(tenant, ann, connect):
    return connect(tenant).users().labels()


@pytest.fixture
def history(tenant, ann, connect):
    return connect(tenant).users().history()


def test_every_mailbox_has_the_system_labels(labels):
    listed = {label["id"]: label for label in labels.list(userId="me").execute()["labels"]}
    assert {"INBOX", "SPAM", "TRASH", "SENT", "DRAFT", "UNREAD", "STARRED"} <= listed.keys()
    assert all(label["type"] == "system" for label in listed.values())


def test_a_label_of_the_user_s_own(labels, messages, deliver):
    created = labels.create(userId="me", body={"name": "Quarantine/2026"}).execute()
    assert created["type"] == "user"
    name = deliver()
    messages.modify(userId="me", id=name, body={"addLabelIds": [created["id"]]}).execute()
    got = labels.get(userId="me", id=created["id"]).execute()
    assert (got["name"], got["messagesTotal"], got["messagesUnread"]) == ("Quarantine/2026", 1, 1)
    found = messages.list(userId="me", q="label:quarantine-2026").execute()
    assert [message["id"] for message in found["messages"]] == [name]


@pytest.mark.parametrize("name", ["", "inbox", "Spam", "drafts", "muted"])
def test_reserved_names_are_refused(labels, refusal, name):
    answer = refusal(labels.create(userId="me", body={"name": name}))
    assert (answer.status, answer.message) == (400, "Invalid label name")


def test_a_name_is_given_once(labels, refusal):
    labels.create(userId="me", body={"name": "Work"}).execute()
    answer = refusal(labels.create(userId="me", body={"name": "work"}))
    assert (answer.status, answer.message) == (409, "Label name exists or conflicts")


def test_a_label_that_is_not_there(labels, refusal):
    assert refusal(labels.get(userId="me", id="Label_5")).status == 404


def test_history_tells_each_kind_of_change(history, messages, deliver, ann):
    start = str(ann.last_change)
    name = deliver()
    messages.trash(userId="me", id=name).execute()
    messages.delete(userId="me", id=name).execute()
    answer = history.list(userId="me", startHistoryId=start).execute()
    added, labelled, deleted = answer["history"]
    assert added["messagesAdded"][0]["message"]["labelIds"] == ["INBOX", "UNREAD"]
    assert labelled["labelsAdded"][0]["labelIds"] == ["TRASH"]
    assert labelled["labelsRemoved"][0]["labelIds"] == ["INBOX"]
    assert deleted["messagesDeleted"][0]["message"]["id"] == name
    assert answer["historyId"] == deleted["id"] == str(ann.last_change)
    # From the end on there is nothing, and no history key.
    assert history.list(userId="me", startHistoryId=answer["historyId"]).execute() == {
        "historyId": answer["historyId"]
    }


def test_history_can_be_narrowed(history, messages, deliver, ann):
    start = str(ann.last_change)
    spam = deliver("spam", labels=("SPAM",))
    name = deliver()
    messages.trash(userId="me", id=name).execute()
    only_new = history.list(
        userId="me", startHistoryId=start, historyTypes=["messageAdded"]
    ).execute()["history"]
    assert [record["messages"][0]["id"] for record in only_new] == [spam, name]
    in_spam = history.list(userId="me", startHistoryId=start, labelId="SPAM").execute()["history"]
    assert [record["messages"][0]["id"] for record in in_spam] == [spam]


def test_history_pages(history, deliver, ann):
    start = str(ann.last_change)
    names = [deliver(f"m{n}") for n in range(5)]
    seen, token = [], None
    while True:
        answer = history.list(
            userId="me", startHistoryId=start, maxResults=2, pageToken=token
        ).execute()
        seen += [record["messages"][0]["id"] for record in answer["history"]]
        token = answer.get("nextPageToken")
        if not token:
            break
    assert seen == names


def test_forgotten_history_means_a_full_resync(history, tenant, deliver, ann, refusal):
    start = str(ann.last_change)
    deliver()
    tenant.state.store.forget_changes(ann)
    answer = refusal(history.list(userId="me", startHistoryId=start))
    assert (answer.status, answer.reason) == (404, "notFound")
    history.list(userId="me", startHistoryId=str(ann.last_change)).execute()


@pytest.mark.parametrize("start", ["x", "-1", str(2**64)])
def test_a_start_that_is_no_number(history, refusal, start):
    assert refusal(history.list(userId="me", startHistoryId=start)).status == 400
