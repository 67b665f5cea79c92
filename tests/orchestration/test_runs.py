"""The run's folder: names that are safe and distinct, files that are whole, attempts kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from retract.orchestration.runs import Collected, RunFolder, ShardCollected, slug


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_slugs_are_safe_and_distinct(one: str, other: str) -> None:
    for name in (one, other):
        made = slug(name)
        assert made not in {"", ".", ".."}
        assert "/" not in made
        assert "\\" not in made
        assert "\x00" not in made
        assert len(made) < 120
    assert (slug(one) == slug(other)) == (one == other)


def test_a_new_attempt_leaves_the_old_one(tmp_path: Path) -> None:
    run_id = "manual__2026-01-01T00:00:00+00:00"
    first = RunFolder.create(tmp_path, "d", run_id, datetime(2026, 1, 1, tzinfo=UTC))
    result = Collected(connection="c", mailbox_id="1", mailbox="a")
    first.write("collected/00001.json", ShardCollected(mailboxes=(result,), finished=True))
    second = RunFolder.create(tmp_path, "d", run_id, datetime(2026, 1, 2, tzinfo=UTC))
    assert second.path.parent == first.path.parent
    assert second.read_all("collected", ShardCollected) == []
    assert first.read_all("collected", ShardCollected)[0].mailboxes[0].mailbox == "a"
    assert sorted(p.name for p in first.path.parent.iterdir()) == [first.attempt, second.attempt]
    assert not list(first.path.rglob(".*"))
