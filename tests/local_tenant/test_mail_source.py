"""A person's own mail, delivered."""

from __future__ import annotations

import mailbox
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from local_tenant.mail_source import load_mail

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ADDRESSES = [f"user{n}@{domain}.example" for domain in ("north", "south") for n in range(5)]
RAW = b"From: a@b.example\nSubject: \xff\xfe odd\n\nFrom here on\nbytes \x00 stay\n"


@pytest.fixture
def folder(tmp_path):
    """.eml files at two depths, an mbox of two, a Maildir of two, and what is no mail."""
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "one.eml").write_bytes(RAW)
    (tmp_path / "deep" / "deeper" / "TWO.EML").write_bytes(RAW + b"2")
    (tmp_path / "notes.txt").write_text("not mail")
    (tmp_path / "empty.eml").write_bytes(b"")
    with closing(mailbox.mbox(tmp_path / "archive.mbox")) as box:
        box.add(b"Subject: first\n\nbody 1\n")
        box.add(b"Subject: second\n\nbody 2\n")
    (tmp_path / "Inbox").write_bytes(
        b"From x@y.example Mon Jan  1 00:00:00 2024\nSubject: t\n\nb\n"
    )
    with closing(mailbox.Maildir(tmp_path / "maildir")) as box:
        box.add(b"Subject: in maildir\n\nx\n")
        (tmp_path / "maildir" / "tmp" / "half").write_bytes(b"Subject: half\n\n")
    return tmp_path


def by_id(deliveries):
    return {delivery.delivery_id: delivery for delivery in deliveries}


def test_every_form_of_mail_is_found_and_nothing_else(folder):
    found = by_id(load_mail(folder, ADDRESSES, NOW))
    in_maildir = [name for name in found if name.startswith("maildir/")]
    assert len(in_maildir) == 1
    assert found.keys() - in_maildir == {
        "one.eml",
        "deep/deeper/TWO.EML",
        "archive.mbox#1",
        "archive.mbox#2",
        "Inbox#1",
    }


def test_bytes_are_delivered_untouched(folder):
    found = by_id(load_mail(folder, ADDRESSES, NOW))
    assert found["one.eml"].raw == RAW
    assert found["deep/deeper/TWO.EML"].raw == RAW + b"2"
    assert found["archive.mbox#2"].raw.startswith(b"Subject: second\n\nbody 2\n")
    assert (next(iter(load_mail(folder / "one.eml", ADDRESSES, NOW)))).raw == RAW


def test_delivery_depends_on_seed_and_name_alone(folder):
    first = load_mail(folder, ADDRESSES, NOW, seed=1)
    assert load_mail(folder, ADDRESSES, NOW, seed=1) == first
    assert load_mail(folder, ADDRESSES, NOW, seed=2) != first
    (folder / "another.eml").write_bytes(RAW)
    more = by_id(load_mail(folder, ADDRESSES, NOW, seed=1))
    assert all(more[delivery.delivery_id] == delivery for delivery in first)


def test_mail_is_spread_over_mailboxes_and_days(tmp_path):
    for n in range(200):
        (tmp_path / f"{n}.eml").write_bytes(RAW)
    deliveries = load_mail(tmp_path, ADDRESSES, NOW)
    assert {address for delivery in deliveries for address in delivery.recipients} == set(ADDRESSES)
    assert {len(delivery.recipients) for delivery in deliveries} == {1, 2, 3, 4, 5}
    assert all(len(set(d.recipients)) == len(d.recipients) for d in deliveries)
    times = [delivery.received_at for delivery in deliveries]
    assert times == sorted(times)
    assert NOW - timedelta(days=30) < times[0] < NOW - timedelta(days=25)
    assert NOW - timedelta(days=5) < times[-1] < NOW


def test_there_may_be_fewer_mailboxes_than_recipients_wanted(folder):
    for delivery in load_mail(folder, ADDRESSES[:1], NOW):
        assert delivery.recipients == (ADDRESSES[0],)


def test_what_cannot_be_delivered_is_said(tmp_path, folder):
    with pytest.raises(FileNotFoundError):
        load_mail(tmp_path / "nowhere", ADDRESSES, NOW)
    with pytest.raises(ValueError, match="no mailboxes"):
        load_mail(folder, [], NOW)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="no mail found"):
        load_mail(tmp_path / "bare", ADDRESSES, NOW)


def test_the_shared_mail_is_delivered_whole(shared_data):
    deliveries = load_mail(shared_data / "mail", ADDRESSES, NOW)
    files = sorted(path for path in (shared_data / "mail").rglob("*.eml"))
    assert len(deliveries) == len(files) > 700
    for delivery in deliveries[::50]:
        assert delivery.raw == (shared_data / "mail" / delivery.delivery_id).read_bytes()
