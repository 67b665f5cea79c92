"""A whole refresh in one call, as the tasks of refresh_indicators make it together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from retract.errors import FeedError
from retract.indicators.feeds import FeedsFile
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.refresh import commit, read_source
from retract.indicators.refresh_report import RefreshReport
from retract.indicators.snapshot import Snapshot
from retract.lake.source_state import SourceState
from retract.lake.store import Lake


def refresh(
    feeds: FeedsFile,
    lake: Lake,
    now: datetime,
    *,
    hold_back: HoldBack | None = None,
    accept_jumps_of: Collection[str] = (),
) -> RefreshReport:
    """Read every enabled source and commit what they list, held back as the feeds file says."""
    snapshots, errors = read_all(feeds, now, lake.source_states(), accept_jumps_of)
    hold_back = hold_back or HoldBack.of(feeds.hold_back, own_domains=lake.mailbox_domains())
    return commit(feeds, lake, snapshots, errors, now, hold_back)


def read_all(
    feeds: FeedsFile,
    now: datetime,
    states: Mapping[str, SourceState] | None = None,
    accept_jumps_of: Collection[str] = (),
) -> tuple[list[Snapshot], dict[str, str]]:
    """Every enabled source: the snapshots, and by source why others have none."""
    snapshots: list[Snapshot] = []
    errors: dict[str, str] = {}
    for source in feeds.enabled:
        last = (states or {}).get(source.name)
        accept = source.name in accept_jumps_of
        try:
            snapshots.append(read_source(source, now, last=last, accept_jump=accept))
        except FeedError as error:
            errors[source.name] = str(error)
    return snapshots, errors
