"""What the pages tell people is true of the code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):(?: |$)", text_of(REPOSITORY / "Makefile"), re.MULTILINE))


@EACH_PAGE
def test_commands_in_the_pages_exist(page: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text_of(page), re.MULTILINE))
    assert named <= targets()


def test_the_first_screen_says_how_to_try_it() -> None:
    first_screen = "\n".join(text_of(REPOSITORY / "README.md").splitlines()[:25])
    for command in ("make demo", "make up", "make down", "make test"):
        assert command in first_screen


@EACH_PAGE
def test_links_in_the_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(page)):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_every_target_is_documented() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)) == targets()
    assert {"demo", "up", "down", "test"} <= targets()


def test_the_folders_of_the_architecture_page_exist() -> None:
    page = text_of(REPOSITORY / "docs" / "architecture.md")
    listing = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    assert listing
    folder = [""]
    for line in listing[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in re.split(r" {2,}", line.strip())[0].split():
            folder[depth + 1 :] = [folder[depth] + name]
            assert (REPOSITORY / (folder[depth] + name)).exists(), folder[depth] + name


# --- docs/connections.md ---


def chapter(provider: str) -> str:
    """The part of the page about a provider."""
    title = {"microsoft365": "Microsoft 365", "google_workspace": "Google Workspace"}[provider]
    page = text_of(REPOSITORY / "docs" / "connections.md")
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("provider", ["microsoft365", "google_workspace"])
def test_the_example_of_a_connection_is_accepted(provider: str, tmp_path: Path) -> None:
    from retract.mailboxes.connect import settings_from

    example = re.search(r"AIRFLOW_CONN_\w+='(.*?)'\n", chapter(provider), re.DOTALL)
    assert example
    connection = json.loads(example[1])
    extras = connection["extra"]
    assert extras.pop("provider") == provider
    if "service_account_file" in extras:  # the settings ask that it exists
        key = tmp_path / "key.json"
        key.write_text("{}", encoding="utf-8")
        extras["service_account_file"] = str(key)
    settings_from(provider, extras, connection["login"], connection.get("password"))


@pytest.mark.parametrize("provider", ["microsoft365", "google_workspace"])
def test_every_extra_is_documented(provider: str) -> None:
    from retract.mailboxes.settings import (
        ConnectionSettings,
        GoogleWorkspaceSettings,
        Microsoft365Settings,
    )

    kinds: dict[str, type[ConnectionSettings]] = {
        "microsoft365": Microsoft365Settings,
        "google_workspace": GoogleWorkspaceSettings,
    }
    rows = re.findall(r"^\| (`.*?`) \|", chapter(provider), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == set(kinds[provider].model_fields)


def examples_of_json() -> list[str]:
    page = text_of(REPOSITORY / "docs" / "connections.md")
    return re.findall(r"```json\n(.*?)```", page, re.DOTALL)


def test_the_example_of_watch_is_accepted(tmp_path: Path) -> None:
    from retract.mailboxes.settings import Watch

    (example,) = (each for each in examples_of_json() if '"watch"' in each)
    watch = json.loads(example)["watch"]
    addresses = tmp_path / "mailboxes.txt"  # the settings ask that it exists
    addresses.write_text("")
    assert set(watch) == set(Watch.model_fields)
    Watch.model_validate({**watch, "addresses_file": addresses})


def test_the_record_of_a_gateway_is_accepted_and_shows_every_field() -> None:
    from retract.observables.described import DescribedMessage

    (example,) = (each for each in examples_of_json() if '"recipient"' in each)
    DescribedMessage.model_validate_json(example)
    assert set(json.loads(example)) == set(DescribedMessage.model_fields)


def test_every_field_of_a_gateway_s_record_is_documented() -> None:
    from retract.observables.described import DescribedMessage

    page = text_of(REPOSITORY / "docs" / "connections.md")
    table = page.split("| field | type | meaning |\n")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.*?`) \| (?:[a-z ]+)(, required)? \|", table, re.MULTILINE)
    documented = {
        name: bool(required) for names, required in rows for name in re.findall(r"`(\w+)`", names)
    }
    fields = DescribedMessage.model_fields.items()
    assert documented == {name: field.is_required() for name, field in fields}


def test_every_cloud_and_every_way_to_sign_in_is_documented() -> None:
    from retract.mailboxes.clouds import Cloud
    from retract.mailboxes.settings import CollectFrom, SignIn

    page = text_of(REPOSITORY / "docs" / "connections.md")
    assert {name for name in (*Cloud, *SignIn, *CollectFrom) if f"`{name}`" not in page} == set()


# --- docs/operations.md ---


def test_every_setting_is_documented() -> None:
    from retract.installation import Settings

    page = text_of(REPOSITORY / "docs" / "operations.md")
    documented = set(re.findall(r"`(RETRACT_[A-Z_]+)`", page))
    assert documented == {f"RETRACT_{name.upper()}" for name in Settings.model_fields}


def test_every_dag_and_every_result_is_documented() -> None:
    from retract.reports.model import Result

    page = text_of(REPOSITORY / "docs" / "operations.md")
    first_column = set(re.findall(r"^\| `?([\w ]+?)`? \|", page, re.MULTILINE))
    assert {file.stem for file in (REPOSITORY / "dags").glob("*.py")} <= first_column
    assert {result.replace("_", " ") for result in Result} <= first_column


def test_every_fault_of_the_local_tenant_is_documented() -> None:
    from local_tenant.faults.profile import PROFILES

    page = text_of(REPOSITORY / "docs" / "operations.md")
    table = page.split("| profile | what happens |\n")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(PROFILES)


def test_what_the_policy_decides_besides_its_matrix_is_documented() -> None:
    from retract.policy import HardDeleteFallback, SentCopies

    page = text_of(REPOSITORY / "docs" / "operations.md")
    told = page.split("## Preview, then enforce")[1].split("\n## ")[0]
    assert {name for name in (*SentCopies, *HardDeleteFallback) if f"`{name}`" not in told} == set()


# --- docs/lake.md ---


def test_every_table_of_the_lake_is_documented_as_it_is() -> None:
    from retract.lake.tables import ALL_TABLES

    page = text_of(REPOSITORY / "docs" / "lake.md")
    table = page.split("| table | one row is |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| (none|`\w+`) \| (.*) \|$", table, re.MULTILINE)
    partitions = {name: {partition.strip("`")} - {"none"} for name, partition, _ in rows}
    assert partitions == {one.name: set(one.partition_by) for one in ALL_TABLES}
    columns = {name: set(re.findall(r"`(\w+)`", named)) for name, _, named in rows}
    columns["suspects"].remove("messages")  # the table whose columns it has, too
    for one in ALL_TABLES:
        assert columns[one.name] <= set(one.schema.names)


def test_the_questions_of_the_lake_s_page_can_be_asked_by_any_reader_of_delta(
    tmp_path: Path,
) -> None:
    import duckdb

    from retract.lake.delta import DeltaTables
    from retract.lake.tables import ALL_TABLES

    asked = duckdb.connect()
    tables = DeltaTables(str(tmp_path))
    for table in ALL_TABLES:
        there = tables.open_or_create(table)
        asks = there.protocol()
        assert (asks.min_reader_version, asks.min_writer_version) == (1, 2)
        asked.register(table.name, there.to_pyarrow_dataset())
    page = text_of(REPOSITORY / "docs" / "lake.md")
    questions = re.findall(r"```sql\n(.*?)```", page.split("## Questions to ask")[1], re.DOTALL)
    assert [asked.sql(question).fetchall() for question in questions] == [[]] * 4
    asked.close()


def test_how_long_the_lake_keeps_things_is_documented() -> None:
    from retract.lake.compaction import COMPACT_FROM
    from retract.lake.tables import FORGET_AHEAD, KEEP_HOURS, LOG_HOURS, WATERMARKS_TABLE
    from retract.lake.upkeep import AT_NIGHT

    page = " ".join(text_of(REPOSITORY / "docs" / "lake.md").split())
    assert (FORGET_AHEAD.days, COMPACT_FROM, AT_NIGHT) == (4, 32, 8)
    for told in (
        "**four days earlier**",
        f"the last {KEEP_HOURS} hours needs ({WATERMARKS_TABLE.keep_hours} hours of `watermarks`",
        f"tells of {LOG_HOURS} hours",
        f"{COMPACT_FROM} of them by whoever adds more, {AT_NIGHT} by `maintain_lake`",
    ):
        assert told in page
