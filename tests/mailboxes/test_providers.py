"""The provider protocol, kept by both providers before the local tenant over TLS.

Outcomes are read from the tenant's own account of its copies, not from our code.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import socket
import uuid
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import Request, Response
from mailbox_bench import Bench, locate, other_mailboxes, retract
from pydantic import SecretStr

from local_tenant.mailbox import Hosting
from local_tenant.places import Place as TenantPlace
from local_tenant.state import Next
from retract.errors import (
    ActionNotSupported,
    AuthenticationFailed,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    OutcomeUnknown,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.settings import Watch
from retract.model import (
    Action,
    Copy,
    Extraction,
    Location,
    Mailbox,
    Place,
    Provider,
    Watermark,
    Window,
)

SECOND = timedelta(seconds=1)
# httplib2 leaves a socket that did not connect to the garbage collector.
LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def supported(bench: Bench, action: Action) -> bool:
    return (bench.mailbox.provider, action) != (Provider.GOOGLE_WORKSPACE, Action.SOFT_DELETE)


# ---- mailboxes ---------------------------------------------------------------------------


@pytest.mark.parametrize("own_way", ["excluded", "not named"])
def test_a_mailbox_that_is_not_watched_is_none(bench: Bench, own_way: str) -> None:
    other = bench.tenant.add_mailbox(f"other-{uuid.uuid4().hex}@{bench.mailbox.address[-13:]}")
    address = bench.mailbox.address
    watch = (
        Watch(exclude=(address.upper(),))
        if own_way == "excluded"
        else Watch(addresses=(other.address,))
    )
    with closing(bench.with_settings(watch=watch)) as mailboxes:
        with pytest.raises(MailboxUnavailable, match="watch"):
            mailboxes.mailbox(address)
        assert mailboxes.mailbox(other.address).mailbox_id == other.mailbox_id


def test_lists_the_mailboxes_that_can_hold_mail(bench: Bench) -> None:
    store, domain = bench.tenant.state.store, bench.mailbox.address.partition("@")[2]
    store.add_mailbox(
        bench.tenant_provider, f"left@{domain}", enabled=False, hosting=Hosting.ON_PREMISES
    )
    listed = list(bench.mailboxes.list_mailboxes())
    found = {one.address for one in listed if isinstance(one, Mailbox)}
    assert bench.mailbox in listed
    assert f"left@{domain}" not in found
    assert len(listed) == len(set(listed))


def test_finds_a_mailbox_by_its_address(bench: Bench) -> None:
    assert bench.mailboxes.mailbox(bench.mailbox.address.upper()) == bench.mailbox


def test_an_unknown_address_is_no_mailbox(bench: Bench) -> None:
    with pytest.raises(MailboxUnavailable, match="nobody"):
        bench.mailboxes.mailbox(f"nobody@{bench.mailbox.address.partition('@')[2]}")


def test_a_mailbox_that_does_not_exist_is_told_by_every_call(bench: Bench) -> None:
    domain = bench.mailbox.address.partition("@")[2]
    mailbox = dataclasses.replace(
        bench.mailbox,
        mailbox_id="00000000-0000-4000-8000-000000000000",
        address=f"nobody@{domain}",
    )
    copy = Copy(mailbox.provider, "work", mailbox.mailbox_id, mailbox.address, "19a0000000000000")
    window = Window(bench.now - timedelta(days=1), bench.now)
    with pytest.raises(MailboxUnavailable):
        list(bench.mailboxes.collect(mailbox, window, ()))
    with pytest.raises(MailboxUnavailable):
        locate(bench.mailboxes, copy)
    with pytest.raises(MailboxUnavailable):
        retract(bench.mailboxes, copy, Action.TRASH)


def test_a_user_without_a_mailbox_in_the_cloud_is_told(bench: Bench) -> None:
    bench.box.hosting = Hosting.ON_PREMISES
    window = Window(bench.now - timedelta(days=1), bench.now)
    with pytest.raises(MailboxUnavailable):
        list(bench.mailboxes.collect(bench.mailbox, window, ()))


# ---- collect -----------------------------------------------------------------------------


def test_collects_the_half_open_window_newest_first(bench: Bench) -> None:
    start = bench.now - timedelta(days=2)
    end = start + timedelta(hours=1)
    times = {
        "before": start - SECOND,
        "first": start,
        "middle": start + timedelta(minutes=30),
        "last": end - SECOND,
        "after": end,
    }
    copies = {name: bench.deliver(name, at) for name, at in times.items()}
    found = list(bench.mailboxes.collect(bench.mailbox, Window(start, end), ()))
    assert [message.extraction.subject for message in found] == ["last", "middle", "first"]
    assert [message.received_at for message in found] == [
        times[name] for name in ("last", "middle", "first")
    ]
    assert [message.copy for message in found] == [
        copies[name] for name in ("last", "middle", "first")
    ]


def test_a_window_may_cut_a_second_in_two(bench: Bench) -> None:
    at = bench.now - timedelta(hours=1)
    bench.deliver("on the second", at)
    half = timedelta(milliseconds=500)
    before, after = Window(at - half, at + half), Window(at + half, at + 3 * half)
    assert len(list(bench.mailboxes.collect(bench.mailbox, before, ()))) == 1
    assert list(bench.mailboxes.collect(bench.mailbox, after, ())) == []


def test_known_messages_are_not_read_again(bench: Bench) -> None:
    at = bench.now - timedelta(hours=1)
    old, new = bench.deliver("old", at), bench.deliver("new", at + SECOND)
    window = Window(at, at + timedelta(minutes=1))
    bench.door.requests.clear()
    found = list(bench.mailboxes.collect(bench.mailbox, window, {old.message_id}))
    assert [message.copy for message in found] == [new]
    read = [path for _, path in bench.door.requests if "$value" in path or "format=raw" in path]
    assert len(read) == 1
    assert new.message_id in read[0]


def test_collects_every_folder_and_says_where_each_copy_lies(bench: Bench) -> None:
    at = bench.now - timedelta(hours=1)
    places = (Place.INBOX, Place.JUNK, Place.TRASH)
    for number, place in enumerate(places):
        bench.deliver_to(place, place, at - number * SECOND)
    found = list(bench.mailboxes.collect(bench.mailbox, Window(at - 9 * SECOND, bench.now), ()))
    assert [(m.extraction.subject, m.location.place) for m in found] == [(p, p) for p in places]


def test_what_the_owner_sent_is_collected_where_it_lies(bench: Bench) -> None:
    at = bench.now - timedelta(hours=1)
    bench.deliver("Re: phish", at, folder="sentitems", labels=["SENT"])
    bench.deliver("phish", at + SECOND)
    found = list(bench.mailboxes.collect(bench.mailbox, Window(at, bench.now), ()))
    assert [(message.extraction.subject, message.location.place) for message in found] == [
        ("phish", Place.INBOX),
        ("Re: phish", Place.SENT),
    ]


def test_collects_page_after_page(bench: Bench) -> None:
    at = bench.now - timedelta(hours=1)
    for number in range(7):
        bench.deliver(str(number), at + number * SECOND)
    with closing(bench.with_settings(page_size=3)) as mailboxes:
        found = list(mailboxes.collect(bench.mailbox, Window(at, bench.now), ()))
    assert [message.extraction.subject for message in found] == list("6543210")


def test_a_message_that_vanishes_while_being_collected_is_left_out(bench: Bench) -> None:
    at = bench.now - timedelta(hours=1)
    for number in range(60):  # more than are read at once
        bench.deliver(str(number), at + number * SECOND)
    found = iter(bench.mailboxes.collect(bench.mailbox, Window(at, bench.now), ()))
    assert next(found).extraction.subject == "59"
    store = bench.tenant.state.store
    (item,) = (item for item in bench.box.reachable() if item.content.subject == "0")
    store.remove(
        bench.box, item, at=bench.now, operation="test", status=200, place=TenantPlace.GONE
    )
    assert [message.extraction.subject for message in found] == [str(n) for n in range(58, 0, -1)]


def test_a_reading_goes_on_from_the_watermark_of_the_one_before(bench: Bench) -> None:
    window = Window(bench.now - timedelta(days=3), bench.now)
    old = bench.deliver("old", bench.now - timedelta(days=2))
    first = bench.mailboxes.collect(bench.mailbox, window, ())
    assert [message.copy for message in first] == [old]
    assert first.watermark is not None
    assert first.watermark.since <= window.start
    new = bench.deliver_to(Place.JUNK, "new", bench.now)
    later = bench.mailboxes.collect(bench.mailbox, window, {old.message_id}, first.watermark)
    assert [message.copy for message in later] == [new]
    assert later.watermark is not None


def test_a_watermark_that_expired_or_says_nothing_means_reading_anew(bench: Bench) -> None:
    window = Window(bench.now - timedelta(days=3), bench.now)
    old = bench.deliver("old", bench.now - timedelta(days=2))
    first = bench.mailboxes.collect(bench.mailbox, window, ())
    assert len(list(first)) == 1
    bench.tenant.state.store.forget_changes(bench.box)
    new = bench.deliver("new", bench.now - timedelta(days=1))
    for watermark in (first.watermark, Watermark(window.start, "of another program")):
        again = bench.mailboxes.collect(bench.mailbox, window, {old.message_id}, watermark)
        assert [message.copy for message in again] == [new]
        assert again.watermark is not None


def test_a_window_of_the_past_is_read_whole_and_leaves_no_watermark(bench: Bench) -> None:
    past = Window(bench.now - timedelta(days=9), bench.now - timedelta(days=5))
    copy = bench.deliver("then", bench.now - timedelta(days=7))
    bench.deliver("later", bench.now - timedelta(days=1))
    recent = bench.mailboxes.collect(
        bench.mailbox, Window(bench.now - timedelta(days=2), bench.now), ()
    )
    assert len(list(recent)) == 1
    reading = bench.mailboxes.collect(bench.mailbox, past, (), recent.watermark)
    assert [message.copy for message in reading] == [copy]
    assert reading.watermark is None


# ---- retract and locate ------------------------------------------------------------------

ACTIONS = [action for action in Action if action is not Action.NO_ACTION]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_puts_this_copy_and_no_other_where_it_says(bench: Bench, action: Action) -> None:
    if not supported(bench, action):
        pytest.skip("Gmail has no soft delete: refused, see below")
    copy, other = bench.deliver("bad"), bench.deliver("good")
    retract(bench.mailboxes, copy, action)
    assert bench.outcome(copy)["place"] == bench.mailboxes.destination(action)
    assert bench.outcome(other)["place"] == Place.INBOX
    assert [change["message_id"] for change in bench.changes()] == [copy.message_id]
    location = locate(bench.mailboxes, copy)
    seen = Place.PURGED if location is None else location.place
    assert seen is bench.mailboxes.destination(action)


def test_soft_delete_goes_where_the_setting_says_and_back(bench: Bench) -> None:
    if not supported(bench, Action.SOFT_DELETE):
        with pytest.raises(ActionNotSupported, match="soft_delete"):
            bench.mailboxes.destination(Action.SOFT_DELETE)
        with pytest.raises(ActionNotSupported, match="soft_delete"):
            retract(bench.mailboxes, bench.deliver(), Action.SOFT_DELETE)
        assert bench.changes() == []
        return
    for folder, place in (
        ("deleted_items", Place.TRASH),
        ("recoverable_items", Place.RECOVERABLE),
    ):
        copy = bench.deliver()
        before, recorded = bench.outcome(copy), locate(bench.mailboxes, copy)
        assert recorded is not None
        with closing(bench.with_settings(soft_delete_folder=folder)) as mailboxes:
            retract(mailboxes, copy, Action.SOFT_DELETE)
            assert mailboxes.destination(Action.SOFT_DELETE) is place
            location = locate(mailboxes, copy)
            assert location is not None
            assert location.place is place
            assert bench.outcome(copy)["place"] == place
            mailboxes.restore(copy, recorded)
        assert bench.outcome(copy) == before


def test_no_action_is_no_action(bench: Bench) -> None:
    copy = bench.deliver()
    with pytest.raises(ActionNotSupported):
        retract(bench.mailboxes, copy, Action.NO_ACTION)
    assert bench.changes() == []


def test_gmail_hard_delete_must_be_allowed_by_the_connection(bench: Bench) -> None:
    if bench.mailbox.provider is not Provider.GOOGLE_WORKSPACE:
        pytest.skip("Microsoft 365 needs no other permission for it")
    copy = bench.deliver()
    with closing(bench.with_settings(allow_hard_delete=False)) as mailboxes:
        with pytest.raises(ActionNotSupported, match="allow_hard_delete"):
            retract(mailboxes, copy, Action.HARD_DELETE)
        retract(mailboxes, copy, Action.TRASH)
    assert bench.outcome(copy)["place"] == Place.TRASH


def test_a_location_tells_read_and_flag_state(bench: Bench) -> None:
    copy = bench.deliver(read=True)
    location = locate(bench.mailboxes, copy)
    assert location is not None
    assert (location.place, location.is_read, location.is_flagged) == (Place.INBOX, True, False)
    if bench.mailbox.provider is Provider.MICROSOFT365:
        assert location.folder_name == "Inbox"
        assert location.folder_id
    else:
        assert location.labels == ("INBOX",)


def test_a_copy_that_is_gone(bench: Bench) -> None:
    copy = bench.deliver()
    bench.tenant.state.store.remove(
        bench.box,
        bench.box.items[copy.message_id],
        at=bench.now,
        operation="test",
        status=200,
        place=TenantPlace.GONE,
    )
    assert locate(bench.mailboxes, copy) is None
    with pytest.raises(MessageNotFound):
        retract(bench.mailboxes, copy, Action.TRASH)


# ---- many copies at once -----------------------------------------------------------------


def later(bench: Bench) -> datetime:
    return bench.mailboxes.now() + timedelta(minutes=5)


def test_many_copies_of_many_mailboxes_go_where_they_should(bench: Bench) -> None:
    benches = [bench, *other_mailboxes(bench, 24)]
    copies = [each.deliver(str(number)) for number in range(7) for each in benches]
    spared = [each.deliver("good") for each in benches]
    before = bench.mailboxes.locate([*copies, *spared])
    assert {place.place for place in before if isinstance(place, Location)} == {Place.INBOX}

    answers = bench.mailboxes.retract([(copy, Action.TRASH) for copy in copies], later(bench))
    assert answers == [None] * len(copies)
    after = bench.mailboxes.locate([*copies, *spared])
    seen = [place.place for place in after if isinstance(place, Location)]
    assert seen == [Place.TRASH] * len(copies) + [Place.INBOX] * len(spared)
    moved = [change["message_id"] for each in benches for change in each.changes()]
    assert sorted(moved) == sorted(copy.message_id for copy in copies)


def test_each_copy_has_its_own_answer(bench: Bench) -> None:
    (other,) = other_mailboxes(bench, 1)
    here, there, gone = bench.deliver("here"), other.deliver("there"), bench.deliver("gone")
    bench.tenant.state.store.remove(
        bench.box,
        bench.box.items[gone.message_id],
        at=bench.now,
        operation="test",
        status=200,
        place=TenantPlace.GONE,
    )
    domain = bench.mailbox.address.partition("@")[2]
    nobodys = dataclasses.replace(
        here, mailbox_id="00000000-0000-4000-8000-000000000000", mailbox=f"nobody@{domain}"
    )
    copies = [nobodys, here, gone, there]
    no_mailbox, first, nowhere, second = bench.mailboxes.locate(copies)
    assert isinstance(no_mailbox, MailboxUnavailable)
    assert nowhere is None
    assert isinstance(first, Location)
    assert isinstance(second, Location)

    contents = bench.mailboxes.read(copies)
    assert [type(content) for content in contents[::2]] == [MailboxUnavailable, MessageNotFound]
    assert [c.subject for c in contents if isinstance(c, Extraction)] == ["here", "there"]

    found = bench.mailboxes.find(copies)
    assert isinstance(found[0], MailboxUnavailable)
    assert [each and each[0].copy for each in found[1:] if isinstance(each, tuple)] == [
        here, (), there,
    ]  # fmt: skip

    wishes = [(copy, Action.TRASH) for copy in copies]
    answers = bench.mailboxes.retract(wishes, later(bench))
    assert [type(answer) for answer in answers] == [
        MailboxUnavailable, type(None), MessageNotFound, type(None),
    ]  # fmt: skip
    assert bench.outcome(there)["place"] == Place.TRASH


def test_nothing_asked_is_nothing_answered(bench: Bench) -> None:
    bench.door.requests.clear()
    assert bench.mailboxes.locate([]) == []
    assert bench.mailboxes.find([]) == []
    assert bench.mailboxes.read([]) == []
    assert bench.mailboxes.retract([], later(bench)) == []
    assert bench.door.requests == []


def test_no_retraction_is_begun_after_the_end(bench: Bench) -> None:
    copies = [bench.deliver(str(number)) for number in range(6)]
    wishes = [(copy, Action.TRASH) for copy in copies]
    answers = bench.mailboxes.retract(wishes, bench.mailboxes.now())
    assert [type(answer) for answer in answers] == [Throttled] * 6
    assert {answer.retry_after for answer in answers if isinstance(answer, Throttled)} == {None}
    assert bench.changes() == []


def test_an_action_that_is_not_offered_stops_all_before_anything_is_done(bench: Bench) -> None:
    copies = [bench.deliver(str(number)) for number in range(3)]
    wishes = [*((copy, Action.TRASH) for copy in copies), (copies[0], Action.NO_ACTION)]
    with pytest.raises(ActionNotSupported):
        bench.mailboxes.retract(wishes, later(bench))
    assert bench.changes() == []


def test_finds_every_message_with_the_same_message_id_wherever_it_lies(bench: Bench) -> None:
    at = bench.now - timedelta(hours=1)
    copy = bench.deliver("first", at)
    raw = bench.box.items[copy.message_id].content.raw.replace(b"first", b"second")
    store = bench.tenant.state.store
    (twin,) = store.deliver(raw, [bench.mailbox.address], at, folder="junkemail", labels=["SPAM"])
    bench.deliver("another", at)
    (found,) = bench.mailboxes.find([copy])
    assert not isinstance(found, MailboxError)
    assert {(one.copy.message_id, one.location.place) for one in found} == {
        (copy.message_id, Place.INBOX),
        (twin.message_id, Place.JUNK),
    }
    assert {one.received_at for one in found} == {at}
    assert {one.copy.mailbox_id for one in found} == {bench.mailbox.mailbox_id}


def test_what_has_no_message_id_is_found_nowhere(bench: Bench) -> None:
    copy = dataclasses.replace(bench.deliver(), internet_message_id="")
    assert bench.mailboxes.find([copy]) == [()]


@pytest.mark.parametrize(
    "hostile",
    [
        "<o'brien@evil.example>",
        "<a' or internetMessageId ne 'b@evil.example>",
        "<a&$filter=isRead eq true#@evil.example>",
        "<100%25%27+or@evil.example>",
        "<x> OR in:inbox",
        "<Жук@evil.example>",
        pytest.param("x" * 100_000, id="endless"),
    ],
)
def test_a_hostile_message_id_finds_no_other_message(bench: Bench, hostile: str) -> None:
    bench.deliver("innocent")
    copy = dataclasses.replace(bench.deliver(), internet_message_id=hostile)
    (found,) = bench.mailboxes.find([copy])
    assert found == () or isinstance(found, MailboxError)


# ---- restore -----------------------------------------------------------------------------


def in_a_place_of_the_users_own(bench: Bench) -> Copy:
    """Read and flagged, in a folder or under a label that the user made."""
    store = bench.tenant.state.store
    if bench.mailbox.provider is Provider.MICROSOFT365:
        folder = store.add_folder(bench.box, "Projects")
        copy = bench.deliver(folder=folder.folder_id, read=True)
        bench.box.items[copy.message_id].flagged = True
    else:
        label = store.add_label(bench.box, "Projects")
        copy = bench.deliver(labels=["INBOX", "STARRED", "CATEGORY_UPDATES", label.label_id])
    return copy


@pytest.mark.parametrize("action", [Action.JUNK, Action.TRASH, Action.SOFT_DELETE])
@pytest.mark.parametrize("own_place", [False, True])
def test_restore_brings_everything_back(bench: Bench, action: Action, own_place: bool) -> None:
    if not supported(bench, action):
        pytest.skip("Gmail has no soft delete")
    copy = in_a_place_of_the_users_own(bench) if own_place else bench.deliver()
    before, recorded = bench.outcome(copy), locate(bench.mailboxes, copy)
    assert recorded is not None
    retract(bench.mailboxes, copy, action)
    assert bench.outcome(copy) != before
    bench.mailboxes.restore(copy, recorded)
    assert bench.outcome(copy) == before
    assert locate(bench.mailboxes, copy) == recorded


def test_restore_undoes_what_happened_to_the_marks_meanwhile(bench: Bench) -> None:
    copy = bench.deliver()
    before, recorded = bench.outcome(copy), locate(bench.mailboxes, copy)
    assert recorded is not None
    retract(bench.mailboxes, copy, Action.TRASH)
    item = bench.box.items[copy.message_id]
    if bench.mailbox.provider is Provider.MICROSOFT365:
        item.read = item.flagged = True
    else:
        item.labels = (item.labels | {"STARRED"}) - {"UNREAD"}
    bench.mailboxes.restore(copy, recorded)
    assert bench.outcome(copy) == before


def test_restore_twice_changes_nothing_more(bench: Bench) -> None:
    copy = bench.deliver()
    recorded = locate(bench.mailboxes, copy)
    assert recorded is not None
    retract(bench.mailboxes, copy, Action.JUNK)
    bench.mailboxes.restore(copy, recorded)
    done = bench.changes()
    bench.mailboxes.restore(copy, recorded)
    assert bench.changes() == done


def test_restore_when_the_users_own_place_is_gone(bench: Bench) -> None:
    copy = in_a_place_of_the_users_own(bench)
    recorded = locate(bench.mailboxes, copy)
    assert recorded is not None
    retract(bench.mailboxes, copy, Action.TRASH)
    for folder in [f for f in bench.box.folders.values() if f.display_name == "Projects"]:
        del bench.box.folders[folder.folder_id]
    for label in [label for label in bench.box.labels.values() if label.name == "Projects"]:
        del bench.box.labels[label.label_id]
    bench.mailboxes.restore(copy, recorded)
    assert bench.outcome(copy)["place"] == Place.INBOX


def test_what_was_purged_cannot_be_restored(bench: Bench) -> None:
    copy = bench.deliver()
    recorded = locate(bench.mailboxes, copy)
    assert recorded is not None
    retract(bench.mailboxes, copy, Action.HARD_DELETE)
    with pytest.raises(ActionNotSupported, match="out of reach"):
        bench.mailboxes.restore(copy, recorded)
    with pytest.raises(ActionNotSupported):
        bench.mailboxes.restore(bench.deliver(), Location(Place.PURGED))


# ---- what goes wrong ---------------------------------------------------------------------


def is_about_tokens(request: Request) -> bool:
    return request.url.path.endswith(("/token", "/openid-configuration"))


def wrong_secret(bench: Bench, tmp_path: Path) -> dict[str, object]:
    if bench.mailbox.provider is Provider.MICROSOFT365:
        return {"client_secret": SecretStr("wrong~secret")}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    stolen = json.loads(Path(bench.tenant.info["service_account_file"]).read_text())
    file = tmp_path / "wrong~secret.json"
    file.write_text(json.dumps(stolen | {"private_key": key.decode()}))
    return {"service_account_file": file}


def test_a_wrong_secret_is_told_without_telling_it(bench: Bench, tmp_path: Path) -> None:
    copy = bench.deliver()
    with closing(bench.with_settings(**wrong_secret(bench, tmp_path))) as mailboxes:
        for call in (
            lambda: list(mailboxes.list_mailboxes()),
            lambda: locate(mailboxes, copy),
            lambda: retract(mailboxes, copy, Action.TRASH),
        ):
            with pytest.raises(AuthenticationFailed) as caught:
                call()
            assert "wrong~secret" not in str(caught.value)
            assert "PRIVATE KEY" not in str(caught.value)
    assert bench.changes() == []


@LEAVES_SOCKETS
def test_an_unreachable_tenant_is_told(bench: Bench) -> None:
    copy = bench.deliver()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = f"https://127.0.0.1:{port}"
    roots = {"graph_url": address, "gmail_url": address, "directory_url": address}
    changes = {name: url for name, url in roots.items() if hasattr(bench.settings, name)}
    if bench.mailbox.provider is Provider.MICROSOFT365:
        # The identity platform answers, and knows the service by its right address only.
        changes["scope"] = f"{bench.tenant.info['graph_url']}/.default"
    with closing(bench.with_settings(**changes)) as mailboxes:
        with pytest.raises(TenantUnreachable):
            list(mailboxes.list_mailboxes())
        with pytest.raises(TenantUnreachable):
            retract(mailboxes, copy, Action.TRASH)
    gc.collect()


def test_a_certificate_nobody_vouches_for_is_refused(bench: Bench) -> None:
    with (
        closing(bench.with_settings(ca_file=None)) as mailboxes,
        pytest.raises(TenantUnreachable, match="ca_file"),
    ):
        list(mailboxes.list_mailboxes())


def test_a_change_answered_with_504_is_not_repeated(bench: Bench) -> None:
    copy = bench.deliver()

    async def done_but_504(request: Request, proceed: Next) -> Response:
        response = await proceed(request)
        changing = request.method != "GET" and not is_about_tokens(request)
        return Response(status_code=504) if changing else response

    bench.door.fault = done_but_504
    with pytest.raises(OutcomeUnknown):
        retract(bench.mailboxes, copy, Action.TRASH)
    bench.door.fault = None
    assert len(bench.changes()) == 1
    location = locate(bench.mailboxes, copy)
    assert location is not None
    assert location.place is Place.TRASH


def test_a_change_whose_answer_does_not_come_is_not_repeated(bench: Bench) -> None:
    copy = bench.deliver()

    async def done_but_late(request: Request, proceed: Next) -> Response:
        response = await proceed(request)
        if request.method != "GET" and not is_about_tokens(request):
            await asyncio.sleep(2)
        return response

    with closing(bench.with_settings(timeout_seconds=0.7)) as mailboxes:
        locate(mailboxes, copy)
        bench.door.fault = done_but_late
        with pytest.raises(OutcomeUnknown):
            retract(mailboxes, copy, Action.TRASH)
        bench.door.fault = None
        assert locate(mailboxes, copy) is not None
    assert len(bench.changes()) == 1


def test_short_throttling_is_waited_for(bench: Bench) -> None:
    copy = bench.deliver()
    refusals = iter([429, 503])

    async def busy_at_first(request: Request, proceed: Next) -> Response:
        if is_about_tokens(request):
            return await proceed(request)
        status = next(refusals, None)
        if status is None:
            return await proceed(request)
        return Response(status_code=status, headers={"Retry-After": "0.05"})

    bench.door.fault = busy_at_first
    retract(bench.mailboxes, copy, Action.JUNK)
    assert len(bench.changes()) == 1
    assert bench.outcome(copy)["place"] == Place.JUNK


def test_long_throttling_is_told_on(bench: Bench) -> None:
    copy = bench.deliver()

    async def busy(request: Request, proceed: Next) -> Response:
        if is_about_tokens(request):
            return await proceed(request)
        return Response(status_code=429, headers={"Retry-After": "120"})

    bench.door.fault = busy
    with pytest.raises(Throttled) as caught:
        retract(bench.mailboxes, copy, Action.JUNK)
    assert caught.value.retry_after == 120
    assert bench.changes() == []


def test_the_providers_own_mailbox_object_is_the_lakes(bench: Bench) -> None:
    """The ids in what is collected are those that list_mailboxes gives."""
    bench.deliver(at=bench.now - SECOND)
    (listed,) = (m for m in bench.mailboxes.list_mailboxes() if m == bench.mailbox)
    (message,) = bench.mailboxes.collect(listed, Window(bench.now - 60 * SECOND, bench.now), ())
    assert isinstance(listed, Mailbox)
    assert message.copy.mailbox_id == listed.mailbox_id
    assert message.copy.connection == "work"
