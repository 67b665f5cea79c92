"""What a source lists at one moment, as rows of the indicators table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.listed import Listed, ParsedFeed, Rejected
from retract.lake.tables import INDICATORS_TABLE
from retract.observables import lookup

EXAMPLES: Final = 20
"""Rejected entries kept with their reasons; all are counted."""

_FACTS: Final = "retract.snapshot"


class Facts(BaseModel):
    """A snapshot without its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    read_at: AwareDatetime
    while_listed: bool
    """Its indicators are in force only while they are listed: the source has no time to live."""
    rejected: int
    """Entries that are no usable indicators."""
    examples: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of one source. ``rows`` has the shape of the indicators table."""

    facts: Facts
    rows: pl.DataFrame

    @property
    def source(self) -> str:
        return self.facts.source

    @property
    def listed(self) -> int:
        """Distinct indicators."""
        return self.rows.height

    @property
    def held_back(self) -> int:
        return self.rows.height - self.rows["held_back"].null_count()

    def write(self, path: Path) -> None:
        """As one Parquet file, for another task to commit."""
        self.rows.write_parquet(path, metadata={_FACTS: self.facts.model_dump_json()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote. Raises FeedError when the file is no snapshot."""
        try:
            facts = Facts.model_validate_json(pl.read_parquet_metadata(path)[_FACTS])
            rows = pl.read_parquet(path)
        except (OSError, KeyError, ValidationError, pl.exceptions.PolarsError) as error:
            raise FeedError(f"{path.name} is no snapshot of a feed: read it again") from error
        return cls(facts, rows)


def snapshot_of(parsed: ParsedFeed, source: Source, now: datetime, hold_back: HoldBack) -> Snapshot:
    """The rows of what a source lists now, one for each (type, value)."""
    rows = [_row(listed, source, now, hold_back) for listed in parsed.indicators]
    frame = pl.DataFrame(
        rows, schema={**INDICATORS_TABLE.empty().schema, "severity": pl.Int8}, strict=True
    )
    # Listed twice: what is in force counts, then the graver, then the surer statement.
    frame = (
        frame.sort("active", "severity", "confidence", descending=True, maintain_order=True)
        .unique("indicator_id", keep="first", maintain_order=True)
        .drop("severity")
    )
    facts = Facts(
        source=source.name,
        read_at=now,
        while_listed=source.time_to_live is None,
        rejected=len(parsed.rejected),
        examples=tuple(parsed.rejected[:EXAMPLES]),
    )
    return Snapshot(facts, frame)


def _row(listed: Listed, source: Source, now: datetime, hold_back: HoldBack) -> dict[str, Any]:
    found = lookup.indicator_lookup(listed.type, listed.value)
    disposition = listed.disposition or source.disposition
    expires_at = listed.expires_at
    if expires_at is None and source.time_to_live is not None:
        expires_at = now + source.time_to_live
    in_force = not listed.revoked and (expires_at is None or expires_at > now)
    identity = "\x1f".join((listed.type, listed.value, source.name))
    return {
        "indicator_id": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "type": listed.type.value,
        "value": listed.value,
        "lookup": found.text,
        "key": lookup.key(listed.type, found.text),
        "exact_only": found.exact,
        "disposition": disposition.value,
        "confidence": source.confidence if listed.confidence is None else listed.confidence,
        "source": source.name,
        "campaign": listed.campaign or source.campaign,
        "reference": listed.reference or source.reference,
        "first_seen": min(listed.first_seen or now, now),
        "last_seen": now,
        "expires_at": expires_at,
        "held_back": hold_back.reason(listed.type, listed.value),
        "active": in_force,
        "severity": disposition.severity,
    }
