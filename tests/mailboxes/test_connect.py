"""What a person writes down for a connection is read strictly, and never repeated in an error."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retract.errors import ConnectionSettingsError
from retract.mailboxes.connect import missing_actions, open_mailboxes, settings_from
from retract.mailboxes.settings import GoogleWorkspaceSettings, Microsoft365Settings, SignIn
from retract.model import Action, Provider

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PASSWORD = "hunter2-hunter2"


def microsoft(**extras: Any) -> Microsoft365Settings:
    settings = settings_from("microsoft365", {"tenant_id": "t", **extras}, "client", PASSWORD)
    assert isinstance(settings, Microsoft365Settings)
    return settings


def google(password: str | None = PASSWORD, **extras: Any) -> GoogleWorkspaceSettings:
    settings = settings_from("google_workspace", extras, "admin@south.example", password)
    assert isinstance(settings, GoogleWorkspaceSettings)
    return settings


def test_login_and_password_are_the_applications_credentials() -> None:
    settings = microsoft()
    assert settings.client_id == "client"
    assert settings.client_secret is not None
    assert settings.client_secret.get_secret_value() == PASSWORD
    assert settings.sign_in is SignIn.CLIENT_SECRET
    assert settings.authority == "https://login.microsoftonline.com/t"
    assert settings.token_scope == "https://graph.microsoft.com/.default"
    assert PASSWORD not in repr(settings)
    assert PASSWORD not in settings.model_dump_json()


def test_another_cloud_has_its_own_scope() -> None:
    settings = microsoft(
        graph_url="https://graph.microsoft.us/",
        authority_url="https://login.microsoftonline.us/{tenant_id}",
    )
    assert settings.token_scope == "https://graph.microsoft.us/.default"
    assert settings.authority == "https://login.microsoftonline.us/t"


@pytest.mark.parametrize(
    ("cloud", "authority", "graph"),
    [
        ("global", "https://login.microsoftonline.com/t", "https://graph.microsoft.com"),
        ("us_gov", "https://login.microsoftonline.us/t", "https://graph.microsoft.us"),
        ("us_gov_dod", "https://login.microsoftonline.us/t", "https://dod-graph.microsoft.us"),
        (
            "china",
            "https://login.partner.microsoftonline.cn/t",
            "https://microsoftgraph.chinacloudapi.cn",
        ),
    ],
)
def test_a_cloud_decides_the_addresses_and_what_is_missing(
    cloud: str, authority: str, graph: str
) -> None:
    settings = microsoft(cloud=cloud)
    assert (settings.authority, settings.graph_url) == (authority, graph)
    assert settings.token_scope == f"{graph}/.default"
    is_global = cloud == "global"
    assert missing_actions(settings) == (frozenset() if is_global else {Action.HARD_DELETE})
    by_addresses = microsoft(graph_url=graph)
    assert missing_actions(by_addresses) == missing_actions(settings)


@pytest.mark.parametrize("name", ["authority_url", "graph_url"])
def test_a_cloud_and_an_address_are_refused_together(name: str) -> None:
    with pytest.raises(ConnectionSettingsError, match=f"cloud and {name} are both given"):
        microsoft(cloud="us_gov", **{name: "https://private.example"})


def test_a_private_service_offers_everything() -> None:
    assert missing_actions(microsoft(graph_url="https://graph.private.example")) == frozenset()


def test_gmail_deletes_for_good_only_where_it_may() -> None:
    assert missing_actions(google("{}")) == {Action.HARD_DELETE}
    assert missing_actions(google("{}", allow_hard_delete=True)) == frozenset()


def test_advanced_hunting_is_refused_where_the_cloud_has_none() -> None:
    microsoft(cloud="us_gov", collect_from="advanced_hunting")
    with pytest.raises(ConnectionSettingsError, match="not offered in this cloud"):
        microsoft(cloud="china", collect_from="advanced_hunting")


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ({"client_secret": PASSWORD}, SignIn.CLIENT_SECRET),
        ({"certificate_file": __file__, "certificate_password": PASSWORD}, SignIn.CERTIFICATE),
        ({"federated_token_file": __file__}, SignIn.FEDERATED_TOKEN),
    ],
)
def test_there_are_three_ways_to_sign_in_as_an_application(
    given: dict[str, str], way: SignIn
) -> None:
    settings = settings_from("microsoft365", {"tenant_id": "t", **given}, "client", None)
    assert isinstance(settings, Microsoft365Settings)
    assert settings.sign_in is way
    assert PASSWORD not in repr(settings)


def test_a_managed_identity_needs_neither_tenant_nor_client() -> None:
    settings = settings_from("microsoft365", {"managed_identity": "system"}, None, None)
    assert isinstance(settings, Microsoft365Settings)
    assert settings.sign_in is SignIn.MANAGED_IDENTITY


@pytest.mark.parametrize(
    ("extras", "login", "password", "told"),
    [
        ({"federated_token_file": __file__}, "c", PASSWORD, "client_secret and federated_token"),
        ({"certificate_password": PASSWORD}, "c", PASSWORD, "belongs to a certificate_file"),
        ({"managed_identity": "system"}, "c", None, "client_id (or the login) is given beside"),
        ({"certificate_file": "absent.pem"}, "c", None, "not point to a file"),
        ({}, None, PASSWORD, "client_id must be given"),
        ({"cloud": "moon"}, "c", PASSWORD, "cloud: Input should be 'global'"),
    ],
)
def test_ways_to_sign_in_that_do_not_fit_are_refused(
    extras: dict[str, str], login: str | None, password: str | None, told: str
) -> None:
    with pytest.raises(ConnectionSettingsError) as caught:
        settings_from("microsoft365", {"tenant_id": "t", **extras}, login, password)
    assert told in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_certificate_file_that_will_not_do_is_told_when_it_is_opened() -> None:
    extras = {"tenant_id": "t", "certificate_file": __file__}
    settings = settings_from("microsoft365", extras, "client", None)
    with pytest.raises(ConnectionSettingsError, match="certificate_file"):
        open_mailboxes(settings, "work", lambda: NOW)


def test_login_and_password_are_the_administrator_and_the_key() -> None:
    settings = google(json.dumps({"client_email": "x"}))
    assert settings.admin_subject == "admin@south.example"
    assert settings.key() == {"client_email": "x"}
    assert settings.gmail_scopes == ("https://www.googleapis.com/auth/gmail.modify",)


def test_the_key_may_be_an_object_among_the_extras() -> None:
    settings = google(None, service_account_info={"client_email": "x", "private_key": PASSWORD})
    assert settings.key()["client_email"] == "x"
    assert PASSWORD not in repr(settings)


def test_hard_delete_asks_for_the_scope_it_needs() -> None:
    settings = google("{}", allow_hard_delete=True)
    assert settings.gmail_scopes == ("https://mail.google.com/",)


@pytest.mark.parametrize(
    ("provider", "extras", "password", "told"),
    [
        ("", {}, None, "'microsoft365' or 'google_workspace'"),
        ("exchange", {}, None, "not 'exchange'"),
        ("microsoft365", {}, PASSWORD, "tenant_id must be given"),
        ("microsoft365", {"tenant_id": "t"}, None, "exactly one way to sign in"),
        ("microsoft365", {"tenant_id": "t", "tennant": "x"}, PASSWORD, "tennant"),
        ("microsoft365", {"tenant_id": "t", "client_id": "other"}, PASSWORD, "client_id is given"),
        ("microsoft365", {"tenant_id": "t", "page_size": 0}, PASSWORD, "page_size"),
        ("microsoft365", {"tenant_id": "t", "graph_url": "http://x.example"}, PASSWORD, "https"),
        (
            "microsoft365",
            {"tenant_id": "t", "graph_url": "https://x.example/v1.0"},
            PASSWORD,
            "root of the service",
        ),
        (
            "microsoft365",
            {"tenant_id": "t", "authority_url": "https://a:hunter2-hunter2@x.example"},
            PASSWORD,
            "user name",
        ),
        ("microsoft365", {"tenant_id": "t", "ca_file": "absent.pem"}, PASSWORD, "ca_file"),
        ("google_workspace", {}, None, "service_account_file or service_account_info"),
        ("google_workspace", {"service_account_file": "absent.json"}, None, "not point to a file"),
        ("google_workspace", {"soft_delete_folder": "x"}, PASSWORD, "soft_delete_folder"),
    ],
)
def test_what_is_wrong_is_named_and_never_quoted(
    provider: str, extras: dict[str, Any], password: str | None, told: str
) -> None:
    login = "admin@south.example"
    with pytest.raises(ConnectionSettingsError) as caught:
        settings_from(provider, extras, login, password)
    assert told in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("key", ["", "{", "[]", "{}", json.dumps({"private_key": PASSWORD})])
def test_a_key_that_is_none_is_told_without_quoting_it(key: str, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(key)
    with pytest.raises(ConnectionSettingsError, match="service account key") as caught:
        open_mailboxes(google(None, service_account_file=file), "work", lambda: NOW)
    assert PASSWORD not in str(caught.value)


def test_a_ca_file_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(ConnectionSettingsError, match="ca_file"):
        microsoft(ca_file=file)


def test_opening_calls_nobody() -> None:
    settings = microsoft(graph_url="https://graph.invalid", authority_url="https://login.invalid")
    with closing(open_mailboxes(settings, "work", lambda: NOW)) as mailboxes:
        assert mailboxes.provider is Provider.MICROSOFT365
        assert mailboxes.connection == "work"
        assert mailboxes.now() == NOW
