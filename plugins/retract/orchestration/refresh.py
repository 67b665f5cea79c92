"""The steps of refresh_indicators: one function a task.

<home>/runs/refresh_indicators/<run id>/<attempt>/
    run.json        which run it is, and when it began
    feeds.json      the sources as they were
    asked.json      which of them are read, and whose jumps are accepted
    snapshots/      one Parquet file per source that could be read; gone once they are committed
    errors/         … and one text file per source that could not
    refreshed.json  what the commit did with each
    report.html  summary.json
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from retract.errors import ConfigurationError, ConnectionSettingsError, FeedError
from retract.installation import Settings
from retract.orchestration.clock import utc_now
from retract.orchestration.connections import credentials_of
from retract.orchestration.params import RefreshParams, parse_refresh_params
from retract.orchestration.runs import Attempt, RunFolder
from retract.orchestration.windows import RunRequest

if TYPE_CHECKING:
    from retract.indicators.feeds import FeedsFile
    from retract.indicators.refresh_report import RefreshReport, SourceReport
    from retract.lake.store import Lake

INDICATORS = Asset("retract://indicators")
"""The indicators table; an event's extra says which version was committed."""

log = logging.getLogger(__name__)


def open_refresh(settings: Settings, request: RunRequest) -> str:
    """Fix the sources this attempt reads. Returns the run's folder.

    Raises FeedConfigurationError with the line, the source and the reason, PolicyError, and
    ConfigurationError for params that name no source.
    """
    from retract.indicators.feeds import load_feeds
    from retract.policy import load_policy

    load_policy(settings.policy_file)  # whose allow rules the commit needs: better red now
    feeds = load_feeds(settings.feeds_file)
    asked = parse_refresh_params(request.params)
    _require_known(feeds, asked)
    now = utc_now()
    folder = RunFolder.create(settings.home, request.dag_id, request.run_id, now)
    attempt = Attempt(dag_id=request.dag_id, run_id=request.run_id, started_at=now)
    folder.write("run.json", attempt)
    folder.write("feeds.json", feeds)
    folder.write("asked.json", asked)
    return str(folder.path)


def sources(path: str) -> list[str]:
    """The names of the sources to read."""
    folder = RunFolder(path)
    return _asked(_feeds(folder), folder.read("asked.json", RefreshParams))


def read_source(settings: Settings, path: str, name: str) -> int:
    """Read one source. Returns how many indicators it lists, or how many are new to it.

    Raises FeedError, and ConnectionSettingsError for a connection that is missing or wrong.
    """
    from retract.indicators import refresh
    from retract.indicators.fetching.credentials import NO_CREDENTIALS
    from retract.lake.store import Lake

    folder = RunFolder(path)
    source = _feeds(folder).source(name)
    asked = folder.read("asked.json", RefreshParams)
    # What an earlier go left, before a person cleared it, is not this one's; and should this
    # process be killed, that is what is told.
    _snapshot(folder, name).unlink(missing_ok=True)
    _tell_error(folder, name, f"{name}: its task ended without a result; see its log")
    try:
        credentials = credentials_of(source.connection) if source.connection else NO_CREDENTIALS
        snapshot = refresh.read_source(
            source,
            utc_now(),
            last=Lake(settings.lake).source_states().get(name),
            credentials=credentials,
            accept_jump=name in asked.accept_jumps_of,
        )
    except FeedError as error:
        _tell_error(folder, name, str(error))
        raise
    except ConnectionSettingsError as error:
        _tell_error(folder, name, f"{name}: {error}")
        raise
    _snapshot(folder, name).parent.mkdir(exist_ok=True)
    snapshot.write(_snapshot(folder, name))
    _error(folder, name).unlink()
    facts = snapshot.facts
    if facts.unchanged:
        log.info("%s has nothing new", name)
        return 0
    log.info(
        "%s %s %d indicators; %d entries broken, %d left out",
        name,
        "lists" if facts.complete else "has news of",
        snapshot.listed,
        facts.rejected,
        facts.left_out,
    )
    return snapshot.listed


