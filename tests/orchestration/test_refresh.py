"""The steps of refresh_indicators, without Airflow: what is cleared and read again counts anew."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retract.errors import (
    ConfigurationError,
    ConnectionSettingsError,
    FeedError,
    PolicyError,
)
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.refresh_report import RefreshReport
from retract.installation import Settings
from retract.lake.store import Lake
from retract.model import CollectedMessage, Copy, Extraction, Location, Place, Provider
from retract.orchestration import refresh
from retract.orchestration.runs import RunFolder
from retract.orchestration.windows import RunRequest
from retract.reports.model import ReportSummary

LISTED, BROKEN = "http://bad.example.net/a\n", "<!doctype html><html></html>"
FEEDS = """\
sources:
  - {name: list, format: plain_list, type: url, location: list.txt, disposition: malicious,
     confidence: 90, time_to_live: P30D}
  - {name: hosts, format: plain_list, type: domain, location: hosts.txt, disposition: malicious,
     confidence: 90}
  - {name: resting, format: plain_list, location: none.txt, disposition: malicious, confidence: 90,
     enabled: false}
"""
POLICY = Path(__file__).parents[2] / "include" / "policies" / "auto_retract.yaml"


def request(**params: Any) -> RunRequest:
    return RunRequest(
        dag_id="refresh_indicators",
        run_id="manual__1",
        run_type="manual",
        run_after=datetime(2026, 1, 1, tzinfo=UTC),
        interval_start=None,
        interval_end=None,
        params=params,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "feeds.yaml").write_text(FEEDS)
    (tmp_path / "hosts.txt").write_text("evil.example\n")
    return Settings(home=tmp_path / "home", feeds_file=tmp_path / "feeds.yaml", policy_file=POLICY)


def write_list(settings: Settings, text: str) -> None:
    (settings.feeds_file.parent / "list.txt").write_text(text)


def active(settings: Settings) -> set[str]:
    return {value for _, value in in_force(settings)}


def in_force(settings: Settings) -> set[tuple[str, str]]:
    lake = Lake(settings.lake)
    rows = lake.scan_indicators(lake.versions().indicators).filter("active").collect()
    return set(rows.select("source", "value").rows())


def run(settings: Settings, **params: Any) -> tuple[str, list[str]]:
    """A whole run; the folder, and why sources could not be read."""
    folder = refresh.open_refresh(settings, request(**params))
    for name in refresh.sources(folder):
        try:
            refresh.read_source(settings, folder, name)
        except (FeedError, ConnectionSettingsError):
            continue
    refresh.commit(settings, folder)
    return folder, refresh.check(folder)


def test_sources_are_read_and_committed(settings: Settings) -> None:
    write_list(settings, LISTED)
    folder = refresh.open_refresh(settings, request())
    assert refresh.sources(folder) == ["list", "hosts"]
    assert refresh.read_source(settings, folder, "list") == 1
    assert refresh.read_source(settings, folder, "hosts") == 1
    version = refresh.commit(settings, folder)["version"]
    assert refresh.check(folder) == []
    assert Lake(settings.lake).versions().indicators == version
    assert active(settings) == {LISTED.strip(), "evil.example"}


def test_a_report_of_the_refresh_is_left_in_its_folder(settings: Settings) -> None:
    write_list(settings, LISTED + "http://docs.google.com/\nno url\n")
    folder, _ = run(settings)
    page = (Path(folder) / "report.html").read_text()
    assert "2 indicators in force from 2 sources" in page
    assert "docs[.]google[.]com" in page
    assert "no url" in page
    summary = RunFolder(folder).read("summary.json", ReportSummary)
    assert (summary.failed, summary.changed) == (False, 3)

    write_list(settings, BROKEN)
    folder, _ = run(settings, sources=["list"])
    page = (Path(folder) / "report.html").read_text()
    assert "1 source could not be read" in page
    assert "Failing since" in page
    assert "not read" in page, "the source that was not asked for"
    assert RunFolder(folder).read("summary.json", ReportSummary).failed


def test_a_source_that_was_read_and_then_breaks_is_told(settings: Settings) -> None:
    write_list(settings, LISTED)
    folder = refresh.open_refresh(settings, request())
    refresh.read_source(settings, folder, "hosts")
    refresh.read_source(settings, folder, "list")
    write_list(settings, BROKEN)
    with pytest.raises(FeedError):
        refresh.read_source(settings, folder, "list")
    refresh.commit(settings, folder)
    (problem,) = refresh.check(folder)
    assert problem.startswith("list: ")
    assert active(settings) == {"evil.example"}


def test_a_source_that_was_broken_and_is_mended_counts(settings: Settings) -> None:
    write_list(settings, BROKEN)
    folder, problems = run(settings)
    assert len(problems) == 1
    write_list(settings, LISTED)
    refresh.read_source(settings, folder, "list")
    refresh.commit(settings, folder)
    assert refresh.check(folder) == []
    assert active(settings) == {LISTED.strip(), "evil.example"}


def test_the_commit_of_an_old_run_does_not_bring_an_old_feeds_file_back(
    settings: Settings,
) -> None:
    write_list(settings, LISTED)
    old = refresh.open_refresh(settings, request())
    refresh.read_source(settings, old, "list")  # and its commit fails
    settings.feeds_file.write_text(FEEDS.replace("name: list", "name: other"))
    run(settings)
    now_in_force = in_force(settings)
    assert now_in_force == {("other", LISTED.strip()), ("hosts", "evil.example")}

    with pytest.raises(ConfigurationError, match="clear this run as a whole"):
        refresh.commit(settings, old)
    assert in_force(settings) == now_in_force


def test_a_snapshot_that_was_damaged_stops_no_other_source(settings: Settings) -> None:
    write_list(settings, LISTED)
    folder = refresh.open_refresh(settings, request())
    for name in refresh.sources(folder):
        refresh.read_source(settings, folder, name)
    file = Path(folder) / "snapshots" / "list.parquet"
    file.write_bytes(file.read_bytes()[:100])

    refresh.commit(settings, folder)

    assert active(settings) == {"evil.example"}
    (problem,) = refresh.check(folder)
    assert problem.startswith("list: ")
    assert "read it again" in problem


def test_a_commit_that_is_cleared_commits_the_same_again(settings: Settings) -> None:
    write_list(settings, LISTED)
    folder, _ = run(settings)
    version = Lake(settings.lake).versions().indicators
    assert not list((Path(folder) / "snapshots").iterdir()), "they would fill the disk"

    assert refresh.commit(settings, folder) == {"version": version}

    assert refresh.check(folder) == []
    assert active(settings) == {LISTED.strip(), "evil.example"}


def test_a_task_that_never_ran_is_told(settings: Settings) -> None:
    folder = refresh.open_refresh(settings, request())
    refresh.read_source(settings, folder, "hosts")
    refresh.commit(settings, folder)
    (problem,) = refresh.check(folder)
    assert problem.startswith("list: its task did not run")


def test_a_task_that_was_killed_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_list(settings, LISTED)
    folder, _ = run(settings)

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("retract.indicators.refresh.read_source", killed)
        with pytest.raises(KeyboardInterrupt):
            refresh.read_source(settings, folder, "list")
    refresh.commit(settings, folder)
    (problem,) = refresh.check(folder)
    assert "list: its task ended without a result" in problem


# --- what a run may be asked for ---


def test_a_run_narrowed_to_one_source_leaves_the_others_as_they_are(settings: Settings) -> None:
    write_list(settings, LISTED)
    run(settings)
    (settings.feeds_file.parent / "hosts.txt").write_text("other.example\n")
    write_list(settings, LISTED + "http://bad.example.net/b\n")

    folder, problems = run(settings, sources=["list"])

    assert refresh.sources(folder) == ["list"]
    assert problems == []
    assert active(settings) == {
        "evil.example",
        "http://bad.example.net/a",
        "http://bad.example.net/b",
    }


def test_a_jump_is_red_until_a_person_accepts_it(settings: Settings) -> None:
    write_list(settings, "".join(f"http://bad.example.net/{n}\n" for n in range(200)))
    run(settings)
    write_list(settings, LISTED)

    _, problems = run(settings)
    (problem,) = problems
    assert "from 200 to 1" in problem
    assert "its last good version stays" in problem
    assert len(active(settings)) == 201

    _, problems = run(settings, accept_jumps_of=["list"])
    assert problems == []
    assert Lake(settings.lake).source_states()["list"].listed == 1


@pytest.mark.parametrize("param", ["sources", "accept_jumps_of"])
@pytest.mark.parametrize("name", ["other", "resting"])
def test_a_param_that_names_no_source_is_refused(settings: Settings, param: str, name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"no enabled source is named '{name}'.*list, hosts"
    ):
        refresh.open_refresh(settings, request(**{param: [name]}))


def test_an_unknown_param_is_refused(settings: Settings) -> None:
    with pytest.raises(
        ConfigurationError, match=r"params are not usable: source: .*Trigger the run"
    ):
        refresh.open_refresh(settings, request(source=["list"]))


# --- what is known from before ---


def test_a_source_that_has_nothing_new_is_not_written_again(settings: Settings) -> None:
    write_list(settings, LISTED)
    run(settings)
    version = Lake(settings.lake).versions().indicators

    folder, _ = run(settings)

    assert Lake(settings.lake).versions().indicators == version
    report = RunFolder(folder).read("refreshed.json", RefreshReport)
    assert not report.changed
    assert [one.unchanged for one in report.sources] == [True, True]


def test_domains_of_collected_mailboxes_and_allow_rules_hold_back(
    settings: Settings, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    text = POLICY.read_text(encoding="utf-8")
    rule = "allow: [{value: partner.example, reason: our bank}]"
    assert "\nallow: []" in text
    policy.write_text(text.replace("\nallow: []", f"\n{rule}"), encoding="utf-8")
    settings = settings.model_copy(update={"policy_file": policy})
    (tmp_path / "hosts.txt").write_text("evil.example\npartner.example\nnorth.example\n")
    write_list(settings, LISTED)
    copy = Copy(Provider.MICROSOFT365, "tenant", "ann", "ann@north.example", "m1")
    mail = CollectedMessage(
        copy,
        datetime(2026, 1, 1, tzinfo=UTC),
        Location(Place.INBOX),
        Extraction("", "", "", "", ()),
        1,
    )
    Lake(settings.lake).add_messages([mail], datetime(2026, 1, 1, tzinfo=UTC))

    folder, _ = run(settings)

    (hosts,) = (
        one
        for one in RunFolder(folder).read("refreshed.json", RefreshReport).sources
        if one.source == "hosts"
    )
    assert (hosts.in_force, hosts.held_back) == (1, 2)
    held = {one.value: one.reason for one in hosts.held_back_examples}
    assert set(held) == {"partner.example", "north.example"}
    assert "our bank" in held["partner.example"]
    assert "your own domain" in held["north.example"]
    assert set(hosts.held_back_because.values()) == {1}


def test_a_broken_policy_is_told_before_anything_is_read(settings: Settings) -> None:
    settings = settings.model_copy(update={"policy_file": settings.home / "none.yaml"})
    with pytest.raises(PolicyError):
        refresh.open_refresh(settings, request())


# --- sources that want to know who asks ---

SECRET = "7d4f0c1e-secret"
WITH_KEY = """\
sources:
  - {name: urlhaus, format: plain_list, type: url, location: "https://feeds.example/{key}/urls",
     connection: abuse_ch, disposition: malicious, confidence: 90}
  - {name: hosts, format: plain_list, type: domain, location: hosts.txt, disposition: malicious,
     confidence: 90}
