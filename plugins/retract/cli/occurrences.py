"""Where indicators occur in all the mail that the lake remembers, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl
from pydantic import AwareDatetime

from retract.cli.copies_met import copies_met, counted
from retract.cli.installation import Installation
from retract.cli.record import Record
from retract.model import State, Window
from retract.retraction.records import CopyState

EXAMPLES: Final = 5
NOT_ACTED_ON: Final = "not_acted_on"
"""In place of a state: the ledger does not know the copy."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Example(Record):
    """One copy, as an example."""

    received_at: AwareDatetime
    mailbox: str
    sender: str
    subject: str
    state: str
    """Its state in the ledger, or NOT_ACTED_ON."""


class Occurrences(Record):
    """The copies that meet one of some indicators, held back, expired or not."""

    copies: int
    mailboxes: int
    first_delivery: AwareDatetime | None
    last_delivery: AwareDatetime | None
    by_state: dict[str, int]
    """How many copies are in which state of the ledger; NOT_ACTED_ON for the others."""
    examples: tuple[Example, ...]
    """The newest."""
    by_indicator: dict[str, int]
    """By an indicator's id, the copies that it meets."""


def occurrences(installation: Installation, indicators: pl.DataFrame, now: datetime) -> Occurrences:
    """``indicators`` has the shape of the table. Raises LakeError and LedgerError."""
    mail = _remembered(installation, now)
    messages, pairs = mail[0], copies_met(*mail, indicators)
    copies = pairs.select("copy_id").unique().collect(engine="streaming")
    columns = ("copy_id", "received_at", "mailbox", "sender_address", "subject")
    met = (
        messages.join(copies.lazy(), on="copy_id", how="semi")
        .select(*columns, mailbox_key=pl.struct("provider", "connection", "mailbox_id"))
        .sort("received_at", "copy_id", descending=[True, False])
        .collect()
    )
    states = installation.states(met["copy_id"])
    deliveries = met["received_at"].to_list()
    by_state = Counter(_word(states, copy_id) for copy_id in met["copy_id"])
    return Occurrences(
        copies=met.height,
        mailboxes=met["mailbox_key"].n_unique(),
        first_delivery=deliveries[-1] if deliveries else None,
        last_delivery=deliveries[0] if deliveries else None,
        by_state={
            word: by_state[word] for word in (*map(str, State), NOT_ACTED_ON) if by_state[word]
        },
        examples=tuple(
            Example(
                received_at=row["received_at"],
                mailbox=row["mailbox"],
                sender=row["sender_address"],
                subject=row["subject"],
                state=_word(states, row["copy_id"]),
            )
            for row in met.head(EXAMPLES).iter_rows(named=True)
        ),
        by_indicator=counted(pairs),
    )


def counts(installation: Installation, indicators: pl.DataFrame, now: datetime) -> dict[str, int]:
    """By an indicator's id, the copies that it meets; those that meet none are left out."""
    return counted(copies_met(*_remembered(installation, now), indicators))


def _remembered(
    installation: Installation, now: datetime
) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    """All messages, observables and lookups that the lake has."""
    lake = installation.lake
    versions = lake.versions()
    ever = Window(_EPOCH, now + timedelta(days=1))
    return (
        lake.scan_messages(versions.messages, ever),
        lake.scan_observables(versions.observables, ever),
        lake.scan_lookups(versions.lookups, ever),
    )


def _word(states: Mapping[str, CopyState], copy_id: str) -> str:
    state = states.get(copy_id)
    return NOT_ACTED_ON if state is None else state.state.value
