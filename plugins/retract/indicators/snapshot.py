"""What a source lists at one moment, as rows of the indicators table."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, Generic, Literal, Self, TypeVar, cast

import polars as pl
import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from retract.errors import FeedError
from retract.indicators.feeds import IGNORE, Source
from retract.indicators.fetching.document import Marks
from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.indicators.wording import quoted
from retract.lake.tables import INDICATORS, INDICATORS_TABLE
from retract.model import RULE_TYPES, Disposition, ObservableType
from retract.observables import lookup

CHUNK: Final = 50_000
"""Entries that are held as objects at one time; a million of them would need gigabytes."""

EXAMPLES: Final = 20
"""Entries kept with their reasons, of those rejected and of those left out; all are counted."""

LONGEST_EXAMPLE: Final = 300
"""Characters of a reason: a feed's own text may be in it."""

LONGEST_CAMPAIGN: Final = 200
LONGEST_REFERENCE: Final = 2_000
LONGEST_TAG: Final = 100
LONGEST_STATEMENT: Final = 300
MOST_TAGS: Final = 50
MOST_SIGHTINGS: Final = 2**31 - 1
"""What a feed says beyond these bounds is cut: it is for people, and nothing is matched with it."""

_FACTS: Final = "retract.snapshot"
_SCHEMA: Final = INDICATORS_TABLE.empty().schema
_STATED: Final = pa.schema(
    [
        INDICATORS.field(name)
        for name in (
            "indicator_id",
            "type",
            "value",
            "lookup",
            "key",
            "exact_only",
            "disposition",
            "confidence",
            "campaign",
            "reference",
            "tags",
            "sightings",
            "first_seen",
            "listed",
            "expires_at",
        )
    ]
    + [pa.field("statement", pa.string()), pa.field("stated_at", pa.timestamp("us", tz="UTC"))]
)
"""The columns that differ from entry to entry, and what tells the versions of one apart."""

log = logging.getLogger(__name__)


class End(StrEnum):
    """Why an indicator is not in force any more, as inactive_because says it."""

    EXPIRED = "expired"
    REVOKED = "revoked"
    """The source says that it is none, or tags it with what the feeds file says to ignore."""
    NO_LONGER_LISTED = "no longer listed"
    """… and the source's indicators are in force only while they are listed."""
    SOURCE_REMOVED = "source removed"
    """The feeds file does not name the source any more, or it is switched off."""


class Facts(BaseModel):
    """A snapshot without its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    read_at: AwareDatetime
    settings: str
    """The digest of the settings it was read with."""
    complete: bool = True
    """It is all that the source lists: what is absent is not listed. Else it is only news."""
    unchanged: bool = False
    """The source has nothing that the reading before did not have; there are no rows."""
    revokes_absent: bool
    """What is absent from a complete reading is out of force at once."""
    marks: Marks = Marks()
    usable: int = 0
    """Entries that are indicators, revoked ones and repetitions included."""
    listed: int = 0
    """Distinct indicators, without those revoked."""
    rejected: int = 0
    """Entries that are broken."""
    rejected_examples: tuple[Rejected, ...] = ()
    """Some of them."""
    left_out: int = 0
    """Entries that are sound and not used on purpose."""
    left_out_examples: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of one source.

    ``rows`` has the shape of the indicators table; ``held_back`` is not judged yet, so null.
    """

    facts: Facts
    rows: pl.DataFrame

    @property
    def source(self) -> str:
        return self.facts.source

    @property
    def listed(self) -> int:
        """Distinct indicators, without those revoked."""
        return self.facts.listed

    def with_reading(self, *, complete: bool, marks: Marks) -> Snapshot:
        """The same, with what its reading says once it is over."""
        facts = self.facts.model_copy(update={"complete": complete, "marks": marks})
        return Snapshot(facts, self.rows)

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


