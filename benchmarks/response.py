"""One run of the main job, step by step: with nothing new, and with 1 % new mail.

    python benchmarks/response.py [--observables 300000 --observables 3000000] [--indicators 10000]

For each size a lake that holds a month's mail, and a local tenant whose mailboxes are read: what is
new is delivered there. The job's own steps do the rest, one after the other and each run in a
process of its own; what Airflow takes to start a task is not counted. The mail that the lake holds
lies in mailboxes that the tenant does not have, so all of it is matched, but none is acted on; of
the new mail one message in fifty is known to be bad. The tenant shares the machine's cores with the
run, so what is read from it is slower than need be.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import _machine
import _mail
import numpy as np
import typer
from _alone import child, peak

from local_system import check
from local_system.system import Tenant, TenantInfo
from local_tenant.people import people
from retract.installation import Settings
from retract.orchestration import response
from retract.orchestration.windows import RunRequest

POLICY: Final = "mode: enforce\nactions: {malicious: trash}\n"
MAILBOXES: Final = 8
KNOWN_BAD: Final = 50
"""Of the new messages one in so many."""

app = typer.Typer(add_completion=False)


class Run(NamedTuple):
    """What a run took."""

    steps: dict[str, float]
    """Seconds."""
    peak: float
    """Of memory, in MB."""

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return sum(self.steps.values())


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    observables: Annotated[list[int] | None, typer.Option(min=1_000)] = None,
    indicators: Annotated[int, typer.Option(min=1_000)] = 10_000,
) -> None:
    """Run every size and print the time of each step."""
    if context.invoked_subcommand:
        return
    typer.echo(_machine.described(("polars", "deltalake", "apache-airflow")))
    runs = []
    for size in observables or [300_000, 3_000_000]:
        with tempfile.TemporaryDirectory(prefix="retract-response-") as folder:
            runs.append(_runs(Path(folder), size, indicators))
    for what in runs[0]:
        ratio = runs[-1][what].seconds / runs[0][what].seconds
        typer.echo(f"{what}, largest size to smallest: ratio {ratio:.2f}")


def _runs(home: Path, size: int, indicators: int) -> dict[str, Run]:
    lake, new = str(home / "lake"), size // len(_mail.A_MESSAGE) // 100 or 1
    (home / "policy.yaml").write_text(POLICY)
    child("make", lake, str(size), str(indicators))
    options = ["--mailboxes", str(MAILBOXES), "--messages", "0", "--state-dir", str(home / "t")]
    with Tenant.start(options, home / "tenant.log") as tenant:
        os.environ |= tenant.info.airflow_connections() | {
            "RETRACT_HOME": str(home / "retract"),
            "RETRACT_LAKE_URL": lake,
            "RETRACT_POLICY_FILE": str(home / "policy.yaml"),
            "RETRACT_MAX_SHARDS": "2",
            "RETRACT_RETENTION_DAYS": "36500",
            "RETRACT_CONNECTIONS": "microsoft365_default,google_workspace_default",
        }
        typer.echo(f"\n{size:,} observables × {indicators:,} indicators; 1 % is {new:,} messages")
        runs = {}
        for what, messages in (("first run", 0), ("nothing new", 0), ("1 % new mail", new)):
            _deliver(tenant.info, messages)
            runs[what] = run = _run(what)
            steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in run.steps.items())
            typer.echo(f"{what:13} {run.seconds:7.2f} s  ({steps}); peak {run.peak:.0f} MB")
        moved = len(check.audit(tenant.info))
        if moved != len(range(0, new, KNOWN_BAD)):
            sys.exit(f"{moved} messages were moved")
    return runs


def _run(what: str) -> Run:
    seconds, peak = json.loads(child("run", what.replace(" ", "_")).splitlines()[-1])
    return Run(seconds, peak)


def _deliver(tenant: TenantInfo, messages: int) -> None:
    addresses = [
        person.address
        for domain in ("north.example", "south.example")
        for person in people(domain, MAILBOXES // 2, seed=1)
    ]
    listed = _mail.listed_urls(np.arange(1, dtype=np.uint64))[0]
    for number in range(messages):
        bad = [listed] if number % KNOWN_BAD == 0 else []
        at = _mail.NOW - timedelta(hours=1) + timedelta(milliseconds=number)
        check.deliver(tenant, _raw(number, bad), [addresses[number % MAILBOXES]], at)


def _raw(number: int, links: list[str]) -> bytes:
    links = [*links, *(f"https://www.shop{n}.example/{number}/?id={n}" for n in range(8))]
    return (
        f"From: sender-{number}@elsewhere.example\r\nSubject: {number}\r\n"
        f"Message-ID: <{number}@elsewhere.example>\r\nContent-Type: text/plain\r\n\r\n"
        + "\r\n".join(links)
    ).encode()


# --- each in a process of its own ---


@app.command(hidden=True)
def make(lake: str, observables: int, indicators: int) -> None:
    """Write the lake."""
    _mail.write(lake, _mail.window(_mail.Mail(observables)))
    _mail.list_indicators(lake, indicators)


@app.command(hidden=True)
def run(run_id: str) -> None:
    """One run; prints the seconds of each step, of several tasks together, and the peak memory."""
    settings = Settings()
    seconds: dict[str, float] = {}

    def timed(step: str, do: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        result = do(*arguments)
        seconds[step] = seconds.get(step, 0) + time.perf_counter() - began
        return result

    folder = timed("open", _open, settings, run_id)
    for shard in timed("open", response.shard_mailboxes, settings, folder):
        timed("collect", response.collect, settings, folder, shard)
    for part in timed("pin", response.pin, settings, folder):
        timed("match", response.match, settings, folder, part)
    for shard in timed("plan", response.make_plan, settings, folder):
        timed("act", response.act, settings, folder, shard)
    problems = timed("report", response.report, settings, folder)
    if problems:
        sys.exit("; ".join(problems))
    print(json.dumps([seconds, peak()]))


def _open(settings: Settings, run_id: str) -> str:
    """Everything up to the mailboxes' names."""
    request = RunRequest(
        dag_id="post_delivery_response",
        run_id=f"manual__{run_id}",
        run_type="manual",
        run_after=datetime.now(UTC),
        interval_start=None,
        interval_end=None,
        params={
            "window_start": _mail.WINDOW.start.isoformat(),
            "window_end": _mail.WINDOW.end.isoformat(),
        },
    )
    folder = response.open_run(settings, request)
    for connection in response.connections(folder):
        response.list_mailboxes(folder, connection)
    return folder


if __name__ == "__main__":
    app()
