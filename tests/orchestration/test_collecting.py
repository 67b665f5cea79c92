"""Collecting: what a try leaves to the next one, and what the next run goes on from."""

from __future__ import annotations

from datetime import timedelta

import pytest
from deltalake import DeltaTable
from tests.orchestration.fake_installation import (
    ANN,
    BAD_URL,
    BOB,
    NOW,
    FakeTenant,
    Installation,
    WorkerDied,
)

from retract.errors import LakeError, PermissionDenied, Throttled
from retract.lake.store import Lake
from retract.model import Mailbox, Place, UnwatchedMailbox, UnwatchedReason, Watermark
from retract.observables import EXTRACTOR_VERSION
from retract.orchestration import response
from retract.orchestration.response import collecting
from retract.orchestration.response.shards import Shard
from retract.orchestration.retries import ShardFailed

CAROL = "carol@north.example"
WORSE_URL = "http://worse.example.net/"


@pytest.fixture
def north(installation: Installation) -> FakeTenant:
    """Three mailboxes in one shard, two messages each."""
    installation.settings = installation.settings.model_copy(update={"max_shards": 1})
    north = installation.tenant("north")
    for address in (ANN, BOB, CAROL) * 2:
        north.deliver(address)
    return north


def start(installation: Installation) -> tuple[str, Shard]:
    folder = installation.open_run()
    installation.list_mailboxes(folder)
    (shard,) = response.shard_mailboxes(installation.settings, folder)
    return folder, shard


def read(north: FakeTenant) -> list[str]:
    """The mailboxes that were read since the last call."""
    addresses = sorted(address for address, *_ in north.asked)
    north.asked.clear()
    return addresses


def watermark(installation: Installation, mailbox: Mailbox) -> Watermark | None:
    lake = Lake(installation.settings.lake)
    return lake.watermarks([mailbox], EXTRACTOR_VERSION).get(mailbox)


def test_many_mailboxes_make_one_version_of_each_table(
    installation: Installation, north: FakeTenant
) -> None:
    folder, shard = start(installation)
    assert response.collect(installation.settings, folder, shard) == 6
    for table in ("messages", "observables", "watermarks"):
        created_and_filled = 1
        lake = installation.settings.lake
        assert DeltaTable(f"{lake}/{table}").version() == created_and_filled


def test_the_next_run_goes_on_from_the_watermarks_and_with_what_is_known(
    installation: Installation, north: FakeTenant
) -> None:
    folder, shard = start(installation)
    response.collect(installation.settings, folder, shard)
    assert all(mark is None for *_, mark in north.asked)
    new = north.deliver(ANN)
    north.asked.clear()
    folder, shard = start(installation)
    assert response.collect(installation.settings, folder, shard) == 1
    assert {mark.cursor for *_, mark in north.asked if mark} == {"2 given, 0 left"}
    assert {len(known) for _, known, _ in north.asked} == {2}
    assert all(new.message_id not in known for _, known, _ in north.asked)


def test_a_watermark_that_says_the_same_is_not_written_again(
    installation: Installation, north: FakeTenant
) -> None:
    versions = []
    for _ in range(3):
        folder, shard = start(installation)
        response.collect(installation.settings, folder, shard)
        table = DeltaTable(f"{installation.settings.lake}/watermarks")
        versions.append(table.version())
    assert versions[0] < versions[1] == versions[2]  # the second told that nothing more came


def test_a_mailbox_hides_no_other_of_its_address_in_another_connection(
    installation: Installation, north: FakeTenant
) -> None:
    installation.configure("north,south")
    south = installation.tenant("south")
    for _ in range(2):
        south.deliver(ANN)
    north.breaks_off[ANN] = Throttled("slow down")
    south.breaks_off[ANN] = PermissionDenied("access is denied")
    folder, shard = start(installation)
    with pytest.raises(ShardFailed, match="2 mailbox") as failed:
        response.collect(installation.settings, folder, shard)
    assert not failed.value.permanent  # one of them can be waited for


def test_a_deleted_lake_is_read_anew(installation: Installation, north: FakeTenant) -> None:
    folder, shard = start(installation)
    response.collect(installation.settings, folder, shard)
    settings = installation.settings
    installation.settings = settings.model_copy(update={"lake_url": settings.lake + "-2"})
    folder, shard = start(installation)
    assert response.collect(installation.settings, folder, shard) == 6


def test_a_retry_reads_only_the_mailboxes_that_failed(
    installation: Installation, north: FakeTenant
) -> None:
    north.breaks_off[BOB] = Throttled("slow down", retry_after=3)
    folder, shard = start(installation)
    with pytest.raises(ShardFailed, match="1 mailbox\\(es\\) failed: bob"):
        response.collect(installation.settings, folder, shard)
    assert read(north) == [ANN, BOB, CAROL]
    assert any(BOB in problem for problem in told(installation, folder))

    north.breaks_off.clear()
    assert response.collect(installation.settings, folder, shard) == 1
    assert read(north) == [BOB]
    assert told(installation, folder) == []