def snapshot_of(entries: Iterable[Entry], source: Source, now: datetime) -> Snapshot:
    """The rows of what a source lists now, one for each (type, value).

    Entries are taken one by one, so they may be more than fit into memory as objects.
    """
    sorting = _Sorting(source)
    usable = sorting.indicators_in(entries)
    frames = [_frame([], source, now)]
    while chunk := list(islice(usable, CHUNK)):
        frames.append(_frame(chunk, source, now))
    rows = _without_duplicates(_without_older_versions(pl.concat(frames)))
    facts = Facts(
        source=source.name,
        read_at=now,
        settings=source.digest,
        revokes_absent=source.revokes_absent,
        usable=sorting.usable,
        listed=int(rows["listed"].sum()),
        rejected=sorting.rejected.count,
        rejected_examples=tuple(sorting.rejected.examples),
        left_out=sorting.left_out.count,
        left_out_examples=tuple(sorting.left_out.examples),
    )
    return Snapshot(facts, rows)


def unchanged(source: Source, now: datetime, marks: Marks, *, complete: bool = True) -> Snapshot:
    """A reading that found nothing new."""
    facts = Facts(
        source=source.name,
        read_at=now,
        settings=source.digest,
        complete=complete,
        unchanged=True,
        revokes_absent=source.revokes_absent,
        marks=marks,
    )
    return Snapshot(facts, INDICATORS_TABLE.empty())


_Told = TypeVar("_Told", Rejected, LeftOut)


class _Unused(Generic[_Told]):
    """Entries of one kind that become no rows: how many, and some of them."""

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[_Told] = []

    def add(self, entry: _Told) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            where, reason = (quoted(text, LONGEST_EXAMPLE) for text in entry)
            self.examples.append(entry._replace(where=where, reason=reason))


class _Sorting:
    """Tells entries that become rows from the others, and counts those."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.usable = 0
        self.rejected = _Unused[Rejected]()
        self.left_out = _Unused[LeftOut]()

    def indicators_in(self, entries: Iterable[Entry]) -> Iterator[tuple[Listed, Disposition]]:
        """The indicators, each with its disposition; what is to be ignored as revoked."""
        by_tag = tuple(self._source.disposition_by_tag.items())
        for number, entry in enumerate(entries, start=1):
            if number % (4 * CHUNK) == 0:
                log.info("%s: %s entries so far", self._source.name, f"{number:,}")
            if isinstance(entry, Rejected):
                self.rejected.add(entry)
                continue
            if isinstance(entry, LeftOut):
                self.left_out.add(entry)
                continue
            if entry.type in RULE_TYPES and (reason := self._unbounded(entry)):
                self.rejected.add(Rejected(entry.value, reason))
                continue
            stated = _by_tag(by_tag, entry.tags) if by_tag else None
            if stated == IGNORE:
                if not entry.revoked:
                    tags = ", ".join(entry.tags)
                    self.left_out.add(LeftOut(entry.value, f"ignored by its tags: {tags}"))
                # It may be known from before it was tagged so.
                yield replace(entry, revoked=True), self._source.disposition
                continue
            self.usable += 1
            yield entry, stated or entry.disposition or self._source.disposition

    def _unbounded(self, rule: Listed) -> str:
        """Why a pattern is not used as a campaign rule; empty when it may be."""
        if rule.revoked:
            return ""  # whatever it is: it is to end
        if not (rule.campaign or self._source.campaign):
            return "a pattern counts only for a named campaign: say which"
        if rule.expires_at is None and self._source.time_to_live is None:
            return "a pattern counts only for a time: give it an end, or the source a time_to_live"
        return ""


@lru_cache(maxsize=4096)
def _by_tag(
    by_tag: tuple[tuple[str, Disposition | Literal["ignore"]], ...], tags: tuple[str, ...]
) -> Disposition | Literal["ignore"] | None:
    """What the tags make of an entry; None when none of them is named."""
    lower = [tag.strip().lower() for tag in tags]
    fitting = {
        stated
        for pattern, stated in by_tag
        if any(fnmatchcase(tag, _only_stars(pattern)) for tag in lower)
    }
    if IGNORE in fitting:
        return IGNORE
    return Disposition.gravest(Disposition(one) for one in fitting) if fitting else None


def _only_stars(pattern: str) -> str:
    """Brackets and question marks stand for themselves: tags are full of them."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _frame(
    entries: Iterable[tuple[Listed, Disposition]], source: Source, now: datetime
) -> pl.DataFrame:
    """Rows of the table, by columns: a dict for each row would take five times the memory."""
    rows = (_row(listed, disposition, source, now) for listed, disposition in entries)
    by_column = list(zip(*rows, strict=True)) or [()] * len(_STATED)
    columns = dict(zip(_STATED.names, by_column, strict=True))
    in_force = pl.col("listed") & (pl.col("expires_at").is_null() | (pl.col("expires_at") > now))
    # Arrow makes columns of Python's values several times faster than polars does.
    frame = cast(pl.DataFrame, pl.from_arrow(pa.table(columns, schema=_STATED)))
    return frame.with_columns(
        source=pl.lit(source.name),
        last_seen=pl.lit(now, _SCHEMA["last_seen"]),
        changed_at=pl.lit(now, _SCHEMA["changed_at"]),
        held_back=pl.lit(None, pl.String),
        active=in_force,
        inactive_because=pl.when(in_force)
        .then(None)
        .otherwise(pl.when("listed").then(pl.lit(End.EXPIRED)).otherwise(pl.lit(End.REVOKED))),
    ).select(*_SCHEMA.names(), "statement", "stated_at")


