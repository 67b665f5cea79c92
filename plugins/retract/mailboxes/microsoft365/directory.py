"""Which mailboxes of a Microsoft 365 tenant are watched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from retract.errors import (
    ConnectionSettingsError,
    MailboxError,
    MailboxUnavailable,
    MessageNotFound,
    PermissionDenied,
)
from retract.mailboxes.microsoft365.calls import (
    Call,
    GraphAnswer,
    segment,
    text,
    with_query,
)
from retract.mailboxes.microsoft365.graph import Graph
from retract.mailboxes.settings import Watch
from retract.model import Mailbox, Provider, UnwatchedMailbox, UnwatchedReason

_USER_FIELDS = (
    "id,userPrincipalName,mail,proxyAddresses,accountEnabled,userType,assignedLicenses,"
    "onPremisesSyncEnabled"
)
_PER_PAGE = "999"
_ASKED_AT_ONCE = 200
_A_USER = "#microsoft.graph.user"


class _User(GraphAnswer):
    id: str
    sign_in_name: str | None = Field(default=None, alias="userPrincipalName")
    mail: str | None = None
    proxies: tuple[str, ...] | None = Field(default=None, alias="proxyAddresses")
    """As "SMTP:ann@…" and "smtp:a.nother@…", and those of other kinds than mail."""
    enabled: bool | None = Field(default=None, alias="accountEnabled")
    kind: str | None = Field(default=None, alias="userType")
    licences: tuple[Any, ...] | None = Field(default=None, alias="assignedLicenses")
    synchronised: bool | None = Field(default=None, alias="onPremisesSyncEnabled")
    type: str = Field(default=_A_USER, alias="@odata.type")

    @property
    def address(self) -> str:
        return self.mail or self.sign_in_name or self.id

    @property
    def aliases(self) -> tuple[str, ...]:
        """The other addresses that mail reaches the user by, and the name that looks like one,
        in lower case."""
        named = (proxy.lower().partition(":") for proxy in self.proxies or ())
        mail = {address for kind, _, address in named if kind == "smtp"}
        names = {self.sign_in_name.lower()} if self.sign_in_name else set()
        return tuple(sorted((mail | names) - {self.address.lower()}))

    @property
    def is_guest(self) -> bool:
        """A guest's mail address is one of another organisation."""
        return self.kind == "Guest"

    @property
    def has_address(self) -> bool:
        return self.type == _A_USER and bool(self.mail) and not self.is_guest

    @property
    def surely_has_mailbox(self) -> bool:
        """Of others, those of shared mailboxes and rooms among them, only the mailbox tells."""
        return self.enabled is not False and bool(self.licences)

    @property
    def reason_without_mailbox(self) -> UnwatchedReason:
        """What Graph's one word for no mailbox, inactive and on-premises means here.

        A user can be synchronised and have a mailbox in the cloud, but has an address without a
        licence where a server of the organisation gave it.
        """
        if not self.licences:
            return UnwatchedReason.ON_PREMISES if self.synchronised else UnwatchedReason.UNLICENSED
        return UnwatchedReason.SUSPENDED if self.enabled is False else UnwatchedReason.INACTIVE


class _Users(GraphAnswer):
    value: tuple[_User, ...]


class _Named(GraphAnswer):
    id: str


