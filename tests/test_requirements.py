"""Each requirements file names what its programs import, and nothing that they do not."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROGRAM = ("dags", "docker", "include", "plugins")
CHECKS = ("benchmarks", "tests")
CLIENTS = REPOSITORY / "tests" / "official_clients"

OWN = {"local_system", "local_tenant", "retract", "tests"}
NEVER_IMPORTED = {
    "apache-airflow",  # holds no module itself: it brings all that make up Airflow
    "pymispwarninglists",  # read as data: as its own objects the lists take twice the memory
    "setuptools",  # builds the editable install
}


@cache
def distributions() -> dict[str, list[str]]:
    """Top-level module → the distributions it may come from."""
    return {
        module: [canonical(name) for name in names]
        for module, names in packages_distributions().items()
    }


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named_in(file: str) -> set[str]:
    """The distributions of a requirements file, those it takes in with -r included."""
    names: set[str] = set()
    for line in (REPOSITORY / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            names |= named_in(line[3:].strip())
        elif line and not line.startswith("#"):
            names.add(canonical(re.split(r"[\[=<>~! ]", line)[0]))
    return names


def imported_by(folders: tuple[str, ...]) -> set[str]:
    """Top-level modules that are neither Python's own nor this repository's."""
    files = [
        file
        for folder in folders
        for file in (REPOSITORY / folder).rglob("*.py")
        if file not in CLIENTS.glob("with_*.py")  # they run in an environment of their own
    ]
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    # Helpers of the tests are imported by their file's name alone.
    return found - set(sys.stdlib_module_names) - OWN - {file.stem for file in files}


def unnamed(modules: set[str], file: str) -> set[str]:
    """The modules that come from no distribution the file names."""
    named = named_in(file)
    return {module for module in modules if named.isdisjoint(distributions().get(module, ()))}


def test_what_the_program_imports_is_named() -> None:
    assert unnamed(imported_by(PROGRAM), "requirements.in") == set()


def test_what_the_checks_import_is_named() -> None:
    assert unnamed(imported_by(CHECKS), "requirements-dev.in") == set()


def test_the_official_clients_are_pinned_whole() -> None:
    lines = (CLIENTS / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert len(pinned) > len(named_in("tests/official_clients/requirements.in"))
    assert [line for line in pinned if not re.match(r"[\w.-]+==[\w.]+( ;|$)", line)] == []


def test_what_is_named_is_imported() -> None:
    come_from = {
        name for module in imported_by(PROGRAM) for name in distributions().get(module, ())
    }
    assert named_in("requirements.in") - come_from == NEVER_IMPORTED
