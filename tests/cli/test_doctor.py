"""`doctor` before a real tenant: what it says, what it ends with, and what it never shows."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from local_tenant.server import RunningTenant, running_tenant
from local_tenant.state import TenantSettings, new_state, system_clock
from retract.__main__ import app

ANN, BOB = "ann@north.example", "bob@south.example"
MICROSOFT = ("tenant_id", "authority_url", "graph_url", "ca_file")
GOOGLE = ("service_account_file", "gmail_url", "directory_url", "ca_file")
GMAIL_MODIFY = "https://www.googleapis.com/auth/gmail.modify"
USERS = "https://www.googleapis.com/auth/admin.directory.user.readonly"


class WrongClock:
    """The tenant's: as far ahead of ours as a test says."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return system_clock() + self.ahead


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTenant]:
    settings = TenantSettings(latency_seconds=0, google_scopes=(GMAIL_MODIFY, USERS))
    with running_tenant(new_state(settings, WrongClock())) as tenant:
        for address in (ANN, BOB):
            tenant.add_mailbox(address)
        tenant.deliver(b"From: eve@sender.example\r\nSubject: hi\r\n\r\nhi\r\n", [ANN, BOB])
        yield tenant


@pytest.fixture
def tenant(running: RunningTenant, monkeypatch: pytest.MonkeyPatch) -> RunningTenant:
    """Whose registration a test may change."""
    state = running.state
    monkeypatch.setattr(state.microsoft, "roles", state.settings.microsoft_roles)
    monkeypatch.setattr(state.microsoft, "grants", [])
    monkeypatch.setattr(state, "settings", state.settings)
    return running


def microsoft(tenant: RunningTenant, **extras: Any) -> dict[str, Any]:
    known = {name: tenant.info[name] for name in MICROSOFT}
    return {
        "conn_type": "generic",
        "login": tenant.info["client_id"],
        "password": tenant.info["client_secret"],
        "extra": {"provider": "microsoft365", **known, **extras},
    }


def google(tenant: RunningTenant, **extras: Any) -> dict[str, Any]:
    known = {name: tenant.info[name] for name in GOOGLE}
    extra = {"provider": "google_workspace", **known, **extras}
    return {"conn_type": "generic", "login": tenant.info["google_admin"], "extra": extra}


def doctor(connection: object, *more: str) -> Result:
    given = connection if isinstance(connection, str) else json.dumps(connection)
    return CliRunner().invoke(app, ["doctor", "--file", "-", *more], input=given)


def found(connection: object, *more: str) -> list[dict[str, str]]:
    findings: list[dict[str, str]] = json.loads(doctor(connection, "--json", *more).stdout)[
        "findings"
    ]
    return findings


def those(findings: list[dict[str, str]], grade: str) -> list[dict[str, str]]:
    return [each for each in findings if each["grade"] == grade]


@pytest.mark.parametrize("make", [microsoft, google])
def test_a_good_connection_is_ready(
    tenant: RunningTenant, make: Callable[[RunningTenant], dict[str, Any]]
) -> None:
    result = doctor(make(tenant))
    assert result.exit_code == 0, result.output
    assert "✗" not in result.stdout
    assert "\n!" not in result.stdout
    assert "can be read" in result.stdout
    assert result.stdout.rstrip().endswith("This connection is ready.")
    assert tenant.audit() == [], "nothing was changed"


@pytest.mark.parametrize("make", [microsoft, google])
def test_nothing_secret_is_printed(
    tenant: RunningTenant, make: Callable[[RunningTenant], dict[str, Any]]
) -> None:
    for output in (doctor(make(tenant)).output, doctor(make(tenant), "--json").output):
        assert tenant.info["client_secret"] not in output
        assert "PRIVATE KEY" not in output
        assert "eyJ" not in output, "a token"


