"""A plan's parts: what each of the tasks that carry it out is given."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from retract.errors import PlanError
from retract.retraction.plan import Plan, PlannedRetraction
from retract.retraction.records import RunRecord


class PlanPart(BaseModel):
    """The retractions of some mailboxes, all that the plan has for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    plan_digest: str
    """Of the plan it is a part of."""
    retractions: tuple[PlannedRetraction, ...]
    """In the plan's order."""

    @model_validator(mode="after")
    def _unaltered(self) -> Self:
        if any(one.copy_id != one.to_copy().copy_id for one in self.retractions):
            raise ValueError("a copy's id does not fit its message: the part was altered")
        return self

    @property
    def addresses(self) -> list[str]:
        """Of its mailboxes, in its order."""
        return list(dict.fromkeys(one.mailbox for one in self.retractions))

    def by_connection(self) -> dict[str, dict[str, list[PlannedRetraction]]]:
        """The retractions of each connection's mailboxes, by the mailbox's key."""
        connections: dict[str, dict[str, list[PlannedRetraction]]] = {}
        for retraction in self.retractions:
            mailboxes = connections.setdefault(retraction.connection, {})
            mailboxes.setdefault(retraction.mailbox_key, []).append(retraction)
        return connections

    def check_against(self, recorded: RunRecord | None) -> None:
        """Raises PlanError unless it is of the plan that the ledger has of the run."""
        if self.retractions and (recorded is None or recorded.plan_digest != self.plan_digest):
            raise PlanError(
                f"run {self.run_id}: this part is not of the plan that was recorded last: clear "
                "make_plan and what comes after it"
            )


def parts_of(plan: Plan, cap: int) -> list[PlanPart]:
    """The plan in at most ``cap`` parts of whole mailboxes.

    One mailbox a part where the cap allows; beyond it, parts of about equal work, and of few
    connections each. The same plan always gives the same parts.
    """
    if cap < 1:
        raise ValueError("at least one part is needed")
    mailboxes = sorted(plan.by_mailbox().values(), key=lambda group: group[0].connection)
    groups: dict[int, list[PlannedRetraction]] = {}
    before = 0
    for number, retractions in enumerate(mailboxes):
        share = number if len(mailboxes) <= cap else before * cap // len(plan.retractions)
        groups.setdefault(share, []).extend(retractions)
        before += len(retractions)
    return [
        PlanPart(run_id=plan.run_id, plan_digest=plan.digest, retractions=tuple(group))
        for group in groups.values()
    ]
