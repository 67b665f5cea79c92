"""What analysts enter by hand: a source of its own, whose every row has a campaign and an end.

Its snapshots are news only. What is entered stays in force until its end, or until it is revoked
by hand; entering other things says nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from retract.indicators.feeds import ANALYSTS, Format, Source
from retract.indicators.fetching.document import Marks
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.listed import Listed
from retract.indicators.merge import merge_source
from retract.indicators.refresh import commit_one
from retract.indicators.refresh_report import RefreshReport
from retract.indicators.snapshot import Snapshot, snapshot_of
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE
from retract.model import Disposition, ObservableType

CONFIDENCE: Final = 90
TIME_TO_LIVE: Final = timedelta(days=90)

SOURCE: Final = Source(
    name=ANALYSTS,
    format=Format.PLAIN_LIST,
    location="entered by hand",
    disposition=Disposition.MALICIOUS,
    confidence=CONFIDENCE,
    time_to_live=TIME_TO_LIVE,
    absence_revokes=False,
)

TypedValue = tuple[ObservableType, str]
"""A type, and a value that is canonical for it."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What an analyst says of all the values entered at once."""

    campaign: str
    by: str
    """The name of the person."""
    reference: str = ""
    """A ticket, a report, a URL."""
    disposition: Disposition = Disposition.MALICIOUS
    confidence: int = CONFIDENCE
    """0 to 100."""
    expires_at: datetime | None = None
    """None: TIME_TO_LIVE after the entry."""

    def ends_at(self, now: datetime) -> datetime:
        """Until when it counts if it is entered now."""
        return self.expires_at or now + TIME_TO_LIVE


def entered(values: Iterable[TypedValue], opinion: Opinion, now: datetime) -> Snapshot:
    """The values as a snapshot of the analysts' source."""
    reference = f"entered by {opinion.by}"
    if opinion.reference:
        reference += f"; {opinion.reference}"
    listed = (
        Listed(
            kind,
            value,
            disposition=opinion.disposition,
            confidence=opinion.confidence,
            campaign=opinion.campaign,
            reference=reference,
            expires_at=opinion.ends_at(now),
        )
        for kind, value in values
    )
    return _news(listed, now)


def revoked(values: Iterable[TypedValue], now: datetime) -> Snapshot:
    """A snapshot that says of these values that they are no indicators any more."""
    return _news((Listed(kind, value, revoked=True) for kind, value in values), now)


def judged(snapshot: Snapshot, now: datetime, hold_back: HoldBack) -> pl.DataFrame:
    """The snapshot's rows with the reasons why they are held back, as `write` would store them."""
    return merge_source(INDICATORS_TABLE.empty(), SOURCE, snapshot, now, hold_back=hold_back)


def write(lake: Lake, snapshot: Snapshot, now: datetime, hold_back: HoldBack) -> RefreshReport:
    """Commit what was entered or revoked as a new version; other sources' rows stay.

    Raises LakeError when refreshes keep coming first.
    """
    return commit_one(lake, SOURCE, snapshot, now, hold_back)


def _news(listed: Iterable[Listed], now: datetime) -> Snapshot:
    return snapshot_of(listed, SOURCE, now).with_reading(complete=False, marks=Marks())
