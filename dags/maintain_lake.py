"""Keep the lake small: forget mail that nears the end of its retention, then join small files.

expire → compact
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag, task

from retract.installation import Settings
from retract.orchestration import maintenance


@dag(
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["retract"],
    doc_md=__doc__,
)
def maintain_lake() -> None:
    @task
    def expire() -> dict[str, int]:
        return maintenance.expire(Settings())

    @task
    def compact() -> int:
        return maintenance.compact(Settings())

    expire() >> compact()


maintain_lake()
