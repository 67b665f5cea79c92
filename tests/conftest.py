"""Every test run has an Airflow home of its own: a person's Airflow is not touched.

Set before anything imports Airflow, which reads its environment once.

Fixtures for all rooms: ``tenant``, ``running_tenants`` and ``shared_data``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local_tenant.server import RunningTenant

_REPOSITORY = Path(__file__).parents[1]
_HOME = tempfile.mkdtemp(prefix="retract-tests-")

for name in [name for name in os.environ if name.startswith(("AIRFLOW", "RETRACT_"))]:
    if name != "RETRACT_SHARED_DATA":
        del os.environ[name]
os.environ.update(
    {
        "AIRFLOW_HOME": _HOME,
        "AIRFLOW__CORE__DAGS_FOLDER": str(_REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(_REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
)


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def running_tenants() -> Iterator[Callable[..., RunningTenant]]:
    """Starts local tenants that end with the test; takes what `running_tenant` takes.

    For tests that need other settings, a clock of their own, or a filled state.
    """
    from local_tenant.server import running_tenant

    with ExitStack() as running:
        yield lambda **options: running.enter_context(running_tenant(**options))


@pytest.fixture
def tenant(running_tenants: Callable[..., RunningTenant]) -> RunningTenant:
    """A fresh local tenant over TLS on loopback, empty but for Google's administrator.

    ``tenant.info`` is the JSON line of ``serve`` as a dict; ``tenant.add_mailbox(address)``,
    ``tenant.deliver(raw, recipients, received_at)``, ``tenant.copies()``, ``tenant.audit()``
    and ``tenant.state`` work on it from the inside; ``tenant.http_client()`` trusts it.
    """
    return running_tenants()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real mail and feeds beside the repository; skips where there is none.

    RETRACT_SHARED_DATA names another place.
    """
    default = _REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("RETRACT_SHARED_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; RETRACT_SHARED_DATA may name another place")
    return folder
