"""From an Airflow connection to a provider, or to what a source of indicators is asked with."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from retract.errors import ConnectionSettingsError
from retract.model import Action
from retract.orchestration.clock import utc_now
from retract.orchestration.connections import (
    credentials_of,
    missing_actions_of,
    open_connection,
)
from retract.policy import Policy

SECRET = "3f9b-secret"


def connect(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    connection = json.dumps({"conn_type": "generic", **fields})
    monkeypatch.setenv("AIRFLOW_CONN_FEED", connection)


def test_login_password_and_header_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, login="ann", password=SECRET, extra={"header": "X-Key"})

    found = credentials_of("feed")

    assert (found.login, found.header) == ("ann", "X-Key")
    assert found.password.get_secret_value() == SECRET
    assert SECRET not in repr(found)


def test_a_connection_may_hold_nothing_but_storage_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"aws_secret_access_key": SECRET, "aws_skip_signature": True, "max": 3}
    connect(monkeypatch, extra={"storage_options": options})

    found = credentials_of("feed")

    assert (found.login, found.password.get_secret_value()) == ("", "")
    said = {name: value.get_secret_value() for name, value in found.storage_options.items()}
    assert said == {"aws_secret_access_key": SECRET, "aws_skip_signature": "true", "max": "3"}


def test_a_missing_connection_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_FEED", raising=False)
    with pytest.raises(ConnectionSettingsError, match=r"no Airflow connection 'feed': add it"):
        credentials_of("feed")


@pytest.mark.parametrize(
    ("extra", "setting"),
    [
        ({"api_key": SECRET}, "api_key"),
        ({"header": [SECRET]}, "header"),
        ({"storage_options": SECRET}, "storage_options"),
        ({"storage_options": [SECRET]}, "storage_options"),
    ],
)
def test_an_extra_that_is_not_understood_is_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, object], setting: str
) -> None:
    connect(monkeypatch, extra=extra)
    with pytest.raises(ConnectionSettingsError, match=f"'feed'.*correct {setting};") as caught:
        credentials_of("feed")
    assert SECRET not in str(caught.value)


def test_a_lease_that_a_call_may_outlast_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker would take the mailbox while this one's call is still under way."""
    extra = {"provider": "microsoft365", "tenant_id": "t", "timeout_seconds": 30}
    connect(monkeypatch, login="id", password=SECRET, extra=extra)
    policy = Policy.model_validate({"actions": {"malicious": "trash"}})
    with pytest.raises(
        ConnectionSettingsError, match=r"RETRACT_LEASE_SECONDS is 59\.5, and a call"
    ):
        open_connection("feed", policy, utc_now, lease=timedelta(seconds=59.5))
    open_connection("feed", policy, utc_now, lease=timedelta(seconds=60), share=0.5).close()


def test_what_the_services_do_not_offer_is_asked_only_where_the_policy_could_want_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = {"provider": "microsoft365", "tenant_id": "t", "cloud": "us_gov"}
    connect(monkeypatch, login="id", password=SECRET, extra=extra)
    monkeypatch.delenv("AIRFLOW_CONN_ELSE", raising=False)
    mild = Policy.model_validate({"actions": {"malicious": "trash"}})
    grave = Policy.model_validate({"actions": {"malicious": "hard_delete"}})
    assert missing_actions_of(["feed", "else"], mild) == {}
    assert missing_actions_of(["feed", "else"], grave) == {"feed": {Action.HARD_DELETE}}
