"""The feeds file: which sources of indicators there are, and how far each is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictBool,
    field_serializer,
    model_validator,
)

from retract.errors import FeedConfigurationError
from retract.indicators.hold_back import HoldBack
from retract.indicators.listed import AnyType
from retract.model import Disposition
from retract.settings_file import (
    ActionableDisposition,
    Duration,
    Misfits,
    Section,
    SettingsFile,
)

MAX_TIME_TO_LIVE: Final = timedelta(days=99_999)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CSV_VALUE_COLUMNS: Final = ("indicator", "value", "ioc", "url", "domain", "observable")
_CSV_TYPE_COLUMNS: Final = ("type", "indicator_type", "ioc_type", "kind")


class Format(StrEnum):
    """How a source writes its indicators down."""

    PLAIN_LIST = "plain_list"
    """One value a line; lines that start with # or ; are comments."""
    CSV = "csv"
    """A table whose columns are named."""
    STIX = "stix"
    """A STIX 2.0 or 2.1 bundle."""


def _lifetime(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    if value > MAX_TIME_TO_LIVE:
        raise ValueError(f"longer than {MAX_TIME_TO_LIVE.days} days")
    return value


def _location(value: str) -> str:
    if not _SCHEME.match(value):
        return value
    parts = urlsplit(value)
    if parts.scheme.lower() not in ("http", "https"):
        raise ValueError("write a path, or a URL that starts with https:// or http://")
    if not parts.hostname:
        raise ValueError("the URL names no host")
    if "@" in parts.netloc:
        raise ValueError("a URL with a user name or password in it would be written to logs")
    return value


TimeToLive = Annotated[Duration, AfterValidator(_lifetime)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Columns(Section):
    """Which column of a CSV source holds what. An empty cell means the source's own setting."""

    value: Text
    type: Text | None = None
    disposition: Text | None = None
    confidence: Text | None = None
    campaign: Text | None = None
    reference: Text | None = None
    first_seen: Text | None = None
    expires_at: Text | None = None


class Source(Section):
    """One source of indicators."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Fit for a file name; reports and indicators carry it, so keep it."""
    format: Format
    location: Annotated[Text, AfterValidator(_location)]
    """A path relative to the feeds file, * and ** allowed, or an http(s) URL."""
    type: AnyType = "auto"
    """What the values are, where neither the format nor a column says so."""
    disposition: ActionableDisposition
    confidence: Annotated[int, Field(strict=True, ge=0, le=100)]
    time_to_live: TimeToLive | None = None
    """How long an indicator stays in force after it was last listed. None: while it is listed,
    so that taking a line out of an own list revokes it."""
    campaign: str = ""
    reference: str = ""
    columns: Columns | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    header: Literal[True] | tuple[Text, ...] = True
    """CSV: true when the first row names the columns; else their names, in order."""
    may_be_empty: StrictBool = False
    """An own list may hold nothing; of any other source that is an error."""
    enabled: StrictBool = True

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        is_csv = self.format is Format.CSV
        if is_csv and self.columns is None:
            raise Misfits((("columns",), "a csv source needs to know at least {value: <column>}"))
        if not is_csv and (self.columns or self.delimiter != "," or self.header is not True):
            raise ValueError(f"columns, delimiter and header are for csv, not {self.format}")
        if self.format is Format.STIX and self.type != "auto":
            raise Misfits((("type",), "STIX patterns state the type themselves; leave it out"))
        return self

    @property
    def is_remote(self) -> bool:
        return bool(_SCHEME.match(self.location))

    @field_serializer("time_to_live")
    def _iso(self, value: timedelta | None) -> str | None:
        # Not as pydantic writes it: P1Y, which is refused when it is read again.
        return None if value is None else f"P{value.days}DT{value.seconds}S"


class FeedsFile(Section):
    """A whole feeds file."""

    # A location may hold a secret, and what is refused must not end up in a log.
    model_config = ConfigDict(hide_input_in_errors=True)

    sources: tuple[Source, ...] = ()
    hold_back: HoldBack = HoldBack()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [source.name.lower() for source in self.sources]
        misfits = [
            (("sources", number, "name"), f"two are named {name!r}; every name must be another")
            for number, name in enumerate(names)
            if name in names[:number]
        ]
        if misfits:
            raise Misfits(*misfits)
        return self

    @property
    def enabled(self) -> tuple[Source, ...]:
        return tuple(source for source in self.sources if source.enabled)

    def source(self, name: str) -> Source:
        """The source of that name. Raises FeedConfigurationError when there is none."""
        for source in self.sources:
            if source.name == name:
                return source
        raise FeedConfigurationError(f"there is no source {name!r} in the feeds file")


_FILE: Final = SettingsFile(
    FeedsFile,
    kind="feeds file",
    error=FeedConfigurationError,
    max_bytes=1024 * 1024,
    items={"sources": "source"},
)


def load_feeds(path: Path | str) -> FeedsFile:
    """Read a feeds file; relative locations become relative to its folder.

    Raises FeedConfigurationError with the line, the source and the reason.
    """
    path = Path(path)
    feeds = _FILE.load(path)
    return feeds.model_copy(
        update={"sources": tuple(_below(path.absolute().parent, one) for one in feeds.sources)}
    )


def feeds_of_files(paths: Iterable[Path]) -> FeedsFile:
    """Sources for indicator files as they come, all malicious: the format shows in the file.

    Raises FeedConfigurationError for a table that does not show which column to read.
    """
    sources: list[Source] = []
    for path in paths:
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", path.name).lstrip("_.-")[:50] or "feed"
        taken = {source.name.lower() for source in sources}
        unique = name if name.lower() not in taken else f"{name}-{len(sources) + 1}"
        sources.append(_source_of_file(path.absolute(), unique))
    return FeedsFile(sources=tuple(sources))


def sources_of_files(paths: Iterable[Path]) -> str:
    """A feeds file, as text, that names these indicator files."""
    settings = feeds_of_files(paths).model_dump(
        mode="json", exclude_defaults=True, exclude_none=True
    )
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _source_of_file(path: Path, name: str) -> Source:
    if not path.is_file():
        found = "a folder, not a file of indicators" if path.is_dir() else "there is no such file"
        raise FeedConfigurationError(f"{path}: {found}")
    settings: dict[str, Any] = {
        "name": name,
        "location": str(path),
        "disposition": Disposition.MALICIOUS,
        "confidence": 80,
    }
    if path.suffix.lower() in (".json", ".stix"):
        return Source(format=Format.STIX, **settings)
    if path.suffix.lower() not in (".csv", ".tsv"):
        return Source(format=Format.PLAIN_LIST, **settings)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(4096)
    delimiter = max(",;\t", key=first.count)
    header = {
        cell.strip().strip('"').lower(): cell.strip().strip('"') for cell in first.split(delimiter)
    }
    value = next((header[word] for word in _CSV_VALUE_COLUMNS if word in header), None)
    if value is None:
        raise FeedConfigurationError(
            f"{path}: the first row names no column {' or '.join(_CSV_VALUE_COLUMNS)}; rename one, "
            "or name the file in a feeds file and say under columns which one to read"
        )
    kind = next((header[word] for word in _CSV_TYPE_COLUMNS if word in header), None)
    columns = Columns(value=value, type=kind)
    return Source(format=Format.CSV, columns=columns, delimiter=delimiter, **settings)


def _below(folder: Path, source: Source) -> Source:
    if source.is_remote:
        return source
    return source.model_copy(update={"location": str(folder / Path(source.location).expanduser())})
