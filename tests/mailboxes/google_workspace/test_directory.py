"""Which mailboxes are watched, and why others are not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from mailbox_bench import Bench

from local_tenant.mailbox import Hosting
from local_tenant.mailbox import Provider as TenantProvider
from local_tenant.state import Next
from retract.errors import ConnectionSettingsError, MailboxUnavailable, PermissionDenied
from retract.mailboxes.settings import Watch
from retract.model import Mailbox, Provider, UnwatchedMailbox, UnwatchedReason

pytestmark = pytest.mark.parametrize("bench", [Provider.GOOGLE_WORKSPACE], indirect=True)
Make = Callable[..., Any]
GOOGLE = TenantProvider.GOOGLE_WORKSPACE


@pytest.fixture
def named(bench: Bench) -> Callable[..., str]:
    """A user's address, of which nobody else in the running tenant has a like."""
    mark = uuid.uuid4().hex[:8]

    def name(local: str, **traits: Any) -> str:
        address = f"{local}-{mark}@south.example"
        if traits.pop("exists", True):
            bench.tenant.add_mailbox(address, **traits)
        return address

    return name


def seen(it: Any, mark: str = "") -> tuple[set[str], dict[str, UnwatchedReason]]:
    found = list(it.mailboxes.list_mailboxes())
    assert len(found) == len(set(found))
    watched = {one.address for one in found if isinstance(one, Mailbox) and mark in one.address}
    unwatched = {
        one.address: one.reason
        for one in found
        if isinstance(one, UnwatchedMailbox) and mark in one.address
    }
    return watched, unwatched


def test_everyone_is_watched_but_for_a_reason(
    patient: Make, bench: Bench, named: Callable[..., str]
) -> None:
    anna, left = named("anna"), named("left", enabled=False)
    old, new = named("old", archived=True), named("new", hosting=Hosting.UNLICENSED)
    head = named("head")
    it = patient(watch=Watch(exclude=(head.upper(),)))
    watched, unwatched = seen(it, anna.partition("-")[2])
    assert watched == {anna}
    assert unwatched == {
        left: UnwatchedReason.SUSPENDED,
        old: UnwatchedReason.ARCHIVED,
        new: UnwatchedReason.UNLICENSED,
        head: UnwatchedReason.EXCLUDED,
    }


def test_named_addresses_and_those_of_a_file(
    patient: Make, bench: Bench, named: Callable[..., str], tmp_path: Path
) -> None:
    anna, bert, carl = named("anna"), named("bert"), named("carl")
    nobody = named("nobody", exists=False)
    file = tmp_path / "watched.txt"
    file.write_text(f"# the board\n\n{bert.upper()}\n{anna}\n", encoding="utf-8")
    it = patient(watch=Watch(addresses=(anna, nobody), addresses_file=file))
    assert seen(it) == ({anna, bert}, {nobody: UnwatchedReason.NOT_FOUND})
    assert carl not in seen(it)[0]
    assert all("/users/" in call for call in it.calls())  # nobody else was listed


def test_an_alias_leads_to_the_user(patient: Make, bench: Bench, named: Callable[..., str]) -> None:
    anna, alias = named("anna"), named("a", exists=False)
    box = bench.tenant.state.store.mailbox(GOOGLE, anna)
    assert box is not None
    bench.tenant.state.store.add_alias(box, alias)
    assert seen(patient(watch=Watch(addresses=(alias, anna)))) == ({anna}, {})
    found = patient().mailboxes.mailbox(alias)
    assert (found.address, found.aliases) == (anna, (alias,))
    excluded = patient(watch=Watch(addresses=(anna,), exclude=(alias,)))
    assert seen(excluded) == (set(), {anna: UnwatchedReason.EXCLUDED})


def test_members_of_groups_and_of_groups_inside_them(
    patient: Make, bench: Bench, named: Callable[..., str]
) -> None:
    anna, bert, carl = named("anna"), named("bert"), named("carl")
    inner, outer, none = (named(n, exists=False) for n in ("inner", "outer", "none"))
    store = bench.tenant.state.store
    store.add_group(GOOGLE, inner, members=[bert])
    store.add_group(GOOGLE, outer, members=[inner, anna])
    it = patient(watch=Watch(groups=(outer, inner, none)))
    assert seen(it) == ({anna, bert}, {none: UnwatchedReason.NOT_FOUND})
    assert carl not in seen(it)[0]


