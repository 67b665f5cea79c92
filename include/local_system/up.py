"""The system with Airflow's UI on loopback: started in the background, ended by ``down``."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import httpx
import psutil
import typer
from pydantic import BaseModel, ConfigDict

from local_system.system import (
    COMPONENTS,
    REPOSITORY,
    Airflow,
    SystemFailed,
    Tenant,
    empty_folder,
    served_on,
    stop_family,
)

_UI_SECONDS = 180.0


class Started(BaseModel):
    """A process we started, told apart from a later one with the same number by its birth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    pid: int
    born: float

    @classmethod
    def of(cls, name: str, pid: int) -> Started:
        return cls(name=name, pid=pid, born=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it is still that one."""
        try:
            found = psutil.Process(self.pid)
            alive = found.status() != psutil.STATUS_ZOMBIE
            return found if alive and found.create_time() == self.born else None
        except psutil.NoSuchProcess:
            return None

    def stop(self) -> None:
        """End it and every process it started, by process id."""
        process = self.process()
        if process is not None:
            stop_family(process)


class Running(BaseModel):
    """What ``up`` started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    processes: tuple[Started, ...]

    def alive(self) -> bool:
        return any(started.process() for started in self.processes)


def up(home: Path, port: int, drip_seconds: float) -> str:
    """Start everything; a text for the person who did. Raises SystemFailed."""
    record = home / "running.json"
    if record.exists() and Running.model_validate_json(record.read_text()).alive():
        raise SystemFailed("it is already running; `make down` ends it")
    _require_free(port)
    empty_folder(home)
    scenario = home / "scenario"
    typer.echo("Starting the local tenant …")
    tenant = Tenant.start(
        [
            "--scenario",
            str(scenario),
            "--state-dir",
            str(home / "tenant"),
            "--drip",
            str(drip_seconds),
        ],
        home / "tenant.log",
        detached=True,
    )
    started = [Started.of("tenant", tenant.process.pid)]
    try:
        airflow = Airflow(
            home / "airflow",
            policy_file=REPOSITORY / "include" / "policies" / "demo.yaml",
            feeds_file=scenario / "feeds.yaml",
            connections=tenant.info.airflow_connections(),
            extra=served_on(port),
        )
        typer.echo("Preparing Airflow's database …")
        airflow.migrate()
        for name, command in COMPONENTS.items():
            started.append(Started.of(name, airflow.start(command, f"{name}.log").pid))
        running = Running(url=f"http://127.0.0.1:{port}", processes=tuple(started))
        record.write_text(running.model_dump_json(indent=1))
        typer.echo("Starting Airflow; this takes half a minute …")
        _wait_for_ui(running, airflow.home)
    except BaseException:
        for process in reversed(started):
            process.stop()
        record.unlink(missing_ok=True)
        raise
    return (
        f"Airflow: {running.url}  user admin, password {_password(airflow.home)}\n"
        f"{tenant.info.copies} copies lie in the mailboxes; a new message arrives every "
        f"{drip_seconds:g} s. The DAGs run by themselves.\n"
        f"Reports: {airflow.retract_home / 'runs'}\n"
        "End it with: make down"
    )


def down(home: Path) -> str:
    """End what ``up`` started; a text for the person who did."""
    record = home / "running.json"
    if not record.exists():
        return "Nothing is running."
    running = Running.model_validate_json(record.read_text())
    for process in reversed(running.processes):
        process.stop()
    record.unlink()
    return "Stopped."


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SystemFailed(
                f"port {port} on 127.0.0.1 is in use: choose another with `make up PORT=…`"
            ) from None


def _wait_for_ui(running: Running, logs: Path) -> None:
    deadline = time.monotonic() + _UI_SECONDS
    while time.monotonic() < deadline:
        for started in running.processes:
            if started.process() is None:
                raise SystemFailed(f"{started.name} ended while starting; see {logs}")
        try:
            if httpx.get(f"{running.url}/api/v2/monitor/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemFailed(f"Airflow's UI did not answer within {_UI_SECONDS:g} s; see {logs}")


def _password(airflow_home: Path) -> str:
    file = airflow_home / "simple_auth_manager_passwords.json.generated"
    try:
        return str(json.loads(file.read_text())["admin"])
    except (OSError, ValueError, KeyError):
        return f"in {os.fspath(file)}"
