"""Collected messages to put into a lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retract.lake.store import Lake
from retract.model import (
    CollectedMessage,
    Copy,
    Extraction,
    Location,
    Observable,
    ObservableType,
    Place,
    Provider,
)

MessageMaker = Callable[..., CollectedMessage]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def message() -> MessageMaker:
    """Makes a message; two calls with one number make the same copy."""

    def make(
        number: int,
        *,
        received_at: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC),
        mailbox_id: str = "ann",
        version: int = 1,
        observables: tuple[Observable, ...] | None = None,
        subject: str = "Hello",
    ) -> CollectedMessage:
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

    return make
