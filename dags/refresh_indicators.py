"""Read every threat feed, and commit what they say now as one version of the indicators.

open_refresh → sources → read_source[source] → commit → check

A source that cannot be read, or lists so many more or fewer indicators than before that it looks
broken, is a red task with its reason; its last good version stays in force, and the other sources
are committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from airflow.sdk import Metadata, Param, TriggerRule, dag, task

from retract.installation import Settings
from retract.orchestration import refresh
from retract.orchestration.context import (
    current_request,
    finish_with,
    label_map_index,
    opened,
)
from retract.orchestration.refresh import INDICATORS
from retract.orchestration.timetables import policy_timetable

PARAMS = {
    "sources": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        title="Sources",
        description="Names of sources to read, one a line. Empty: all that are enabled. The others "
        "keep what they listed.",
    ),
    "accept_jumps_of": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        title="Accept jumps of",
        description="Names of sources, one a line, that may list many more or far fewer indicators "
        "than before, this once. The feeds file's jump_guard says how many are too many.",
    ),
}


@dag(
    schedule=policy_timetable(Settings()),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["retract"],
    doc_md=__doc__,
)
def refresh_indicators() -> None:
    @task
    def open_refresh() -> str:
        return refresh.open_refresh(Settings(), current_request())

    @task
    def sources(folder: str) -> list[str]:
        return refresh.sources(folder)

    # Not retried: reading retries by itself for a while, and the next refresh is near.
    @task(map_index_template="{{ label }}")
    def read_source(folder: str, source: str) -> int:
        label_map_index(source)
        return refresh.read_source(Settings(), folder, source)

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[INDICATORS])
    def commit(folder: str) -> Iterator[Metadata]:
        yield Metadata(INDICATORS, refresh.commit(Settings(), opened(folder)))

    @task
    def check(folder: str) -> None:
        finish_with(refresh.check(folder))

    folder = open_refresh()
    read = read_source.partial(folder=folder).expand(source=sources(folder))
    read >> commit(folder) >> check(folder)


refresh_indicators()
