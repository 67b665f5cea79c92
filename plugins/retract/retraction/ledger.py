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

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.pool import NullPool

from retract.errors import ClaimLost, ConfigurationError, LedgerError
from retract.model import Action, Copy, Disposition, Location, State
from retract.retraction.plan import Plan
from retract.retraction.records import (
    Claim,
    CopyState,
    Event,
    Outcome,
    Purpose,
    RunRecord,
    mailbox_key,
)
from retract.retraction.schema import copies, events, mailbox_leases, planned, runs

Clock = Callable[[], datetime]

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MIGRATION_LOCK: Final = 0x1ED6E2
"""The key of PostgreSQL's advisory lock: migrations run one after the other."""

_BUSY_TIMEOUT_SECONDS: Final = 60
_CHUNK: Final = 500
"""Ids a statement: SQLite limits the variables of one."""

_FINAL: Final = (State.DONE, State.ALREADY_THERE, State.GONE, State.RESTORED)
"""States that stand: a later failure or skip is history, not the copy's state."""


class MailboxLease:
    """The right to work in one mailbox, shared by all DAGs. Got from `Ledger.mailbox_lease`."""

    def __init__(
        self, ledger: Ledger, key: str, token: int, clock: Clock, duration: timedelta
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._token = token
        self._clock = clock
        self._duration = duration
        self.expires_at = clock() + duration

    def renew_when_due(self) -> None:
        """Prolong the lease once half of it is over. Raises ClaimLost when it was taken over."""
        now = self._clock()
        if self.expires_at - now > self._duration / 2:
            return
        self._ledger._write_lease(self._key, self._token, now + self._duration)
        self.expires_at = now + self._duration


class Ledger:
    """The ledger at an SQLAlchemy URL: ``sqlite:////path/file.db`` or ``postgresql+…://…``.

    Safe with several processes and threads. Call `migrate` once before the first use.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)

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
            _prepare_sqlite_file(self._engine)
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
                **_copy_fields(retraction.to_copy(), retraction.disposition),
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

    def outcomes(self, run_id: str, *, mailbox: str | None = None) -> list[Outcome]:
        """What became of everything the run set out to do, ordered by mailbox and copy.

        ``mailbox`` (a mailbox key) narrows it. A copy that an earlier plan of the same run
        finished is told too; one that it only began is not.
        """
        of_run = [sa.true()] if mailbox is None else [planned.c.mailbox_key == mailbox]
        in_run = [sa.true()] if mailbox is None else [events.c.mailbox_key == mailbox]
        wanted = sa.select(planned).where(planned.c.run_id == run_id, *of_run)
        latest = (
            sa.select(sa.func.max(events.c.event_id))
            .where(events.c.run_id == run_id, events.c.purpose == Purpose.RETRACT, *in_run)
            .group_by(events.c.copy_id)
        )
        happened = (
            sa.select(events, *(copies.c[name] for name in (*_COPY_FIELDS, "disposition")))
            .join(copies, copies.c.copy_id == events.c.copy_id)
            .where(events.c.event_id.in_(latest))
        )
        with self._reading() as db:
            to_do = {row.copy_id: row for row in db.execute(wanted)}
            done = {row.copy_id: row for row in db.execute(happened)}
        outcomes = [
            _outcome(to_do.get(copy_id), done.get(copy_id)) for copy_id in to_do.keys() | done
        ]
        told = (each for each in outcomes if each.copy_id in to_do or each.finished)
        return sorted(told, key=lambda outcome: (mailbox_key(outcome.copy), outcome.copy_id))

    # --- copies ---

    def current(self, copy_ids: Iterable[str]) -> dict[str, CopyState]:
        """The state of those of these copies that the ledger knows."""
        states: dict[str, CopyState] = {}
        with self._reading() as db:
            for chunk in _chunks(sorted(set(copy_ids))):
                rows = db.execute(_STATE.where(copies.c.copy_id.in_(chunk)))
                states.update((row.copy_id, CopyState(**row._mapping)) for row in rows)
        return states

    def history(self, copy_id: str) -> list[Event]:
        """Everything that happened to the copy, oldest first."""
        fields = [events.c[name] for name in Event.__dataclass_fields__]
        lines = sa.select(*fields).where(events.c.copy_id == copy_id).order_by(events.c.event_id)
        with self._reading() as db:
            return [Event(**row._mapping) for row in db.execute(lines)]

    def claim(
        self,
        copy: Copy,
        action: Action,
        *,
        seen: CopyState | None,
        looked_at: datetime,
        disposition: Disposition,
        location_before: Location,
        run_id: str,
        now: datetime,
        expires_at: datetime,
        purpose: Purpose = Purpose.RETRACT,
        actor: str = "",
    ) -> Claim:
        """Write the intent to act once on a copy, and take the sole right to do it.

        ``seen`` is the copy's state as it was read before looking into the mailbox, at
        ``looked_at``: a look taken while another worker's claim ran shows nothing, for that one
        may have called later. Raises ClaimLost then, and when the copy has changed since;
        LedgerError when the action is not due (restored, gone, or done before).
        """
        _require_free(copy, seen, looked_at)
        if seen and purpose is Purpose.RETRACT and not seen.due(action):
            raise LedgerError(f"copy {copy.copy_id} is {seen.state}: {action} is not due")
        changes: dict[str, Any] = {}
        if seen and purpose is Purpose.RESTORE:  # where to is kept, should this be interrupted
            changes["origin"] = seen.origin or seen.before
        with self._writing() as db:
            token = _change(
                db,
                copy,
                seen,
                state=State.PLANNED,
                action=action,
                disposition=disposition,
                purpose=purpose,
                claim_expires_at=expires_at,
                before=location_before,
                reason="",
                run_id=run_id,
                updated_at=now,
                **changes,
            )
            _add_event(
                db,
                copy_id=copy.copy_id,
                mailbox_key=mailbox_key(copy),
                run_id=run_id,
                at=now,
                state=State.PLANNED,
                action=action,
                purpose=purpose,
                token=token,
                location_before=location_before,
                actor=actor,
            )
        return Claim(copy.copy_id, mailbox_key(copy), token, action, run_id, expires_at)

    def settle(
        self,
        claim: Claim,
        state: State,
        *,
        location_after: Location | None,
        now: datetime,
        reason: str = "",
    ) -> None:
        """Write the verified outcome, and give the claim back.

        Raises ClaimLost when somebody else took the copy over meanwhile.
        """
        with self._writing() as db:
            row = _claimed(db, claim)
            changes: dict[str, Any] = {"before": None, "location": location_after or row.location}
            if state is State.DONE:
                changes["settled_action"] = claim.action
                changes["origin"] = row.origin or row.before
            _end_claim(db, claim, row, state, location_after, reason, now, changes)

    def release(self, claim: Claim, *, reason: str, now: datetime) -> None:
        """Give the claim back with its outcome open: whoever comes next looks first.

        Raises ClaimLost when somebody else took the copy over meanwhile.
        """
        with self._writing() as db:
            row = _claimed(db, claim)
            _end_claim(db, claim, row, State.PLANNED, None, reason, now, {})

    def record(
        self,
        copy: Copy,
        state: State,
        *,
        seen: CopyState | None,
        action: Action,
        disposition: Disposition,
        run_id: str,
        now: datetime,
        location: Location | None = None,
        reason: str = "",
        actor: str = "",
    ) -> None:
        """Write down what was found without acting, or why nothing was tried.

        FAILED and SKIPPED do not take the place of a state that says more. Raises ClaimLost when
        the copy has changed since it was ``seen``, or another worker holds it.
        """
        stands = seen is not None and seen.state in (*_FINAL, State.PLANNED)
        with self._writing() as db:
            if stands and seen and state in (State.FAILED, State.SKIPPED):
                token = seen.token
            else:
                _require_free(copy, seen, now)
                changes: dict[str, Any] = {"before": None, "claim_expires_at": None}
                if location:
                    changes["location"] = location
                if state is State.ALREADY_THERE:
                    changes["settled_action"] = action
                token = _change(
                    db,
                    copy,
                    seen,
                    state=state,
                    action=action,
                    disposition=disposition,
                    purpose=Purpose.RETRACT,
                    reason=reason,
                    run_id=run_id,
                    updated_at=now,
                    **changes,
                )
            _add_event(
                db,
                copy_id=copy.copy_id,
                mailbox_key=mailbox_key(copy),
                run_id=run_id,
                at=now,
                state=state,
                action=action,
                purpose=Purpose.RETRACT,
                token=token,
                location_after=location,
                reason=reason,
                actor=actor,
            )

    # --- mailboxes ---

    @contextmanager
    def mailbox_lease(
        self, key: str, *, owner: str, clock: Clock, duration: timedelta
    ) -> Iterator[MailboxLease]:
        """Hold a mailbox while working in it; nobody else can until it is given back or runs out.

        Raises ClaimLost when another worker holds it.
        """
        token = self._take_lease(key, owner, clock(), clock() + duration)
        try:
            yield MailboxLease(self, key, token, clock, duration)
        finally:
            with suppress(ClaimLost):  # taken over meanwhile: not ours to give back
                self._write_lease(key, token, None)

    def next_attempt(self, key: str) -> datetime | None:
        """Before when the provider asked us not to come back to this mailbox, if it did."""
        query = sa.select(mailbox_leases.c.next_attempt_at).where(
            mailbox_leases.c.mailbox_key == key
        )
        with self._reading() as db:
            return db.execute(query).scalar_one_or_none()

    def set_next_attempt(self, key: str, at: datetime | None, *, reason: str = "") -> None:
        """Remember it. The caller holds the mailbox's lease."""
        change = (
            sa.update(mailbox_leases)
            .where(mailbox_leases.c.mailbox_key == key)
            .values(next_attempt_at=at, reason=reason)
        )
        with self._writing() as db:
            db.execute(change)

    def _take_lease(self, key: str, owner: str, now: datetime, expires_at: datetime) -> int:
        lease = mailbox_leases.c
        with self._writing() as db:
            row = db.execute(
                sa.select(lease.token, lease.owner, lease.expires_at).where(
                    lease.mailbox_key == key
                )
            ).one_or_none()
            if row is None:
                new = {"mailbox_key": key, "owner": owner, "token": 1, "reason": ""}
                taken = _insert(db, mailbox_leases, {**new, "expires_at": expires_at})
            elif row.expires_at is not None and row.expires_at > now:
                raise ClaimLost(
                    f"mailbox {key} is being worked on by {row.owner} until {row.expires_at}"
                )
            else:
                change = (
                    sa.update(mailbox_leases)
                    .where(lease.mailbox_key == key, lease.token == row.token)
                    .values(owner=owner, token=row.token + 1, expires_at=expires_at)
                )
                taken = db.execute(change).rowcount == 1
            if not taken:
                raise ClaimLost(f"mailbox {key} was taken by another worker just now")
            return 1 if row is None else int(row.token) + 1

    def _write_lease(self, key: str, token: int, expires_at: datetime | None) -> None:
        """Prolong a lease, or end it with None. Raises ClaimLost when it was taken over."""
        lease = mailbox_leases.c
        change = (
            sa.update(mailbox_leases)
            .where(lease.mailbox_key == key, lease.token == token)
            .values(expires_at=expires_at)
        )
        with self._writing() as db:
            if db.execute(change).rowcount != 1:
                raise ClaimLost(f"mailbox {key} was taken over by another worker")

    # --- below the face ---

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with _told(self._engine), self._engine.begin() as db:
            yield db

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with (
            _told(self._engine),
            self._engine.connect().execution_options(reading=True) as db,
            db.begin(),
        ):
            yield db


# --- the engine ---


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        dialect = parsed.get_backend_name()
        if dialect == "postgresql":
            return sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True, pool_size=1)
        if dialect == "sqlite" and parsed.database and parsed.database != ":memory:":
            engine = sa.create_engine(
                parsed,
                hide_parameters=True,
                poolclass=NullPool,
                connect_args={"timeout": _BUSY_TIMEOUT_SECONDS},
            )
            sa.event.listen(engine, "connect", _leave_transactions_to_us)
            sa.event.listen(engine, "begin", _begin_on_sqlite)
            return engine
    except (sa.exc.ArgumentError, ImportError) as error:
        raise ConfigurationError(f"the ledger's URL cannot be used: {error}") from error
    except ValueError:
        # Not the error's own words: it quotes a part of the URL, perhaps of its password.
        raise ConfigurationError(
            "the ledger's URL cannot be used: its port is no number, or its password holds a "
            "character that must be written in percent form, such as %40 for @"
        ) from None
    raise ConfigurationError(
        "the ledger's URL must name an SQLite file (sqlite:////path/ledger.db) or a PostgreSQL "
        "database (postgresql+psycopg2://…)"
    )


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # or else sqlite3 begins late, and lets two writers in


