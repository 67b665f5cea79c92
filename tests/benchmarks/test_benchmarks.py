"""The benchmarks run as `make bench` runs them, and compare like with like. No figure is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LAYOUTS = ["--only", "rows", "--only", "lists", "--only", "short", "--only", "lookups-raw"]
SMALL = {
    "match.py": ["--observables", "2000", "--indicators", "200", "--rounds", "1"],
    "layout.py": ["--observables", "2000", "--copies", "2", "--rounds", "1", *LAYOUTS],
    "response.py": ["--observables", "2000", "--indicators", "1000"],
    "extraction.py": ["--rounds", "1"],
    "urls.py": ["--count", "200"],
    "feeds.py": ["--urls", "500", "--objects", "100"],
    "retractions.py": ["--mailboxes", "3", "--messages", "1", "--rounds", "1"],
    "scale.py": ["--mailboxes", "10", "--tasks", "1"],
}


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("[a-z]*.py")), ids=lambda file: file.name)
def test_it_runs_and_prints_a_ratio(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(file), *SMALL[file.name]],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent / "plugins")},
    )
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
