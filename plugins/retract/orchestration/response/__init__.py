"""The steps of post_delivery_response: one function a task, each readable on its own.

A step takes the run's folder and leaves its result there; what it returns to Airflow is only
what the next step is mapped over, or a number worth seeing in the UI. A step that is tried
again reads the same pinned inputs. Heavy libraries are imported when a step runs, not when
Airflow parses the DAG.
"""

from retract.orchestration.response.acting import act
from retract.orchestration.response.collecting import collect, shard_mailboxes
from retract.orchestration.response.judging import make_plan
from retract.orchestration.response.matching import match, pin
from retract.orchestration.response.opening import connections, list_mailboxes, open_run
from retract.orchestration.response.reporting import report

__all__ = [
    "act",
    "collect",
    "connections",
    "list_mailboxes",
    "make_plan",
    "match",
    "open_run",
    "pin",
    "report",
    "shard_mailboxes",
]
