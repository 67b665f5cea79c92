"""Mail is forgotten in time, and never while it may still be judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake.contents import message
from tests.orchestration.fake_installation import NOW, Installation

from retract.errors import ConfigurationError
from retract.lake.store import Lake
from retract.lake.tables import FORGET_AHEAD, KEEP_HOURS, LOG_HOURS
from retract.model import Window
from retract.orchestration import maintenance
from retract.orchestration.runs import RunFolder
from retract.policy import load_policy

DAY = timedelta(days=1)


def test_mail_is_forgotten_some_days_before_its_retention_ends(installation: Installation) -> None:
    settings = installation.settings.model_copy(update={"retention_days": 90})
    lake = Lake(settings.lake)
    last = NOW - timedelta(days=90) + FORGET_AHEAD
    lake.add_messages([message(1, received_at=last - DAY), message(2, received_at=last)], NOW)

    assert maintenance.expire(settings)["messages"] == 1

    assert lake.rows_by_day(lake.versions(), Window(NOW - 365 * DAY, NOW)).keys() == {last.date()}
    assert maintenance.expire(settings) == {"messages": 0, "observables": 0, "files": 0}
    assert maintenance.compact(settings) == 0


def test_what_a_run_may_judge_is_not_forgotten(installation: Installation) -> None:
    lookback = load_policy(installation.settings.policy_file).lookback
    enough = (lookback + FORGET_AHEAD) // DAY + ((lookback + FORGET_AHEAD) % DAY > timedelta(0))
    settings = installation.settings.model_copy(update={"retention_days": enough})
    lake = Lake(settings.lake)
    lake.add_messages([message(1, received_at=NOW - lookback)], NOW)
    assert maintenance.expire(settings)["messages"] == 0

    short = settings.model_copy(update={"retention_days": enough - 1})
    with pytest.raises(ConfigurationError, match=f"RETENTION_DAYS is .* {enough} or more") as told:
        maintenance.expire(short)
    assert "\n" not in str(told.value)


@given(
    received=st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 8), timezones=st.just(UTC)),  # noqa: DTZ001
    retention=st.integers(5, 120),
    late=st.timedeltas(timedelta(0), timedelta(hours=20)),
)
def test_files_and_log_are_rid_of_a_message_by_the_end_of_its_retention(
    received: datetime, retention: int, late: timedelta
) -> None:
    """The upkeep comes each night, and one night late."""
    nights = [datetime(2026, 1, 1, 2, 30, tzinfo=UTC) + DAY * n for n in range(140)]
    known = timedelta(days=retention) - FORGET_AHEAD
    forgotten = next(night for night in nights if (night - known).date() > received.date())
    for hours in (KEEP_HOURS, LOG_HOURS):
        gone = next(night for night in nights if night - forgotten > timedelta(hours=hours))
        assert gone + late <= received + timedelta(days=retention)


def test_no_run_collects_what_was_forgotten(installation: Installation) -> None:
    """Nor what the coming night forgets is left out by it."""
    installation.settings = installation.settings.model_copy(update={"retention_days": 44})
    first = (NOW - 44 * DAY + FORGET_AHEAD).replace(hour=0)
    installation.tenant("north").deliver("ann@north.example", ago=NOW - first)
    end = {"window_end": NOW.isoformat()}
    folder = installation.open_run(window_start=first.isoformat(), **end)
    installation.list_mailboxes(folder)
    installation.collect(folder)
    assert maintenance.expire(installation.settings)["messages"] == 0
    with pytest.raises(ConfigurationError, match=r"2025-12-11T00:00:00Z.*RETRACT_RETENTION_DAYS"):
        installation.open_run(window_start=(first - timedelta(seconds=1)).isoformat(), **end)


def test_a_lookback_that_is_longer_than_the_retention_is_judged_whole(
    installation: Installation,
) -> None:
    """`expire` fails, and forgets nothing, until a person decides which of the two is meant."""
    installation.settings = installation.settings.model_copy(update={"retention_days": 30})
    run = RunFolder(installation.open_run()).run()
    assert run.window.length == load_policy(installation.settings.policy_file).lookback
