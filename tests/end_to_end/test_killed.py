"""Workers are killed in the middle, and two DAGs act on the same mailboxes at the same time: the
tenant's own audit log shows each copy moved once, and all of them moved, and so does the ledger."""

from __future__ import annotations

import dataclasses
import json
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from tests.end_to_end.scheduler import ids, running, states, tries, wait_until

from local_system import check
from local_system.system import REPOSITORY
from local_tenant.people import people
from retract.model import Place, State
from retract.orchestration.runs import RunFolder
from retract.reports.model import Result, RunReport
from retract.retraction.ledger import Ledger
from retract.retraction.records import Event

if TYPE_CHECKING:
    from tests.end_to_end.conftest import System

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

MAILBOXES, MESSAGES = 60, 4
LEASE_SECONDS = 8
FIRST, SECOND = "post_delivery_response", "second_response"
URL = "http://bad.example.net/a"
POLICY = """\
mode: enforce
reevaluate_every: P1D
lookback: P30D
actions: {malicious: trash}
"""
FEEDS = """\
sources:
  - {name: list, format: plain_list, type: url, location: list.txt, disposition: malicious,
     confidence: 90}
"""


def mail(number: int) -> bytes:
    return (
        f"From: sender-{number}@elsewhere.example\nSubject: {number}\n"
        f"Message-ID: <{number}@elsewhere.example>\nDate: {format_datetime(datetime.now(UTC))}\n"
        f"Content-Type: text/plain\n\nPlease see {URL}\n"
    ).encode()


@pytest.fixture
def system(start_system: Callable[..., System], tmp_path: Path) -> System:
    """Bad mail in many mailboxes, and an Airflow that does not run yet."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "feeds.yaml").write_text(FEEDS)
    (tmp_path / "list.txt").write_text(URL + "\n")
    system = start_system(
        "--messages", "0", "--mailboxes", str(MAILBOXES),
        policy=tmp_path / "policy.yaml", feeds=tmp_path / "feeds.yaml",
    )  # fmt: skip
    addresses = [
        person.address
        for domain in ("north.example", "south.example")
        for person in people(domain, MAILBOXES // 2, seed=1)
    ]
    for number in range(MESSAGES):
        at = datetime.now(UTC) - timedelta(days=2)  # a scheduled run's interval is over
        check.deliver(system.tenant.info, mail(number), addresses, at)
    # What is made known to Airflow here is not paused, once it runs by itself.
    system = system.environment({"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"})
    assert system.refresh() == 0, system.log("refresh_indicators")[-3000:]
    dags = tmp_path / "dags"
    dags.mkdir()
    return system.environment(
        {
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "RETRACT_MAX_SHARDS": "2",
            "RETRACT_LEASE_SECONDS": str(LEASE_SECONDS),
            **{name: with_timeout(system, name) for name in connections(system)},
        }
    )


def connections(system: System) -> list[str]:
    return [name for name in system.airflow.environment if name.startswith("AIRFLOW_CONN_")]


def with_timeout(system: System, name: str) -> str:
    """The connection, its calls short enough for a short lease."""
    connection = json.loads(system.airflow.environment[name])
    connection["extra"]["timeout_seconds"] = LEASE_SECONDS / 2
    return json.dumps(connection)


def add_dag(system: System, dag_id: str) -> None:
    """The main job, under this id. What was killed is tried again at once: the dead worker's
    leases still stand, so the retry is sent away until they end."""
    text = (REPOSITORY / "dags" / f"{FIRST}.py").read_text(encoding="utf-8")
    delay = "retry_delay=timedelta(seconds=15)"
    assert delay in text
    text = text.replace(delay, "retry_delay=timedelta(seconds=1)").replace(FIRST, dag_id)
    folder = Path(system.airflow.environment["AIRFLOW__CORE__DAGS_FOLDER"])
    (folder / f"{dag_id}.py").write_text(text)


def newest(system: System, dag_id: str) -> Path:
    """The folder of the DAG's newest run."""
    folder = system.airflow.newest_attempt(dag_id)
    assert folder is not None, "no run was opened"
    return folder


def planned(system: System, dag_id: str) -> bool:
    folder = system.airflow.newest_attempt(dag_id)
    return folder is not None and any((folder / "to_act").glob("*.json"))


def is_over(system: System, dag_id: str) -> bool:
    return bool(states(system.airflow, dag_id).keys() & {"success", "failed"})


def slow_down(system: System, seconds: float) -> None:
    """From now on the tenant thinks that long about each call about a copy."""
    info = system.tenant.info
    trust = ssl.create_default_context(cafile=info.ca_file)
    faults = {"profile": {"slow": 1.0, "slow_seconds": seconds, "most_each": 1_000_000}}
    with httpx.Client(base_url=info.control_url, verify=trust) as client:
        client.put("faults", json=faults).raise_for_status()