@dataclass(frozen=True, slots=True)
class Directory:
    """The users of a tenant and their mailboxes.

    Groups are read member by member, without a cast to users: the cast needs an index that may
    lag behind (learn.microsoft.com/graph/api/group-list-transitivemembers). They need the
    permission GroupMember.Read.All.
    """

    graph: Graph
    connection: str

    def watched(self, watch: Watch) -> Iterator[Mailbox | UnwatchedMailbox]:
        """Each mailbox once. Users that nobody named and that have no mail address, and guests,
        have no mailbox and are passed over in silence."""
        doubtful: list[_User] = []
        seen: set[str] = set()
        for user in self._meant(watch):
            if isinstance(user, UnwatchedMailbox):
                yield user
                continue
            if user.id in seen:
                continue
            seen.add(user.id)
            if watch.excludes(user.address, *user.aliases):
                yield self._unwatched(user, UnwatchedReason.EXCLUDED)
            elif user.surely_has_mailbox:
                yield self._mailbox(user)
            else:
                doubtful.append(user)
                if len(doubtful) == _ASKED_AT_ONCE:
                    yield from self._looked_into(doubtful)
                    doubtful.clear()
        yield from self._looked_into(doubtful)

    def mailbox(self, address: str) -> Mailbox:
        """The mailbox with this address. Raises MailboxUnavailable."""
        (user,) = self._by_address([address])
        if isinstance(user, MailboxError):
            raise user
        if not user.has_address:
            raise MailboxUnavailable(f"{address} is a user without a mailbox in this tenant")
        return self._mailbox(user)

    # ---- who is meant ---------------------------------------------------------------------

    def _meant(self, watch: Watch) -> Iterator[_User | UnwatchedMailbox]:
        if watch.everyone:
            query = {"$select": _USER_FIELDS, "$top": _PER_PAGE}
            users = self.graph.pages("/users", _User, "list the users", **query)
            yield from (user for user in users if user.has_address)
            return
        named = _named_in(watch)
        for start in range(0, len(named), _ASKED_AT_ONCE):
            some = named[start : start + _ASKED_AT_ONCE]
            for address, found in zip(some, self._by_address(some), strict=True):
                yield self._named(address, found)
        for group in watch.groups:
            yield from self._members(group)

    def _named(self, address: str, found: _User | MailboxError) -> _User | UnwatchedMailbox:
        """Who is named is reported, with or without a mailbox."""
        match found:
            case MailboxUnavailable():
                told = "nobody in the directory has it as user principal name or primary address"
                return UnwatchedMailbox(self.connection, address, UnwatchedReason.NOT_FOUND, told)
            case MailboxError():
                raise found
            case _User(has_address=True):
                return found
            case _User(is_guest=True):
                told = "a guest, whose mail is in another organisation"
                return UnwatchedMailbox(self.connection, address, UnwatchedReason.INACTIVE, told)
            case _:
                reason = UnwatchedReason.INACTIVE if found.licences else UnwatchedReason.UNLICENSED
                told = "the user has no mail address"
                return UnwatchedMailbox(self.connection, address, reason, told)

    def _members(self, group: str) -> Iterator[_User | UnwatchedMailbox]:
        task = f"list the members of the group {group}"
        try:
            group_id = self._group_id(group, task)
            query = {"$select": _USER_FIELDS, "$top": _PER_PAGE}
            path = f"/groups/{segment(group_id)}/transitiveMembers"
            members = self.graph.pages(path, _User, task, **query)
            yield from (member for member in members if member.has_address)
        except MailboxUnavailable:
            told = "there is no such group"
            yield UnwatchedMailbox(self.connection, group, UnwatchedReason.NOT_FOUND, told)
        except PermissionDenied as error:
            raise PermissionDenied(
                f"Microsoft Graph refused to {task}: grant the application GroupMember.Read.All "
                "with an administrator's consent, or take groups out of watch",
                code=error.code,
            ) from error

    def _group_id(self, group: str, task: str) -> str:
        if "@" not in group:
            return group
        query = {"$select": "id", "$filter": f"mail eq {text(group)}"}
        found = next(self.graph.pages("/groups", _Named, task, **query), None)
        if found is None:
            raise MailboxUnavailable(f"there is no group {group}")
        return found.id

    def _by_address(self, addresses: Sequence[str]) -> list[_User | MailboxError]:
        """The user of each. The path knows a user by id or user principal name only, and mail
        may go elsewhere."""
        users = self.graph.all([_user_call(one) for one in addresses], _User)
        found: dict[str, _User | MailboxError] = dict(zip(addresses, users, strict=True))
        others = [one for one, user in found.items() if isinstance(user, MailboxUnavailable)]
        for address, answer in zip(
            others, self.graph.all([_mail_call(one) for one in others], _Users), strict=True
        ):
            if isinstance(answer, MailboxError):
                found[address] = answer
            elif answer.value:
                found[address] = answer.value[0]
        return [found[address] for address in addresses]

    # ---- who has a mailbox ------------------------------------------------------------------

    def _looked_into(self, users: Iterable[_User]) -> Iterator[Mailbox | UnwatchedMailbox]:
        """Whether there is a mailbox, by its Inbox: shared mailboxes and rooms have disabled
        users without a licence. Where that cannot be told now, the mailbox is watched, and
        reading it will tell."""
        asked = list(users)
        answers = self.graph.all([_inbox_call(user) for user in asked], _Named)
        for user, answer in zip(asked, answers, strict=True):
            if isinstance(answer, MailboxUnavailable | MessageNotFound):
                yield self._unwatched(user, user.reason_without_mailbox, str(answer))
            else:
                yield self._mailbox(user)

    def _mailbox(self, user: _User) -> Mailbox:
        return Mailbox(Provider.MICROSOFT365, self.connection, user.id, user.address, user.aliases)

    def _unwatched(
        self, user: _User, reason: UnwatchedReason, detail: str = ""
    ) -> UnwatchedMailbox:
        return UnwatchedMailbox(self.connection, user.address, reason, detail)


def _named_in(watch: Watch) -> tuple[str, ...]:
    try:
        return watch.named()
    except (OSError, ValueError) as error:
        raise ConnectionSettingsError(
            f"the addresses_file {watch.addresses_file} cannot be read: {error}"
        ) from None


def _user_call(address: str) -> Call:
    path = with_query(f"/users/{segment(address)}", **{"$select": _USER_FIELDS})
    return Call("GET", path, f"find the mailbox {address}")


def _mail_call(address: str) -> Call:
    query = {"$select": _USER_FIELDS, "$filter": f"mail eq {text(address)}"}
    return Call("GET", with_query("/users", **query), f"find the mailbox {address}")


def _inbox_call(user: _User) -> Call:
    path = with_query(f"/users/{segment(user.id)}/mailFolders/inbox", **{"$select": "id"})
    return Call("GET", path, f"find the Inbox of {user.address}", user.id)
