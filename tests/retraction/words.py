"""Copies, verdicts, policies and plans made of a few words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from fake_provider import INBOX, SENDER, FakeProvider

from retract.lake.store import LakeVersions
from retract.model import (
    Action,
    Copy,
    Disposition,
    Location,
    Match,
    Mode,
    ObservableType,
    Provider,
    State,
    Verdict,
    Window,
)
from retract.policy import Policy
from retract.retraction.act import MailboxResult, act_on_mailboxes
from retract.retraction.ledger import Ledger
from retract.retraction.plan import Plan, PlannedRetraction, make_plan
from retract.retraction.records import Claim, CopyState

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = Window(START - timedelta(days=30), START)
RUN = "post_delivery_response/scheduled/1"


_TIME = pl.Datetime("us", "UTC")
_COLUMNS = (
    "copy_id",
    "provider",
    "connection",
    "mailbox_id",
    "mailbox",
    "message_id",
    "internet_message_id",
    "received_at",
    "subject",
    "sender_address",
    "body_fingerprint",
    "delivered_disposition",
    "place",
)


class TurnableClock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **duration: float) -> None:
        self.now += timedelta(**duration)


def act(
    retractions: Iterable[PlannedRetraction],
    provider: FakeProvider,
    ledger: Ledger,
    run_id: str,
    clock: TurnableClock,
    **more: Any,
) -> dict[str, MailboxResult]:
    """Act on a plan's retractions; sleeping turns the clock."""
    to_do: dict[str, list[PlannedRetraction]] = {}
    for each in retractions:
        to_do.setdefault(each.mailbox_key, []).append(each)

    def sleep(seconds: float) -> None:
        clock.turn(seconds=seconds)

    return act_on_mailboxes(to_do, provider, ledger, run_id, clock, **{"sleep": sleep, **more})


def counted(results: Mapping[str, MailboxResult]) -> Counter[State]:
    """How many copies of all mailboxes ended in which state."""
    return sum((Counter(result.counts) for result in results.values()), Counter())


class DyingLedger(Ledger):
    """A ledger whose process can be killed: nothing reaches the file any more."""

    killed_by: BaseException | None = None

    def _writing(self):  # type: ignore[no-untyped-def]
        if self.killed_by is not None:
            raise self.killed_by
        return super()._writing()


def claim(
    ledger: Ledger,
    of: Copy,
    action: Action = Action.TRASH,
    *,
    seen: CopyState | None = None,
    now: datetime = START,
    looked_at: datetime | None = None,
    before: Location = INBOX,
    run_id: str = RUN,
) -> Claim:
    """A claim of five minutes, in a transaction of its own."""
    with ledger.writing(now) as changes:
        return changes.claim(
            of,
            action,
            seen=seen,
            looked_at=looked_at or now,
            disposition=Disposition.MALICIOUS,
            location_before=before,
            run_id=run_id,
            expires_at=now + timedelta(minutes=5),
        )


def settle(ledger: Ledger, claim: Claim, state: State, *, now: datetime, **more: Any) -> None:
    with ledger.writing(now) as changes:
        changes.settle(claim, state, **more)


def release(ledger: Ledger, claim: Claim, *, now: datetime, reason: str) -> None:
    with ledger.writing(now) as changes:
        changes.release(claim, reason=reason)


def record(
    ledger: Ledger,
    of: Copy,
    state: State,
    *,
    seen: CopyState | None = None,
    action: Action = Action.TRASH,
    now: datetime = START,
    **more: Any,
) -> None:
    with ledger.writing(now) as changes:
        changes.record(
            of,
            state,
            seen=seen,
            action=action,
            disposition=Disposition.MALICIOUS,
            run_id=RUN,
            **more,
        )


def copy(number: int, mailbox: str = "ann", provider: Provider = Provider.MICROSOFT365) -> Copy:
    address = f"{mailbox}@north.example"
    return Copy(provider, "tenant", f"id-{mailbox}", address, f"m{number}", f"<{number}@x.example>")


def messages(copies: Iterable[Copy], sender: str = SENDER, place: str = "inbox") -> pl.DataFrame:
    """The lake's columns that a plan needs; each copy a minute older than the one before."""
    return pl.DataFrame(
        [
            {
                "copy_id": each.copy_id,
                "provider": each.provider.value,
                "connection": each.connection,
                "mailbox_id": each.mailbox_id,
                "mailbox": each.mailbox,
                "message_id": each.message_id,
                "internet_message_id": each.internet_message_id,
                "received_at": START - timedelta(minutes=number + 1),
                "subject": f"Subject {each.message_id}",
                "sender_address": sender,
                "body_fingerprint": f"words of {each.internet_message_id}",
                "delivered_disposition": "unknown",
                "place": place,
            }
            for number, each in enumerate(copies)
        ],
        schema={name: _TIME if name == "received_at" else pl.String for name in _COLUMNS},
    )


def verdict(copy: Copy, disposition: Disposition = Disposition.MALICIOUS) -> Verdict:
    match = Match(
        copy_id=copy.copy_id,
        indicator_id="indicator-1",
        type=ObservableType.URL,
        observable="https://bad.example/login",
        indicator="bad.example/login",
        disposition=disposition,
        confidence=80,
        source="feed",
        campaign="spring",
    )
    return Verdict(copy.copy_id, disposition, Disposition.UNKNOWN, (match,))


def policy(mode: Mode = Mode.ENFORCE, **settings: object) -> Policy:
    actions = {"malicious": "trash", "suspicious": "junk", "spoof": "hard_delete", "spam": "junk"}
    return Policy.model_validate({"mode": mode, "actions": actions, **settings})


def plan(
    *copies: Copy,
    action: Action = Action.TRASH,
    mode: Mode = Mode.ENFORCE,
    run_id: str = RUN,
    ledger: Ledger | None = None,
) -> Plan:
    """A plan that does ``action`` to the copies, given what the ledger knows of them."""
    actions = {"malicious": action.value, "suspicious": "junk"}
    google = {"google_workspace": {"actions": {"malicious": "trash"}}}
    return make_plan(
        [verdict(each) for each in copies],
        messages(copies),
        ledger.current(each.copy_id for each in copies) if ledger else {},
        policy(mode, actions=actions, providers=google),
        run_id=run_id,
        mode=mode,
        window=WINDOW,
        lake_versions=LakeVersions(messages=3, observables=4, indicators=5),
        made_at=START,
    )


def recorded(
    ledger: Ledger,
    *copies: Copy,
    action: Action = Action.TRASH,
    mode: Mode = Mode.ENFORCE,
    run_id: str = RUN,
) -> tuple[PlannedRetraction, ...]:
    """The retractions of a plan that is written down in the ledger."""
    made = plan(*copies, action=action, mode=mode, run_id=run_id, ledger=ledger)
    ledger.record_run(made, START)
    return made.retractions
