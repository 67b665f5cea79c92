"""Leases on mailboxes: who works where, and where a provider asked us not to come back yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from retract.errors import ClaimLost
from retract.retraction.ledger_engine import chunks, insert_new
from retract.retraction.schema import mailbox_leases

_Writing = Callable[[], AbstractContextManager[sa.Connection]]


class MailboxLeases:
    """The right to work in some mailboxes, shared by all DAGs. Got from `Ledger.mailbox_leases`."""

    def __init__(
        self,
        writing: _Writing,
        keys: Iterable[str],
        owner: str,
        clock: Callable[[], datetime],
        duration: timedelta,
    ) -> None:
        self.not_before: dict[str, datetime] = {}
        """Of the mailboxes held: before when the provider asked us not to come back."""
        self.busy: dict[str, ClaimLost] = {}
        """The mailboxes that another worker holds, or took over since."""
        self._writing = writing
        self._clock = clock
        self._duration = duration
        self._tokens: dict[str, int] = {}
        now = clock()
        self.expires_at = now + duration
        self.longest = timedelta()
        """The longest time that passed without a renewal."""
        self._renewed_at = now
        with writing() as db:
            for chunk in chunks(keys):
                self._take(db, chunk, owner, now)

    @property
    def held(self) -> frozenset[str]:
        """The keys of the mailboxes that nobody else may work in now."""
        return frozenset(self._tokens)

    def require(self, key: str) -> None:
        """Raises ClaimLost when another worker holds the mailbox."""
        if key in self.busy:
            raise self.busy[key]

    def renew(self) -> None:
        """Prolong the leases to their full time.

        A mailbox that was taken over meanwhile is busy from then on.
        """
        now = self._clock()
        self._note(now)
        expires_at = now + self._duration
        for key in self._write_own({"expires_at": expires_at}):
            del self._tokens[key]
            self.busy[key] = ClaimLost(f"mailbox {key} was taken over by another worker")
        self.expires_at = expires_at

    def renew_when_due(self) -> None:
        """The same, once half of their time is over."""
        if self.expires_at - self._clock() <= self._duration / 2:
            self.renew()

    def give_back(self) -> None:
        """Let others in, except where somebody else is already."""
        self._note(self._clock())
        self._write_own({"expires_at": None})
        self._tokens = {}

    def _note(self, now: datetime) -> None:
        self.longest = max(self.longest, now - self._renewed_at)
        self._renewed_at = now

    def _take(self, db: sa.Connection, keys: list[str], owner: str, now: datetime) -> None:
        rows = _locked(db, keys)
        free = []
        for key in keys:
            row = rows.get(key)
            if row is None:
                new = {"mailbox_key": key, "owner": owner, "token": 1, "reason": ""}
                if insert_new(db, mailbox_leases, {**new, "expires_at": self.expires_at}):
                    self._tokens[key] = 1
                else:
                    told = f"mailbox {key} was taken by another worker just now"
                    self.busy[key] = ClaimLost(told)
            elif row.expires_at is not None and row.expires_at > now:
                self.busy[key] = ClaimLost(
                    f"mailbox {key} is being worked on by {row.owner} until {row.expires_at}",
                    until=row.expires_at,
                )
            else:
                free.append(key)
                self._tokens[key] = row.token + 1
                if row.next_attempt_at is not None:
                    self.not_before[key] = row.next_attempt_at
        token = mailbox_leases.c.token + 1
        _update(db, free, {"owner": owner, "token": token, "expires_at": self.expires_at})

    def _write_own(self, values: Mapping[str, Any]) -> list[str]:
        """Write to the rows that are still ours; returns the keys of the others."""
        lost: list[str] = []
        with self._writing() as db:
            for chunk in chunks(self._tokens):
                rows = _locked(db, chunk)
                ours = [key for key in chunk if rows[key].token == self._tokens[key]]
                _update(db, ours, values)
                lost += set(chunk) - set(ours)
        return lost


def next_attempt(db: sa.Connection, key: str) -> datetime | None:
    """Before when the provider asked us not to come back to this mailbox, if it did."""
    lease = mailbox_leases.c
    asked = sa.select(lease.next_attempt_at).where(lease.mailbox_key == key)
    return db.execute(asked).scalar_one_or_none()


def set_next_attempts(
    db: sa.Connection, at: Mapping[str, datetime | None], reasons: Mapping[str, str]
) -> None:
    """Remember by mailbox before when not to come back; None forgets it."""
    for chunk in chunks(at):
        _locked(db, chunk)
        forgotten = [key for key in chunk if at[key] is None]
        _update(db, forgotten, {"next_attempt_at": None, "reason": ""})
        for key in chunk:
            if at[key] is not None:
                _update(db, [key], {"next_attempt_at": at[key], "reason": reasons.get(key, "")})


def _locked(db: sa.Connection, keys: list[str]) -> dict[str, sa.Row[Any]]:
    """The rows of these mailboxes, which nobody else changes before this transaction ends."""
    lease = mailbox_leases.c
    rows = db.execute(
        sa.select(mailbox_leases)
        .where(lease.mailbox_key.in_(keys))
        .order_by(lease.mailbox_key)
        .with_for_update()
    )
    return {row.mailbox_key: row for row in rows}


def _update(db: sa.Connection, keys: list[str], values: Mapping[str, Any]) -> None:
    if keys:
        of_keys = mailbox_leases.c.mailbox_key.in_(keys)
        db.execute(sa.update(mailbox_leases).where(of_keys).values(**values))
