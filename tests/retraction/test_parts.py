"""A plan's parts: whole mailboxes, equal work, and nothing that the ledger does not have."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.retraction.words import START, copy, plan

from retract.errors import PlanError
from retract.model import Mode
from retract.retraction.parts import PlanPart, parts_of
from retract.retraction.plan import Plan
from retract.retraction.records import RunRecord


def sized(sizes: list[int]) -> Plan:
    """A plan with so many copies in each mailbox, of three connections."""
    return plan(
        *(
            replace(copy(number, f"box{box:03}"), connection=f"tenant{box % 3}")
            for box, size in enumerate(sizes)
            for number in range(size)
        )
    )


def test_up_to_the_cap_each_mailbox_is_a_part_of_its_own():
    result = parts_of(sized([3, 1, 2]), 3)

    assert sorted(len(part.retractions) for part in result) == [1, 2, 3]
    assert all(len(part.addresses) == 1 for part in result)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 4), max_size=12), st.integers(1, 6))
def test_parts_hold_every_retraction_once_and_share_the_work(sizes, cap):
    whole = sized(sizes)
    result = parts_of(whole, cap)

    together = [one.copy_id for part in result for one in part.retractions]
    assert sorted(together) == sorted(one.copy_id for one in whole.retractions)
    mailboxes = [address for part in result for address in part.addresses]
    assert len(mailboxes) == len(set(mailboxes)), "a mailbox is in one part"
    assert len(result) <= cap
    assert all(part.retractions for part in result)
    assert parts_of(whole, cap) == result
    if len(sizes) > cap:
        fair = sum(sizes) / cap
        assert max(len(part.retractions) for part in result) <= fair + max(sizes)
        spread = [set(part.by_connection()) for part in result]
        assert sum(map(len, spread)) <= cap + 2, "three connections meet at two borders"


def test_a_plan_without_retractions_has_no_parts():
    assert parts_of(plan(), 10) == []
    with pytest.raises(ValueError, match="at least one"):
        parts_of(plan(), 0)


def test_a_part_that_was_altered_is_not_read():
    (part,) = parts_of(plan(copy(1)), 1)
    written = json.loads(part.model_dump_json())
    assert PlanPart.model_validate(written) == part
    written["retractions"][0]["message_id"] = "another"
    with pytest.raises(ValidationError, match="the part was altered"):
        PlanPart.model_validate(written)


def test_a_part_of_another_plan_than_the_recorded_one_is_refused():
    whole = plan(copy(1))
    (part,) = parts_of(whole, 1)

    def recorded(digest: str) -> RunRecord:
        return RunRecord(part.run_id, digest, Mode.ENFORCE, 1, 1, 1, START, None, None)

    part.check_against(recorded(whole.digest))
    with pytest.raises(PlanError, match="clear make_plan"):
        part.check_against(recorded("of a later plan"))
    with pytest.raises(PlanError, match="clear make_plan"):
        part.check_against(None)
