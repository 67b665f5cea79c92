"""Airflow that runs by itself: its components on loopback, for as long as a test needs them."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from subprocess import Popen
from typing import Any
from uuid import UUID

import httpx

from local_system.system import COMPONENTS, Airflow, served_on, stop_process


def _prepared(airflow: Airflow) -> int:
    """Tell Airflow where its components find each other; the port they are served on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    airflow.environment = (
        airflow.environment
        | served_on(port)
        | {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1"}
    )
    return port


@contextmanager
def running(airflow: Airflow) -> Iterator[dict[str, Popen[Any]]]:
    """The components as processes, by name, once they answer."""
    port = _prepared(airflow)
    with ExitStack() as started:
        processes: dict[str, Popen[Any]] = {}
        for name, command in COMPONENTS.items():
            processes[name] = airflow.start(command, f"{name}.log")
            started.callback(stop_process, processes[name], patience=2)  # nothing runs any more
            if name == "api-server":  # a task that cannot reach it fails
                wait_until(lambda: _answers(port), 120, every=0.2)
        yield processes


def _answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/api/v2/monitor/health"
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def states(airflow: Airflow, dag_id: str = "post_delivery_response") -> Counter[str]:
    """How many of the DAG's runs are in which state, read from Airflow's database: the command
    for it takes seconds, and the scheduler needs them."""
    return _counted(airflow, "select state, count(*) from dag_run where dag_id = ? group by state",
                    dag_id)  # fmt: skip


def tries(airflow: Airflow, dag_id: str, task_id: str) -> Counter[str]:
    """The numbers of tries that the task's instances needed, as text, and how many needed them."""
    query = (
        "select try_number, count(*) from task_instance where dag_id = ? and task_id = ? "
        "group by try_number"
    )
    return _counted(airflow, query, dag_id, task_id)


def ids(airflow: Airflow, task_id: str) -> list[str]:
    """Airflow's ids of the task's instances, as the titles of their processes have them."""
    query = "select id from task_instance where task_id = ?"
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as db:
        return [str(UUID(key)) for (key,) in db.execute(query, (task_id,))]


def _counted(airflow: Airflow, query: str, *values: str) -> Counter[str]:
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as db:
        return Counter({str(key): count for key, count in db.execute(query, values)})


def wait_until(true: Callable[[], bool], seconds: float, every: float = 1.0) -> None:
    """Ask until it is so. Fails the test when it takes longer than that."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(every)
