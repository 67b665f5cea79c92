"""Airflow's own backfill, through a real scheduler: each run judges exactly its interval."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from local_system import check
from local_system.system import COMPONENTS, Airflow, served_on, stop_process

if TYPE_CHECKING:
    from tests.end_to_end.conftest import System

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

POLICY = """\
mode: enforce
reevaluate_every: PT6H
lookback: P30D
actions: {malicious: trash}
"""
FEEDS = """\
sources:
  - {name: list, format: plain_list, type: url, location: list.txt, disposition: malicious,
     confidence: 90, may_be_empty: true}
"""
FIRST, SECOND = "http://first.example.net/a", "http://second.example.net/b"


def mail(url: str, number: int) -> bytes:
    return (
        f"From: sender-{number}@elsewhere.example\nSubject: {number}\n"
        f"Message-ID: <{number}@elsewhere.example>\nDate: {format_datetime(datetime.now(UTC))}\n"
        f"Content-Type: text/plain\n\nPlease see {url}\n"
    ).encode()


@pytest.fixture
def scheduled(
    start_system: Callable[..., System], tmp_path: Path
) -> Iterator[tuple[System, Airflow]]:
    """A system whose Airflow runs by itself; only backfills run, the schedules are paused."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "feeds.yaml").write_text(FEEDS)
    (tmp_path / "list.txt").write_text(FIRST + "\n")
    system = start_system(
        "--messages", "5", "--mailboxes", "2",
        policy=tmp_path / "policy.yaml", feeds=tmp_path / "feeds.yaml",
    )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    airflow = system.environment(
        served_on(port)
        | {
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        }
    ).airflow
    with ExitStack() as running:
        for name, command in COMPONENTS.items():
            process = airflow.start(command, f"{name}.log")
            running.callback(stop_process, process)
        wait_until(lambda: answers(port), 120)
        wait_until(lambda: runs(airflow) is not None, 120)
        yield system, airflow


def answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/api/v2/monitor/health"
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def runs(airflow: Airflow) -> list[dict[str, str]] | None:
    """The DAG's runs; None while Airflow does not know the DAG."""
    listing = airflow.home / "runs.json"
    listing.unlink(missing_ok=True)
    if airflow.run(["dags", "list-runs", "post_delivery_response", "-o", "json"], "runs.json"):
        return None
    found = re.search(r"^\[.*", listing.read_text(), re.MULTILINE | re.DOTALL)
    return json.loads(found[0]) if found else []


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(1)


def backfill(airflow: Airflow, first: datetime, last: datetime, behavior: str) -> None:
    """Create a backfill over the intervals that start in [first, last], and wait for its end."""
    before = Counter(run["state"] for run in runs(airflow) or [])
    command = [
        "backfill", "create", "--dag-id", "post_delivery_response",
        "--from-date", first.isoformat(), "--to-date", last.isoformat(),
        "--reprocess-behavior", behavior, "--max-active-runs", "1",
    ]  # fmt: skip
    assert airflow.run(command, "backfill.log") == 0, (airflow.home / "backfill.log").read_text()
    assert before["running"] == before["queued"] == 0

    def ended() -> bool:
        states = Counter(run["state"] for run in runs(airflow) or [])
        return states["running"] + states["queued"] == 0

    wait_until(ended, 240)


def moved(before: dict[check.CopyKey, check.TenantCopy], system: System) -> set[str]:
    after = system.copies()
    return {
        copy.internet_message_id
        for key, copy in before.items()
        if after[key].place != copy.place
    }


def test_a_backfill_judges_its_intervals_and_reprocesses_them_with_what_is_known_then(
    scheduled: tuple[System, Airflow],
    tmp_path: Path,
) -> None:
    system, airflow = scheduled
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = today - timedelta(days=3)
    mailboxes = system.mailboxes()[:2]
    inside, later = day + timedelta(hours=2), day + timedelta(days=1, hours=2)
    for number, (url, at) in enumerate(
        [(FIRST, inside), (SECOND, inside), (FIRST, later), (SECOND, later)], 1
    ):
        check.deliver(system.tenant.info, mail(url, number), mailboxes, at)
    before = system.copies()
    assert system.refresh() == 0
    airflow.run(["dags", "unpause", "post_delivery_response"], "unpause.log")
    wait_until(lambda: bool(runs(airflow)), 60)  # the newest scheduled interval comes first
    airflow.run(["dags", "pause", "post_delivery_response"], "unpause.log")
