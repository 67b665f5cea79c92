"""What a refresh did, source by source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict

from retract.indicators.changes import Change
from retract.indicators.listed import LeftOut, Rejected
from retract.indicators.snapshot import Facts
from retract.model import ObservableType

HELD_BACK_EXAMPLES: Final = 20
HELD_BACK_REASONS: Final = 20


class HeldBack(NamedTuple):
    """An indicator that is in force but for being held back."""

    type: ObservableType
    value: str
    reason: str


class SourceReport(BaseModel):
    """What a refresh did with one source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    listed: int = 0
    """Distinct indicators of the source that are listed now."""
    added: int = 0
    """Never seen before."""
    reactivated: int = 0
    """In force again."""
    expired: int = 0
    """Of those in force before: their time is over."""
    revoked: int = 0
    """… the source says that they are none any more."""
    no_longer_listed: int = 0
    """… and left with that."""
    removed: int = 0
    """… and the feeds file does not name their source any more."""
    rejected: int = 0
    """Entries that are broken."""
    rejected_examples: tuple[Rejected, ...] = ()
    left_out: int = 0
    """Entries that are sound and not used on purpose."""
    left_out_examples: tuple[LeftOut, ...] = ()
    held_back: int = 0
    """In force, but matching nothing."""
    held_back_because: dict[str, int] = {}
    """How many by reason, the most frequent first; not more than HELD_BACK_REASONS."""
    held_back_examples: tuple[HeldBack, ...] = ()
    in_force: int = 0
    """Indicators of the source that match from now on."""
    unchanged: bool = False
    """The source had nothing new."""
    complete: bool = True
    """The reading was all that the source lists, not only news."""
    error: str | None = None
    """Why the source could not be read; its last good version stays."""


class RefreshReport(BaseModel):
    """What a refresh did, and the version of the indicators it made or left."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    changed: bool = True
    """Whether it made that version; else nothing was to change."""
    sources: tuple[SourceReport, ...]

    @property
    def failed(self) -> tuple[SourceReport, ...]:
        return tuple(source for source in self.sources if source.error is not None)


def report_of(
    name: str,
    rows: pl.LazyFrame,
    changed: Mapping[Change, int],
    facts: Facts | None,
    error: str | None,
) -> SourceReport:
    """What a refresh did with a source whose rows are these now."""
    listed, active = rows.select(pl.col("listed").sum(), pl.col("active").sum()).collect().row(0)
    held = rows.filter(pl.col("active") & pl.col("held_back").is_not_null())
    reasons = held.group_by("held_back").len().sort("len", "held_back", descending=[True, False])
    counted = reasons.collect()
    examples = held.select("type", "value", "held_back").head(HELD_BACK_EXAMPLES).collect()
    held_back = int(counted["len"].sum())
    return SourceReport(
        source=name,
        listed=listed,
        added=changed.get(Change.ADDED, 0),
        reactivated=changed.get(Change.REACTIVATED, 0),
        expired=changed.get(Change.EXPIRED, 0),
        revoked=changed.get(Change.REVOKED, 0),
        no_longer_listed=changed.get(Change.NO_LONGER_LISTED, 0),
        removed=changed.get(Change.SOURCE_REMOVED, 0),
        rejected=facts.rejected if facts else 0,
        rejected_examples=facts.rejected_examples if facts else (),
        left_out=facts.left_out if facts else 0,
        left_out_examples=facts.left_out_examples if facts else (),
        held_back=held_back,
        held_back_because=dict(counted.head(HELD_BACK_REASONS).iter_rows()),
        held_back_examples=tuple(
            HeldBack(ObservableType(kind), value, reason)
            for kind, value, reason in examples.iter_rows()
        ),
        in_force=active - held_back,
        unchanged=facts.unchanged if facts else False,
        complete=facts.complete if facts else True,
        error=error,
    )
