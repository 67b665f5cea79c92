"""Which delivery times a run judges, and what a person may ask of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.errors import ConfigurationError
from retract.model import Mode, Window
from retract.orchestration.windows import RunRequest, parse_params, resolve_window

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOOKBACK = timedelta(days=30)


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
    assert resolve_window(request(), parse_params({}), LOOKBACK) == Window(NOON - LOOKBACK, NOON)


def test_a_backfill_run_judges_exactly_its_interval() -> None:
    window = resolve_window(request("backfill"), parse_params({}), LOOKBACK)
    assert window == Window(NOON - timedelta(minutes=15), NOON)


@pytest.mark.parametrize("run_type", ["manual", "asset_triggered"])
def test_a_run_without_an_interval_looks_back_from_the_moment_it_was_asked_for(
    run_type: str,
) -> None:
    asked = request(run_type, interval_start=None, interval_end=None)
    window = resolve_window(asked, parse_params({}), LOOKBACK)
    assert window == Window(asked.run_after - LOOKBACK, asked.run_after)


@pytest.mark.parametrize("empty", [None, [], ()])
def test_mailboxes_left_empty_mean_all(empty: object) -> None:
    assert parse_params({"mailboxes": empty}).mailboxes == ()


def test_params_win_over_everything() -> None:
    params = parse_params(
        {"window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-02T00:00:00+00:00"}
    )
    for run_type in ("scheduled", "manual", "backfill"):
        window = resolve_window(request(run_type), params, LOOKBACK)
        assert window == Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"window_start": "yesterday", "window_end": "2026-01-02T00:00:00Z"}, "window_start"),
        ({"window_start": "2026-01-01T00:00:00", "window_end": "2026-01-02T00:00:00Z"}, "timezone"),
        ({"window_start": "2026-01-01T00:00:00Z"}, "both window_start and window_end"),
        (
            {"window_start": "2026-01-02T00:00:00Z", "window_end": "2026-01-01T00:00:00Z"},
            "later than",
        ),
        ({"mode": "enforce"}, "mode"),
        ({"mailboxes": [""]}, "not an address"),
        ({"mailboxes": ["ann"]}, "not an address"),
        ({"mailboxes": ["ann@north.example\nERROR - forged"]}, "not an address"),
        ({"enforce": True}, "enforce"),
        ({"mailboxes": "all"}, "mailboxes"),
    ],
)
def test_params_that_make_no_sense_are_refused_by_name(
    params: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        parse_params(params)


@given(st.sampled_from(Mode), st.sampled_from(["policy", "preview"]))
def test_no_run_ever_widens_the_policy(allowed: Mode, asked: str) -> None:
    narrowed = allowed.narrowed_by(parse_params({"mode": asked}).narrowing)
    assert narrowed is Mode.PREVIEW or allowed is Mode.ENFORCE
    if asked == "preview":
        assert narrowed is Mode.PREVIEW


def test_a_refusal_stays_on_its_line_whatever_a_param_holds() -> None:
    with pytest.raises(ConfigurationError) as told:
        parse_params({"mailboxes": ["ann@north.example\n\x1b[31mforged"]})
    assert str(told.value).isprintable()


def test_addresses_are_taken_in_one_form() -> None:
    assert parse_params({"mailboxes": [" Ann@North.example "]}).mailboxes == ("ann@north.example",)
