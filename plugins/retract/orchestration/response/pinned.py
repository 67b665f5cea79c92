"""What a run is computed from: what it pinned, the mailboxes it listed, and the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retract.installation import Settings
from retract.orchestration.runs import Listing, MailboxEntry, RunFolder, ShardCollected

if TYPE_CHECKING:
    import polars as pl

    from retract.lake.store import Lake
    from retract.reevaluation.days import Pin
    from retract.retraction.ledger import Ledger

PINNED, MATCHES, HELD_BACK = "pin.json", "matches.parquet", "held_back.json"
JUDGED, PLAN = "judged.json", "plan.json"
AFTER_MATCHING = (MATCHES, HELD_BACK, JUDGED, PLAN)
"""Each is made from those before it: the step that makes one forgets those after it first, so
that a run that was cleared and fails on the way is not reported by an earlier plan."""


def read_pin(folder: RunFolder) -> Pin:
    """What everything after it is computed from."""
    from retract.reevaluation.days import Pin

    return folder.read(PINNED, Pin)


def pinned_indicators(lake: Lake, pin: Pin) -> pl.LazyFrame:
    """The pinned indicators; those that name the organisation itself are held back.

    The refresh before the first mail of a tenant could not know its domains.
    """
    from retract.reevaluation.own_domains import without_own

    return without_own(lake.scan_indicators(pin.versions.indicators), pin.own_domains)


def judged_copies(folder: RunFolder, copies: pl.LazyFrame) -> pl.LazyFrame:
    """Those of these copies that the run judges: delivered in its window to the mailboxes it has
    listed, and that were still there when they were read.

    The lake remembers others for a while, of tenants that were taken out and people who left, and
    the addresses that mailboxes had: here each has the one that it was listed with, by which its
    provider knows it now.
    """
    import polars as pl

    from retract.reevaluation.match import delivered_in

    vanished = {
        result.key
        for part in folder.read_all("collected", ShardCollected)
        for result in part.mailboxes
        if result.vanished
    }
    listed = pl.LazyFrame(
        [
            (*key, entry.address)
            for key, entry in listed_mailboxes(folder).items()
            if key not in vanished
        ],
        schema={"connection": pl.String, "mailbox_id": pl.String, "listed_as": pl.String},
        orient="row",
    )
    judged = delivered_in(folder.run().window, copies)
    judged = judged.join(listed, on=["connection", "mailbox_id"], how="inner")
    return judged.with_columns(mailbox="listed_as").drop("listed_as")


def listed_mailboxes(folder: RunFolder) -> dict[tuple[str, str], MailboxEntry]:
    """Every mailbox that the run has listed, by connection and mailbox id, once each: a run may
    be narrowed to two addresses of one mailbox."""
    listings = folder.read_all("mailboxes", Listing)
    return {entry.key: entry for listing in listings for entry in listing.mailboxes}


def open_ledger(settings: Settings) -> Ledger:
    """The ledger, in the shape this program knows."""
    from retract.retraction.ledger import Ledger

    ledger = Ledger(settings.ledger)
    ledger.migrate()
    return ledger
