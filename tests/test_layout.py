"""Promises about the repository itself: what its files hold, and what parsing a DAG costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DAGS = sorted((REPOSITORY / "dags").glob("*.py"))
HEAVY = {
    "altair",
    "deltalake",
    "google.auth",
    "googleapiclient",
    "msal",
    "pandas",
    "polars",
    "pyarrow",
    "vl_convert",
}
"""Never imported when a DAG file is parsed: pyproject.toml says why, ruff sees the direct ones."""


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of the project's files")
    names = listed.stdout.decode().split("\0")
    return [REPOSITORY / name for name in names if name and (REPOSITORY / name).is_file()]


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


# --- files ---


def test_no_file_names_this_machine_or_a_package_index() -> None:
    here = re.escape(str(REPOSITORY.parent))
    forbidden = re.compile(
        rf"(?<![\w.]){here}/|--(?:extra-)?index-url|--find-links|https?://[\w.-]*/simple\b"
    )
    found = [
        f"{file.relative_to(REPOSITORY)}: {match[0]}"
        for file in tracked_files()
        if file != Path(__file__) and REPOSITORY.parent != Path("/")
        for match in forbidden.finditer(text_of(file))
    ]
    assert found == []


def test_nothing_tracked_is_made_by_a_tool_or_holds_secrets() -> None:
    names = [file.relative_to(REPOSITORY).as_posix() for file in tracked_files()]
    made = re.compile(r"(^|/)(__pycache__|\.venv|var|[^/]+\.egg-info)/|\.(pyc|db|log)$")
    secrets = re.compile(r"(^|/)(\.env|connections\.env|[^/]+\.(pem|key|p12))$")
    assert [name for name in names if made.search(name) or secrets.search(name)] == []


# --- what Airflow parses ---


@pytest.mark.parametrize("dag_file", DAGS, ids=lambda file: file.name)
def test_a_dag_file_parses_without_heavy_imports(dag_file: Path) -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print(*(name for name in sys.argv[2:] if name in sys.modules))"
    )
    path = os.pathsep.join(str(REPOSITORY / folder) for folder in ("plugins", "include"))
    parsed = subprocess.run(
        [sys.executable, "-c", code, str(dag_file), *sorted(HEAVY)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert parsed.returncode == 0, parsed.stderr
    assert parsed.stdout.split("\n")[-2] == "", "imported while parsing"


def test_the_heavy_modules_have_those_names() -> None:
    for name in HEAVY:
        __import__(name)


def test_airflow_loads_one_file_of_the_plugins_folder() -> None:
    from airflow._shared.module_loading import find_path_from_directory

    plugins = REPOSITORY / "plugins"
    found = find_path_from_directory(str(plugins), ".airflowignore", "glob")
    loaded = {Path(path).relative_to(plugins).as_posix() for path in found}
    assert {name for name in loaded if name.endswith(".py")} <= {"retract/airflow_plugin.py"}
