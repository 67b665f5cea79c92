"""Every test run has an Airflow home of its own: a person's Airflow is not touched.

Set before anything imports Airflow, which reads its environment once.
"""

import os
import shutil
import tempfile
from pathlib import Path

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