def told(installation: Installation, folder: str) -> list[str]:
    installation.judge(folder)
    return installation.problems(folder)


def test_a_reading_that_breaks_off_keeps_what_it_gave_and_its_watermark(
    installation: Installation, north: FakeTenant
) -> None:
    north.breaks_off[BOB] = Throttled("slow down")
    folder, shard = start(installation)
    with pytest.raises(ShardFailed):
        response.collect(installation.settings, folder, shard)
    mark = watermark(installation, north.mailbox(BOB))
    assert mark is not None
    assert mark.cursor == "1 given, 1 left"
    north.asked.clear()
    with pytest.raises(ShardFailed):
        response.collect(installation.settings, folder, shard)
    ((_, known, began_from),) = north.asked
    assert (len(known), began_from) == (1, mark)


def test_a_worker_that_died_is_followed_by_one_that_reads_what_is_left(
    installation: Installation, north: FakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "MAILBOXES_A_COMMIT", 1)
    folder, shard = start(installation)
    collect = FakeTenant.collect

    def die_at_the_second(tenant: FakeTenant, *asked: object) -> object:
        if len(tenant.asked) == 1:
            raise WorkerDied
        return collect(tenant, *asked)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(FakeTenant, "collect", die_at_the_second)
        with pytest.raises(WorkerDied):
            response.collect(installation.settings, folder, shard)
    (first,) = read(north)
    assert any("2 mailbox(es) were not read" in problem for problem in told(installation, folder))
    assert response.collect(installation.settings, folder, shard) == 4
    assert sorted([first, *read(north)]) == [ANN, BOB, CAROL]
    assert told(installation, folder) == []


def test_a_retry_that_dies_at_once_costs_nothing_of_what_the_try_before_it_read(
    installation: Installation, north: FakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    north.breaks_off[CAROL] = Throttled("slow down")
    folder, shard = start(installation)
    with pytest.raises(ShardFailed):
        response.collect(installation.settings, folder, shard)
    assert read(north) == [ANN, BOB, CAROL]

    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise WorkerDied

        patch.setattr(Lake, "watermarks", die)
        with pytest.raises(WorkerDied):
            response.collect(installation.settings, folder, shard)
    (problem,) = told(installation, folder)
    assert CAROL in problem

    north.breaks_off.clear()
    response.collect(installation.settings, folder, shard)
    assert read(north) == [CAROL]


def test_a_task_that_is_cleared_after_its_end_reads_everything_again(
    installation: Installation, north: FakeTenant
) -> None:
    folder, shard = start(installation)
    response.collect(installation.settings, folder, shard)
    response.collect(installation.settings, folder, shard)
    assert read(north) == sorted([ANN, BOB, CAROL] * 2)


def test_no_watermark_covers_what_the_lake_did_not_take(
    installation: Installation, north: FakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise LakeError("the commit failed")

    folder, shard = start(installation)
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "add_messages", refuse)
        with pytest.raises(LakeError):
            response.collect(installation.settings, folder, shard)
    assert watermark(installation, north.mailbox(ANN)) is None
    assert response.collect(installation.settings, folder, shard) == 6


def test_large_mailboxes_are_committed_on_the_way(
    installation: Installation, north: FakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "MESSAGES_A_COMMIT", 2)
    sizes: list[int] = []
    add = Lake.add_messages

    def spy(lake: Lake, messages: list[object], at: object) -> int:
        sizes.append(len(messages))
        return add(lake, messages, at)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "add_messages", spy)
    folder, shard = start(installation)
    assert response.collect(installation.settings, folder, shard) == 6
    assert sizes == [2, 2, 2]


def test_a_mailbox_that_vanished_since_it_was_listed_is_reported_and_not_judged(
    installation: Installation, north: FakeTenant
) -> None:
    installation.learn("http://bad.example.net/login")
    north.unwatched = (UnwatchedMailbox("north", "ext@x.example", UnwatchedReason.UNLICENSED),)
    folder, shard = start(installation)
    del north.boxes[BOB]
    assert response.collect(installation.settings, folder, shard) == 4
    assert told(installation, folder) == []
    report = installation.report(folder)
    assert report.run.mailboxes == 2
    assert [(one.address, one.reason) for one in report.unwatched] == [
        (BOB, UnwatchedReason.INACTIVE),
        ("ext@x.example", UnwatchedReason.UNLICENSED),
    ]
    assert "closed" in report.unwatched[0].detail
    assert report.counts.unwatched_by_reason == {
        UnwatchedReason.INACTIVE: 1,
        UnwatchedReason.UNLICENSED: 1,
    }


