"""A whole refresh in one call, as the tasks of refresh_indicators make it together."""

from __future__ import annotations

from datetime import datetime

from retract.errors import FeedError
from retract.indicators.feeds import FeedsFile
from retract.indicators.refresh import RefreshReport, commit, read_source
from retract.indicators.snapshot import Snapshot
from retract.lake.store import Lake


def refresh(feeds: FeedsFile, lake: Lake, now: datetime) -> RefreshReport:
    """Read every enabled source and commit what they list."""
    snapshots, errors = read_all(feeds, now)
    return commit(feeds, lake, snapshots, errors, now)


def read_all(feeds: FeedsFile, now: datetime) -> tuple[list[Snapshot], dict[str, str]]:
    """Every enabled source: the snapshots, and by source why others have none."""
    snapshots: list[Snapshot] = []
    errors: dict[str, str] = {}
    for source in feeds.enabled:
        try:
            snapshots.append(read_source(source, now, feeds.hold_back))
        except FeedError as error:
            errors[source.name] = str(error)
    return snapshots, errors