def _begin_on_sqlite(db: sa.Connection) -> None:
    reading = db.get_execution_options().get("reading", False)
    db.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_sqlite_file(engine: sa.Engine) -> None:
    """Make the folder, and let readers and one writer work side by side (WAL, kept in the file)."""
    Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
    with _told(engine):
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()


@contextmanager
def _told(engine: sa.Engine) -> Iterator[None]:
    """A database's error as ours; it names no values, and no password."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        where = engine.url.render_as_string(hide_password=True)
        reason = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise LedgerError(
            f"the ledger at {where} cannot be used: {reason} (a new or older ledger needs "
            "Ledger.migrate first)"
        ) from error


# --- rows ---

_COPY_FIELDS: Final = (
    "provider",
    "connection",
    "mailbox_id",
    "mailbox",
    "message_id",
    "internet_message_id",
)
_STATE: Final = sa.select(*(copies.c[name] for name in CopyState.__dataclass_fields__))


def _copy_fields(copy: Copy, disposition: Disposition) -> dict[str, Any]:
    return {name: getattr(copy, name) for name in _COPY_FIELDS} | {"disposition": disposition}


def _require_free(copy: Copy, seen: CopyState | None, at: datetime) -> None:
    if seen and seen.claim_expires_at and seen.claim_expires_at > at:
        raise ClaimLost(f"copy {copy.copy_id} is held by run {seen.run_id} for the moment")


def _change(
    db: sa.Connection,
    copy: Copy,
    seen: CopyState | None,
    *,
    disposition: Disposition,
    **changes: Any,
) -> int:
    """Write a copy's new state over the one that was seen; returns the new token."""
    if seen is None:
        row = {"copy_id": copy.copy_id, **_copy_fields(copy, disposition), **changes, "token": 1}
        written = _insert(db, copies, row)
    else:
        change = (
            sa.update(copies)
            .where(copies.c.copy_id == copy.copy_id, copies.c.token == seen.token)
            .values(disposition=disposition, token=seen.token + 1, **changes)
        )
        written = db.execute(change).rowcount == 1
    if not written:
        raise ClaimLost(f"copy {copy.copy_id} was changed by another worker just now")
    return 1 if seen is None else seen.token + 1


