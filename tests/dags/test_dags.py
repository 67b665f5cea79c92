"""The DAGs as Airflow sees them: parsed, wired, scheduled and parametrised as intended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "dags"
HEAVY = (
    "altair", "deltalake", "google.auth", "googleapiclient", "msal", "pandas", "polars",
    "pyarrow", "vl_convert",
)  # fmt: skip


@pytest.fixture(scope="module")
def dagbag(tmp_path_factory: pytest.TempPathFactory) -> DagBag:
    return DagBag(dag_folder=str(DAGS))


def test_every_dag_file_is_importable(dagbag: DagBag) -> None:
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == {file.stem for file in DAGS.glob("*.py")}


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda file: file.stem)
def test_parsing_a_dag_loads_nothing_heavy_and_touches_nothing(file: Path) -> None:
    """In a process of its own; the wired-up database URL would fail if it were opened."""
    program = (
        "import sys, runpy; runpy.run_path(sys.argv[1]); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY / 'plugins'}"},
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_response_goes_from_mailboxes_to_report(dagbag: DagBag) -> None:
    dag = dagbag.dags["post_delivery_response"]
    order = [task.task_id for task in dag.topological_sort()]
    steps = ["open_run", "list_mailboxes", "shard_mailboxes", "collect", "pin", "match",
             "make_plan", "act", "report"]  # fmt: skip
    assert [step for step in order if step in steps] == steps
    assert dag.get_task("report").downstream_task_ids == set()
    for mapped in ("list_mailboxes", "collect", "match", "act"):
        assert dag.get_task(mapped).is_mapped
    assert dag.get_task("make_plan").upstream_task_ids == {"open_run", "match"}


def test_a_store_or_database_that_hiccups_does_not_cost_a_run(dagbag: DagBag) -> None:
    dag = dagbag.dags["post_delivery_response"]
    retried = {task.task_id for task in dag.tasks if task.retries}
    assert retried == set(dag.task_ids) - {"open_run", "connections"}


def test_runs_have_real_data_intervals(dagbag: DagBag) -> None:
    timetable = dagbag.dags["post_delivery_response"].timetable
    assert type(timetable).__name__ == "CronDataIntervalTimetable"
    assert dagbag.dags["post_delivery_response"].catchup is False


def test_nothing_a_run_is_given_can_widen_the_policy(dagbag: DagBag) -> None:
    params = dagbag.dags["post_delivery_response"].params
    assert set(params) == {"window_start", "window_end", "mode", "mailboxes"}
    assert params.get_param("mode").schema["enum"] == ["policy", "preview"]


def test_the_refresh_reads_each_source_by_itself_and_commits_whatever_could_be_read(
    dagbag: DagBag,
) -> None:
    dag = dagbag.dags["refresh_indicators"]
    order = [task.task_id for task in dag.topological_sort()]
    assert order == ["open_refresh", "sources", "read_source", "commit", "check"]
    assert dag.get_task("read_source").is_mapped
    assert dag.get_task("commit").trigger_rule == "all_done"
    assert set(dag.params) == {"sources", "accept_jumps_of"}
    for name in dag.params:
        assert dag.params.get_param(name).schema["items"] == {"type": "string"}


LABELLED = [
    ("refresh_indicators", "read_source"),
    ("post_delivery_response", "list_mailboxes"),
    ("post_delivery_response", "collect"),
    ("post_delivery_response", "match"),
    ("post_delivery_response", "act"),
]


@pytest.mark.parametrize(("dag_id", "task_id"), LABELLED)
@pytest.mark.parametrize("name", ["openphish", "2024", "1e3", "True"])
def test_what_is_named_like_a_number_is_labelled_with_its_name(
    dagbag: DagBag, dag_id: str, task_id: str, name: str
) -> None:
    """Airflow fails a mapped task whose label is no text, once its work is done."""
    dag = dagbag.dags[dag_id]
    template = dag.get_task(task_id).partial_kwargs["map_index_template"]
    assert dag.get_template_env().from_string(template).render(label=name) == name


def test_a_broken_policy_leaves_the_dag_in_place_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "policy.yaml"
    broken.write_text("mode: [")
    monkeypatch.setenv("RETRACT_POLICY_FILE", str(broken))
    bag = DagBag(dag_folder=str(DAGS / "post_delivery_response.py"))
    assert bag.import_errors == {}
    assert "post_delivery_response" in bag.dags


def test_no_more_tasks_of_a_step_run_at_once_than_the_installation_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETRACT_TASKS_AT_ONCE", "5")
    dag = DagBag(dag_folder=str(DAGS / "post_delivery_response.py")).dags["post_delivery_response"]
    for task in ("collect", "match", "act"):
        assert dag.get_task(task).partial_kwargs["max_active_tis_per_dagrun"] == 5
