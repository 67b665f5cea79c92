"""What a task asks of Airflow while it runs."""

from __future__ import annotations

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from retract.orchestration.retries import joined
from retract.orchestration.windows import RunRequest


def current_request() -> RunRequest:
    """The facts of the run this task belongs to."""
    context = get_current_context()
    run = context["dag_run"]
    return RunRequest(
        dag_id=run.dag_id,
        run_id=run.run_id,
        run_type=str(getattr(run.run_type, "value", run.run_type)),
        run_after=run.run_after,
        interval_start=context.get("data_interval_start"),
        interval_end=context.get("data_interval_end"),
        params=dict(context["params"]),
    )


def opened(folder: str | None) -> str:
    """The run's folder, for a step that runs whatever became of those before it.

    Without it there is no run to work for, and nothing to try again.
    """
    if folder is None:
        raise AirflowFailException("the run was not opened: see its first task for the reason")
    return folder


def label_map_index(label: str) -> None:
    """What the UI shows instead of a mapped task's number: at most 250 characters of it."""
    get_current_context()["label"] = label[:250]  # type: ignore[typeddict-unknown-key]


def finish_with(problems: list[str]) -> None:
    """Turn the run red, once its record is written, when something went wrong."""
    if problems:
        raise AirflowFailException(joined(problems))
