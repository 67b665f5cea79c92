"""The ledger: one current state and a full history for every copy ever acted on.

It decides: what is done is never done again. Three rules keep that true when workers crash,
overlap or are paused for a while:

- Nobody acts on a copy without a *claim*. There is one at a time per copy; it is written, with
  the action and the location before, ahead of the call.
- Every change of a copy raises its *token*, and every write names the token it has seen. A
  worker that lost its claim meanwhile cannot write any more: it gets ClaimLost.
- A claim that ran out leaves the copy PLANNED: the call may or may not have been made, so the
  next worker looks before it acts.

Times come from the caller, and are aware UTC. Every method may raise LedgerError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from retract.errors import LedgerError
from retract.model import Action, Copy, State
from retract.retraction import ledger_engine as engine
from retract.retraction import ledger_leases as leases
from retract.retraction.ledger_changes import Changes
from retract.retraction.ledger_engine import chunks
from retract.retraction.ledger_leases import MailboxLeases
from retract.retraction.plan import Plan
from retract.retraction.records import (
    STANDING,
    CopyState,
    Event,
    Outcome,
    Purpose,
    RunRecord,
    mailbox_key,
)
from retract.retraction.schema import COPY_FIELDS, copies, copy_fields, events, planned, runs

Clock = Callable[[], datetime]

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MIGRATION_LOCK: Final = 0x1ED6E2
"""The key of PostgreSQL's advisory lock: migrations run one after the other."""


class Ledger:
    """The ledger at an SQLAlchemy URL: ``sqlite:////path/file.db`` or ``postgresql+…://…``.

    Safe with several processes and threads. Call `migrate` once before the first use.
    """

    def __init__(self, url: str) -> None:
        self._engine = engine.open_engine(url)

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def migrate(self) -> None:
        """Bring the tables to this program's version. Safe to repeat, and to run side by side."""
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        if self._engine.dialect.name == "sqlite":
            engine.prepare_file(self._engine)
        with self._writing() as db:
            if self._engine.dialect.name == "postgresql":
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = db
            command.upgrade(config, "head")

    # --- runs ---

    def record_run(self, plan: Plan, now: datetime) -> None:
        """Write down a plan before anything of it is carried out.

        Recording the same run again replaces what it set out to do; what was done stays.
        """
        versions = plan.lake_versions
        row = {
            "run_id": plan.run_id,
            "plan_digest": plan.digest,
            "policy_digest": plan.policy_digest,
            "mode": plan.mode,
            "window_start": plan.window_start,
            "window_end": plan.window_end,
            "lake_messages": versions.messages,
            "lake_observables": versions.observables,
            "lake_indicators": versions.indicators,
            "judged": plan.judged,
            "matched": plan.matched,
            "planned": len(plan.retractions),
            "started_at": now,
        }
        to_do = [
            {
                "run_id": plan.run_id,
                "copy_id": retraction.copy_id,
                "mailbox_key": retraction.mailbox_key,
                "action": retraction.action,
                **copy_fields(retraction.to_copy(), retraction.disposition),
            }
            for retraction in plan.retractions
        ]
        with self._writing() as db:
            db.execute(sa.delete(runs).where(runs.c.run_id == plan.run_id))
            db.execute(sa.insert(runs), [row])
            db.execute(sa.delete(planned).where(planned.c.run_id == plan.run_id))
            if to_do:
                db.execute(sa.insert(planned), to_do)

    def finish_run(self, run_id: str, *, succeeded: bool, now: datetime) -> None:
        """Write down how a run ended."""
        change = (
            sa.update(runs)
            .where(runs.c.run_id == run_id)
            .values(finished_at=now, succeeded=succeeded)
        )
        with self._writing() as db:
            if db.execute(change).rowcount != 1:
                raise LedgerError(f"there is no run {run_id!r} in the ledger")

    def run(self, run_id: str) -> RunRecord | None:
        """The run as it was recorded; None when it never was."""
        fields = [runs.c[name] for name in RunRecord.__dataclass_fields__]
        with self._reading() as db:
            row = db.execute(sa.select(*fields).where(runs.c.run_id == run_id)).one_or_none()
        return None if row is None else RunRecord(**row._mapping)

    def outcomes(self, run_id: str, *, copy_ids: Iterable[str] | None = None) -> list[Outcome]:
        """What became of everything the run set out to do, ordered by mailbox and copy.

        ``copy_ids`` narrow it. A copy that an earlier plan of the same run finished is told too,
        and one that was found in a planned copy's place; one that was only begun is not. What was
        done by a milder action than the planned one is not its outcome.
        """
        to_do: dict[str, sa.Row[Any]] = {}
        happened: dict[str, list[sa.Row[Any]]] = {}
        with self._reading() as db:
            for of_planned, of_events in _narrowed(copy_ids):
                wanted = sa.select(planned).where(planned.c.run_id == run_id, of_planned)
                latest = (
                    sa.select(sa.func.max(events.c.event_id))
                    .where(
                        events.c.run_id == run_id, events.c.purpose == Purpose.RETRACT, of_events
                    )
                    .group_by(events.c.copy_id, events.c.state.in_(STANDING))
                )
                lines = (
                    sa.select(events, *(copies.c[name] for name in (*COPY_FIELDS, "disposition")))
                    .join(copies, copies.c.copy_id == events.c.copy_id)
                    .where(events.c.event_id.in_(latest))
                    .order_by(events.c.event_id)
                )
                to_do.update((row.copy_id, row) for row in db.execute(wanted))
                for line in db.execute(lines):
                    happened.setdefault(line.copy_id, []).append(line)
        outcomes = [
            _outcome(to_do.get(copy_id), happened.get(copy_id, []))
            for copy_id in to_do.keys() | happened
        ]
        told = (each for each in outcomes if each.copy_id in to_do or each.finished)
        return sorted(told, key=lambda outcome: (mailbox_key(outcome.copy), outcome.copy_id))

    # --- copies ---

    def current(self, copy_ids: Iterable[str]) -> dict[str, CopyState]:
        """The state of those of these copies that the ledger knows."""
        states: dict[str, CopyState] = {}
        with self._reading() as db:
            for chunk in chunks(copy_ids):
                rows = db.execute(_STATE.where(copies.c.copy_id.in_(chunk)))
                states.update((row.copy_id, CopyState(**row._mapping)) for row in rows)
        return states

    def history(self, copy_id: str) -> list[Event]:
        """Everything that happened to the copy, oldest first."""
        fields = [events.c[name] for name in Event.__dataclass_fields__]
        lines = sa.select(*fields).where(events.c.copy_id == copy_id).order_by(events.c.event_id)
        with self._reading() as db:
            return [Event(**row._mapping) for row in db.execute(lines)]

    @contextmanager
    def writing(self, now: datetime) -> Iterator[Changes]:
        """Change any number of copies in one transaction: all of it is written, or none."""
        with self._writing() as db:
            changes = Changes(db, now)
            yield changes
            changes.write_history()

    # --- mailboxes ---

    @contextmanager
    def mailbox_leases(
        self, keys: Iterable[str], *, owner: str, clock: Clock, duration: timedelta
    ) -> Iterator[MailboxLeases]:
        """Hold those of these mailboxes that nobody else works in, until the end of the block or
        until the leases run out."""
        held = MailboxLeases(self._writing, keys, owner, clock, duration)
        try:
            yield held
        finally:
            held.give_back()

    def next_attempt(self, key: str) -> datetime | None:
        """Before when the provider asked us not to come back to this mailbox, if it did."""
        with self._reading() as db:
            return leases.next_attempt(db, key)

    def set_next_attempts(
        self, at: Mapping[str, datetime | None], *, reasons: Mapping[str, str] | None = None
    ) -> None:
        """Remember that of some mailboxes, by their keys; None forgets it. The caller holds
        their leases."""
        if at:
            with self._writing() as db:
                leases.set_next_attempts(db, at, reasons or {})

    # --- below the face ---

    def _writing(self) -> AbstractContextManager[sa.Connection]:
        return engine.writing(self._engine)

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        return engine.reading(self._engine)


