"""Where a reading of a Microsoft 365 mailbox ended: what its watermark's cursor says."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrackedFolder(_Part):
    """A folder whose changes are followed."""

    id: str
    token: str = ""
    """The query of its delta link; empty where a first round is to be made, or where it is not
    followed, as are drafts."""
    name: str = ""
    """The service's own name for it: "inbox", "sentitems"; empty for the owner's folders."""
    has_children: bool = False


class Cursor(_Part):
    """All that the next reading needs. A cursor of another version is of no use to it."""

    version: Literal[1] = 1
    read_until: AwareDatetime
    """What was delivered before, give or take the time that a delivery takes, was told."""
    folders: tuple[TrackedFolder, ...] = ()
    pending: dict[str, int] = {}
    """Ids of messages told but not read yet, and how often that was tried."""

    def text(self) -> str:
        """As short as it goes."""
        return self.model_dump_json(exclude_defaults=True)


def read_cursor(text: str) -> Cursor | None:
    """None where it cannot be understood."""
    try:
        return Cursor.model_validate_json(text)
    except ValidationError:
        return None