def kill_acting(system: System, scheduler: int) -> int:
    """SIGKILL every process that carries out a plan; how many. The executor's workers, which
    started them, live on, as they do when the machine runs out of memory."""
    acting = ids(system.airflow, "act")
    killed = 0
    for worker in psutil.Process(scheduler).children():
        for process in worker.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if any(task in title for task in acting):
                    process.kill()
                    killed += 1
    return killed


def moves(system: System) -> Counter[tuple[str, str]]:
    """How often the tenant saw each copy moved."""
    return Counter((one["provider"], one["message_id"]) for one in system.audit())


def assert_each_was_moved_once(system: System) -> None:
    copies = system.copies()
    assert len(copies) == MAILBOXES * MESSAGES
    assert moves(system) == Counter({(key[0], key[2]): 1 for key in copies})
    assert {copy.place for copy in copies.values()} == {"trash"}


def assert_the_ledger_says_so_too(system: System, *dag_ids: str) -> None:
    """All that a run planned has come to an end in that run, and each copy was done by one."""
    done: Counter[check.CopyKey] = Counter()
    moved_at = {key(one): datetime.fromisoformat(one["at"]) for one in system.audit()}
    with Ledger(f"sqlite:///{system.airflow.retract_home / 'ledger.db'}") as ledger:
        for dag_id in dag_ids:
            run = RunFolder(newest(system, dag_id)).run().key
            recorded, outcomes = ledger.run(run), ledger.outcomes(run)
            assert recorded is not None
            assert (recorded.succeeded, recorded.planned) == (True, len(outcomes))
            assert [outcome for outcome in outcomes if not outcome.finished] == []
            for outcome in outcomes:
                moved = key(dataclasses.asdict(outcome.copy))
                done[moved] += outcome.state is State.DONE
                assert_written_down(ledger.history(outcome.copy_id), moved_at[moved])
        states = ledger.current(outcome.copy_id for outcome in outcomes).values()
    assert done == Counter(dict.fromkeys(system.copies(), 1)), "none was lost, none done twice"
    assert {(state.state, state.claim_expires_at) for state in states} == {(State.DONE, None)}


def key(named: Mapping[str, str]) -> check.CopyKey:
    return named["provider"], named["mailbox"], named["message_id"]


def assert_written_down(history: list[Event], moved_at: datetime) -> None:
    """That the copy was to be moved before it was, and once that it is done."""
    assert min(event.at for event in history if event.state is State.PLANNED) <= moved_at
    (done,) = (event for event in history if event.state is State.DONE)
    places = [where and where.place for where in (done.location_before, done.location_after)]
    assert places == [Place.INBOX, Place.TRASH]


def report(system: System, dag_id: str) -> RunReport:
    return RunFolder(newest(system, dag_id)).read("report.json", RunReport)


def test_after_a_kill_in_the_middle_the_retry_moves_the_rest_and_nothing_twice(
    system: System,
) -> None:
    add_dag(system, FIRST)
    with running(system.airflow) as processes:
        wait_until(lambda: planned(system, FIRST), 180, every=0.1)
        slow_down(system, 0.2)
        wait_until(lambda: sum(moves(system).values()) > 0, 120, every=0.1)
        assert kill_acting(system, processes["scheduler"].pid) > 0
        before = sum(moves(system).values())
        assert before < MAILBOXES * MESSAGES, "it was in the middle"
        slow_down(system, 0.0)
        wait_until(partial(is_over, system, FIRST), 180)
    assert_each_was_moved_once(system)
    assert_the_ledger_says_so_too(system, FIRST)
    assert states(system.airflow) == {"success": 1}
    assert tries(system.airflow, FIRST, "act")["1"] < 2, "a task that was killed was tried again"
    results = report(system, FIRST).counts.by_result
    assert results == {Result.DONE: MAILBOXES * MESSAGES}


def test_two_dags_that_act_on_the_same_mailboxes_move_nothing_twice(system: System) -> None:
    """And a worker is killed meanwhile."""
    add_dag(system, FIRST)
    add_dag(system, SECOND)
    with running(system.airflow) as processes:
        wait_until(lambda: planned(system, FIRST) or planned(system, SECOND), 180, every=0.1)
        slow_down(system, 0.2)
        wait_until(lambda: planned(system, FIRST) and planned(system, SECOND), 120, every=0.1)
        wait_until(lambda: sum(moves(system).values()) > 10, 120, every=0.1)
        assert kill_acting(system, processes["scheduler"].pid) > 0
        slow_down(system, 0.0)
        for dag_id in (FIRST, SECOND):
            wait_until(partial(is_over, system, dag_id), 240)
    assert_each_was_moved_once(system)
    assert_the_ledger_says_so_too(system, FIRST, SECOND)
    both = [report(system, dag_id) for dag_id in (FIRST, SECOND)]
    assert min(one.counts.planned for one in both) > MAILBOXES, "the plans were much the same"
    for one in both:
        assert not one.failed
        assert one.needing_attention == 0
    for dag_id in (FIRST, SECOND):
        assert states(system.airflow, dag_id) == {"success": 1}