def commit(settings: Settings, path: str | None) -> dict[str, Any]:
    """Make what could be read the new version of the indicators. Returns the version.

    Writes the report on it, too. Raises ConfigurationError when a later run was committed, or when
    there is no ``path`` because open_refresh failed.
    """
    if path is None:
        raise ConfigurationError("there is nothing to commit: the log of open_refresh says why")
    from retract.indicators import refresh
    from retract.indicators.hold_back.rules import HoldBack
    from retract.indicators.snapshot import Snapshot
    from retract.lake.store import Lake
    from retract.policy import load_policy

    folder, now = RunFolder(path), utc_now()
    _require_latest(folder)
    feeds = _feeds(folder)
    committed = _committed(folder)
    snapshots, errors = [], {}
    for name in _asked(feeds, folder.read("asked.json", RefreshParams)):
        file, told = _snapshot(folder, name), _error(folder, name)
        if told.exists():
            errors[name] = told.read_text(encoding="utf-8")
        elif file.exists():
            try:
                snapshots.append(Snapshot.read(file))
            except FeedError as error:
                errors[name] = f"{name}: {error}"
        elif name not in committed:
            errors[name] = f"{name}: its task did not run; see the run's log"
    lake = Lake(settings.lake)
    hold_back = HoldBack.of(
        feeds.hold_back,
        own_domains=lake.mailbox_domains(known=lake.known_domains()),
        allow=load_policy(settings.policy_file).allowed(now),
    )
    report = refresh.commit(feeds, lake, snapshots, errors, now, hold_back)
    folder.write("refreshed.json", report)
    for one in report.sources:
        log.info("%s", _told(one))
    # The lake has them now, and a large feed's would fill the disk refresh by refresh.
    for snapshot in snapshots:
        _snapshot(folder, snapshot.source).unlink()
    _write_report(folder, report, lake)
    return {"version": report.version}


def _write_report(folder: RunFolder, report: RefreshReport, lake: Lake) -> None:
    from retract.reports.refresh import RefreshFacts, write_refresh_report

    attempt = folder.read("run.json", Attempt)
    page = write_refresh_report(
        report,
        lake.source_states(),
        sources(str(folder.path)),
        RefreshFacts(
            dag_id=attempt.dag_id,
            run_id=attempt.run_id,
            started_at=attempt.started_at,
            finished_at=utc_now(),
        ),
        folder.path,
    )
    log.info("the report is %s", page)


def check(path: str) -> list[str]:
    """Why sources could not be read; empty when all were."""
    from retract.indicators.refresh_report import RefreshReport

    report = RunFolder(path).read("refreshed.json", RefreshReport)
    return [f"{one.error} (its last good version stays in force)" for one in report.failed]


def _feeds(folder: RunFolder) -> FeedsFile:
    from retract.indicators.feeds import FeedsFile

    return folder.read("feeds.json", FeedsFile)


def _asked(feeds: FeedsFile, asked: RefreshParams) -> list[str]:
    return [one.name for one in feeds.enabled if not asked.sources or one.name in asked.sources]


def _require_known(feeds: FeedsFile, asked: RefreshParams) -> None:
    known = [source.name for source in feeds.enabled]
    unknown = sorted({*asked.sources, *asked.accept_jumps_of}.difference(known))
    if unknown:
        raise ConfigurationError(
            f"no enabled source is named {', '.join(map(repr, unknown))}: the feeds file has "
            f"{', '.join(known) or 'none'}"
        )
    unread = sorted(set(asked.accept_jumps_of).difference(asked.sources)) if asked.sources else []
    if unread:
        raise ConfigurationError(
            f"accept_jumps_of names {', '.join(unread)}, which this run does not read: name it "
            "under sources, too, or leave sources empty"
        )


def _require_latest(folder: RunFolder) -> None:
    """Raises ConfigurationError when a person cleared the commit of an old run.

    The sources are those of the feeds file as it was then: one that was taken out would be in
    force again, and one that was put in would leave.
    """
    for attempt in folder.path.parent.parent.glob("*/*"):
        if attempt.name > folder.attempt and (attempt / "refreshed.json").exists():
            raise ConfigurationError(
                f"a later run of refresh_indicators was committed ({attempt.name}), and the feeds "
                "file may have changed since: clear this run as a whole, or trigger a new one"
            )


def _committed(folder: RunFolder) -> set[str]:
    """The sources that an earlier go at the commit took in, before a person cleared it."""
    from retract.indicators.refresh_report import RefreshReport

    try:
        earlier = folder.read("refreshed.json", RefreshReport)
    except FileNotFoundError:
        return set()
    return {one.source for one in earlier.sources if one.error is None}


def _told(report: SourceReport) -> str:
    """One source's report in one line, without the examples."""
    examples = {"rejected_examples", "left_out_examples", "held_back_examples"}
    return report.model_dump_json(exclude_defaults=True, exclude=examples)


def _snapshot(folder: RunFolder, name: str) -> Path:
    return folder.path / "snapshots" / f"{name}.parquet"


def _error(folder: RunFolder, name: str) -> Path:
    return folder.path / "errors" / f"{name}.txt"


def _tell_error(folder: RunFolder, name: str, text: str) -> None:
    folder.write_text(f"errors/{name}.txt", text)
