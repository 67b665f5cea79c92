"""An environment of their own for the official clients, and programs run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from local_tenant.server import RunningTenant

_HERE = Path(__file__).parent
_INSTALL_SECONDS = 240
_RUN_SECONDS = 120


@pytest.fixture(scope="session")
def clients_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter that has the clients; skips where they cannot be installed."""
    folder = tmp_path_factory.mktemp("official_clients") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    requirements = str(_HERE / "requirements.txt")
    try:
        subprocess.run(
            [*pip, "install", "--quiet", "--no-deps", "-r", requirements],
            check=True,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        pytest.skip(f"the official clients cannot be installed here: {(said or ['?'])[0]:.300}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"the official clients were not installed within {_INSTALL_SECONDS} s")
    return python


@pytest.fixture
def run_client(clients_python: Path) -> Callable[..., dict[str, Any]]:
    """Runs a program of this folder against a tenant; what it prints."""

    def run_client(program: str, tenant: RunningTenant, **wish: Any) -> dict[str, Any]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        done = subprocess.run(
            [clients_python, _HERE / program],
            input=json.dumps({"connection": tenant.info, **wish}),
            env={**kept, "REQUESTS_CA_BUNDLE": tenant.info["ca_file"], "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
        )
        assert done.returncode == 0, done.stderr[-5000:]
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run_client
