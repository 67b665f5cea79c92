"""Promises about the repository itself: what its files hold, and what Airflow loads of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


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


def test_no_file_names_this_machine_or_a_package_index() -> None:
    # A clone right in a folder that every machine has says nothing about this one.
    beside = REPOSITORY.parent
    here = REPOSITORY if str(beside) in {"/", "/tmp", "/opt", "/home", "/srv"} else beside
    forbidden = re.compile(
        rf"(?<![\w.]){re.escape(str(here))}/|--(?:extra-)?index-url|--find-links"
        r"|https?://[\w.-]*/simple\b"
    )
    found = [
        f"{file.relative_to(REPOSITORY)}: {match[0]}"
        for file in tracked_files()
        if file != Path(__file__)
        for match in forbidden.finditer(text_of(file))
    ]
    assert found == []


def test_nothing_tracked_is_made_by_a_tool_or_holds_secrets() -> None:
    names = [file.relative_to(REPOSITORY).as_posix() for file in tracked_files()]
    made = re.compile(r"(^|/)(__pycache__|\.venv|var|[^/]+\.egg-info)/|\.(pyc|db|log)$")
    secrets = re.compile(r"(^|/)(\.env|connections\.env|[^/]+\.(pem|key|p12))$")
    assert [name for name in names if made.search(name) or secrets.search(name)] == []


def test_airflow_loads_one_file_of_the_plugins_folder() -> None:
    from airflow._shared.module_loading import find_path_from_directory

    plugins = REPOSITORY / "plugins"
    found = find_path_from_directory(str(plugins), ".airflowignore", "glob")
    loaded = {Path(path).relative_to(plugins).as_posix() for path in found}
    assert {name for name in loaded if name.endswith(".py")} <= {"retract/airflow_plugin.py"}
