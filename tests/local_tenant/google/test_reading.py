"""Gmail: finding and reading messages."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

MIXED = b"""From: a@b.example\r
To: ann@south.example\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
Message-ID: <mixed@b.example>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=outer\r
\r
--outer\r
Content-Type: multipart/alternative; boundary=inner\r
\r
--inner\r
Content-Type: text/plain; charset=utf-8\r
\r
plain text\r
--inner\r
Content-Type: text/html\r
\r
<p>html</p>\r
--inner--\r
--outer\r
Content-Type: application/pdf; name="bill.pdf"\r
Content-Disposition: attachment; filename="bill.pdf"\r
Content-Transfer-Encoding: base64\r
\r
JVBERi0=\r
--outer--\r
"""


@pytest.mark.parametrize("wrong", [{"id": 7}, {"more": ""}, {"payload": {"parts": [{"x": 1}]}}])
def test_the_schemas_catch_what_gmail_does_not_say(gmail_schemas, wrong):
    gmail_schemas.check("gmail.users.messages.get", {"id": "7", "payload": {"parts": []}})
    with pytest.raises(jsonschema.ValidationError):
        gmail_schemas.check("gmail.users.messages.get", wrong)


def ids(answer):
    return [message["id"] for message in answer.get("messages", [])]


def test_the_profile_counts_what_is_there(tenant, ann, connect, deliver):
    deliver("one")
    deliver("two")
    profile = connect(tenant).users().getProfile(userId="me").execute()
    assert profile["messagesTotal"] == profile["threadsTotal"] == 2
    assert profile["historyId"] == str(ann.last_change)


def test_an_empty_mailbox_has_no_messages_key(messages):
    assert messages.list(userId="me").execute() == {"resultSizeEstimate": 0}


def test_listing_is_newest_first_and_pages(messages, deliver):
    delivered = [deliver(f"m{n}", minutes=n) for n in range(7)]
    first = messages.list(userId="me", maxResults=3).execute()
    assert ids(first) == delivered[:3]
    second = messages.list(userId="me", maxResults=3, pageToken=first["nextPageToken"]).execute()
    assert ids(second) == delivered[3:6]
    last = messages.list(userId="me", maxResults=3, pageToken=second["nextPageToken"]).execute()
    assert ids(last) == delivered[6:]
    assert "nextPageToken" not in last


def test_a_page_goes_on_after_the_last_message_shown(messages, deliver):
    delivered = [deliver(f"m{n}", minutes=n) for n in range(4)]
    first = messages.list(userId="me", maxResults=2).execute()
    messages.trash(userId="me", id=delivered[0]).execute()
    rest = messages.list(userId="me", maxResults=2, pageToken=first["nextPageToken"]).execute()
    assert ids(rest) == delivered[2:]


def test_a_page_holds_500_at_most_and_100_by_default(messages, tenant, deliver):
    for n in range(510):
        deliver(f"m{n}", minutes=n)
    assert len(ids(messages.list(userId="me").execute())) == 100
    assert len(ids(messages.list(userId="me", maxResults=1000).execute())) == 500


def test_the_date_search_excludes_its_own_second(messages, tenant, deliver):
    at = [tenant.state.store.find(deliver(f"m{n}", minutes=n)).received_at for n in range(5)]
    seconds = [int(moment.timestamp()) for moment in at]
    query = f"after:{seconds[4]} before:{seconds[0]}"
    found = [
        int(messages.get(userId="me", id=name, format="minimal").execute()["internalDate"]) // 1000
        for name in ids(messages.list(userId="me", q=query).execute())
    ]
    assert found == seconds[1:4]
    assert ids(messages.list(userId="me", q="after:2999/01/01").execute()) == []
    yesterday = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y/%m/%d")
    assert len(ids(messages.list(userId="me", q=f"after:{yesterday}").execute())) == 5


def test_spam_and_trash_are_hidden_unless_asked_for(messages, deliver):
    inbox = deliver("inbox", minutes=1)
    spam = deliver("spam", minutes=2, labels=("SPAM", "UNREAD"))
    trash = deliver("trash", minutes=3, labels=("TRASH",))
    found = {
        "": [inbox],
        "in:anywhere": [inbox, spam, trash],
        "in:spam": [spam],
        "in:trash": [trash],
        "in:anywhere -in:spam": [inbox, trash],
        "is:unread": [inbox],
        "is:read in:anywhere": [trash],
    }
    for query, expected in found.items():
        assert ids(messages.list(userId="me", q=query).execute()) == expected, query
    everything = messages.list(userId="me", includeSpamTrash=True).execute()
    assert ids(everything) == [inbox, spam, trash]
    assert ids(messages.list(userId="me", labelIds=["SPAM"]).execute()) == [spam]
    assert ids(messages.list(userId="me", labelIds=["SPAM", "INBOX"]).execute()) == []


def test_a_message_id_finds_every_copy(messages, deliver):
    deliver("other")
    twins = [deliver(raw=MIXED, minutes=n) for n in range(2)]
    for spelling in ("<mixed@b.example>", "mixed@b.example"):
        assert ids(messages.list(userId="me", q=f"rfc822msgid:{spelling}").execute()) == twins
    assert ids(messages.list(userId="me", q="rfc822msgid:<none@b.example>").execute()) == []


def test_words_senders_and_subjects(messages, deliver):
    hello, other = deliver("Hello there", minutes=1), deliver("Something", minutes=2)
    assert ids(messages.list(userId="me", q="hello").execute()) == [hello]
    assert ids(messages.list(userId="me", q='subject:"hello there"').execute()) == [hello]
    assert ids(messages.list(userId="me", q="from:sam@sender.example").execute()) == [hello, other]


@pytest.mark.parametrize("query", ["larger:1M", "{a b}", "a OR b", "after:yesterday"])
def test_a_search_that_is_not_emulated_is_refused_aloud(messages, refusal, query):
    assert refusal(messages.list(userId="me", q=query)).status == 501


def test_the_raw_format_gives_the_very_bytes(messages, deliver):
    raw = MIXED + b"\xff\xfe trailing \x00 bytes"
    answer = messages.get(userId="me", id=deliver(raw=raw), format="raw").execute()
    assert base64.urlsafe_b64decode(answer["raw"]) == raw
    assert answer["sizeEstimate"] == len(raw)
    assert "payload" not in answer


def test_the_full_format_shows_the_parts(messages, deliver):
    name = deliver(raw=MIXED)
    answer = messages.get(userId="me", id=name).execute()
    payload = answer["payload"]
    assert payload["partId"] == ""
    assert {"name": "Subject", "value": "Grüße"} in payload["headers"]
    alternative, bill = payload["parts"]
    assert [part["partId"] for part in alternative["parts"]] == ["0.0", "0.1"]
    assert base64.urlsafe_b64decode(alternative["parts"][0]["body"]["data"]) == b"plain text"
    assert (bill["filename"], bill["partId"], bill["body"]["size"]) == ("bill.pdf", "1", 5)
    got = (
        messages.attachments()
        .get(userId="me", messageId=name, id=bill["body"]["attachmentId"])
        .execute()
    )
    assert base64.urlsafe_b64decode(got["data"]) == b"%PDF-"
    assert answer["snippet"] == "plain text"
    assert answer["labelIds"] == ["INBOX", "UNREAD"]


def test_the_metadata_format_shows_chosen_headers_only(messages, deliver):
    answer = messages.get(
        userId="me", id=deliver(), format="metadata", metadataHeaders=["subject", "From"]
    ).execute()
    assert [header["name"] for header in answer["payload"]["headers"]] == ["From", "Subject"]
    assert "parts" not in answer["payload"]
    assert "body" not in answer["payload"]


def test_snippets_are_escaped(messages, deliver):
    answer = messages.get(userId="me", id=deliver(), format="minimal").execute()
    assert answer["snippet"] == "Hello &lt;b&gt;Ann&lt;/b&gt;"
    assert answer.keys() == {
        "id",
        "threadId",
        "labelIds",
        "snippet",
        "sizeEstimate",
        "historyId",
        "internalDate",
    }


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("abc123", 404, "Requested entity was not found."),
        ("1", 404, "Requested entity was not found."),
        ("ffffffffffffffff", 400, "Invalid id value"),
        ("18c9a1b2c3d4e5f6aa", 400, "Invalid id value"),
        ("nosuchmessage", 400, "Invalid id value"),
    ],
)
def test_ids_that_lead_nowhere(messages, refusal, name, status, message):
    for request in (
        messages.get(userId="me", id=name),
        messages.trash(userId="me", id=name),
        messages.delete(userId="me", id=name),
    ):
        answer = refusal(request)
        assert (answer.status, answer.message) == (status, message)


def test_another_user_s_message_is_not_there(tenant, messages, refusal):
    tenant.add_mailbox("bob@south.example")
    item = tenant.deliver(MIXED, ["bob@south.example"])[0]
    assert refusal(messages.get(userId="me", id=item.message_id)).status == 404


def test_wrong_parameters_are_refused(messages, refusal):
    assert refusal(messages.list(userId="me", pageToken="???")).message == "Invalid pageToken"
    answer = refusal(messages.list(userId="me", labelIds=["Label_99"]))
    assert (answer.reason, answer.message) == ("invalidArgument", "Invalid label: Label_99")
    assert refusal(messages.list(userId="me", maxResults=-1)).status == 400
    assert refusal(messages.list(userId="me", fields="messages(id")).reason == "invalidParameter"
    unknown = messages.list(userId="me")
    unknown.uri += "&folder=inbox"
    assert 'Unknown name "folder"' in refusal(unknown).message


def test_partial_answers(messages, deliver):
    for n in range(3):
        deliver(f"m{n}", minutes=n)
    answer = messages.list(userId="me", maxResults=2, fields="messages/id,nextPageToken").execute()
    assert answer.keys() == {"messages", "nextPageToken"}
    assert all(message.keys() == {"id"} for message in answer["messages"])
    got = messages.get(
        userId="me", id=answer["messages"][0]["id"], fields="id,payload(headers(name),mimeType)"
    ).execute()
    assert got.keys() == {"id", "payload"}
    assert got["payload"].keys() == {"headers", "mimeType"}
    assert all(header.keys() == {"name"} for header in got["payload"]["headers"])
