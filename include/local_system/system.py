"""Start the local tenant, point Airflow at it, and run DAGs: what the demo and the UI share."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil
from pydantic import BaseModel, ConfigDict

REPOSITORY = Path(__file__).resolve().parents[2]
_START_SECONDS = 120.0
_STOP_SECONDS = 20.0


class SystemFailed(Exception):
    """A part of the local system did not start or ended badly; the message says which and why."""


class TenantInfo(BaseModel):
    """What the local tenant prints when it is ready (see `local_tenant`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    graph_url: str
    authority_url: str
    gmail_url: str
    directory_url: str
    ca_file: str
    tenant_id: str
    client_id: str
    client_secret: str
    service_account_file: str
    google_admin: str
    control_url: str
    messages: int
    copies: int

    def airflow_connections(self, *, trust_headers: bool = True) -> dict[str, str]:
        """The two connections, as Airflow reads them from its environment.

        ``trust_headers``: whether the disposition a message got at delivery is believed. Mail
        that was delivered somewhere else first carries headers of that other place.
        """
        microsoft = {
            "conn_type": "generic",
            "login": self.client_id,
            "password": self.client_secret,
            "extra": {
                "provider": "microsoft365",
                "tenant_id": self.tenant_id,
                "authority_url": self.authority_url,
                "graph_url": self.graph_url,
                "ca_file": self.ca_file,
                "trusted_headers": {"forefront": trust_headers},
            },
        }
        google = {
            "conn_type": "generic",
            "extra": {
                "provider": "google_workspace",
                "service_account_file": self.service_account_file,
                "admin_subject": self.google_admin,
                "gmail_url": self.gmail_url,
                "directory_url": self.directory_url,
                "ca_file": self.ca_file,
                "allow_hard_delete": True,
                "trusted_headers": {"authserv_ids": ["mx.google.com"] if trust_headers else []},
            },
        }
        return {
            "AIRFLOW_CONN_MICROSOFT365_DEFAULT": json.dumps(microsoft),
            "AIRFLOW_CONN_GOOGLE_WORKSPACE_DEFAULT": json.dumps(google),
        }


class Tenant:
    """The local tenant in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], info: TenantInfo) -> None:
        self.process = process
        self.info = info

    @classmethod
    def start(cls, options: Sequence[str], log: Path, *, detached: bool = False) -> Tenant:
        """Start it and wait until it is ready. Raises SystemFailed when it does not come up."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "local_tenant", "serve", *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"PYTHONPATH": python_path()},
                start_new_session=detached,
            )
        line = _first_line(process.stdout) if process.stdout else ""
        if not line:
            process.kill()
            process.communicate()
            raise SystemFailed(_last_line(log) or f"the local tenant did not start; see {log}")
        return cls(process, TenantInfo.model_validate_json(line))

    def stop(self) -> None:
        """End it by its process id, and wait until it is gone."""
        stop_process(self.process)
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _first_line(stdout: IO[str]) -> str:
    """The first line a process prints, or "" when it ends or stays silent too long."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    try:
        return lines.get(timeout=_START_SECONDS)
    except queue.Empty:
        return ""


def _last_line(log: Path) -> str:
    """What a process said last, which tells why it ended; "" when it said nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def stop_process(process: subprocess.Popen[Any], patience: float = _STOP_SECONDS) -> None:
    """End a process we started, and every process it started; after so many seconds by force."""
    if process.poll() is None:
        stop_family(psutil.Process(process.pid), patience)
        process.wait()


def stop_family(parent: psutil.Process, patience: float = _STOP_SECONDS) -> None:
    """Ask a process to end, then insist; its descendants too, by their process ids."""
    family = [parent, *parent.children(recursive=True)]
    parent.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, patience)
    for survivor in left:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(left, _STOP_SECONDS)


def python_path() -> str:
    """Where `retract` and `local_tenant` are, for processes started by path."""
    return os.pathsep.join([str(REPOSITORY / "plugins"), str(REPOSITORY / "include")])


class Airflow:
    """Airflow on SQLite in a folder of its own, wired to this repository's DAGs."""

    def __init__(
        self,
        home: Path,
        *,
        policy_file: Path,
        feeds_file: Path,
        connections: Mapping[str, str],
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.retract_home = home / "retract"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "RETRACT_"))
        }
        self.environment: dict[str, str] = inherited | {
            "PYTHONPATH": python_path(),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "RETRACT_HOME": str(self.retract_home),
            "RETRACT_POLICY_FILE": str(policy_file),
            "RETRACT_FEEDS_FILE": str(feeds_file),
            "RETRACT_CONNECTIONS": "microsoft365_default,google_workspace_default",
            **connections,
            **(extra or {}),
        }

    def migrate(self) -> None:
        """Create or upgrade Airflow's database. Raises SystemFailed with the log's place."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self.run(["db", "migrate"], "migrate.log") != 0:
            raise SystemFailed(f"airflow db migrate failed; see {self.home / 'migrate.log'}")

    def run(
        self, command: Sequence[str], log: str, *, watch: Callable[[], None] | None = None
    ) -> int:
        """Run an ``airflow`` command to its end, logging to a file; its exit code.

        ``watch`` is called about twice a second while it runs.
        """
        with (self.home / log).open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                cwd=self.home,
            )
            try:
                while True:
                    try:
                        return process.wait(0.5)
                    except subprocess.TimeoutExpired:
                        if watch:
                            watch()
            finally:
                stop_process(process)

    def start(self, command: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        """Start an ``airflow`` component that goes on running, in a session of its own."""
        with (self.home / log).open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                cwd=self.home,
                start_new_session=True,
            )

    def test_dag(
        self,
        dag_id: str,
        *,
        conf: Mapping[str, Any] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> int:
        """Run a DAG once, through Airflow's own machinery, without a scheduler."""
        command = ["dags", "test", dag_id]
        if conf is not None:
            command += ["--conf", json.dumps(conf)]
        return self.run(command, self.log(dag_id).name, watch=watch)

    def log(self, dag_id: str) -> Path:
        """What `test_dag` wrote of the DAG's runs."""
        return self.home / f"{dag_id}.log"

    def newest_attempt(self, dag_id: str) -> Path | None:
        """The folder of the DAG's newest run attempt."""
        attempts = (self.retract_home / "runs" / dag_id).glob("*/*")
        return max(attempts, key=lambda folder: folder.name, default=None)


COMPONENTS: Mapping[str, Sequence[str]] = {
    "api-server": ("api-server",),
    "dag-processor": ("dag-processor",),
    # Its log server would listen on every address; the UI reads the logs from disk instead.
    "scheduler": ("scheduler", "--skip-serve-logs"),
}
"""What makes Airflow run by itself: each a process, by name and ``airflow`` command."""


def served_on(port: int) -> dict[str, str]:
    """What Airflow's components need to know to find each other on loopback."""
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
    }


def counted(number: int, noun: str, nouns: str = "") -> str:
    """A number with what it counts: "1 copy", "2,470 copies"."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def empty_folder(folder: Path) -> Path:
    """The folder, made anew."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
