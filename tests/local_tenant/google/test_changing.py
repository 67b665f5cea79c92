"""Gmail: moving, deleting and putting in messages, seen from outside and from inside."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

RAW = b"From: a@b.example\r\nSubject: back\r\nDate: Sun, 01 Mar 2026 12:00:00 +0100\r\n\r\nbody\r\n"


@pytest.fixture
def labels_of(messages):
    def labels_of(name):
        return set(
            messages.get(userId="me", id=name, format="minimal").execute().get("labelIds", [])
        )

    return labels_of


@pytest.fixture
def place_of(tenant):
    return lambda name: str(tenant.state.store.place(tenant.state.store.find(name)))


def test_trash_and_untrash(messages, deliver, labels_of, place_of):
    name = deliver(labels=("INBOX", "UNREAD", "STARRED"))
    answer = messages.trash(userId="me", id=name).execute()
    assert answer == {"id": name, "threadId": name, "labelIds": ["STARRED", "TRASH", "UNREAD"]}
    assert place_of(name) == "trash"
    messages.untrash(userId="me", id=name).execute()
    # INBOX does not come back.
    assert labels_of(name) == {"STARRED", "UNREAD"}
    assert place_of(name) == "other"


def test_junk_is_a_change_of_labels(messages, deliver, labels_of, place_of):
    name = deliver()
    body = {"addLabelIds": ["SPAM"], "removeLabelIds": ["INBOX"]}
    messages.modify(userId="me", id=name, body=body).execute()
    assert labels_of(name) == {"SPAM", "UNREAD"}
    assert place_of(name) == "junk"


def test_a_message_may_be_left_without_labels(messages, deliver, labels_of):
    name = deliver()
    body = {"removeLabelIds": ["INBOX", "UNREAD"]}
    assert messages.modify(userId="me", id=name, body=body).execute().keys() == {"id", "threadId"}
    assert labels_of(name) == set()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "No label add or removes specified"),
        ({"addLabelIds": [], "removeLabelIds": []}, "No label add or removes specified"),
        ({"addLabelIds": ["SENT"]}, "Invalid label: SENT"),
        ({"removeLabelIds": ["DRAFT"]}, "Invalid label: DRAFT"),
        ({"addLabelIds": ["Label_77"]}, "Invalid label: Label_77"),
        ({"addLabelIds": ["INBOX"], "removeLabelIds": ["INBOX"]}, "both add and remove"),
        ({"addLabelIds": [f"L{n}" for n in range(101)]}, "Too many labels"),
        ({"labels": ["SPAM"]}, 'Unknown name "labels": Cannot find field.'),
    ],
)
def test_changes_of_labels_that_are_refused(messages, deliver, refusal, labels_of, body, message):
    name = deliver()
    answer = refusal(messages.modify(userId="me", id=name, body=body))
    assert answer.status == 400
    assert message in answer.message
    assert labels_of(name) == {"INBOX", "UNREAD"}


def test_batch_modify_passes_over_ids_that_lead_nowhere(messages, deliver, labels_of, tenant):
    names = [deliver(f"m{n}") for n in range(3)]
    body = {"ids": [*names, "abc123"], "addLabelIds": ["SPAM"], "removeLabelIds": ["INBOX"]}
    assert not messages.batchModify(userId="me", body=body).execute()
    assert all(labels_of(name) == {"SPAM", "UNREAD"} for name in names)
    assert [entry["status"] for entry in tenant.audit()] == [204] * 3


@pytest.mark.parametrize("method", ["batchModify", "batchDelete"])
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "No message ids specified."),
        (["1"] * 1001, "Too many message ids specified"),
        (["not an id"], "Invalid ids value"),
    ],
)
def test_batches_that_are_refused(messages, refusal, method, ids, message):
    body = {"ids": ids} | ({"addLabelIds": ["SPAM"]} if method == "batchModify" else {})
    assert message in refusal(getattr(messages, method)(userId="me", body=body)).message


def test_deleting_is_for_good(messages, deliver, refusal, place_of, tenant):
    one, *others = [deliver(f"m{n}") for n in range(3)]
    assert not messages.delete(userId="me", id=one).execute()
    assert not messages.batchDelete(userId="me", body={"ids": others}).execute()
    for name in (one, *others):
        assert refusal(messages.get(userId="me", id=name)).status == 404
        assert refusal(messages.untrash(userId="me", id=name)).status == 404
        assert place_of(name) == "purged"
    assert messages.list(userId="me", includeSpamTrash=True).execute() == {"resultSizeEstimate": 0}
    operations = [(entry["operation"], entry["to"]) for entry in tenant.audit()]
    assert operations == [
        ("messages.delete", "purged"),
        ("messages.batchDelete", "purged"),
        ("messages.batchDelete", "purged"),
    ]


def test_the_audit_log_tells_who_changed_what(messages, deliver, tenant):
    name = deliver()
    messages.get(userId="me", id=name).execute()
    messages.trash(userId="me", id=name).execute()
    (entry,) = tenant.audit()
    assert entry["operation"] == "messages.trash"
    assert entry["message_id"] == name
    assert entry["mailbox"] == "ann@south.example"
    assert (entry["from"], entry["to"]) == ("INBOX,UNREAD", "TRASH,UNREAD")


def test_insert_brings_saved_bytes_back(messages, tenant):
    raw = base64.urlsafe_b64encode(RAW).decode()
    for text in (raw, raw.rstrip("=")):
        body = {"raw": text, "labelIds": ["INBOX", "SENT"]}
        answer = messages.insert(userId="me", body=body).execute()
        assert answer["labelIds"] == ["INBOX", "SENT"]
        got = messages.get(userId="me", id=answer["id"], format="raw").execute()
        assert base64.urlsafe_b64decode(got["raw"]) == RAW
        received = datetime.fromtimestamp(int(got["internalDate"]) / 1000, UTC)
        assert abs(received - datetime.now(UTC)) < timedelta(minutes=5)


def test_insert_may_take_the_time_from_the_date_header(messages):
    body = {"raw": base64.urlsafe_b64encode(RAW).decode()}
    expected = int(datetime(2026, 3, 1, 11, tzinfo=UTC).timestamp() * 1000)
    for request in (
        messages.insert(userId="me", body=body, internalDateSource="dateHeader"),
        messages.import_(userId="me", body=body, neverMarkSpam=True),
    ):
        name = request.execute()["id"]
        got = messages.get(userId="me", id=name, format="minimal").execute()
        assert int(got["internalDate"]) == expected


def test_insert_into_a_thread(messages, deliver):
    first = deliver()
    body = {"raw": base64.urlsafe_b64encode(RAW).decode(), "threadId": first}
    assert messages.insert(userId="me", body=body).execute()["threadId"] == first


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'raw' RFC822 payload message string"),
        ({"raw": "§§§"}, "Base64 decoding failed"),
        ({"raw": "eA==", "labelIds": ["CHAT"]}, "Invalid label: CHAT"),
        ({"raw": "eA==", "threadId": "zz"}, "Invalid threadId value"),
    ],
)
def test_inserts_that_are_refused(messages, refusal, body, message):
    assert message in refusal(messages.insert(userId="me", body=body)).message
