"""Judge delivered mail again with what is known now, and retract what the policy says.

open_run → list_mailboxes[connection] → shard_mailboxes → collect[shard] → pin → match[days]
→ make_plan → act[shard] → report

pin fixes the lake's versions. match looks at what is new since each of the window's days was last
matched, so most of its tasks end at once; make_plan decides on all that was ever found.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, TriggerRule, dag, task

from retract.installation import Settings
from retract.orchestration import response
from retract.orchestration.context import current_request, finish_with, label_map_index, opened
from retract.orchestration.refresh import INDICATORS
from retract.orchestration.retries import MailboxRetryPolicy
from retract.orchestration.timetables import policy_timetable

PARAMS = {
    "window_start": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Window start",
        description="Judge mail delivered from this time on (UTC). Empty: the policy's lookback.",
    ),
    "window_end": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Window end",
        description="… and before this time. One run with a long window is the way to look back "
        "after a new campaign; a native backfill is for intervals that were missed.",
    ),
    "mode": Param(
        "policy",
        enum=["policy", "preview"],
        title="Mode",
        description="policy: as the policy file says. preview: plan and report, touch nothing. "
        "A run can narrow the policy, never widen it.",
    ),
    "mailboxes": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        title="Mailboxes",
        description="Addresses to judge, one a line. Empty: every mailbox of every connection.",
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
def post_delivery_response() -> None:
    @task
    def open_run() -> str:
        return response.open_run(Settings(), current_request())

    @task
    def connections(folder: str) -> list[str]:
        return response.connections(folder)

    @task(
        retries=2,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
        map_index_template="{{ label }}",
    )
    def list_mailboxes(folder: str, connection: str) -> int:
        label_map_index(connection)
        return response.list_mailboxes(folder, connection)

    @task(
        trigger_rule=TriggerRule.ALL_DONE,
        retries=2,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
    )
    def shard_mailboxes(folder: str) -> list[dict[str, Any]]:
        return response.shard_mailboxes(Settings(), opened(folder))

    @task(
        max_active_tis_per_dagrun=Settings().tasks_at_once,
        retries=3,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
        map_index_template="{{ label }}",
    )
    def collect(folder: str, shard: dict[str, Any]) -> int:
        label_map_index(shard["label"])
        return response.collect(Settings(), folder, shard)

    @task(
        trigger_rule=TriggerRule.ALL_DONE,
        inlets=[INDICATORS],
        retries=2,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
    )
    def pin(folder: str) -> list[dict[str, Any]]:
        return response.pin(Settings(), opened(folder))

    @task(
        max_active_tis_per_dagrun=Settings().tasks_at_once,
        retries=3,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
        map_index_template="{{ label }}",
    )
    def match(folder: str, shard: dict[str, Any]) -> int:
        label_map_index(shard["label"])
        return response.match(Settings(), folder, shard)

    @task(
        retries=2,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
    )
    def make_plan(folder: str) -> list[dict[str, Any]]:
        return response.make_plan(Settings(), folder)

    @task(
        max_active_tis_per_dagrun=Settings().tasks_at_once,
        retries=5,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
        map_index_template="{{ label }}",
    )
    def act(folder: str, shard: dict[str, Any]) -> dict[str, int]:
        label_map_index(shard["label"])
        return response.act(Settings(), folder, shard)

    @task(
        trigger_rule=TriggerRule.ALL_DONE,
        retries=2,
        retry_delay=timedelta(seconds=15),
        retry_policy=MailboxRetryPolicy(),
    )
    def report(folder: str) -> None:
        finish_with(response.report(Settings(), opened(folder)))

    folder = open_run()
    listed = list_mailboxes.partial(folder=folder).expand(connection=connections(folder))
    mailboxes = shard_mailboxes(folder)
    collected = collect.partial(folder=folder).expand(shard=mailboxes)
    pinned = pin(folder)
    matched = match.partial(folder=folder).expand(shard=pinned)
    planned = make_plan(folder)
    acted = act.partial(folder=folder).expand(shard=planned)
    listed >> mailboxes
    collected >> pinned
    matched >> planned
    [planned, acted] >> report(folder)


post_delivery_response()
