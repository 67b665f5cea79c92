"""Which mailboxes of a Workspace customer are watched: the Admin SDK's Directory API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from retract.errors import (
    ConnectionSettingsError,
    MailboxUnavailable,
    MessageNotFound,
    PermissionDenied,
)
from retract.mailboxes.google_workspace.answers import Member, MemberPage, User, UserPage, parse
from retract.mailboxes.google_workspace.api import Call, GoogleApi
from retract.mailboxes.settings import Watch
from retract.model import Mailbox, Provider, UnwatchedMailbox, UnwatchedReason

_USERS_PER_PAGE = 500
_MEMBERS_PER_PAGE = 200
_USER_FIELDS = "id,primaryEmail,aliases,nonEditableAliases,suspended,archived,isMailboxSetup"
_ASKED_ONE_BY_ONE = 50
"""More names than this are looked up in a listing of everyone, which brings 500 a call."""


class Directory:
    """The users of one customer, in the words of the provider protocol."""

    def __init__(self, api: GoogleApi, connection: str) -> None:
        self._api = api
        self._connection = connection
        self._may_read = False

    def mailboxes(self, watch: Watch) -> Iterator[Mailbox | UnwatchedMailbox]:
        """Those that the settings put under watch, each once, and those that cannot be.

        Members of a group who are nobody's users here (outsiders, groups) are passed over.
        """
        if watch.everyone:
            users: Iterator[User | UnwatchedMailbox] = self._everyone()
        else:
            users = self._named(watch)
        seen: set[str] = set()
        for user in users:
            if isinstance(user, UnwatchedMailbox):
                yield user
            elif user.id not in seen:
                seen.add(user.id)
                yield (
                    self._unwatched(user.address, UnwatchedReason.EXCLUDED)
                    if watch.excludes(*user.addresses)
                    else self._watched(user)
                )

    def mailbox(self, address: str) -> Mailbox:
        """Of the user with this address or alias. Raises MailboxUnavailable."""
        user = self._user(address.strip())
        if user is None:
            raise MailboxUnavailable(f"there is no mailbox {address} in this Workspace")
        found = self._watched(user)
        if isinstance(found, UnwatchedMailbox):
            raise MailboxUnavailable(
                f"there is a user {address} in this Workspace, but no mail: {found.reason}"
            )
        return found

    def _watched(self, user: User) -> Mailbox | UnwatchedMailbox:
        if user.suspended:
            return self._unwatched(user.address, UnwatchedReason.SUSPENDED)
        if user.archived:
            return self._unwatched(user.address, UnwatchedReason.ARCHIVED)
        if not user.has_mailbox:
            return self._unwatched(user.address, UnwatchedReason.UNLICENSED)
        aliases = tuple(sorted(user.addresses - {user.address.lower()}))
        return Mailbox(Provider.GOOGLE_WORKSPACE, self._connection, user.id, user.address, aliases)

    def _unwatched(
        self, address: str, reason: UnwatchedReason, detail: str = ""
    ) -> UnwatchedMailbox:
        return UnwatchedMailbox(self._connection, address, reason, detail)

    def _named(self, watch: Watch) -> Iterator[User | UnwatchedMailbox]:
        addresses = _named_in(watch)
        members: dict[str, None] = {}
        for group in watch.groups:
            found = self._members(group)
            if found is None:
                yield self._unwatched(group, UnwatchedReason.NOT_FOUND, "there is no such group")
                continue
            if any(member.type == "CUSTOMER" for member in found):
                yield from self._everyone()
            # Outsiders are of this type, too, and may have no id.
            users = (member.id for member in found if member.type == "USER" and member.id)
            members |= dict.fromkeys(users)
        look_up = self._user
        if len(addresses) + len(members) > _ASKED_ONE_BY_ONE:
            look_up = _known(self._everyone()).get  # type: ignore[assignment]
        for address in addresses:
            yield look_up(address.lower()) or self._unwatched(address, UnwatchedReason.NOT_FOUND)
        for member_id in members:
            user = look_up(member_id)
            if user is not None:
                yield user

    def _everyone(self, page: int = _USERS_PER_PAGE) -> Iterator[User]:
        task = "list the users"
        directory = self._api.directory()
        users = directory.directory.users()
        request = users.list(
            customer=self._api.settings.customer,
            maxResults=page,
            fields=f"users({_USER_FIELDS}),nextPageToken",
        )
        while request is not None:
            answer = directory.call(Call(request, 0, task))
            yield from parse(UserPage, answer, task).users
            request = users.list_next(request, answer)

    def _user(self, key: str) -> User | None:
        """By id, address or alias; None when there is nobody."""
        task = f"look up the user {key}"
        directory = self._api.directory()
        request = directory.directory.users().get(userKey=key, fields=_USER_FIELDS)
        try:
            return parse(User, directory.call(Call(request, 0, task)), task)
        except MessageNotFound:
            return None
        except PermissionDenied as error:
            # What is answered for a person of another organisation (seen in
            # github.com/slashdevops/idp-scim-sync/issues/49), and to who may read nobody.
            if error.code != "forbidden":
                raise
            self._require_reading()
            return None

    def _require_reading(self) -> None:
        """Raises PermissionDenied where the users of this very customer cannot be read."""
        if not self._may_read:
            next(self._everyone(page=1), None)
            self._may_read = True

    def _members(self, group: str) -> list[Member] | None:
        """Those of the groups inside it too; None when there is no such group."""
        task = f"list the members of the group {group}"
        directory = self._api.directory()
        members = directory.directory.members()
        request = members.list(
            groupKey=group,
            includeDerivedMembership=True,
            maxResults=_MEMBERS_PER_PAGE,
            fields="members(id,type),nextPageToken",
        )
        found: list[Member] = []
        while request is not None:
            try:
                answer = directory.call(Call(request, 0, task))
            except MessageNotFound:
                return None
            found += parse(MemberPage, answer, task).members
            request = members.list_next(request, answer)
        return found


def _known(users: Iterator[User]) -> Mapping[str, User]:
    """By id and by every address in lower case."""
    return {key: user for user in users for key in (user.id, *user.addresses)}


def _named_in(watch: Watch) -> tuple[str, ...]:
    try:
        return watch.named()
    except (OSError, ValueError) as error:
        raise ConnectionSettingsError(
            f"the addresses_file {watch.addresses_file} cannot be read: {error}"
        ) from None
