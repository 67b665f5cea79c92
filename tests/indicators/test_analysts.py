"""What analysts enter stays until its end or until they revoke it, whatever else is entered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retract.indicators import analysts
from retract.indicators.analysts import Opinion
from retract.indicators.feeds import ANALYSTS, FeedsFile
from retract.indicators.hold_back.rules import NO_HOLD_BACK, HoldBack
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.indicators.refresh import commit
from retract.indicators.refresh_report import RefreshReport
from retract.lake.store import Lake
from retract.model import Disposition
from retract.model import ObservableType as Type

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
SPRING = Opinion("spring", by="ann")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def add(lake: Lake, *domains: str, opinion: Opinion = SPRING, now: datetime = NOW) -> RefreshReport:
    values = [(Type.DOMAIN, domain) for domain in domains]
    return analysts.write(lake, analysts.entered(values, opinion, now), now, NO_HOLD_BACK)


def revoke(lake: Lake, *domains: str, now: datetime) -> RefreshReport:
    values = [(Type.DOMAIN, domain) for domain in domains]
    return analysts.write(lake, analysts.revoked(values, now), now, NO_HOLD_BACK)


def rows(lake: Lake) -> dict[str, dict[str, Any]]:
    frame = lake.scan_indicators(lake.versions().indicators).collect()
    return {row["value"]: row for row in frame.iter_rows(named=True)}


def test_an_entry_carries_what_its_author_said(lake: Lake) -> None:
    opinion = Opinion(
        "spring",
        by="ann",
        reference="INC-7",
        disposition=Disposition.SUSPICIOUS,
        confidence=60,
        expires_at=NOW + DAY,
    )
    report = add(lake, "evil.com", opinion=opinion)
    assert [(one.source, one.added, one.in_force) for one in report.sources] == [(ANALYSTS, 1, 1)]
    row = rows(lake)["evil.com"]
    assert (row["source"], row["campaign"], row["reference"]) == (
        ANALYSTS,
        "spring",
        "entered by ann; INC-7",
    )
    assert (row["disposition"], row["confidence"]) == ("suspicious", 60)
    assert row["expires_at"] == NOW + DAY
    assert row["active"]


def test_without_more_it_is_malicious_for_ninety_days(lake: Lake) -> None:
    add(lake, "evil.com")
    row = rows(lake)["evil.com"]
    assert (row["disposition"], row["confidence"]) == ("malicious", 90)
    assert row["expires_at"] == NOW + 90 * DAY
    assert row["reference"] == "entered by ann"


def test_a_later_entry_neither_ends_nor_prolongs_an_earlier_one(lake: Lake) -> None:
    add(lake, "evil.com")
    before = rows(lake)["evil.com"]
    add(lake, "other.com", now=NOW + 30 * DAY)
    add(lake, "third.com", now=NOW + 60 * DAY)
    assert rows(lake)["evil.com"] == before
    add(lake, "fourth.com", now=NOW + 91 * DAY)
    row = rows(lake)["evil.com"]
    assert (row["active"], row["inactive_because"]) == (False, "expired")
    assert row["last_seen"] == NOW
    assert rows(lake)["other.com"]["active"]


def test_a_refresh_of_the_feeds_leaves_them_alone(lake: Lake) -> None:
    add(lake, "evil.com")
    add(lake, "other.com", now=NOW + 5 * DAY)
    before = rows(lake)
    commit(FeedsFile(), lake, [], {}, NOW + 10 * DAY, NO_HOLD_BACK)
    assert rows(lake) == before


def test_what_is_revoked_is_out_of_force_and_can_be_entered_again(lake: Lake) -> None:
    add(lake, "evil.com", "other.com")
    report = revoke(lake, "evil.com", "never-entered.com", now=NOW + DAY)
    assert report.sources[0].revoked == 1
    row = rows(lake)["evil.com"]
    assert (row["active"], row["listed"], row["inactive_because"]) == (False, False, "revoked")
    assert rows(lake)["other.com"]["active"]
    assert "never-entered.com" not in rows(lake)
    add(lake, "evil.com", opinion=Opinion("summer", by="bob"), now=NOW + 2 * DAY)
    row = rows(lake)["evil.com"]
    assert (row["active"], row["campaign"], row["first_seen"]) == (True, "summer", NOW)


def test_rows_shown_before_they_are_written_are_those_that_are_written(lake: Lake) -> None:
    hold_back = HoldBack.of(HoldBackSettings())
    values = [(Type.DOMAIN, "evil-login-7.com"), (Type.DOMAIN, "github.io")]
    snapshot = analysts.entered(values, SPRING, NOW)
    shown = analysts.judged(snapshot, NOW, hold_back)
    analysts.write(lake, snapshot, NOW, hold_back)
    assert {row["value"]: row for row in shown.iter_rows(named=True)} == rows(lake)
    held_back = dict(shown.select("value", "held_back").iter_rows())
    assert held_back["evil-login-7.com"] is None
    assert "public suffix" in (held_back["github.io"] or "")
