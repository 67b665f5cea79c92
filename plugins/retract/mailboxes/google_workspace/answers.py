"""What Google answers, as far as it is read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retract.errors import MailboxError
from retract.model import Location, Place

A = TypeVar("A", bound="GoogleAnswer")

# In this order: a message in Trash keeps its other labels.
_PLACES = {
    "TRASH": Place.TRASH,
    "SPAM": Place.JUNK,
    "INBOX": Place.INBOX,
    "SENT": Place.SENT,
}


class GoogleAnswer(BaseModel):
    """What Google sends. It adds fields at any time, so unknown ones are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Reference(GoogleAnswer):
    """The id of a message or label."""

    id: str


class Header(GoogleAnswer):
    """One header of a message."""

    name: str
    value: str = ""


class Payload(GoogleAnswer):
    """The parsed message, of which only headers are asked for."""

    headers: tuple[Header, ...] = ()


class Message(GoogleAnswer):
    """A message in one of the formats of messages.get."""

    id: str
    labels: tuple[str, ...] = Field(default=(), alias="labelIds")
    internal_date: int = Field(default=0, alias="internalDate")
    """Milliseconds since the epoch: when Gmail accepted the message."""
    raw: str = ""
    """The message in base64url; in no other format than raw."""
    payload: Payload = Payload()
    """In the formats metadata and full."""

    @property
    def received_at(self) -> datetime:
        return datetime.fromtimestamp(self.internal_date / 1000, UTC)

    @property
    def location(self) -> Location:
        """Where it lies. Gmail does not tell whether it was answered or passed on."""
        place = next((place for label, place in _PLACES.items() if label in self.labels), None)
        return Location(
            place=place or Place.OTHER,
            labels=tuple(sorted(self.labels)),
            is_read="UNREAD" not in self.labels,
            is_flagged="STARRED" in self.labels,
        )

    def header(self, name: str) -> str:
        """The first header of this name; empty where there is none."""
        same = (h.value for h in self.payload.headers if h.name.lower() == name.lower())
        return next(same, "")

    def content(self, task: str) -> bytes:
        """The message's bytes. Raises MailboxError where they are no base64url."""
        try:
            return base64.urlsafe_b64decode(self.raw + "==")
        except ValueError as error:
            raise MailboxError(f"Google answered the call to {task} with no base64url") from error


class MessagePage(GoogleAnswer):
    """One page of messages.list."""

    messages: tuple[Reference, ...] = ()


class Profile(GoogleAnswer):
    """The part of users.getProfile that history goes on from."""

    history_id: int = Field(alias="historyId")


class Change(GoogleAnswer):
    """A message that came, or that labels were put on."""

    class Changed(GoogleAnswer):
        id: str
        labels: tuple[str, ...] = Field(default=(), alias="labelIds")

    message: Changed
    labels: tuple[str, ...] = Field(default=(), alias="labelIds")
    """The labels that were put on it."""


class Record(GoogleAnswer):
    """One change of a mailbox."""

    added: tuple[Change, ...] = Field(default=(), alias="messagesAdded")
    labelled: tuple[Change, ...] = Field(default=(), alias="labelsAdded")


class HistoryPage(GoogleAnswer):
    """One page of history.list."""

    history: tuple[Record, ...] = ()
    history_id: int = Field(alias="historyId")
    """Of the mailbox when this page was made."""
    next_page: str = Field(default="", alias="nextPageToken")


class Labels(GoogleAnswer):
    """The labels of a mailbox."""

    labels: tuple[Reference, ...] = ()


class User(GoogleAnswer):
    """Somebody in the Directory."""

    id: str
    address: str = Field(alias="primaryEmail")
    aliases: tuple[str, ...] = ()
    other_aliases: tuple[str, ...] = Field(default=(), alias="nonEditableAliases")
    """Those under the customer's other domains."""
    suspended: bool = False
    archived: bool = False
    has_mailbox: bool = Field(default=True, alias="isMailboxSetup")

    @property
    def addresses(self) -> frozenset[str]:
        """All of them, in lower case."""
        return frozenset(
            address.lower() for address in (self.address, *self.aliases, *self.other_aliases)
        )


class UserPage(GoogleAnswer):
    """One page of users.list."""

    users: tuple[User, ...] = ()


class Member(GoogleAnswer):
    """Somebody, or something, in a group."""

    id: str = ""
    type: str = "USER"
    """USER, GROUP, EXTERNAL, or CUSTOMER for everyone."""


class MemberPage(GoogleAnswer):
    """One page of members.list."""

    members: tuple[Member, ...] = ()


def parse(model: type[A], answer: Mapping[str, Any], task: str) -> A:
    """The answer to the task. Raises MailboxError where it is not what Google documents."""
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise MailboxError(
            f"Google answered the call to {task} with something else than it documents"
        ) from error
