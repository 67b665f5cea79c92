"""Acting: each task reads its own part of the plan and nothing else."""

from __future__ import annotations

import pytest
from tests.orchestration.fake_installation import (
    ANN,
    BAD_URL,
    BOB,
    FakeTenant,
    Installation,
)

from retract.errors import ConfigurationError, PlanError, Throttled
from retract.model import Place
from retract.orchestration import response
from retract.orchestration.response.shards import Shard
from retract.orchestration.retries import ShardFailed
from retract.orchestration.runs import RunFolder
from retract.retraction.parts import PlanPart


def planned(installation: Installation) -> tuple[str, list[Shard]]:
    """A run up to its plan."""
    installation.learn(BAD_URL)
    folder = installation.open_run()
    installation.list_mailboxes(folder)
    installation.collect(folder)
    installation.match(folder)
    return folder, response.make_plan(installation.settings, folder)


def test_a_task_reads_its_own_part_and_not_the_whole_plan(installation: Installation) -> None:
    north = installation.tenant("north")
    for address in (ANN, BOB, ANN):
        north.deliver(address)
    folder, shards = planned(installation)
    assert [shard["tasks"] for shard in shards] == [2, 2]
    parts = RunFolder(folder).read_all("to_act", PlanPart)
    assert sorted(len(part.retractions) for part in parts) == [1, 2]

    (RunFolder(folder).path / "plan.json").unlink()
    counts = [response.act(installation.settings, folder, shard) for shard in shards]
    assert sorted(count["done"] for count in counts) == [1, 2]
    assert set(north.places.values()) == {Place.TRASH}


def test_a_mailbox_that_failed_does_not_stop_the_others_and_is_tried_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.settings = installation.settings.model_copy(update={"max_shards": 1})
    north = installation.tenant("north")
    of_ann, of_bob = north.deliver(ANN), north.deliver(BOB)
    folder, (shard,) = planned(installation)
    locate = FakeTenant.locate

    def refuse_ann(tenant: FakeTenant, copies: list[object]) -> list[object]:
        return [
            Throttled("slow down", retry_after=None) if copy.mailbox == ANN else here  # type: ignore[attr-defined]
            for copy, here in zip(copies, locate(tenant, copies), strict=True)  # type: ignore[arg-type]
        ]

    with monkeypatch.context() as patch:
        patch.setattr(FakeTenant, "locate", refuse_ann)
        with pytest.raises(ShardFailed) as failed:
            response.act(installation.settings, folder, shard)
    assert set(failed.value.failures) == {ANN}
    assert isinstance(failed.value.failures[ANN], Throttled)
    assert north.places == {of_ann.message_id: Place.INBOX, of_bob.message_id: Place.TRASH}

    assert response.act(installation.settings, folder, shard) == {"done": 2}
    assert set(north.places.values()) == {Place.TRASH}
    assert installation.problems(folder) == []


def test_a_part_of_an_earlier_plan_is_not_carried_out(installation: Installation) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    folder, (shard,) = planned(installation)
    part = RunFolder(folder).read("to_act/00000.json", PlanPart)
    RunFolder(folder).write(
        "to_act/00000.json", part.model_copy(update={"plan_digest": "of another plan"})
    )
    with pytest.raises(PlanError, match="clear make_plan"):
        response.act(installation.settings, folder, shard)
    assert set(north.places.values()) == {Place.INBOX}


def test_a_connection_that_cannot_be_opened_fails_its_mailboxes_alone(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.configure("north,south")
    installation.settings = installation.settings.model_copy(update={"max_shards": 1})
    installation.tenant("north").deliver(ANN)
    installation.tenant("south").deliver(BOB)
    folder, (shard,) = planned(installation)
    north = installation.tenants.pop("north")

    def open_connection(connection: str, *_: object, **__: object) -> FakeTenant:
        if connection == "north":
            raise ConfigurationError("the secret expired")
        return installation.tenants[connection]

    monkeypatch.setattr("retract.orchestration.response.providers.open_connection", open_connection)
    with pytest.raises(ShardFailed, match=r"ann@north\.example: the secret expired"):
        response.act(installation.settings, folder, shard)
    assert set(north.places.values()) == {Place.INBOX}
    assert set(installation.tenant("south").places.values()) == {Place.TRASH}