def _claimed(db: sa.Connection, claim: Claim) -> sa.Row[Any]:
    """The copy's row, if the claim is still the newest thing that happened to it."""
    of_claim = sa.and_(copies.c.copy_id == claim.copy_id, copies.c.token == claim.token)
    row = db.execute(sa.select(copies).where(of_claim).with_for_update()).one_or_none()
    if row is None:
        raise ClaimLost(f"copy {claim.copy_id} was taken over by another worker")
    return row


def _end_claim(
    db: sa.Connection,
    claim: Claim,
    row: sa.Row[Any],
    state: State,
    location_after: Location | None,
    reason: str,
    now: datetime,
    changes: Mapping[str, Any],
) -> None:
    token = claim.token + 1
    change = sa.update(copies).where(copies.c.copy_id == claim.copy_id)
    db.execute(
        change.values(
            state=state,
            token=token,
            claim_expires_at=None,
            reason=reason,
            updated_at=now,
            **changes,
        )
    )
    _add_event(
        db,
        copy_id=claim.copy_id,
        mailbox_key=claim.mailbox_key,
        run_id=claim.run_id,
        at=now,
        state=state,
        action=claim.action,
        purpose=row.purpose,
        token=token,
        location_before=row.before,
        location_after=location_after,
        reason=reason,
    )


def _add_event(db: sa.Connection, **line: Any) -> None:
    db.execute(sa.insert(events), [{"reason": "", "actor": "", **line}])


def _insert(db: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row; False when another worker was first."""
    try:
        with db.begin_nested():
            db.execute(sa.insert(table), [dict(row)])
    except sa.exc.IntegrityError:
        return False
    return True


def _outcome(to_do: sa.Row[Any] | None, happened: sa.Row[Any] | None) -> Outcome:
    known: Any = happened if to_do is None else to_do
    copy = Copy(**{name: getattr(known, name) for name in _COPY_FIELDS})
    if happened is None:
        return Outcome(copy, known.disposition, known.action, State.PLANNED, "not tried yet")
    return Outcome(
        copy=copy,
        disposition=known.disposition,
        action=known.action,
        state=happened.state,
        reason=happened.reason,
        location_before=happened.location_before,
        location_after=happened.location_after,
        at=happened.at,
    )


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
