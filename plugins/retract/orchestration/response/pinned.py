"""What a run is computed from: the lake at its pinned versions, and the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retract.installation import Settings
from retract.orchestration.runs import Listing, MailboxEntry, RunFolder, ShardCollected

if TYPE_CHECKING:
    import polars as pl

    from retract.lake.store import Lake, LakeVersions
    from retract.retraction.ledger import Ledger

PINNED, MATCHES = "pin.json", "matches.parquet"
HELD_BACK, PLAN = "held_back.json", "plan.json"
"""Each is made from those before it: the step that makes one forgets those after it first, so
that a run that was cleared and fails on the way is not reported by an earlier plan."""


def pinned_indicators(lake: Lake, versions: LakeVersions) -> pl.LazyFrame:
    """The pinned indicators; those that name the organisation itself are held back.

    The refresh before the first mail of a tenant could not know its domains.
    """
    from retract.reevaluation.own_domains import without_own

    own = lake.mailbox_domains(versions.messages)
    return without_own(lake.scan_indicators(versions.indicators), own)


def judged_copies(settings: Settings, folder: RunFolder) -> tuple[Lake, pl.LazyFrame]:
    """The lake, and the pinned copies the run judges: those in the mailboxes it has listed, and
    that were still there when they were read.

    The lake remembers others for a while, of tenants that were taken out and people who left, and
    the addresses that mailboxes had: here each has the one that it was listed with, by which its
    provider knows it now.
    """
    import polars as pl

    from retract.lake.store import Lake

    run, versions, lake = folder.run(), pinned_versions(folder), Lake(settings.lake)
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
    messages = lake.scan_messages(versions.messages, run.window)
    judged = messages.join(listed, on=["connection", "mailbox_id"], how="inner")
    return lake, judged.with_columns(mailbox="listed_as").drop("listed_as")


def listed_mailboxes(folder: RunFolder) -> dict[tuple[str, str], MailboxEntry]:
    """Every mailbox that the run has listed, by connection and mailbox id, once each: a run may
    be narrowed to two addresses of one mailbox."""
    listings = folder.read_all("mailboxes", Listing)
    return {entry.key: entry for listing in listings for entry in listing.mailboxes}


def pinned_versions(folder: RunFolder) -> LakeVersions:
    """The versions everything is computed from."""
    from retract.lake.store import LakeVersions

    return folder.read(PINNED, LakeVersions)


def open_ledger(settings: Settings) -> Ledger:
    """The ledger, in the shape this program knows."""
    from retract.retraction.ledger import Ledger

    ledger = Ledger(settings.ledger)
    ledger.migrate()
    return ledger