@pytest.fixture
def strangers(bench: Bench) -> Iterator[Callable[[int, bool], None]]:
    """Every user asked for by name is answered as those of another organisation are."""

    def refuse(status: int, listing: bool) -> None:
        async def fault(request: Request, proceed: Next) -> Response:
            _, asked, key = request.url.path.partition("/users/")
            is_listing = request.url.path.endswith("/users")
            if (asked and "stranger" in key) or (listing and is_listing):
                told, reason = {
                    403: ("Not Authorized to access this resource/api", "forbidden"),
                    404: ("Resource Not Found: userKey", "notFound"),
                }[status]
                error = {"code": status, "message": told, "errors": [{"reason": reason}]}
                return JSONResponse({"error": error}, status)
            if request.url.path.endswith("/members"):
                answer = json.loads(bytes((await proceed(request)).body))
                outsiders = [{"id": "stranger-1", "type": "USER"}, {"type": "USER"}]
                return JSONResponse({**answer, "members": [*answer["members"], *outsiders]})
            return await proceed(request)

        bench.door.fault = fault

    yield refuse
    bench.door.fault = None


@pytest.mark.parametrize("status", [403, 404])
def test_people_of_other_organisations_in_a_group_keep_nobody_from_being_watched(
    patient: Make,
    bench: Bench,
    named: Callable[..., str],
    strangers: Callable[[int, bool], None],
    status: int,
) -> None:
    anna, group = named("anna"), named("group", exists=False)
    bench.tenant.state.store.add_group(GOOGLE, group, members=[anna])
    strangers(status, False)
    watch = Watch(groups=(group,), addresses=("stranger@other.example",))
    assert seen(patient(watch=watch)) == (
        {anna},
        {"stranger@other.example": UnwatchedReason.NOT_FOUND},
    )


def test_who_may_read_no_users_is_not_told_that_there_are_none(
    patient: Make, strangers: Callable[[int, bool], None]
) -> None:
    strangers(403, True)
    with pytest.raises(PermissionDenied):
        seen(patient(watch=Watch(addresses=("stranger@south.example",))))


def test_many_names_are_looked_up_in_one_listing(
    patient: Make, bench: Bench, named: Callable[..., str]
) -> None:
    names = [named(f"u{number}") for number in range(60)]
    nobody = named("nobody", exists=False)
    it = patient(watch=Watch(addresses=(*names, nobody)))
    assert seen(it) == (set(names), {nobody: UnwatchedReason.NOT_FOUND})
    assert {call.rpartition("/")[2] for call in it.calls()} == {"users"}


def test_the_scope_for_groups_is_asked_for_only_when_groups_are_named(
    patient: Make, bench: Bench, named: Callable[..., str]
) -> None:
    state = bench.tenant.state
    granted = state.settings.google_scopes
    fewer = tuple(scope for scope in granted if "group" not in scope)
    settings = state.settings
    object.__setattr__(state, "settings", settings.model_copy(update={"google_scopes": fewer}))
    try:
        assert patient().mailboxes.mailbox(named("anna"))
        with pytest.raises(Exception, match="delegation"):
            seen(patient(watch=Watch(groups=("all@south.example",))))
    finally:
        state.settings = settings


def test_one_mailbox_is_asked_for_without_listing_the_directory(
    patient: Make, bench: Bench, named: Callable[..., str]
) -> None:
    it = patient()
    assert it.mailboxes.mailbox(bench.mailbox.address) == bench.mailbox
    assert len(it.calls()) == 1
    with pytest.raises(MailboxUnavailable, match="suspended"):
        it.mailboxes.mailbox(named("left", enabled=False))
    with pytest.raises(MailboxUnavailable, match="nobody"):
        it.mailboxes.mailbox("nobody@south.example")


def test_a_file_of_addresses_that_is_gone_is_told(
    patient: Make, bench: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "watched.txt"
    file.write_text("a@south.example")
    it = patient(watch=Watch(addresses_file=file))
    file.unlink()
    with pytest.raises(ConnectionSettingsError, match=r"watched\.txt"):
        seen(it)
