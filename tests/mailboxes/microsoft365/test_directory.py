"""Which mailboxes are watched, and why others are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_tenant.groups import GroupKind
from local_tenant.mailbox import Hosting
from local_tenant.mailbox import Mailbox as TenantMailbox
from local_tenant.mailbox import Provider as TenantProvider
from local_tenant.server import RunningTenant, running_tenant
from local_tenant.state import TenantSettings, new_state
from retract.errors import ConnectionSettingsError, MailboxUnavailable, PermissionDenied
from retract.mailboxes.microsoft365.provider import Microsoft365
from retract.mailboxes.settings import Microsoft365Settings, Watch
from retract.model import Mailbox, UnwatchedMailbox, UnwatchedReason

MICROSOFT = TenantProvider.MICROSOFT365
Open = Callable[..., Microsoft365]


@pytest.fixture(scope="module")
def tenant() -> Iterator[RunningTenant]:
    """One for all tests: Anna; Bert, who is disabled and has no mailbox; a shared mailbox, a room,
    a guest, a robot; people on premises, without a licence, and gone."""
    roles = ("Mail.ReadWrite", "User.Read.All", "GroupMember.Read.All")
    state = new_state(TenantSettings(latency_seconds=0, microsoft_roles=roles))
    for name, traits in PEOPLE.items():
        mailbox = state.store.add_mailbox(MICROSOFT, address(name), **traits)
        if name == "anna":
            state.store.add_alias(mailbox, address("sales-anna").title())
    state.store.add_group(MICROSOFT, address("sales"), members=[address("anna"), address("guest")])
    state.store.add_group(
        MICROSOFT,
        address("all"),
        members=[address("sales"), address("anna"), address("info"), address("hybrid")],
        kind=GroupKind.SECURITY,
    )
    with running_tenant(state) as running:
        yield running


PEOPLE: dict[str, dict[str, Any]] = {
    "anna": {},
    "bert": {"sign_in_name": "b.rown@corp.example"},
    "left": {"enabled": False, "hosting": Hosting.INACTIVE},
    "info": {"shared": True},
    "hybrid": {"hosting": Hosting.ON_PREMISES},
    "synced": {"synchronised": True},
    "robot": {"hosting": Hosting.UNLICENSED},
    "guest": {"guest": True},
}


def address(name: str) -> str:
    return f"{name}@{'else' if name == 'guest' else 'north'}.example"


@pytest.fixture
def watching(tenant: RunningTenant) -> Iterator[Open]:
    names = ("tenant_id", "client_id", "client_secret", "authority_url", "graph_url", "ca_file")
    opened: list[Microsoft365] = []

    def make(**watch: Any) -> Microsoft365:
        settings = Microsoft365Settings.model_validate({name: tenant.info[name] for name in names})
        settings = settings.model_copy(update={"watch": Watch(**watch)})
        opened.append(Microsoft365(settings, "work", tenant.state.clock))
        return opened[-1]

    yield make
    for mailboxes in opened:
        mailboxes.close()


def seen(mailboxes: Microsoft365) -> tuple[set[str], dict[str, UnwatchedReason]]:
    found = list(mailboxes.list_mailboxes())
    assert len(found) == len({one.address for one in found})
    watched = {one.address for one in found if isinstance(one, Mailbox)}
    return (
        {one.partition("@")[0] for one in watched},
        {
            one.address.partition("@")[0]: one.reason
            for one in found
            if isinstance(one, UnwatchedMailbox)
        },
    )


def test_everyone_with_a_mailbox_is_watched_and_who_has_none_is_told_with_the_reason(
    watching: Open,
) -> None:
    watched, unwatched = seen(watching())
    assert watched == {"anna", "bert", "info", "synced"}
    assert unwatched == {
        "left": UnwatchedReason.UNLICENSED,
        "hybrid": UnwatchedReason.ON_PREMISES,
    }


def test_the_services_own_words_are_the_detail(watching: Open) -> None:
    (left,) = (
        one
        for one in watching().list_mailboxes()
        if isinstance(one, UnwatchedMailbox) and one.address == address("left")
    )
    assert "MailboxNotEnabledForRESTAPI" in left.detail


def test_who_is_excluded_is_told_so_and_not_asked_for(watching: Open) -> None:
    watched, unwatched = seen(watching(exclude=("ANNA@north.example", address("hybrid"))))
    assert watched == {"bert", "info", "synced"}
    assert unwatched["anna"] is unwatched["hybrid"] is UnwatchedReason.EXCLUDED


def test_a_mailbox_is_known_by_its_other_addresses_and_may_be_excluded_by_them(
    watching: Open,
) -> None:
    alias = address("sales-anna")
    (anna,) = (one for one in watching().list_mailboxes() if one.address == address("anna"))
    assert isinstance(anna, Mailbox)
    assert anna.aliases == (alias,)
    _, unwatched = seen(watching(exclude=(alias,)))
    assert unwatched["anna"] is UnwatchedReason.EXCLUDED


def test_the_name_a_user_signs_in_with_is_one_of_the_mailbox_s_addresses(watching: Open) -> None:
    name = "b.rown@corp.example"
    bert = watching().mailbox(address("bert"))
    assert bert.aliases == (name,)
    leaving_out = watching(exclude=(name,))
    assert seen(leaving_out)[1]["bert"] is UnwatchedReason.EXCLUDED
    with pytest.raises(MailboxUnavailable, match="not watched"):
        leaving_out.mailbox(address("bert"))


def test_named_addresses_are_watched_or_told(watching: Open, tmp_path: Path) -> None:
    file = tmp_path / "addresses.txt"
    file.write_text(
        f"# ours\n\n{address('anna')}\n{address('INFO')}\n{address('robot')}\n"
        f"nobody@north.example\no'hara@north.example\n{address('guest')}\n"
    )
    watched, unwatched = seen(
        watching(addresses=(address("bert"), address("anna")), addresses_file=file)
    )
    assert watched == {"anna", "bert", "info"}
    assert unwatched == {
        "robot": UnwatchedReason.UNLICENSED,
        "nobody": UnwatchedReason.NOT_FOUND,
        "o'hara": UnwatchedReason.NOT_FOUND,
        "guest": UnwatchedReason.INACTIVE,
    }


def test_a_file_of_addresses_that_is_gone_is_told(watching: Open, tmp_path: Path) -> None:
    file = tmp_path / "addresses.txt"
    file.touch()
    mailboxes = watching(addresses_file=file)
    file.unlink()
    with pytest.raises(ConnectionSettingsError, match="addresses_file"):
        list(mailboxes.list_mailboxes())


@pytest.mark.parametrize("by", ["address", "id"])
def test_members_of_groups_within_groups_are_watched(
    watching: Open, tenant: RunningTenant, by: str
) -> None:
    group = tenant.state.store.group(MICROSOFT, address("all"))
    assert group is not None
    # A security group takes no mail, so that only its id names it.
    named = group.group_id if by == "id" else address("sales")
    watched, unwatched = seen(watching(groups=(named,)))
    assert watched == ({"anna", "info"} if by == "id" else {"anna"})
    assert unwatched == ({"hybrid": UnwatchedReason.ON_PREMISES} if by == "id" else {})


def test_a_group_that_nobody_knows_is_told(watching: Open) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    watched, unwatched = seen(watching(groups=("nobody'; drop@north.example", unknown)))
    assert watched == set()
    assert set(unwatched.values()) == {UnwatchedReason.NOT_FOUND}


def test_groups_need_a_permission_of_their_own() -> None:
    with running_tenant(new_state(TenantSettings(latency_seconds=0))) as tenant:
        names = ("tenant_id", "client_id", "client_secret", "authority_url", "graph_url", "ca_file")
        settings = Microsoft365Settings.model_validate({name: tenant.info[name] for name in names})
        settings = settings.model_copy(update={"watch": Watch(groups=("sales@north.example",))})
        mailboxes = Microsoft365(settings, "work", tenant.state.clock)
        with pytest.raises(PermissionDenied, match=r"GroupMember\.Read\.All"):
            list(mailboxes.list_mailboxes())
        mailboxes.close()


def test_a_mailbox_is_found_by_its_address_whoever_signs_in(watching: Open) -> None:
    mailboxes = watching()
    assert mailboxes.mailbox(address("info")).address == address("info")
    assert mailboxes.mailbox(address("bert")) == mailboxes.mailbox("b.rown@corp.example")
    for name in ("robot", "nobody"):
        with pytest.raises(MailboxUnavailable):
            mailboxes.mailbox(address(name))


def test_a_new_mailbox_appears_by_itself(watching: Open, tenant: RunningTenant) -> None:
    mailboxes = watching()
    before, _ = seen(mailboxes)
    box: TenantMailbox = tenant.state.store.add_mailbox(MICROSOFT, address("zoe"))
    assert seen(mailboxes)[0] - before == {"zoe"}
    tenant.state.store._mailboxes.pop((MICROSOFT, box.mailbox_id))


@pytest.mark.parametrize("status", [429, 503, 500])
def test_where_the_service_cannot_tell_now_the_mailbox_is_watched(status: int) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        if url.endswith("/openid-configuration"):
            base = "https://login.invalid/t"
            keys = ("token_endpoint", "issuer", "authorization_endpoint")
            return httpx.Response(200, json=dict.fromkeys(keys, f"{base}/oauth2/v2.0/token"))
        if url.endswith("/token"):
            return httpx.Response(200, json={"access_token": "t", "token_type": "Bearer"})
        if "/mailFolders/inbox" in url:
            return httpx.Response(status, json={"error": {"code": "Busy"}})
        user = {"id": "1", "mail": "info@north.example", "accountEnabled": False}
        return httpx.Response(200, json={"value": [user]})

    settings = Microsoft365Settings.model_validate(
        {
            "tenant_id": "t",
            "client_id": "c",
            "client_secret": "s",
            "authority_url": "https://login.invalid/{tenant_id}",
            "graph_url": "https://graph.invalid",
            "max_wait_seconds": 0,
        }
    )
    clock = new_state().clock
    mailboxes = Microsoft365(settings, "work", clock, transport=httpx.MockTransport(handle))
    (mailbox,) = mailboxes.list_mailboxes()
    mailboxes.close()
    assert isinstance(mailbox, Mailbox)