_STATE: Final = sa.select(*(copies.c[name] for name in CopyState.__dataclass_fields__))

_Condition = sa.ColumnElement[bool]


def _narrowed(copy_ids: Iterable[str] | None) -> Iterator[tuple[_Condition, _Condition]]:
    """Conditions on the planned and on the events that, one after the other, cover what is
    asked for."""
    if copy_ids is None:
        yield sa.true(), sa.true()
        return
    for chunk in chunks(copy_ids):
        yield planned.c.copy_id.in_(chunk), events.c.copy_id.in_(chunk)


def _outcome(to_do: sa.Row[Any] | None, lines: Sequence[sa.Row[Any]]) -> Outcome:
    """``lines`` are the newest of the run's that stands, and the newest of the others."""
    known: Any = lines[-1] if to_do is None else to_do
    copy = Copy(**{name: getattr(known, name) for name in COPY_FIELDS})
    told = [line for line in lines if to_do is None or _is_about(line, to_do.action)]
    if not told:
        return Outcome(copy, known.disposition, known.action, State.PLANNED, "not tried yet")
    telling = next((line for line in told if line.state in STANDING), told[-1])
    return Outcome(
        copy=copy,
        disposition=known.disposition,
        action=telling.action if to_do is None else to_do.action,
        state=telling.state,
        reason=telling.reason,
        location_before=telling.location_before,
        location_after=telling.location_after,
        at=telling.at,
    )


def _is_about(line: sa.Row[Any], action: Action) -> bool:
    """Whether what happened tells of the action: a milder one leaves it to be done, but for a
    copy that no action is to be done to any more."""
    closed = line.state in (State.GONE, State.RESTORED)
    return closed or line.action.gravity >= action.gravity
