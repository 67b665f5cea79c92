"""What callers of the Gmail API may send: request bodies and enumerations."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Body(BaseModel):
    # Like all of Google's JSON services: addLabelIds and add_label_ids are the same.
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class ModifyBody(_Body):
    """ModifyMessageRequest."""

    add_label_ids: list[str] = Field(default_factory=list)
    remove_label_ids: list[str] = Field(default_factory=list)


class BatchModifyBody(ModifyBody):
    """BatchModifyMessagesRequest."""

    ids: list[str] = Field(default_factory=list)


class BatchDeleteBody(_Body):
    """BatchDeleteMessagesRequest."""

    ids: list[str] = Field(default_factory=list)


class MessageBody(_Body):
    """The part of a Message that insert and import read."""

    raw: str = ""
    label_ids: list[str] = Field(default_factory=list)
    thread_id: str | None = None


class LabelBody(_Body):
    """The part of a Label that create reads."""

    name: str = ""
    label_list_visibility: str = "labelShow"
    message_list_visibility: str = "show"


class InternalDateSource(StrEnum):
    """Which time becomes the internal date of a message put in by API."""

    RECEIVED_TIME = "receivedTime"
    DATE_HEADER = "dateHeader"


class HistoryType(StrEnum):
    """Kinds of change history.list can be narrowed to."""

    MESSAGE_ADDED = "messageAdded"
    MESSAGE_DELETED = "messageDeleted"
    LABEL_ADDED = "labelAdded"
    LABEL_REMOVED = "labelRemoved"