def _row(
    listed: Listed, disposition: Disposition, source: Source, now: datetime
) -> tuple[Any, ...]:
    """The columns of `_STATED`."""
    found = lookup.indicator_lookup(listed.type, listed.value)
    expires_at = listed.expires_at
    if expires_at is None and source.time_to_live is not None:
        expires_at = now + source.time_to_live
    return (
        indicator_id(listed.type, listed.value, source.name),
        listed.type.value,
        listed.value,
        found.text,
        lookup.key(listed.type, found.text),
        found.exact,
        disposition.value,
        source.confidence if listed.confidence is None else listed.confidence,
        quoted(listed.campaign or source.campaign, LONGEST_CAMPAIGN),
        quoted(listed.reference or source.reference, LONGEST_REFERENCE),
        [quoted(tag, LONGEST_TAG) for tag in listed.tags[:MOST_TAGS]],
        min(max(listed.sightings, 0), MOST_SIGHTINGS),
        min(listed.first_seen or now, now),
        not listed.revoked,
        expires_at,
        quoted(listed.statement, LONGEST_STATEMENT),
        listed.stated_at,
    )


def indicator_id(kind: ObservableType, value: str, source: str) -> str:
    """32 hex digits: the name of one source's opinion of one value."""
    identity = "\x1f".join((kind, value, source))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _without_older_versions(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the table: of one statement's versions the newest, whatever value it names."""
    if (rows["statement"] != "").any():
        stated_at = pl.col("stated_at").fill_null(pl.lit(0).cast(_SCHEMA["last_seen"]))
        is_newest = stated_at == stated_at.max().over("statement")
        rows = rows.filter((pl.col("statement") == "") | is_newest)
    return rows.select(_SCHEMA.names())


def _without_duplicates(rows: pl.DataFrame) -> pl.DataFrame:
    """Listed twice: what is in force counts, then the graver, then the surer statement."""
    if rows["indicator_id"].n_unique() == rows.height:
        return rows
    severity = {disposition.value: disposition.severity for disposition in Disposition}
    order = ("active", pl.col("disposition").replace_strict(severity), "confidence")
    return rows.sort(*order, descending=True, maintain_order=True).unique(
        "indicator_id", keep="first", maintain_order=True
    )
