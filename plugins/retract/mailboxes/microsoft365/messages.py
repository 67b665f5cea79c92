"""What Microsoft 365 tells of a message besides its content."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from retract.mailboxes.microsoft365.calls import GraphAnswer, segment
from retract.mailboxes.microsoft365.folders import Folder
from retract.model import Copy, Location
from retract.observables.address import canonical_address

_STATE_FIELDS = "id,parentFolderId,isRead,flag"
# PidTagLastVerbExecuted: what the owner last did with the message ([MS-OXOMSG] 2.2.1.41).
_LAST_VERB = "Integer 0x1081"
_REPLIED = frozenset({"102", "103"})  # to the sender, to all
_FORWARDED = frozenset({"104"})

_EXPAND = {"$expand": f"singleValueExtendedProperties($filter=id eq '{_LAST_VERB}')"}
STATE_QUERY = {"$select": _STATE_FIELDS, **_EXPAND}
"""What to ask of one message for a `State`."""
LISTED_QUERY = {
    "$select": f"{_STATE_FIELDS},internetMessageId,receivedDateTime,isDraft",
    **_EXPAND,
}
"""What to ask of a listing for `Listed`."""
SEARCH_QUERY = {**LISTED_QUERY, "$select": f"{LISTED_QUERY['$select']},subject,from"}
"""What to ask of a search for `Sought`."""


class _Flag(GraphAnswer):
    status: str = Field(default="notFlagged", alias="flagStatus")


class _Property(GraphAnswer):
    id: str
    value: str


class State(GraphAnswer):
    """Where a message lies, and how it looks there."""

    id: str
    folder_id: str = Field(alias="parentFolderId")
    is_read: bool = Field(default=False, alias="isRead")
    flag: _Flag | None = None
    properties: list[_Property] = Field(default=[], alias="singleValueExtendedProperties")
    """Left out by the service where the message has none of those asked for."""

    @property
    def is_flagged(self) -> bool:
        """Whether its owner marked it, and did not mark it as done since."""
        return self.flag is not None and self.flag.status == "flagged"

    def location(self, folder: Folder) -> Location:
        """In the program's words, given its folder.

        Only the last of what the owner did is known: who forwarded a message after a reply
        to it is told to have forwarded it.
        """
        verbs = {each.value for each in self.properties if each.id.lower() == _LAST_VERB.lower()}
        return Location(
            place=folder.place,
            folder_id=self.folder_id,
            folder_name=folder.name,
            is_read=self.is_read,
            is_flagged=self.is_flagged,
            replied=bool(verbs & _REPLIED),
            forwarded=bool(verbs & _FORWARDED),
        )


class Listed(State):
    """A message in a listing."""

    internet_message_id: str | None = Field(default=None, alias="internetMessageId")
    received_at: AwareDatetime = Field(alias="receivedDateTime")
    is_draft: bool = Field(default=False, alias="isDraft")


class _Address(GraphAnswer):
    name: str | None = None
    address: str | None = None


class _Sender(GraphAnswer):
    address: _Address = Field(default=_Address(), alias="emailAddress")


class Sought(Listed):
    """A message that a search found, with what tells it from another of the same Message-ID."""

    subject: str | None = None
    sender: _Sender | None = Field(default=None, alias="from")

    @property
    def sender_address(self) -> str:
        """Of the From header, canonical; empty where there is none."""
        return canonical_address((self.sender and self.sender.address.address) or "")


def path_of(copy: Copy) -> str:
    """Where the copy is to be asked for."""
    return f"/users/{segment(copy.mailbox_id)}/messages/{segment(copy.message_id)}"
