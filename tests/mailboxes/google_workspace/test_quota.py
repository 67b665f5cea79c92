"""No more is spent in a minute than is allowed, and no longer waited than needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retract.mailboxes.google_workspace.quota import Quota, Spending

MINUTE = 60.0

calls = st.lists(
    st.tuples(st.floats(0, 30, allow_nan=False), st.integers(1, 50)), min_size=1, max_size=60
)


@given(calls)
def test_in_no_minute_is_more_spent_than_allowed(steps: list[tuple[float, int]]) -> None:
    spending, now, granted = Spending(100), 0.0, list[tuple[float, int]]()
    for pause, units in steps:
        now += pause
        if spending.wait(units, now) == 0:
            spending.spend(units, now)
            granted.append((now, units))
    for start, _ in granted:
        assert sum(u for t, u in granted if start <= t < start + MINUTE) <= 100


@given(calls)
def test_after_the_wait_there_is_room(steps: list[tuple[float, int]]) -> None:
    spending, now = Spending(100), 0.0
    for pause, units in steps:
        now += pause
        wait = spending.wait(units, now)
        assert 0 <= wait <= MINUTE + 2.01
        now += wait
        assert spending.wait(units, now + 1e-6) == 0
        spending.spend(units, now + 1e-6)


def test_what_is_more_than_the_limit_goes_alone() -> None:
    spending = Spending(30)
    assert spending.wait(50, 0) == 0
    spending.spend(50, 0)
    assert spending.wait(1, 1) > 0


def test_the_record_of_a_long_run_stays_small() -> None:
    spending = Spending(10**9)
    for number in range(10_000):
        spending.spend(5, number / 20)
    assert len(spending._spent) <= 64


def test_users_share_the_project_and_nothing_else() -> None:
    now = [0.0]
    quota = Quota(per_user=100, per_project=150, seconds=lambda: now[0])
    assert quota.take("anna", 100) == 0
    assert quota.take("anna", 1) > 50
    assert quota.take("bert", 50) == 0
    assert quota.take("carl", 1) > 50  # the project's is used up
    now[0] = 63
    assert quota.take("carl", 100) == 0


def test_users_who_are_done_are_forgotten() -> None:
    now = [0.0]
    quota = Quota(per_user=100, per_project=10**9, seconds=lambda: now[0])
    for number in range(5_000):
        now[0] += 1
        quota.take(f"user-{number}", 20)
    assert len(quota._users) <= 1_100
