"""What a person may ask of a manual run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.errors import ConfigurationError
from retract.model import Mode
from retract.orchestration.params import parse_params


@pytest.mark.parametrize("empty", [None, [], ()])
def test_mailboxes_left_empty_mean_all(empty: object) -> None:
    assert parse_params({"mailboxes": empty}).mailboxes == ()


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
