"""What is wrong is said clearly, turns the run red, and costs nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from retract.model import Provider
from retract.reports.model import Result

if TYPE_CHECKING:
    from tests.end_to_end.conftest import System

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def system(start_system: Callable[..., System]) -> System:
    return start_system("--messages", "40", "--mailboxes", "4", "--seed", "3")


def test_a_broken_policy_is_named_by_line_and_nothing_is_touched(
    system: System, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("mode: enforce\nactions:\n  malicious: soft_delete\n")
    broken = system.environment({"RETRACT_POLICY_FILE": str(policy)})
    assert broken.respond() != 0
    log = broken.log("post_delivery_response")
    assert "policy.yaml line 3" in log
    assert "soft_delete is Microsoft 365 only" in log
    assert "TypeError" not in log, "a step without a run to work for was started"
    assert system.audit() == []


def test_a_run_with_nonsense_for_params_says_which(system: System) -> None:
    assert system.respond(mode="enforce-harder", window_start="yesterday") != 0
    assert system.audit() == []


def test_a_broken_feed_is_red_and_the_others_are_in_force(system: System, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("http://bad.example.net/login\n")
    (tmp_path / "page.txt").write_text("<!doctype html><html><body>Please log in</body></html>")
    (tmp_path / "cut.json").write_text('{"type": "bundle", "objects": [{"type": "indic')
    source = (
        "  - {{name: {name}, format: {format}, location: {file}, disposition: malicious, "
        "confidence: 90, time_to_live: P30D}}\n"
    )
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(
        "sources:\n"
        + source.format(name="good", format="plain_list", file="good.txt")
        + source.format(name="page", format="plain_list", file="page.txt")
        + source.format(name="cut", format="stix", file="cut.json")
        + source.format(name="nowhere", format="plain_list", file="nowhere.txt")
    )
    taught = system.environment({"RETRACT_FEEDS_FILE": str(feeds)})
    assert taught.refresh() != 0
    log = taught.log("refresh_indicators")
    for name in ("page", "cut", "nowhere"):
        assert f"{name}: " in log
    assert "1 indicators of good" in log or "good" in log


def test_an_unreachable_tenant_is_red_and_the_other_one_is_served(system: System) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        connection = json.loads(system.airflow.environment["AIRFLOW_CONN_MICROSOFT365_DEFAULT"])
        dead = f"https://127.0.0.1:{closed.getsockname()[1]}"
        connection["extra"] |= {"graph_url": dead, "authority_url": f"{dead}/tenant"}
        cut_off = system.environment({"AIRFLOW_CONN_MICROSOFT365_DEFAULT": json.dumps(connection)})
        assert system.refresh() == 0
        assert cut_off.respond() != 0
    report = cut_off.report()
    assert report.failed
    assert any("microsoft365_default" in problem for problem in report.problems)
    done = {c.provider for c in report.copies if c.result is Result.DONE}
    assert done == {Provider.GOOGLE_WORKSPACE}


def test_a_wrong_secret_is_told_without_telling_it(system: System) -> None:
    connection = json.loads(system.airflow.environment["AIRFLOW_CONN_MICROSOFT365_DEFAULT"])
    connection["password"] = "not-the-secret-7f3a"
    wrong = system.environment({"AIRFLOW_CONN_MICROSOFT365_DEFAULT": json.dumps(connection)})
    assert wrong.respond() != 0
    problems = " ".join(wrong.report().problems)
    assert "AADSTS7000215" in problems
    folder = wrong.airflow.newest_attempt("post_delivery_response")
    assert folder is not None
    written = [*folder.rglob("*"), *wrong.airflow.home.rglob("*.log")]
    for file in written:
        if file.is_file():
            content = file.read_bytes()
            assert b"not-the-secret-7f3a" not in content, file
            assert system.tenant.info.client_secret.encode() not in content, file


def test_a_mailbox_that_does_not_exist_is_told_and_the_others_are_judged(
    system: System,
) -> None:
    known = system.mailboxes()[0]
    assert system.respond(mailboxes=[known, "nobody@north.example"]) != 0
    report = system.report()
    assert any("nobody@north.example" in problem for problem in report.problems)
    assert report.counts.judged > 0


def test_a_missing_connection_says_what_to_add(system: System) -> None:
    lost = system.environment({"RETRACT_CONNECTIONS": "contoso"})
    assert lost.respond() != 0
    assert "there is no Airflow connection 'contoso'" in lost.log("post_delivery_response")
