"""Collected messages as frames of the lake's shape. Pure: the preview uses them without a lake."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import polars as pl

from retract.lake.tables import LOOKUPS_TABLE, MESSAGES_TABLE, OBSERVABLES_TABLE
from retract.model import CollectedMessage, ObservableType
from retract.observables import lookup


def messages_frame(messages: Iterable[CollectedMessage], collected_at: datetime) -> pl.DataFrame:
    """One row a copy; of several readings of one copy the newest counts."""
    rows: dict[str, dict[str, Any]] = {}
    for message in messages:
        row = _message_row(message, collected_at)
        earlier = rows.get(row["copy_id"])
        if earlier is None or earlier["extractor_version"] <= row["extractor_version"]:
            rows[row["copy_id"]] = row
    return pl.DataFrame(list(rows.values()), schema=MESSAGES_TABLE.empty().schema, strict=True)


def observables_frame(messages: Iterable[CollectedMessage]) -> pl.DataFrame:
    """One row for each observable of each copy, without duplicates."""
    rows: list[tuple[Any, ...]] = []
    for message in messages:
        copy_id = message.copy.copy_id
        head = (copy_id, message.received_at.astimezone(UTC).date(), message.extractor_version)
        for observable in message.extraction.observables:
            value = _storable(observable.value)
            key = lookup.key(observable.type, value)
            found_in = _storable(observable.found_in)
            rows.append((*head, observable.type.value, value, key, found_in))
    schema = OBSERVABLES_TABLE.empty().schema
    frame = pl.DataFrame(rows, schema=schema, orient="row", strict=True)
    return frame.unique(maintain_order=True)


def lookups_frame(observables: pl.DataFrame) -> pl.DataFrame:
    """The keys of the observables' distinct values, once for each day."""
    # By their texts: two values that were made to share a key have their lookups both.
    values = observables.select("type", "value", "value_key").unique()
    rows = [
        (value_key, key, exact)
        for kind, value, value_key in values.iter_rows()
        for key, exact in _keys(ObservableType(kind), value)
    ]
    schema = {"value_key": pl.Int64, "key": pl.Int64, "exact": pl.Boolean}
    keys = pl.DataFrame(rows, schema=schema, orient="row")
    days = observables.select("delivery_date", "value_key").unique()
    columns = LOOKUPS_TABLE.schema.names
    return days.join(keys, on="value_key").select(columns).sort(columns)


@lru_cache(maxsize=65_536)
def _keys(kind: ObservableType, value: str) -> tuple[tuple[int, bool], ...]:
    """(key, exact) of each lookup; cached, for the same links come in many messages."""
    found = lookup.lookups_of(kind, value)
    return tuple((lookup.key(kind, one.text), one.exact) for one in found)


def _message_row(message: CollectedMessage, collected_at: datetime) -> dict[str, Any]:
    copy, location, extraction = message.copy, message.location, message.extraction
    received_at = message.received_at.astimezone(UTC)
    return {
        "copy_id": copy.copy_id,
        "provider": copy.provider.value,
        "connection": copy.connection,
        "mailbox_id": copy.mailbox_id,
        "mailbox": copy.mailbox,
        "message_id": copy.message_id,
        "internet_message_id": _storable(copy.internet_message_id),
        "received_at": received_at,
        "delivery_date": received_at.date(),
        "subject": _storable(extraction.subject),
        "sender_address": _storable(extraction.sender_address),
        "sender_name": _storable(extraction.sender_name),
        "delivered_disposition": extraction.delivered_disposition.value,
        "sending_ip": extraction.sending_ip,
        "body_fingerprint": extraction.body_fingerprint,
        "place": location.place.value,
        "folder_id": location.folder_id,
        "folder_name": _storable(location.folder_name),
        "labels": list(location.labels),
        "is_read": location.is_read,
        "is_flagged": location.is_flagged,
        "authentication": json.dumps(extraction.authentication),
        "problems": [_storable(problem) for problem in extraction.problems],
        "extractor_version": message.extractor_version,
        "collected_at": collected_at.astimezone(UTC),
    }


def _storable(text: str) -> str:
    """Text that came out of a message may hold lone surrogates, which no table can store."""
    return text.encode("utf-8", "replace").decode("utf-8")
