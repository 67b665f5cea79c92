"""The steps of refresh_indicators: one function a task.

<home>/runs/refresh_indicators/<run id>/<attempt>/
    feeds.json      the sources as they were
    snapshots/      one Parquet file per source that could be read
    errors/         … and one text file per source that could not
    refreshed.json  what the commit did with each
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from airflow.sdk import Asset

from retract.errors import FeedError
from retract.installation import Settings
from retract.orchestration.clock import utc_now
from retract.orchestration.runs import RunFolder
from retract.orchestration.windows import RunRequest

INDICATORS = Asset("retract://indicators")
"""The indicators table; an event's extra says which version was committed."""

log = logging.getLogger(__name__)


def open_refresh(settings: Settings, request: RunRequest) -> str:
    """Fix the sources this attempt reads. Returns the run's folder.

    Raises FeedConfigurationError with the line, the source and the reason.
    """
    from retract.indicators.feeds import load_feeds

    feeds = load_feeds(settings.feeds_file)
    folder = RunFolder.create(settings.home, request.dag_id, request.run_id, utc_now())
    folder.write("feeds.json", feeds)
    return str(folder.path)


def sources(path: str) -> list[str]:
    """The names of the enabled sources."""
    from retract.indicators.feeds import FeedsFile

    return [source.name for source in RunFolder(path).read("feeds.json", FeedsFile).enabled]


def read_source(path: str, name: str) -> int:
    """Read one source. Returns how many indicators it lists. Raises FeedError."""
    from retract.indicators import refresh
    from retract.indicators.feeds import FeedsFile

    folder = RunFolder(path)
    feeds = folder.read("feeds.json", FeedsFile)
    for earlier in (_snapshot(folder, name), _error(folder, name)):  # before a person cleared it
        earlier.unlink(missing_ok=True)
    try:
        snapshot = refresh.read_source(feeds.source(name), utc_now(), feeds.hold_back)
    except FeedError as error:
        folder.write_text(f"errors/{name}.txt", str(error))
        raise
    _snapshot(folder, name).parent.mkdir(exist_ok=True)
    snapshot.write(_snapshot(folder, name))
    log.info(
        "%s lists %d indicators; %d held back, %d entries rejected",
        name,
        snapshot.listed,
        snapshot.held_back,
        snapshot.facts.rejected,
    )
    return snapshot.listed


def commit(settings: Settings, path: str) -> dict[str, Any]:
    """Make what could be read the new version of the indicators. Returns the version."""
    from retract.indicators import refresh
    from retract.indicators.feeds import FeedsFile
    from retract.indicators.snapshot import Snapshot
    from retract.lake.store import Lake

    folder = RunFolder(path)
    feeds = folder.read("feeds.json", FeedsFile)
    snapshots, errors = [], {}
    for source in feeds.enabled:
        file, told = _snapshot(folder, source.name), _error(folder, source.name)
        if file.exists():
            snapshots.append(Snapshot.read(file))
        elif told.exists():
            errors[source.name] = told.read_text(encoding="utf-8")
        else:
            errors[source.name] = f"{source.name}: its task ended without a result; see its log"
    report = refresh.commit(feeds, Lake(settings.lake), snapshots, errors, utc_now())
    folder.write("refreshed.json", report)
    for one in report.sources:
        log.info("%s", one.model_dump_json(exclude_defaults=True))
    return {"version": report.version}


def check(path: str) -> list[str]:
    """Why sources could not be read; empty when all were."""
    from retract.indicators.refresh import RefreshReport

    report = RunFolder(path).read("refreshed.json", RefreshReport)
    return [f"{one.error} (its last good version stays in force)" for one in report.failed]


def _snapshot(folder: RunFolder, name: str) -> Path:
    return folder.path / "snapshots" / f"{name}.parquet"


def _error(folder: RunFolder, name: str) -> Path:
    return folder.path / "errors" / f"{name}.txt"