"""


def test_a_source_gets_the_credentials_of_its_connection_and_no_log_has_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from retract.indicators import refresh as reading

    settings.feeds_file.write_text(WITH_KEY)
    asked: list[str] = []

    def credentials_of(connection: str) -> Credentials:
        asked.append(connection)
        return Credentials.model_validate({"password": SECRET})

    def refuse(source: object, marks: object, credentials: Credentials) -> None:
        assert credentials.password.get_secret_value() == SECRET
        raise FeedError("refuses access (HTTP 403)")

    monkeypatch.setattr(refresh, "credentials_of", credentials_of)
    monkeypatch.setattr(reading, "open_source", refuse)
    caplog.set_level(logging.DEBUG)
    folder = refresh.open_refresh(settings, request())

    with pytest.raises(FeedError, match="urlhaus: refuses access"):
        refresh.read_source(settings, folder, "urlhaus")
    refresh.commit(settings, folder)

    assert asked == ["abuse_ch"]
    written = "".join(
        file.read_text(encoding="utf-8") for file in Path(folder).rglob("*") if file.is_file()
    )
    assert "urlhaus" in written
    assert SECRET not in written + caplog.text


def test_a_missing_connection_is_red_for_its_source_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.feeds_file.write_text(WITH_KEY)

    def credentials_of(connection: str) -> Credentials:
        raise ConnectionSettingsError(f"there is no Airflow connection {connection!r}: add it")

    monkeypatch.setattr(refresh, "credentials_of", credentials_of)

    _, problems = run(settings)

    (problem,) = problems
    assert problem.startswith("urlhaus: there is no Airflow connection 'abuse_ch'")
    assert active(settings) == {"evil.example"}


def test_how_long_a_source_has_been_failing_is_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    states = []
    texts = [LISTED, BROKEN, BROKEN, LISTED + "# again\n"]
    for number, text in enumerate(texts):
        now = start + number * timedelta(hours=1)
        monkeypatch.setattr(refresh, "utc_now", lambda now=now: now)
        write_list(settings, text)
        run(settings)
        states.append(Lake(settings.lake).source_states()["list"])

    assert [state.failing_since for state in states] == [
        None,
        start + timedelta(hours=1),
        start + timedelta(hours=1),
        None,
    ]
    assert [state.read_at for state in states] == [start] * 3 + [start + timedelta(hours=3)]
    assert "HTML page" in str(states[2].error)
    assert states[3].error is None