def test_mail_known_of_a_vanished_mailbox_is_not_retracted(
    installation: Installation, north: FakeTenant
) -> None:
    installation.run()
    installation.learn("http://bad.example.net/login")
    folder, shard = start(installation)
    del north.boxes[BOB]
    response.collect(installation.settings, folder, shard)
    assert told(installation, folder) == []
    assert installation.report(folder).counts.planned == 4


def test_a_vanished_mailbox_that_the_run_was_asked_for_is_a_failure(
    installation: Installation, north: FakeTenant
) -> None:
    folder = installation.open_run(mailboxes=[BOB])
    installation.list_mailboxes(folder)
    (shard,) = response.shard_mailboxes(installation.settings, folder)
    del north.boxes[BOB]
    with pytest.raises(ShardFailed) as failed:
        response.collect(installation.settings, folder, shard)
    assert failed.value.permanent
    assert any(BOB in problem for problem in told(installation, folder))


def test_a_mailbox_named_by_two_of_its_addresses_is_read_once(
    installation: Installation, north: FakeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox, alias = FakeTenant.mailbox, "sales@north.example"
    monkeypatch.setattr(
        FakeTenant, "mailbox", lambda self, named: mailbox(self, BOB if named == alias else named)
    )
    folder = installation.open_run(mailboxes=[BOB, alias])
    installation.list_mailboxes(folder)
    (shard,) = response.shard_mailboxes(installation.settings, folder)
    assert response.collect(installation.settings, folder, shard) == 2
    assert read(north) == [BOB]
    assert told(installation, folder) == []
    assert installation.report(folder).run.mailboxes == 1


def test_mailboxes_that_no_task_was_given_are_told(
    installation: Installation, north: FakeTenant
) -> None:
    """The task that deals them to others died, say."""
    folder = installation.open_run()
    installation.list_mailboxes(folder)
    assert any("3 mailbox(es) were not read" in problem for problem in told(installation, folder))


def test_what_became_of_a_mailbox_is_forgotten_when_another_task_takes_it(
    installation: Installation, north: FakeTenant
) -> None:
    north.breaks_off[CAROL] = Throttled("slow down")
    folder, shard = start(installation)
    boxes = north.boxes.pop(BOB)
    with pytest.raises(ShardFailed):
        response.collect(installation.settings, folder, shard)
    north.breaks_off.clear()
    north.boxes[BOB] = boxes
    installation.settings = installation.settings.model_copy(update={"max_shards": 3})
    installation.collect(folder)
    assert told(installation, folder) == []
    assert installation.report(folder).counts.judged == 6


def test_a_window_before_what_the_lake_still_holds_is_read_anew(
    installation: Installation, north: FakeTenant
) -> None:
    """See Lake.watermarks: what was forgotten is not covered any more."""
    folder, shard = start(installation)
    response.collect(installation.settings, folder, shard)
    lake = Lake(installation.settings.lake)
    assert lake.expire(NOW.replace(day=NOW.day + 1)).messages == 6
    lake.add_watermarks({north.mailbox(ANN): Watermark(NOW.replace(day=1), "c")}, 99, NOW)
    mark = watermark(installation, north.mailbox(ANN))
    assert mark is not None
    assert mark.since > NOW


def test_what_came_during_an_outage_came_late_or_was_filed_since_is_retracted_by_the_next_run(
    installation: Installation,
) -> None:
    """A week without runs; a message that was stamped before the last of them, and one of a day
    that was matched already, known, and in another place since."""
    north, last_run = installation.tenant("north"), NOW - timedelta(days=7)
    filed = north.deliver(ANN, WORSE_URL, timedelta(days=8))
    installation.learn(BAD_URL)
    week_before = {
        "window_start": (last_run - timedelta(days=7)).isoformat(),
        "window_end": last_run.isoformat(),
    }
    installation.run(**week_before)
    assert north.places == {filed.message_id: Place.INBOX}

    north.places[filed.message_id] = Place.OTHER
    late = north.deliver(ANN, BAD_URL, timedelta(days=8))
    in_the_gap = [north.deliver(ANN, BAD_URL, timedelta(days=n, hours=1)) for n in range(7)]
    installation.learn(BAD_URL, WORSE_URL)
    north.asked.clear()
    installation.run()

    assert [(known, bool(mark)) for _, known, mark in north.asked] == [({filed.message_id}, True)]
    retracted = {one.message_id for one in (filed, late, *in_the_gap)}
    assert north.places == dict.fromkeys(retracted, Place.TRASH)
