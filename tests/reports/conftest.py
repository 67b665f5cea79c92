"""Runs to report on, made of the real plan and ledger records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from retract.lake.store import LakeVersions
from retract.model import (
    Action,
    Copy,
    Disposition,
    Location,
    Mode,
    ObservableType,
    Place,
    Provider,
    State,
)
from retract.policy import Policy
from retract.reports.build import make_report
from retract.reports.model import RunFacts, RunReport, Timing
from retract.retraction.plan import (
    OverruledReason,
    Plan,
    PlannedRetraction,
    Reason,
    Skipped,
    SkipReason,
    _digest,
)
from retract.retraction.records import Outcome

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)

Maker = Callable[..., Any]


def reason(**values: Any) -> Reason:
    return Reason(
        **{
            "type": ObservableType.URL,
            "observable": "https://login.evil.example/a",
            "indicator": "https://login.evil.example/",
            "disposition": Disposition.MALICIOUS,
            "confidence": 90,
            "source": "openphish",
            **values,
        }
    )


def copy_fields(number: int, **values: Any) -> dict[str, Any]:
    fields = {
        "provider": Provider.MICROSOFT365,
        "connection": "tenant",
        "mailbox_id": f"id-{number % 5}",
        "mailbox": f"user{number % 5}@north.example",
        "message_id": f"AAMk{number}",
        "internet_message_id": f"<{number}@mail.example>",
        "received_at": NOW - timedelta(hours=number),
        "subject": f"Message {number}",
        "sender": "eve@sender.example",
        "disposition": Disposition.MALICIOUS,
        "delivered_disposition": Disposition.UNKNOWN,
        "action": Action.SOFT_DELETE,
        "reasons": (reason(),),
        **values,
    }
    ids = ("provider", "connection", "mailbox_id", "mailbox", "message_id", "internet_message_id")
    return fields | {"copy_id": Copy(**{name: fields[name] for name in ids}).copy_id}


@pytest.fixture
def planned() -> Maker:
    return lambda number, **values: PlannedRetraction(**copy_fields(number, **values))


@pytest.fixture
def skipped() -> Maker:
    return lambda number, reason=SkipReason.ALREADY_DONE, **values: Skipped(
        **copy_fields(number, **values), reason=reason
    )


@pytest.fixture
def because() -> Maker:
    return reason


@pytest.fixture
def overruled() -> Maker:
    """A match that an allow rule beat."""
    rule = {"rule": "https://login.evil.example/", "rule_reason": "our own training page"}
    return lambda **values: OverruledReason(**reason().model_dump() | rule | values)


@pytest.fixture
def policy() -> Policy:
    return Policy.model_validate(
        {
            "mode": "enforce",
            "actions": {"malicious": "soft_delete", "suspicious": "junk", "spam": "junk"},
            "providers": {"google_workspace": {"actions": {"malicious": "trash"}}},
        }
    )


@pytest.fixture
def make_plan(policy: Policy) -> Callable[..., Plan]:
    def make(
        retractions: Sequence[PlannedRetraction] = (),
        skipped: Sequence[Skipped] = (),
        *,
        mode: Mode = Mode.ENFORCE,
        judged: int = 1000,
    ) -> Plan:
        content: dict[str, Any] = {
            "run_id": "post_delivery_response/scheduled/1",
            "made_at": NOW,
            "mode": mode,
            "window_start": NOW - timedelta(days=30),
            "window_end": NOW,
            "policy_digest": policy.digest,
            "lake_versions": LakeVersions(messages=7, observables=8, indicators=3),
            "judged": judged,
            "matched": len(retractions) + len(skipped),
            "retractions": tuple(retractions),
            "skipped": tuple(skipped),
        }
        draft = Plan.model_construct(**content, digest="")
        return Plan(**content, digest=_digest(draft.model_dump(mode="json")))

    return make


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    def make(planned: PlannedRetraction, state: State = State.DONE, **values: Any) -> Outcome:
        return Outcome(
            **{
                "copy": planned.to_copy(),
                "disposition": planned.disposition,
                "action": planned.action,
                "state": state,
                "location_before": Location(Place.INBOX, folder_name="Inbox", is_read=True),
                "location_after": Location(Place.TRASH, folder_name="Deleted Items"),
                "at": None if state is State.PLANNED else NOW + timedelta(minutes=1),
                **values,
            }
        )

    return make


@pytest.fixture
def run_facts() -> RunFacts:
    return RunFacts(
        dag_id="post_delivery_response",
        run_id="scheduled__2026-03-10T12:00:00+00:00",
        started_at=NOW,
        finished_at=NOW + timedelta(minutes=2),
        mailboxes=40,
    )


@pytest.fixture
def report(run_facts: RunFacts, policy: Policy) -> Callable[..., RunReport]:
    def make(plan: Plan, outcomes: Sequence[Outcome] = (), **values: Any) -> RunReport:
        days = {date(2026, 3, day): 90 + day for day in range(1, 11)}
        return make_report(
            run_facts,
            plan,
            outcomes,
            policy,
            **{
                "judged_by_day": days,
                "timings": [Timing(step="collect", seconds=62.4)],
                **values,
            },
        )

    return make
