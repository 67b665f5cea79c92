"""The tenant's memory, without HTTP."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_tenant.content import read_content
from local_tenant.item_ids import owner_of_id
from local_tenant.mailbox import ChangeKind, Hosting, Provider
from local_tenant.microsoft.mime import parse
from local_tenant.places import Place
from local_tenant.store import Store, UnknownRecipient

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANNA, ZOE = "anna@north.example", "zoe@south.example"
DONE = {"at": NOW, "operation": "test", "status": 200}


@pytest.fixture
def store():
    store = Store()
    store.add_mailbox(Provider.MICROSOFT365, ANNA)
    store.add_mailbox(Provider.GOOGLE_WORKSPACE, ZOE)
    return store


def test_a_message_is_kept_once_however_many_receive_it(store):
    first, second = store.deliver(b"Subject: x\n\nx", [ANNA, ZOE, ANNA], NOW)
    assert first.content is second.content
    assert first.delivery_id == second.delivery_id
    assert (first.provider, second.provider) == tuple(Provider)


def test_the_same_seed_gives_the_same_ids():
    def ids(seed):
        store = Store(seed)
        store.add_mailbox(Provider.MICROSOFT365, ANNA)
        return [store.deliver(b"x", [ANNA], NOW)[0].message_id for _ in range(3)]

    assert ids(1) == ids(1)
    assert not set(ids(1)) & set(ids(2))


def test_nobody_gets_a_message_when_one_recipient_is_unknown(store):
    store.add_mailbox(Provider.MICROSOFT365, "olga@north.example", hosting=Hosting.ON_PREMISES)
    for unknown in ("nobody@north.example", "olga@north.example"):
        with pytest.raises(UnknownRecipient):
            store.deliver(b"x", [ANNA, unknown], NOW)
    assert store.all_items() == []


def test_a_naive_time_is_refused(store):
    with pytest.raises(ValueError, match="timezone"):
        store.deliver(b"x", [ANNA], datetime(2026, 1, 1))  # noqa: DTZ001  what is refused


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("inbox", Place.INBOX),
        ("sentitems", Place.SENT),
        ("archive", Place.OTHER),
        ("junkemail", Place.JUNK),
        ("deleteditems", Place.TRASH),
        ("recoverableitemsdeletions", Place.RECOVERABLE),
        ("recoverableitemspurges", Place.PURGED),
    ],
)
def test_places_of_folders_and_what_is_below_them(store, folder, place):
    mailbox = store.mailbox(Provider.MICROSOFT365, ANNA)
    below = store.add_folder(mailbox, "below", mailbox.well_known(folder).folder_id)
    for target in (folder, below.folder_id):
        item = store.deliver(b"x", [ANNA], NOW, folder=target)[0]
        assert store.place(item) is place


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        (("INBOX", "UNREAD"), Place.INBOX),
        (("SENT",), Place.SENT),
        (("Label_1",), Place.OTHER),
        (("SPAM", "Label_1"), Place.JUNK),
        (("TRASH", "INBOX"), Place.TRASH),
    ],
)
def test_places_of_labels(store, labels, place):
    assert store.place(store.deliver(b"x", [ZOE], NOW, labels=labels)[0]) is place


def test_a_removed_item_is_found_and_no_longer_reached(store):
    item = store.deliver(b"x", [ZOE], NOW)[0]
    mailbox = store.mailbox_of(item)
    store.remove(mailbox, item, **DONE)
    assert store.find(item.message_id) is item
    assert list(mailbox.reachable()) == []
    assert store.place(item) is Place.PURGED


def test_every_change_is_noted_once(store):
    item = store.deliver(b"x", [ANNA], NOW)[0]
    mailbox = store.mailbox_of(item)
    before = mailbox.last_change
    store.move(mailbox, item, mailbox.well_known("junkemail"), **DONE)
    store.update(mailbox, item, read=True, **DONE)
    assert [change.kind for change in mailbox.changes_after(before)] == [
        ChangeKind.MOVED,
        ChangeKind.UPDATED,
    ]
    assert item.changed == mailbox.last_change == before + 2
    assert mailbox.changes_after(mailbox.last_change + 1) is None
    store.forget_changes(mailbox)
    assert mailbox.changes_after(before) is None
    assert mailbox.changes_after(mailbox.last_change) == []


def test_labels_that_are_as_wanted_are_no_change(store):
    item = store.deliver(b"x", [ZOE], NOW, labels=("INBOX",))[0]
    mailbox = store.mailbox_of(item)
    before = mailbox.last_change
    store.relabel(mailbox, item, add=["INBOX"], remove=["SPAM"], **DONE)
    assert mailbox.last_change == before
    store.relabel(mailbox, item, add=["TRASH"], remove=["INBOX"], **DONE)
    [change] = mailbox.changes_after(before)
    assert change.labels_added == {"TRASH"}
    assert change.labels_removed == {"INBOX"}


def test_an_id_tells_whose_it_is(store):
    item = store.deliver(b"x", [ANNA], NOW)[0]
    for known in (item.rest_id, item.message_id, item.folder_id):
        assert owner_of_id(known) == item.mailbox_id
        assert owner_of_id(known[:-1]) is None
    assert owner_of_id("AAMkAG" + "é" * 52) is None


def test_many_threads_deliver_without_losing_anything(store):
    def deliver():
        for _ in range(100):
            store.deliver(b"Subject: x\n\nx", [ANNA, ZOE], NOW)

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.all_items()) == len({i.message_id for _, i in store.all_items()}) == 1600


def test_twenty_thousand_copies_take_seconds(store):
    began = time.monotonic()
    for number in range(10_000):
        store.deliver(b"Subject: x\n\nx", [ANNA, ZOE], NOW - timedelta(minutes=number))
    assert time.monotonic() - began < 30
    mailbox = store.mailbox(Provider.MICROSOFT365, ANNA)
    times = [item.received_at for item in mailbox.reachable()]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("raw", "sender", "subject"),
    [
        (b"From: =?utf-8?q?M=C3=BCller=2C_J?= <j@x.example>\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\n\n",
         ("Müller, J", "j@x.example"), "Grüße"),
        (b"From: j@x.example\nSubject: =?no-such-charset?q?x?=\n\n", ("", "j@x.example"),
         "=?no-such-charset?q?x?="),
        (b"Subject: folded\r\n\tline\r\n\r\n", ("", ""), "folded line"),
        (b"\n\nFrom: body@x.example", ("", ""), ""),
        (b"", ("", ""), ""),
    ],
)  # fmt: skip
def test_headers_are_read_as_people_see_them(raw, sender, subject):
    content = read_content(raw)
    assert (content.sender_name, content.sender_address) == sender
    assert content.subject == subject


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message(raw):
    parsed = parse(read_content(b"Content-Type: multipart/mixed; boundary=x\nFrom: " + raw))
    assert isinstance(parsed.headers, tuple)


def test_a_thousand_nested_parts_do_not_break_it():
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000)
    )
    parse(read_content(nested))
    parse(read_content(b"Content-Type: message/rfc822\n\n" * 3000))
