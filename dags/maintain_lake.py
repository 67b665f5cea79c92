"""Keep the lake small: forget mail that nears the end of its retention, then join small files.

expire → compact
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task

from retract.installation import Settings
from retract.orchestration import maintenance
from retract.orchestration.retries import MailboxRetryPolicy


@dag(
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["retract"],
    doc_md=__doc__,
)
def maintain_lake() -> None:
    # A night that is missed may cost the retention: a store that does not answer is tried again.
    @task(retries=4, retry_delay=timedelta(minutes=1), retry_policy=MailboxRetryPolicy())
    def expire() -> dict[str, int]:
        return maintenance.expire(Settings())

    @task(retries=2, retry_delay=timedelta(minutes=1), retry_policy=MailboxRetryPolicy())
    def compact() -> int:
        return maintenance.compact(Settings())

    expire() >> compact()


maintain_lake()
