"""One run of the main job at growing sizes: time, and memory of the acting tasks, which is flat.

    python benchmarks/scale.py [--mailboxes 200 --mailboxes 1000]
        [--messages 2] [--tasks 16] [--at-once 2]

The sizes that the program is made for take the better part of an hour on two cores:
``--mailboxes 1000 --mailboxes 5000 --mailboxes 10000``.

For each size a local tenant, half Microsoft 365 and half Google Workspace, is given the same bad
messages in every mailbox: 10,000 mailboxes and 2 messages are 20,000 retractions. The job's own
steps do the rest, each task in a process of its own as under Airflow, so that peaks are its own.
Afterwards the tenant's audit log must show each copy moved once, and all of them moved. The tenant
shares the machine's cores with the tasks, so the times are not a real service's.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from _alone import Figures, child, measured

from local_system import check
from local_system.system import Tenant
from local_tenant.people import people
from retract.installation import Settings
from retract.orchestration import refresh, response
from retract.orchestration.windows import RunRequest

URL = "http://bad.example.net/login"
POLICY = "mode: enforce\nactions: {malicious: trash}\n"
FEEDS = """\
sources:
  - {name: list, format: plain_list, type: url, location: list.txt, disposition: malicious,
     confidence: 90}
"""

app = typer.Typer(add_completion=False)


class Size(NamedTuple):
    """What one size came to."""

    mailboxes: int
    copies: int
    tasks: int
    seconds: dict[str, float]
    peak: float
    """Of the acting task that took most, in MB."""
    moved_once: bool


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    mailboxes: Annotated[list[int] | None, typer.Option(min=2)] = None,
    messages: Annotated[int, typer.Option(min=1)] = 2,
    tasks: Annotated[int, typer.Option(min=1, max=1000)] = 16,
    at_once: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Run every size and print the figures."""
    if context.invoked_subcommand:
        return
    sizes = []
    for number in mailboxes or [200, 1_000]:
        with tempfile.TemporaryDirectory() as folder:
            sizes.append(_run(Path(folder), number, messages, tasks, at_once))
        _print(sizes[-1])
    ratio = sizes[-1].peak / sizes[0].peak
    print(f"memory of an acting task, largest size to smallest: ratio {ratio:.2f}")
    if not all(size.moved_once for size in sizes):
        raise typer.Exit(1)


def _print(size: Size) -> None:
    act = size.seconds["act"]
    steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in size.seconds.items())
    print(
        f"{size.mailboxes:6,} mailboxes, {size.copies:6,} retractions: "
        f"{sum(size.seconds.values()):.0f} s ({steps}); {size.copies / act:.0f} retractions/s; "
        f"{size.tasks} collecting and acting tasks; peak {size.peak:.0f} MB; "
        f"each copy moved exactly once: {'yes' if size.moved_once else 'NO'}",
        flush=True,
    )


def _run(home: Path, mailboxes: int, messages: int, tasks: int, at_once: int) -> Size:
    (home / "policy.yaml").write_text(POLICY)
    (home / "feeds.yaml").write_text(FEEDS)
    (home / "list.txt").write_text(f"{URL}\n")
    options = ["--mailboxes", str(mailboxes), "--messages", "0", "--state-dir", str(home / "t")]
    with Tenant.start(options, home / "tenant.log") as tenant:
        os.environ |= tenant.info.airflow_connections() | {
            "RETRACT_HOME": str(home / "retract"),
            "RETRACT_POLICY_FILE": str(home / "policy.yaml"),
            "RETRACT_FEEDS_FILE": str(home / "feeds.yaml"),
            "RETRACT_CONNECTIONS": "microsoft365_default,google_workspace_default",
            "RETRACT_MAX_SHARDS": str(tasks),
            "RETRACT_TASKS_AT_ONCE": str(at_once),
        }
        addresses = [
            person.address
            for domain, count in (
                ("north.example", mailboxes - mailboxes // 2),
                ("south.example", mailboxes // 2),
            )
            for person in people(domain, count, seed=1)
        ]
        for number in range(messages):
            check.deliver(tenant.info, _mail(number), addresses)
        child("learn")
        seconds: dict[str, float] = {}

        def timed(step: str, do: Callable[[], Any]) -> Any:
            began = time.perf_counter()
            result = do()
            seconds[step] = time.perf_counter() - began
            return result

        opened = timed("list", lambda: _told("open"))
        folder, shards = opened["folder"], opened["shards"]
        timed("collect", lambda: _side_by_side("collect", folder, shards, at_once))
        to_act = timed("plan", lambda: _told("plan", folder))
        figures = timed("act", lambda: _side_by_side("act", folder, to_act, at_once))
        timed("report", lambda: child("report", folder))
        moved = Counter((one["provider"], one["message_id"]) for one in check.audit(tenant.info))
        copies = {(key[0], key[2]) for key in check.copies(tenant.info)}
    return Size(
        mailboxes=mailboxes,
        copies=mailboxes * messages,
        tasks=len(shards) + len(to_act),
        seconds=seconds,
        peak=max(figure.peak for figure in figures),
        moved_once=copies == moved.keys() and set(moved.values()) == {1},
    )


def _side_by_side(
    step: str, folder: str, shards: list[dict[str, Any]], at_once: int
) -> list[Figures]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(
            pool.map(lambda shard: Figures(*_told(step, folder, json.dumps(shard))), shards)
        )


def _told(*arguments: str) -> Any:
    """What a step prints, in a process of its own, after all that Airflow logs there."""
    return json.loads(child(*arguments).splitlines()[-1])


def _mail(number: int) -> bytes:
    return (
        f"From: sender-{number}@elsewhere.example\r\nSubject: {number}\r\n"
        f"Message-ID: <{number}@elsewhere.example>\r\nContent-Type: text/plain\r\n\r\n"
        f"Please see {URL}\r\n"
    ).encode()


def _request(dag_id: str) -> RunRequest:
    return RunRequest(
        dag_id=dag_id,
        run_id="manual__1",
        run_type="manual",
        run_after=datetime.now(UTC),
        interval_start=None,
        interval_end=None,
        params={},
    )


@app.command()
def learn() -> None:
    """Read the one source of indicators."""
    folder = refresh.open_refresh(Settings(), _request("refresh_indicators"))
    for name in refresh.sources(folder):
        refresh.read_source(Settings(), folder, name)
    refresh.commit(Settings(), folder)


@app.command(name="open")
def open_run() -> None:
    """Everything up to collecting."""
    folder = response.open_run(Settings(), _request("post_delivery_response"))
    for connection in response.connections(folder):
        response.list_mailboxes(folder, connection)
    shards = response.shard_mailboxes(Settings(), folder)
    print(json.dumps({"folder": folder, "shards": shards}))


@app.command()
def collect(folder: str, shard: str) -> None:
    """One collecting task."""
    print(measured(lambda: response.collect(Settings(), folder, json.loads(shard))))


@app.command()
def plan(folder: str) -> None:
    """Everything from what was collected to the plan."""
    for part in response.pin(Settings(), folder):
        response.match(Settings(), folder, part)
    print(json.dumps(response.make_plan(Settings(), folder)))


@app.command()
def act(folder: str, shard: str) -> None:
    """One acting task."""
    counts: dict[str, int] = {}
    figures = measured(
        lambda: (
            counts.update(response.act(Settings(), folder, json.loads(shard)))
            or sum(counts.values())
        )
    )
    print(figures)


@app.command()
def report(folder: str) -> None:
    """The report; it must tell of no problem."""
    problems = response.report(Settings(), folder)
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    app()
