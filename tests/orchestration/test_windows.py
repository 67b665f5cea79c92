"""Which delivery times a run judges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from retract.errors import ConfigurationError
from retract.model import Window
from retract.orchestration.params import parse_params
from retract.orchestration.windows import RunRequest, resolve_window

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOOKBACK = timedelta(days=30)


EVER = datetime.min.replace(tzinfo=UTC)


def request(run_type: str = "scheduled", **changes: object) -> RunRequest:
    facts = {
        "dag_id": "post_delivery_response",
        "run_id": "r",
        "run_type": run_type,
        "run_after": NOON + timedelta(minutes=7),
        "interval_start": NOON - timedelta(minutes=15),
        "interval_end": NOON,
        "params": {},
    }
    return RunRequest.model_validate(facts | changes)


def test_a_scheduled_run_looks_back_from_the_end_of_its_interval() -> None:
    assert resolve_window(request(), parse_params({}), LOOKBACK, EVER) == Window(
        NOON - LOOKBACK, NOON
    )


def test_a_backfill_run_judges_exactly_its_interval() -> None:
    window = resolve_window(request("backfill"), parse_params({}), LOOKBACK, EVER)
    assert window == Window(NOON - timedelta(minutes=15), NOON)


@pytest.mark.parametrize("run_type", ["manual", "asset_triggered"])
def test_a_run_without_an_interval_looks_back_from_the_moment_it_was_asked_for(
    run_type: str,
) -> None:
    asked = request(run_type, interval_start=None, interval_end=None)
    window = resolve_window(asked, parse_params({}), LOOKBACK, EVER)
    assert window == Window(asked.run_after - LOOKBACK, asked.run_after)


def test_params_win_over_everything() -> None:
    params = parse_params(
        {"window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-02T00:00:00+00:00"}
    )
    for run_type in ("scheduled", "manual", "backfill"):
        window = resolve_window(request(run_type), params, LOOKBACK, EVER)
        assert window == Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


def test_a_lookback_ends_where_the_lake_forgets() -> None:
    """As that of a run which comes late, or is cleared days after its interval."""
    kept_from = NOON - LOOKBACK + timedelta(hours=12)
    window = resolve_window(request(), parse_params({}), LOOKBACK, kept_from)
    assert window == Window(kept_from, NOON)


@pytest.mark.parametrize("run_type", ["backfill", "manual", "scheduled"])
def test_mail_that_the_lake_forgets_is_not_asked_for(run_type: str) -> None:
    params = {
        "window_start": "2026-01-01T00:00:00Z",
        "window_end": "2026-03-01T12:00:00Z",
    }
    late = NOON - timedelta(minutes=14) if run_type != "scheduled" else NOON
    for asked, kept_from in ((params, NOON - LOOKBACK), ({}, late)):
        if run_type == "manual" and not asked:
            continue
        with pytest.raises(ConfigurationError, match=r"before .* RETRACT_RETENTION_DAYS") as told:
            resolve_window(request(run_type), parse_params(asked), LOOKBACK, kept_from)
        assert "\n" not in str(told.value)
