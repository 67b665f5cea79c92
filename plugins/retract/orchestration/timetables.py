"""The schedule, read from the policy file when Airflow parses the DAGs."""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable

from retract.errors import RetractError
from retract.installation import Settings
from retract.policy import load_policy

FALLBACK_CRON = "*/15 * * * *"
"""Used while the policy file is broken, so that a red run says so instead of a lost DAG."""


def policy_timetable(settings: Settings) -> CronDataIntervalTimetable:
    """Real data intervals at the policy's ``reevaluate_every``."""
    try:
        cron = load_policy(settings.policy_file).cron
    except (RetractError, OSError):
        cron = FALLBACK_CRON
    return CronDataIntervalTimetable(cron, timezone="UTC")
