"""Airflow's own backfill, through a real scheduler: each run judges exactly its interval."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.end_to_end.scheduler import running, states, wait_until

from local_system import check
from local_system.system import Airflow

if TYPE_CHECKING:
    from tests.end_to_end.conftest import System

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

POLICY = """\
mode: enforce
reevaluate_every: P1D
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
    """A system whose Airflow runs by itself, once a day: its one scheduled run is over."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "feeds.yaml").write_text(FEEDS)
    (tmp_path / "list.txt").write_text(FIRST + "\n")
    system = start_system(
        "--messages", "5", "--mailboxes", "2",
        policy=tmp_path / "policy.yaml", feeds=tmp_path / "feeds.yaml",
    )  # fmt: skip
    airflow = system.environment({}).airflow
    with running(airflow):
        wait_until(lambda: set(states(airflow)) == {"success"}, 180)
        # The tests refresh by themselves; of a paused DAG the scheduler takes no task of theirs.
        assert airflow.run(["dags", "pause", "refresh_indicators"], "pause.log") == 0
        yield system, airflow


def open_backfills(airflow: Airflow) -> int:
    """Backfills the scheduler has not closed yet; it does so a little after their last run."""
    query = "select count(*) from backfill where completed_at is null"
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as db:
        count: int = db.execute(query).fetchone()[0]
        return count


def backfill(airflow: Airflow, first: datetime, last: datetime, behavior: str) -> None:
    """Create a backfill over the intervals that start in [first, last], and wait for its end."""
    command = [
        "backfill", "create", "--dag-id", "post_delivery_response",
        "--from-date", first.isoformat(), "--to-date", last.isoformat(),
        "--reprocess-behavior", behavior, "--max-active-runs", "1",
    ]  # fmt: skip
    assert airflow.run(command, "backfill.log") == 0, (airflow.home / "backfill.log").read_text()

    wait_until(lambda: not open_backfills(airflow), 240)
    assert not states(airflow).keys() & {"running", "queued"}


def moved(before: dict[check.CopyKey, check.TenantCopy], system: System) -> set[str]:
    after = system.copies()
    return {
        copy.internet_message_id for key, copy in before.items() if after[key].place != copy.place
    }


def test_a_backfill_judges_its_intervals_and_reprocesses_them_with_what_is_known_then(
    scheduled: tuple[System, Airflow], tmp_path: Path
) -> None:
    """One interval has mail to retract, then none, then again: Airflow must not lose its tasks."""
    system, airflow = scheduled
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = today - timedelta(days=5)
    next_day = day + timedelta(days=1)
    for number, url, at in (
        (1, FIRST, day + timedelta(hours=2)),
        (2, SECOND, day + timedelta(hours=4)),
        (3, FIRST, next_day + timedelta(hours=8)),
        (4, FIRST, next_day + timedelta(days=1)),
    ):
        check.deliver(system.tenant.info, mail(url, number), system.mailboxes()[:2], at)
    before, earlier = system.copies(), len(system.audit())
    assert system.refresh() == 0

    # Two intervals of a day; the message outside them is known bad too, and stays.
    backfill(airflow, day, next_day, "none")
    assert moved(before, system) == {"<1@elsewhere.example>", "<3@elsewhere.example>"}
    audit = system.audit()
    assert len(audit) == earlier + 4

    backfill(airflow, day, day, "completed")
    assert system.audit() == audit, "nothing is done twice"

    (tmp_path / "list.txt").write_text(f"{FIRST}\n{SECOND}\n")
    assert system.refresh() == 0
    backfill(airflow, day, day, "none")
    assert system.audit() == audit, "intervals that succeeded are skipped unless asked for"
    backfill(airflow, day, day, "completed")
    assert moved(before, system) == {f"<{number}@elsewhere.example>" for number in (1, 2, 3)}
    assert len(system.audit()) == earlier + 6
    assert set(states(airflow)) == {"success"}
