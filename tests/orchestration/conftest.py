from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.orchestration.fake_installation import FEEDS, NOW, POLICY, FakeTenant, Installation

from retract.installation import Settings
from retract.orchestration import clock
from retract.orchestration.response import providers
from retract.policy import Policy


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moments: None) -> Installation:
    """One with the connection north, and nothing in it."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "feeds.yaml").write_text(FEEDS)
    made = Installation(
        Settings(
            home=tmp_path / "home",
            policy_file=tmp_path / "policy.yaml",
            feeds_file=tmp_path / "feeds.yaml",
            connections="north",
        )
    )

    def open_connection(
        connection: str, _policy: Policy, _clock: object, **_: object
    ) -> FakeTenant:
        return made.tenants[connection]

    monkeypatch.setattr(providers, "open_connection", open_connection)
    return made


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new moment at each look: two attempts at a run are never opened in one."""
    moments = (NOW + timedelta(seconds=n) for n in range(10_000))
    monkeypatch.setattr(clock, "utc_now", lambda: next(moments))