@pytest.mark.parametrize("make", [microsoft, google])
def test_a_gateway_that_writes_no_files_is_told(
    tenant: RunningTenant, make: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    files = {"collect_from": "gateway_files", "gateway_files": str(tmp_path / "*.ndjson")}
    (lost,) = those(found(make(tenant, **files)), "wrong")
    assert lost["check"] == "delivered mail"
    assert "gateway_files" in lost["told"]
    (tmp_path / "today.ndjson").write_text("")
    assert those(found(make(tenant, **files)), "wrong") == []


def test_a_hunting_query_is_tried_where_mail_is_learnt_by_it(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    hunting = microsoft(tenant, collect_from="advanced_hunting")
    refused = those(found(hunting), "wrong")
    assert [each["check"] for each in refused] == ["permissions", "delivered mail"]
    roles = (*tenant.state.settings.microsoft_roles, "ThreatHunting.Read.All")
    monkeypatch.setattr(tenant.state.microsoft, "roles", roles)
    assert those(found(hunting), "wrong") == []


def test_a_mailbox_may_be_named(tenant: RunningTenant) -> None:
    findings = found(microsoft(tenant), "--mailbox", ANN)
    (read,) = (f for f in findings if f["check"] == "one mailbox")
    assert read["told"].startswith(f"{ANN} can be read: its newest message came")
    (lost,) = those(found(microsoft(tenant), "--mailbox", "nobody@north.example"), "wrong")
    assert lost["told"].startswith("nobody@north.example: ")


def test_a_wrong_secret_is_told_with_what_to_do(tenant: RunningTenant) -> None:
    result = doctor({**microsoft(tenant), "password": "hunter2-hunter2"})
    assert result.exit_code == 1
    assert "✗ token: Microsoft refused the sign-in: the client secret is wrong" in result.stdout
    assert "hunter2" not in result.output
    assert "1 to mend" in result.stdout


def test_a_certificate_that_is_not_trusted_is_told(tenant: RunningTenant) -> None:
    connection = microsoft(tenant)
    del connection["extra"]["ca_file"]
    findings = found(connection)
    assert all(
        "name the certificate authority in ca_file" in f["told"] for f in those(findings, "wrong")
    )
    assert {f["check"] for f in those(findings, "wrong")} == {"Microsoft Graph", "sign-in"}


def test_a_missing_permission_is_told_by_name_and_stops_the_listing(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant.state.microsoft, "roles", ("Mail.ReadWrite",))
    wrong = those(found(microsoft(tenant)), "wrong")
    assert [f["check"] for f in wrong] == ["permissions", "mailboxes"]
    assert "User.Read.All" in wrong[0]["mend"]


def test_a_scope_by_rbac_for_applications_shows_when_a_mailbox_is_read(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant.state.microsoft, "roles", ("User.Read.All",))
    (wrong,) = those(found(microsoft(tenant)), "wrong")
    assert wrong["check"] == "one mailbox"
    assert "RBAC for Applications" in " ".join(f["told"] for f in found(microsoft(tenant)))
    tenant.state.microsoft.grant("Mail.ReadWrite", [ANN])
    assert doctor(microsoft(tenant)).exit_code == 0


def test_too_many_permissions_are_warned_of_and_the_connection_is_ready(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (*tenant.state.microsoft.roles, "Mail.Send", "Directory.ReadWrite.All")
    monkeypatch.setattr(tenant.state.microsoft, "roles", more)
    result = doctor(microsoft(tenant))
    assert result.exit_code == 0
    assert "! too much: Mail.Send is granted and not needed" in result.stdout
    assert "! too much: Directory.ReadWrite.All" in result.stdout


def test_each_scope_that_a_delegation_lacks_is_named(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = tenant.state.settings.model_copy(update={"google_scopes": (USERS,)})
    monkeypatch.setattr(tenant.state, "settings", less)
    (wrong,) = those(found(google(tenant)), "wrong")
    assert wrong["told"].startswith(f"{GMAIL_MODIFY} is not granted")
    assert tenant.state.service_account.client_id in wrong["mend"]


def test_a_scope_that_a_delegation_does_not_need_is_warned_of(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    scopes = (*tenant.state.settings.google_scopes, "https://mail.google.com/")
    more = tenant.state.settings.model_copy(update={"google_scopes": scopes})
    monkeypatch.setattr(tenant.state, "settings", more)
    (warned,) = those(found(google(tenant)), "warning")
    assert "https://mail.google.com/ is granted and not needed" in warned["told"]
    asked_for = found(google(tenant, allow_hard_delete=True))
    assert those(asked_for, "warning") == []


def test_an_administrator_who_is_none_is_told(tenant: RunningTenant) -> None:
    (wrong,) = those(found({**google(tenant), "login": "nobody@south.example"}), "wrong")
    assert "there is no user nobody@south.example" in wrong["told"]


def test_a_clock_that_is_off_is_told(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant.state.clock, "ahead", timedelta(minutes=2))
    (warned,) = those(found(microsoft(tenant)), "warning")
    assert warned["check"] == "clock"
    assert "behind the service's" in warned["told"]
    monkeypatch.setattr(tenant.state.clock, "ahead", timedelta(minutes=-10))
    assert "clock" in {f["check"] for f in those(found(google(tenant)), "wrong")}


def test_a_service_that_never_answers_is_given_up(tenant: RunningTenant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        given = microsoft(tenant, authority_url=url, graph_url=url, timeout_seconds=0.3)
        result = doctor(given)
    assert result.exit_code == 1
    assert "✗ Microsoft Graph: no answer" in result.stdout
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "does not hold one Airflow connection"),
        ("[]", "does not hold one Airflow connection"),
        ('{"extra": "hunter2"}', "does not hold one Airflow connection"),
        ('{"password": "hunter2", "extra": {"provider": "x"}}', "'microsoft365'"),
        ('{"password": "hunter2", "extra": {"provider": "microsoft365"}}', "tenant_id and client"),
    ],
)
def test_settings_that_are_wrong_are_told_and_not_quoted(given: str, told: str) -> None:
    result = doctor(given)
    assert result.exit_code == 1
    assert told in result.output
    assert "hunter2" not in result.output


def test_what_airflow_prints_of_a_connection_is_understood(tenant: RunningTenant) -> None:
    shown = microsoft(tenant)
    extra = shown.pop("extra")
    printed = [{**shown, "conn_id": "x", "extra_dejson": extra}]
    assert doctor(printed).exit_code == 0
    assert doctor({**shown, "extra": json.dumps(extra)}).exit_code == 0


def test_a_connection_may_be_in_a_file(tenant: RunningTenant, tmp_path: Path) -> None:
    file = tmp_path / "connection.json"
    file.write_text(json.dumps(microsoft(tenant)))
    assert CliRunner().invoke(app, ["doctor", "--file", str(file)]).exit_code == 0
    lost = CliRunner().invoke(app, ["doctor", "--file", str(tmp_path / "absent")])
    assert (lost.exit_code, "cannot be read" in lost.output) == (1, True)


def test_a_connection_of_airflow_s_is_found_by_its_id(
    tenant: RunningTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NORTH", json.dumps(microsoft(tenant)))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")  # restored afterwards
    result = CliRunner().invoke(app, ["doctor", "north"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("arguments", [[], ["north", "--file", "-"]])
def test_one_connection_is_asked_for(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 2
    assert "--file" in result.output
