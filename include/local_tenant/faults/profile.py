"""Fault profiles: how often what goes wrong, by name, and put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Chance = Annotated[float, Field(ge=0, le=1)]


class RetryAfter(StrEnum):
    """What a throttled caller is told of when to come back."""

    WHOLE = "whole"
    DECIMAL = "decimal"
    MISSING = "missing"
    ONE = "one"
    """One second, each time anew, however long it really takes."""
    NONSENSE = "nonsense"
    LONG = "long"
    """Minutes."""


class FaultProfile(BaseModel):
    """How often what goes wrong. A chance is that of one call about one copy or listing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    throttled: Chance = 0
    """Answered 429 (Gmail: also 403 for quota), and not carried out."""
    retry_after: tuple[RetryAfter, ...] = (
        RetryAfter.WHOLE,
        RetryAfter.DECIMAL,
        RetryAfter.MISSING,
        RetryAfter.ONE,
        RetryAfter.NONSENSE,
    )
    unavailable: Chance = 0
    """Answered 503, and not carried out."""
    timed_out: Chance = 0
    """Answered 504, and not carried out."""
    lost_answers: Chance = 0
    """Changes only: carried out, and answered 504."""
    reset_before: Chance = 0
    """The connection is closed, and the call not carried out. A batch loses all its answers."""
    reset_after: Chance = 0
    """The connection is closed after the call was carried out."""
    slow: Chance = 0
    slow_seconds: float = Field(default=2.0, ge=0)
    revoked_tokens: Chance = 0
    """Per mailbox and kind of call, at the first of them: the caller's token is from then on taken
    for an expired one."""
    expired_history: Chance = 0
    """Delta and history only: what was handed out before leads nowhere any more."""
    vanishing_mailboxes: Chance = 0
    """Changes only: from this call on the mailbox is there no longer."""
    owner_deeds: Chance = 0
    """Per copy: its owner moves, deletes, marks or answers it around the first look at it."""
    most_each: int = Field(default=2, ge=1)
    """A call about one thing is hit by the same fault no more than so many times."""
    held_mailboxes: Chance = 0
    """On litigation hold: what is deleted for good is kept."""
    duplicates: Chance = 0
    """At delivery: the same message twice, or another one with its Message-ID."""
    token_seconds: int | None = Field(default=None, ge=1)
    """How long tokens live."""
    app_requests_per_second: int | None = Field(default=None, ge=1)
    """What all callers together may ask of Graph."""
    gmail_units_per_second: int | None = Field(default=None, ge=1)
    """What all callers together may spend at Gmail."""
    gmail_units_per_minute: int | None = Field(default=None, ge=1)
    """The same by the minute, as Gmail itself counts; not beside the other."""

    def __or__(self, other: FaultProfile) -> FaultProfile:
        """Both at once: where both say something, the other one's word."""
        said = other.model_dump(exclude_unset=True)
        return FaultProfile.model_validate(self.model_dump(exclude_unset=True) | said)


PROFILES: Mapping[str, FaultProfile] = MappingProxyType(
    {
        "throttled": FaultProfile(throttled=0.2),
        "throttled_for_long": FaultProfile(
            throttled=0.2, retry_after=(RetryAfter.LONG, RetryAfter.ONE), most_each=6
        ),
        "app_throttled": FaultProfile(app_requests_per_second=100, gmail_units_per_second=2_000),
        "unavailable": FaultProfile(unavailable=0.1, timed_out=0.1),
        "lost_answers": FaultProfile(lost_answers=0.3),
        "resets": FaultProfile(reset_before=0.02, reset_after=0.02),
        "slow": FaultProfile(slow=0.05),
        "expiring_tokens": FaultProfile(revoked_tokens=0.05, token_seconds=600),
        "expired_history": FaultProfile(expired_history=0.5),
        "vanishing_mailboxes": FaultProfile(vanishing_mailboxes=0.1),
        "busy_owners": FaultProfile(owner_deeds=0.4),
        "duplicates": FaultProfile(duplicates=0.3),
        "held": FaultProfile(held_mailboxes=0.3),
    }
)
"""Each by itself; `put_together` joins them."""

EVERYTHING = "everything"


def put_together(names: Iterable[str]) -> FaultProfile:
    """The named profiles at once; ``everything`` is all of them. Raises ValueError for a name
    that is unknown."""
    together = FaultProfile()
    for name in names:
        if name == EVERYTHING:
            together |= put_together(PROFILES)
        elif name in PROFILES:
            together |= PROFILES[name]
        else:
            raise ValueError(
                f"no fault profile {name!r}; there are {', '.join(PROFILES)} and {EVERYTHING}"
            )
    return together
