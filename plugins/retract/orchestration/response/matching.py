"""Fixing what a run is computed from, and matching its days, each task some of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

from retract.installation import Settings
from retract.orchestration import clock
from retract.orchestration.response.pinned import AFTER_MATCHING, PINNED, read_pin
from retract.orchestration.response.shards import (
    Shard,
    deal_by_work,
    most_so_far,
    padded,
    shards_of,
)
from retract.orchestration.runs import RunFolder, part_file

if TYPE_CHECKING:
    from retract.reevaluation.days import Progress

log = logging.getLogger(__name__)

TOLD_EVERY: Final = 5.0
"""Seconds between two words in the log about how far a task is."""


def pin(settings: Settings, path: str) -> list[Shard]:
    """Fix the lake's versions: everything after this step is computed from them alone.

    Deals the window's days to matching tasks by what is new in them, to one when that is little.
    """
    from retract.lake.store import Lake
    from retract.reevaluation import days as matching

    folder = RunFolder(path)
    folder.forget(PINNED, *AFTER_MATCHING)
    run, lake = folder.run(), Lake(settings.lake)
    with folder.timed("pin"):
        pin, days = matching.pin(lake, run.window)
        work = matching.Matching(lake, pin, run.started_at).work(days)
        folder.write(PINNED, pin)
        dealt = deal_by_work(
            days, [work[one.day] for one in days], settings.match_rows_a_task, settings.max_shards
        )
        labels = []
        for index, part in enumerate(padded(dealt, (), most_so_far(folder, "to_match"))):
            folder.write(part_file("to_match", index), matching.DaysToMatch(days=tuple(part)))
            labels.append(_label([one.day for one in part]))
    log.info(
        "pinned to %s; %d days with mail, %d rows of lookups to look at",
        pin.versions,
        len(days),
        sum(work.values()),
    )
    return shards_of(labels, len(dealt))


def match(settings: Settings, path: str, shard: Shard) -> int:
    """Add to the lake what is new of a part's days. Returns how many hits that were.

    A retry goes on where the try before it ended.
    """
    from retract.lake.store import Lake
    from retract.reevaluation import days as matching

    folder, index = RunFolder(path), shard["index"]
    folder.forget(*AFTER_MATCHING)
    run, lake = folder.run(), Lake(settings.lake)
    days = folder.read(part_file("to_match", index), matching.DaysToMatch).days
    with folder.timed("match", index):
        progress = matching.Progress()
        told_at = clock.utc_now()
        matched = matching.Matching(lake, read_pin(folder), run.started_at)
        for progress in matched.run(days, settings.match_rows_at_once):
            now = clock.utc_now()
            if (now - told_at).total_seconds() >= TOLD_EVERY:
                _tell(progress, len(days))
                told_at = now
        _tell(progress, len(days))
    return progress.hits


def _tell(progress: Progress, days: int) -> None:
    log.info(
        "%d of %d days, %d rows of lookups looked at, %d hits",
        progress.days,
        days,
        progress.rows,
        progress.hits,
    )


def _label(days: Sequence[date]) -> str:
    """What the UI shows of a task that takes these days."""
    if not days:
        return "nothing to do"
    first, last = days[0].isoformat(), days[-1].isoformat()
    return first if first == last else f"{first} to {last}"
