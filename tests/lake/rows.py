"""Rows of the indicators table, as a test needs them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from retract.lake.tables import INDICATORS_TABLE
from retract.model import ObservableType
from retract.observables import lookup


def indicator(
    value: str, now: datetime, kind: ObservableType = ObservableType.URL, **more: Any
) -> dict[str, Any]:
    """One in force since now; ``more`` are the columns in which it differs from that."""
    found = lookup.indicator_lookup(kind, value)
    row = {
        "indicator_id": value,
        "type": kind.value,
        "value": value,
        "lookup": found.text,
        "key": lookup.key(kind, found.text),
        "exact_only": found.exact,
        "disposition": "malicious",
        "confidence": 80,
        "source": "list",
        "campaign": "",
        "reference": "",
        "tags": [],
        "sightings": 0,
        "first_seen": now,
        "last_seen": now,
        "listed": True,
        "expires_at": None,
        "held_back": None,
        "active": True,
        "changed_at": now,
        "inactive_because": None,
    }
    assert more.keys() <= row.keys()
    return row | more


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    """The rows as a frame of the table's shape."""
    return pl.DataFrame(list(rows), schema=INDICATORS_TABLE.empty().schema, orient="row")
