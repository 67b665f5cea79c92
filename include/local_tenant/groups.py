"""Groups of the directory, with the people in them and in the groups in them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from local_tenant.mailbox import Mailbox, Provider


class GroupKind(StrEnum):
    """What a group is there for. Google knows one kind only."""

    DISTRIBUTION_LIST = "distribution_list"
    MAIL_ENABLED_SECURITY = "mail_enabled_security"
    MICROSOFT365 = "microsoft365"
    SECURITY = "security"
    """Takes no mail."""


@dataclass(slots=True, eq=False)
class Group:
    """A group, which may hold other groups. Change it only through `Store`."""

    provider: Provider
    group_id: str
    """Microsoft: a GUID."""
    address: str
    display_name: str
    kind: GroupKind = GroupKind.DISTRIBUTION_LIST
    members: dict[str, Mailbox | Group] = field(default_factory=dict)
    """The direct ones, by id."""

    @property
    def takes_mail(self) -> bool:
        return self.kind is not GroupKind.SECURITY

    def transitive_members(self) -> list[Mailbox | Group]:
        """Those of the groups in it too, each once and never itself; groups may hold each other."""
        found: dict[str, Mailbox | Group] = {}
        waiting = deque(self.members.items())
        while waiting:
            member_id, member = waiting.popleft()
            if member_id in found or member_id == self.group_id:
                continue
            found[member_id] = member
            if isinstance(member, Group):
                waiting += member.members.items()
        return list(found.values())

    def people(self) -> list[Mailbox]:
        """The users among the transitive members."""
        return [member for member in self.transitive_members() if isinstance(member, Mailbox)]
