"""What tests of the lake's parts share: a mailbox, messages, and a look at all there is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from tests.lake.rows import indicator, table

from retract.lake.store import Lake
from retract.lake.tables import MESSAGES_TABLE, Table
from retract.model import (
    CollectedMessage,
    Copy,
    Extraction,
    Location,
    Mailbox,
    Observable,
    ObservableType,
    Place,
    Provider,
    Window,
)

NOW = datetime(2026, 1, 6, tzinfo=UTC)
MONTH = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
ANN = Mailbox(Provider.MICROSOFT365, "tenant", "ann", "ann@north.example")


def message(
    number: int,
    *,
    received_at: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC),
    mailbox_id: str = "ann",
    version: int = 1,
    observables: tuple[Observable, ...] | None = None,
    subject: str = "Hello",
) -> CollectedMessage:
    """One to put into a lake; two calls with one number make the same copy."""
    if observables is None:
        url = f"https://shop.example/{number}/v{version}"
        observables = (Observable(ObservableType.URL, url, "html"),)
    copy = Copy(
        Provider.MICROSOFT365, "tenant", mailbox_id, f"{mailbox_id}@north.example", f"m{number}"
    )
    extraction = Extraction(
        internet_message_id=f"<{number}@mail.example>",
        subject=subject,
        sender_address="eve@sender.example",
        sender_name="Eve",
        observables=observables,
        authentication=(("dmarc", "fail"),),
    )
    location = Location(Place.INBOX, folder_id="f1", labels=("INBOX", "UNREAD"))
    return CollectedMessage(copy, received_at, location, extraction, version)


def everything(lake: Lake) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The month's messages, observables and lookups."""
    versions = lake.versions()
    return (
        lake.scan_messages(versions.messages, MONTH).collect(),
        lake.scan_observables(versions.observables, MONTH).collect(),
        lake.scan_lookups(versions.lookups, MONTH).collect(),
    )


def indicators(*values: str, source: str = "list") -> pl.DataFrame:
    """URLs of one source, in force since NOW."""
    return table(*(indicator(value, NOW, source=source) for value in values))


def url_of(lake: Lake) -> str:
    """Where the lake is."""
    return str(Path(lake._tables.url(MESSAGES_TABLE)).parent)


def opened(lake: Lake, of: Table) -> DeltaTable:
    """One of its tables, as Delta has it."""
    return DeltaTable(lake._tables.url(of))


def remove_what_is_not_needed(lake: Lake, of: Table) -> None:
    """Remove the files that only earlier versions of a table need, as once their time is over."""
    newest = opened(lake, of)
    needed = set(lake._tables.files(of, newest)["file"])
    folder = Path(lake._tables.url(of))
    for file in folder.glob("*/*.parquet"):
        if file.parent.name != "_delta_log" and str(file) not in needed:
            file.unlink()
