"""What a feed states, entry by entry: indicators, and what in it is none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from retract.model import Disposition, ObservableType


@dataclass(frozen=True, slots=True)
class Listed:
    """One indicator as a feed states it. None where the source's own setting counts."""

    type: ObservableType
    value: str
    """Canonical for its type."""
    disposition: Disposition | None = None
    confidence: int | None = None
    """0 to 100."""
    campaign: str | None = None
    reference: str | None = None
    first_seen: datetime | None = None
    expires_at: datetime | None = None
    revoked: bool = False
    """The feed says that it is none any more."""
    sightings: int = 0
    """How often the feed says it was seen."""
    tags: tuple[str, ...] = ()
    """Labels of the feed's own, for the source's ``disposition_by_tag``."""
    statement: str = ""
    """The feed's own id of what states it. Of one statement's versions in a reading, the newest
    alone counts, whatever value it names; several statements of one value stand side by side."""
    stated_at: datetime | None = None
    """When that version was made."""


class Rejected(NamedTuple):
    """An entry that cannot be used: it is broken, or not what the source is said to hold."""

    where: str
    """A line number or an object's id."""
    reason: str


class LeftOut(NamedTuple):
    """A sound entry that is left out on purpose: not meant for matching, or not about mail."""

    where: str
    reason: str


Entry = Listed | Rejected | LeftOut
"""What a parser yields. One bad entry is never the end of a feed; a FeedError is."""
