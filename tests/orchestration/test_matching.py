"""Matching: only what is new since a day was last matched, and what comes of it is everything."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.orchestration.fake_installation import (
    ANN,
    BAD_URL,
    BOB,
    NOW,
    Installation,
    WorkerDied,
)

from retract.errors import LakeError
from retract.lake import mail
from retract.lake.store import Lake
from retract.model import Place
from retract.orchestration import response
from retract.orchestration.response.pinned import HELD_BACK, MATCHES, pinned_indicators, read_pin
from retract.orchestration.runs import RunFolder
from retract.reevaluation import decide, incremental
from retract.reevaluation.days import DaysToMatch
from retract.reevaluation.held_back import HeldBackHits, held_back_of
from retract.reevaluation.incremental import Mail
from retract.reevaluation.match import MATCHES as MATCHES_SHAPE
from retract.reevaluation.match import full_match

WORSE_URL, HELD_URL = "http://worse.example.net/", "http://docs.google.com/"
TODAY = (NOW - timedelta(hours=1)).date()


def days_ago(number: int) -> date:
    return TODAY - timedelta(days=number)


def deliver(installation: Installation, *days: int, url: str = BAD_URL, address: str = ANN) -> None:
    """One message on each of these days, counted back from today."""
    north = installation.tenant("north")
    for number in days:
        north.deliver(address, url, timedelta(days=number, hours=1))


def collected(installation: Installation, **params: object) -> str:
    """A run up to what is pinned."""
    folder = installation.open_run(**params)
    installation.list_mailboxes(folder)
    installation.collect(folder)
    return folder


def finish(installation: Installation, folder: str) -> None:
    installation.judge(folder)
    assert installation.problems(folder) == []


def everything(installation: Installation, folder: str) -> tuple[pl.DataFrame, HeldBackHits]:
    """What a match of all there is would find at the pinned versions."""
    lake, pin = Lake(installation.settings.lake), read_pin(RunFolder(folder))
    run = RunFolder(folder).run()
    indicators = pinned_indicators(lake, pin)
    versions, window = pin.versions, run.window
    mail = Mail(
        lake.scan_messages(versions.messages, window),
        lake.scan_observables(versions.observables, window),
        lake.scan_lookups(versions.lookups, window),
    )
    matches = full_match(*mail, indicators, window, run.started_at)
    days = list(lake.rows_by_day(versions, window))
    return matches, held_back_of(Mail(*lake.mail_of(versions, days)), indicators, run.started_at)


def assert_everything_was_found(installation: Installation, folder: str) -> pl.DataFrame:
    matches, held_back = everything(installation, folder)
    found = pl.read_parquet(RunFolder(folder).path / MATCHES)
    order = ["copy_id", "indicator_id"]
    assert_frame_equal(found.sort(order), matches.sort(order))
    assert RunFolder(folder).read(HELD_BACK, HeldBackHits) == held_back
    return found


@contextmanager
def read_days(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[date]]]:
    """The days whose mail is read, reading by reading."""
    mail_of, read = Lake.mail_of, []

    def note(lake: Lake, versions: Any, days: Sequence[date]) -> Any:
        read.append(sorted(days))
        return mail_of(lake, versions, days)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "mail_of", note)
        yield read


def files(installation: Installation) -> set[Path]:
    return {file for file in Path(installation.settings.lake).rglob("*") if file.is_file()}


def test_a_run_with_nothing_new_reads_no_mail_and_writes_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(installation, 0, 1, 5)
    deliver(installation, 0, url=HELD_URL)
    installation.learn(BAD_URL, HELD_URL)
    finish(installation, installation.run())
    folder = collected(installation)
    before = files(installation)
    with read_days(monkeypatch) as read:
        finish(installation, folder)
    assert read == []
    assert files(installation) == before
    assert assert_everything_was_found(installation, folder).height == 3
    assert installation.report(folder).held_back.top[0].copies == 1
    assert installation.report(folder).counts.judged == 4


def test_the_mailboxes_domains_are_read_of_new_mail_alone(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(installation, 0, 1, 5)
    installation.run()
    deliver(installation, 1, address="eve@south.example")
    domains, read = mail._domains, []

    def note(messages: pl.LazyFrame) -> frozenset[str]:
        read.append(messages.collect().height)
        return domains(messages)

    monkeypatch.setattr(mail, "_domains", note)
    pinned = read_pin(RunFolder(installation.run()))
    assert pinned.own_domains == ("north.example", "south.example")
    assert sorted(read) == [0, 1]


def test_what_only_indicators_spoke_against_that_are_gone_is_not_gathered(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that named half the world for an hour would leave millions of suspects."""
    deliver(installation, 0, 1, 5)
    deliver(installation, 1, url=WORSE_URL)
    installation.learn(BAD_URL, WORSE_URL)
    installation.run()
    installation.learn(WORSE_URL)
    gathered: list[int] = []
    original = decide.decide

    def note(messages: pl.DataFrame, *more: Any) -> Any:
        gathered.append(messages.height)
        return original(messages, *more)

    monkeypatch.setattr(decide, "decide", note)
    folder = collected(installation)
    finish(installation, folder)
    assert gathered == [1]
    assert assert_everything_was_found(installation, folder).height == 1


