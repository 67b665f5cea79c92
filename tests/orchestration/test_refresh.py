"""The steps of refresh_indicators, without Airflow: what is cleared and read again counts anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from retract.errors import FeedError
from retract.installation import Settings
from retract.lake.store import Lake
from retract.orchestration import refresh
from retract.orchestration.windows import RunRequest

LISTED, BROKEN = "http://bad.example.net/a\n", "<!doctype html><html></html>"
FEEDS = """\
sources:
  - {name: list, format: plain_list, type: url, location: list.txt, disposition: malicious,
     confidence: 90, time_to_live: P30D}
"""
REQUEST = RunRequest(
    dag_id="refresh_indicators",
    run_id="manual__1",
    run_type="manual",
    run_after=datetime(2026, 1, 1, tzinfo=UTC),
    interval_start=None,
    interval_end=None,
    params={},
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "feeds.yaml").write_text(FEEDS)
    return Settings(home=tmp_path / "home", feeds_file=tmp_path / "feeds.yaml")


def write_list(settings: Settings, text: str) -> None:
    (settings.feeds_file.parent / "list.txt").write_text(text)


def active(settings: Settings) -> int:
    lake = Lake(settings.lake)
    return lake.scan_indicators(lake.versions().indicators).filter("active").collect().height


def test_a_source_is_read_and_committed(settings: Settings) -> None:
    write_list(settings, LISTED)
    folder = refresh.open_refresh(settings, REQUEST)
    assert refresh.sources(folder) == ["list"]
    assert refresh.read_source(folder, "list") == 1
    assert refresh.commit(settings, folder)["version"] >= 0
    assert refresh.check(folder) == []
    assert active(settings) == 1


def test_a_source_that_was_read_and_then_breaks_is_told(settings: Settings) -> None:
    write_list(settings, LISTED)
    folder = refresh.open_refresh(settings, REQUEST)
    refresh.read_source(folder, "list")
    write_list(settings, BROKEN)
    with pytest.raises(FeedError):
        refresh.read_source(folder, "list")
    refresh.commit(settings, folder)
    (problem,) = refresh.check(folder)
    assert problem.startswith("list: ")


def test_a_source_that_was_broken_and_is_mended_counts(settings: Settings) -> None:
    write_list(settings, BROKEN)
    folder = refresh.open_refresh(settings, REQUEST)
    with pytest.raises(FeedError):
        refresh.read_source(folder, "list")
    write_list(settings, LISTED)
    refresh.read_source(folder, "list")
    refresh.commit(settings, folder)
    assert refresh.check(folder) == []
    assert active(settings) == 1


def test_a_task_that_ended_without_a_word_is_told(settings: Settings) -> None:
    write_list(settings, LISTED)
    folder = refresh.open_refresh(settings, REQUEST)
    refresh.commit(settings, folder)
    (problem,) = refresh.check(folder)
    assert "ended without a result" in problem
