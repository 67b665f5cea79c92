"""When a shard is tried again, and when it is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

from retract.errors import (
    AuthenticationFailed,
    ClaimLost,
    MailboxError,
    MailboxUnavailable,
    OutcomeUnknown,
    PermissionDenied,
    PolicyError,
    TenantUnreachable,
    Throttled,
)
from retract.orchestration.clock import utc_now
from retract.orchestration.context import finish_with
from retract.orchestration.retries import (
    MailboxRetryPolicy,
    ShardFailed,
    asked_seconds,
    wait_seconds,
)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationFailed("wrong secret"),
        PermissionDenied("no"),
        MailboxUnavailable("none"),
        PolicyError("line 3"),
        ShardFailed({"a": MailboxUnavailable("none"), "b": PermissionDenied("no")}),
    ],
)
def test_what_waiting_cannot_mend_fails_at_once(error: Exception) -> None:
    decision = MailboxRetryPolicy().evaluate(error, 1, 5)
    assert decision.action.value == "fail"


@pytest.mark.parametrize(
    "error",
    [
        TenantUnreachable("down"),
        Throttled("slow", retry_after=5),
        MailboxError("odd"),
        RuntimeError("bug"),
        ShardFailed({"a": MailboxUnavailable("none"), "b": TenantUnreachable("down")}),
    ],
)
def test_the_rest_is_tried_again(error: Exception) -> None:
    decision = MailboxRetryPolicy().evaluate(error, 1, 5)
    assert decision.action.value == "retry"
    assert decision.retry_delay is not None
    assert decision.retry_delay.total_seconds() > 0


@pytest.mark.parametrize("seconds", [3601.0, 86_400.0, 1e300])
def test_a_wait_that_would_hold_up_the_runs_to_come_is_left_to_them(seconds: float) -> None:
    throttled = Throttled("slow", retry_after=seconds)
    for error in (throttled, ShardFailed({"a": throttled, "b": PermissionDenied("no")})):
        decision = MailboxRetryPolicy().evaluate(error, 1, 5)
        assert decision.action.value == "fail"
        assert "later run" in (decision.reason or "")


@given(
    st.integers(1, 30),
    st.one_of(st.none(), st.floats(0, 3600)),
    st.integers(0, 1000),
)
def test_never_sooner_than_asked_and_never_for_ever(
    try_number: int, asked: float | None, shard: int
) -> None:
    seconds = wait_seconds(15, try_number, asked, shard)
    assert seconds >= (asked or 0)
    assert seconds <= (asked or 0) + 1350


def test_shards_that_failed_together_come_back_apart() -> None:
    assert len({wait_seconds(15, 1, 30, shard) for shard in range(50)}) == 50


def test_a_shard_waits_as_long_as_its_most_throttled_mailbox() -> None:
    failed = ShardFailed(
        {"a": Throttled("x", retry_after=3), "b": Throttled("y", retry_after=90.5)}
    )
    decision = MailboxRetryPolicy().evaluate(failed, 1, 5)
    assert decision.retry_delay is not None
    assert decision.retry_delay.total_seconds() >= 90.5
    assert "a" in str(failed)
    assert "b" in str(failed)


def test_an_error_names_some_of_many_mailboxes_and_counts_the_rest() -> None:
    failed = ShardFailed({f"user{n}": TenantUnreachable("down") for n in range(10_000)})
    assert len(failed.failures) == 10_000
    assert str(failed).startswith("10000 mailbox(es) failed: user0: down; user1: down; ")
    assert str(failed).endswith("; user9: down; and 9990 more")
    with pytest.raises(AirflowFailException) as ended:
        finish_with([str(number) for number in range(11)])
    assert str(ended.value) == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 1 more"
    finish_with([])


def test_a_mailbox_that_another_worker_holds_is_tried_again_when_the_hold_ends() -> None:
    until = utc_now() + timedelta(seconds=200)
    lost = ClaimLost("held", until=until)
    failed = ShardFailed({"a": lost, "b": Throttled("x", retry_after=30), "c": ClaimLost("?")})
    for error in (lost, failed):
        decision = MailboxRetryPolicy().evaluate(error, 1, 5)
        assert decision.retry_delay is not None
        assert 195 < decision.retry_delay.total_seconds() < 300
    assert asked_seconds(lost, until + timedelta(seconds=1)) == 0
    assert asked_seconds(ClaimLost("nobody knows until when"), until) is None


def test_a_mailbox_that_waits_for_hours_keeps_no_other_from_being_tried_again() -> None:
    failures: dict[str, Exception] = {
        "a": Throttled("later", retry_after=7200.0),
        "b": Throttled("soon", retry_after=90.0),
        "c": OutcomeUnknown("lost"),
        "d": PermissionDenied("never"),
    }
    assert asked_seconds(ShardFailed(failures), utc_now()) == 90.0
    assert asked_seconds(ShardFailed({"a": failures["a"], "d": failures["d"]}), utc_now()) == 7200.0