def test_new_mail_is_matched_with_all_indicators_and_other_days_are_left_alone(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(installation, 0, 1, 5)
    installation.learn(BAD_URL, HELD_URL)
    installation.run()
    deliver(installation, 1, address=BOB)
    deliver(installation, 1, url=HELD_URL)
    folder = collected(installation)
    with read_days(monkeypatch) as read:
        finish(installation, folder)
    assert {day for days in read for day in days} == {days_ago(1)}
    assert assert_everything_was_found(installation, folder).height == 4


def test_a_new_indicator_is_held_against_all_mail_and_known_ones_against_the_new_alone(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(installation, 0, 1, 5)
    deliver(installation, 1, 5, url=WORSE_URL)
    installation.learn(BAD_URL)
    installation.run()
    deliver(installation, 0, address=BOB)
    installation.learn(BAD_URL, WORSE_URL)
    looked_for: list[list[int]] = []
    hits = incremental.hits

    def note(messages: Any, observables: Any, lookups: Any, indicators: Any) -> Any:
        copies = messages.select("copy_id").collect().height
        looked_for.append([copies, indicators.collect().height])
        return hits(messages, observables, lookups, indicators)

    folder = collected(installation)
    monkeypatch.setattr(incremental, "hits", note)
    finish(installation, folder)
    assert looked_for == [[1, 2], [6, 1]]
    assert assert_everything_was_found(installation, folder).height == 6


def test_what_becomes_of_indicators_and_mail_run_after_run_is_always_as_if_matched_anew(
    installation: Installation,
) -> None:
    lists = [[BAD_URL], [], [BAD_URL, HELD_URL], [WORSE_URL, HELD_URL], [WORSE_URL, BAD_URL]]
    for number, listed in enumerate(lists):
        deliver(installation, number, number + 1, url=BAD_URL)
        deliver(installation, 1, url=WORSE_URL, address=BOB)
        deliver(installation, 2, url=HELD_URL)
        installation.learn(*listed)
        folder = collected(installation)
        finish(installation, folder)
        assert_everything_was_found(installation, folder)


def test_a_window_of_old_days_matches_those_alone(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(installation, 0, 3, 4, 5)
    installation.learn(BAD_URL)
    collected(installation)
    old = {
        "window_start": datetime.combine(days_ago(4), datetime.min.time(), UTC).isoformat(),
        "window_end": datetime.combine(days_ago(2), datetime.min.time(), UTC).isoformat(),
    }
    folder = collected(installation, **old)
    with read_days(monkeypatch) as read:
        finish(installation, folder)
    assert {day for days in read for day in days} == {days_ago(4), days_ago(3)}
    assert set(Lake(installation.settings.lake).coverage([days_ago(n) for n in range(9)])) == {
        days_ago(4),
        days_ago(3),
    }
    assert assert_everything_was_found(installation, folder).height == 2

    folder = collected(installation)
    with read_days(monkeypatch) as read:
        finish(installation, folder)
    assert {day for days in read for day in days} == {days_ago(5), days_ago(0)}
    assert assert_everything_was_found(installation, folder).height == 4


COMMITS = ("add_findings", "replace_held_back_counts", "add_held_back_counts", "add_coverage")


def dies(commit: Callable[..., Any], *, after: bool, survives: int) -> Callable[..., Any]:
    """A worker that ends right before, or after, one of these commits."""
    left = survives

    def one(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            if after:
                commit(*args)
            raise WorkerDied
        return commit(*args)

    return one


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("commit", COMMITS)
def test_a_retry_goes_on_where_a_killed_try_ended(
    installation: Installation, commit: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each day is a stretch of its own, and the second ends in the middle."""
    installation.settings = installation.settings.model_copy(update={"match_rows_at_once": 1})
    deliver(installation, 0, 1, 2)
    deliver(installation, 0, 1, 2, url=HELD_URL)
    if commit == "add_held_back_counts":  # which is for days that were matched before
        installation.learn(BAD_URL)
        installation.run()
    installation.learn(BAD_URL, HELD_URL)
    folder = collected(installation)
    (shard,) = response.pin(installation.settings, folder)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, commit, dies(getattr(Lake, commit), after=after, survives=1))
        with pytest.raises(WorkerDied):
            response.match(installation.settings, folder, shard)
    with read_days(monkeypatch) as read:
        response.match(installation.settings, folder, shard)
    done = {days_ago(2), days_ago(1)} if commit == "add_coverage" and after else {days_ago(2)}
    assert {day for days in read for day in days} == {days_ago(n) for n in range(3)} - done
    response.make_plan(installation.settings, folder)
    assert assert_everything_was_found(installation, folder).height == 3


def test_parts_run_side_by_side_and_find_everything_once(installation: Installation) -> None:
    installation.settings = installation.settings.model_copy(
        update={"match_rows_a_task": 1, "max_shards": 3}
    )
    deliver(installation, 0, 1, 2, 3, 4, 5)
    deliver(installation, 1, 2, url=HELD_URL)
    installation.learn(BAD_URL, HELD_URL)
    folder = collected(installation)
    shards = response.pin(installation.settings, folder)
    assert len(shards) == 3
    assert shards[0]["label"].startswith(f"{days_ago(5)} to ")
    parts = RunFolder(folder).read_all("to_match", DaysToMatch)
    assert [one.day for part in parts for one in part.days] == [
        days_ago(n) for n in range(5, -1, -1)
    ]
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda s: response.match(installation.settings, folder, s), shards)
        assert sum(found) == 6
    response.make_plan(installation.settings, folder)
    assert assert_everything_was_found(installation, folder).height == 6


def test_a_cleared_run_whose_work_is_done_keeps_its_number_of_tasks(
    installation: Installation,
) -> None:
    installation.settings = installation.settings.model_copy(update={"match_rows_a_task": 1})
    deliver(installation, 0, 1, 2)
    installation.learn(BAD_URL)
    folder = collected(installation)
    finish(installation, folder)
    again = response.pin(installation.settings, folder)
    assert [shard["label"] for shard in again[1:]] == ["nothing to do", "nothing to do"]
    for shard in again:
        assert response.match(installation.settings, folder, shard) == 0
    response.make_plan(installation.settings, folder)
    assert assert_everything_was_found(installation, folder).height == 3


@pytest.mark.parametrize("lost", ["messages_between", "indicators_between"])
def test_days_of_which_it_cannot_be_told_what_is_new_are_matched_in_full(
    installation: Installation, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(installation, 0, 1, 2)
    installation.learn(BAD_URL)
    installation.run()
    deliver(installation, 1, url=WORSE_URL)
    installation.learn(BAD_URL, WORSE_URL)
    between = getattr(Lake, lost)

    def gone(lake: Lake, earlier: int, version: int, *days: Collection[date]) -> Any:
        if lost == "indicators_between" or days_ago(1) in days[0]:
            raise LakeError("its files have left the store")
        return between(lake, earlier, version, *days)

    monkeypatch.setattr(Lake, lost, gone)
    folder = collected(installation)
    finish(installation, folder)
    assert assert_everything_was_found(installation, folder).height == 4


def test_a_run_that_another_one_overtook_finds_all_that_it_was_pinned_to(
    installation: Installation,
) -> None:
    deliver(installation, 0, 1)
    installation.learn(BAD_URL)
    slow = collected(installation)
    (shard,) = response.pin(installation.settings, slow)
    deliver(installation, 1, 2, address=BOB)
    installation.learn(BAD_URL, WORSE_URL)
    finish(installation, installation.run())
    response.match(installation.settings, slow, shard)
    response.make_plan(installation.settings, slow)
    assert assert_everything_was_found(installation, slow).height == 2
    folder = collected(installation)
    finish(installation, folder)
    assert assert_everything_was_found(installation, folder).height == 4


def test_a_domain_that_turns_out_to_be_the_organisation_s_own_is_held_back_in_old_mail_too(
    installation: Installation,
) -> None:
    url = "http://south.example/"
    deliver(installation, 0, 1, url=url)
    installation.configure("north,south")
    installation.tenant("south")
    installation.learn(url)
    installation.settings.policy_file.write_text("mode: preview\nactions: {malicious: trash}\n")
    folder = collected(installation)
    finish(installation, folder)
    assert assert_everything_was_found(installation, folder).height == 2
    installation.tenant("south").deliver("eve@south.example", "http://good.example.org/")
    folder = collected(installation)
    finish(installation, folder)
    assert assert_everything_was_found(installation, folder).height == 0
    (hit,) = installation.report(folder).held_back.top
    assert hit.copies == 2


def test_copies_of_one_day_outside_the_window_are_matched_but_not_judged(
    installation: Installation,
) -> None:
    deliver(installation, 0, 1)
    installation.learn(BAD_URL)
    window = {
        "window_start": (NOW - timedelta(minutes=90)).isoformat(),
        "window_end": NOW.isoformat(),
    }
    north = installation.tenant("north")
    north.deliver(ANN, BAD_URL, timedelta(hours=2))
    collected(installation)
    folder = collected(installation, **window)
    finish(installation, folder)
    assert assert_everything_was_found(installation, folder).height == 1
    assert installation.report(folder).counts.judged == 1
    assert sorted(north.places.values()) == sorted([Place.INBOX, Place.INBOX, Place.TRASH])


def test_without_anything_in_the_lake_there_is_one_task_with_nothing_to_do(
    installation: Installation,
) -> None:
    installation.tenant("north").boxes[ANN] = []
    folder = collected(installation)
    (shard,) = response.pin(installation.settings, folder)
    assert (shard["label"], shard["tasks"]) == ("nothing to do", 0)
    assert response.match(installation.settings, folder, shard) == 0
    response.make_plan(installation.settings, folder)
    found = pl.read_parquet(RunFolder(folder).path / MATCHES)
    assert_frame_equal(found, MATCHES_SHAPE.to_frame())


@pytest.mark.parametrize("table", ["hits", "suspects", "messages"])
def test_what_a_run_was_pinned_to_is_not_taken_for_what_was_put_in_its_place(
    installation: Installation, table: str
) -> None:
    """As when a table has another shape after an upgrade, is moved away, and the task cleared."""
    deliver(installation, 0, 1, 2)
    installation.learn(BAD_URL)
    installation.run()
    installation.learn(BAD_URL, WORSE_URL)
    deliver(installation, 0, url=WORSE_URL)
    folder = collected(installation)
    (shard,) = response.pin(installation.settings, folder)
    names = [table] if table != "messages" else ["messages", "observables", "lookups"]
    for name in names:
        shutil.move(
            Path(installation.settings.lake) / name,
            Path(installation.settings.lake) / f"{name}.old",
        )
    if table == "messages":
        installation.collect(folder)
    with pytest.raises(LakeError, match=f"{names[-1]}: .*clear the run's task pin"):
        response.match(installation.settings, folder, shard)
    with pytest.raises(LakeError, match=f"{names[-1]}: .*clear the run's task pin"):
        response.make_plan(installation.settings, folder)

    finish(installation, folder)
    assert assert_everything_was_found(installation, folder).height == 4
    finish(installation, collected(installation))
