"""The feeds file: which sources of indicators there are, and how far each is trusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    field_serializer,
    model_validator,
)

from retract.errors import FeedConfigurationError
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.model import RULE_TYPES
from retract.observables import EXTRACTOR_VERSION
from retract.observables.written import AnyType
from retract.settings_file import (
    ActionableDisposition,
    Duration,
    Misfits,
    Section,
    SettingPath,
    SettingsFile,
)

MAX_TIME_TO_LIVE: Final = timedelta(days=99_999)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Format(StrEnum):
    """How a source writes its indicators down."""

    PLAIN_LIST = "plain_list"
    """One value a line; lines that start with # or ; are comments."""
    HOSTS = "hosts"
    """A hosts file: ``0.0.0.0 evil.example``."""
    ADBLOCK = "adblock"
    """An adblock filter list: ``||evil.example^``."""
    CSV = "csv"
    """A table whose columns are named."""
    JSON = "json"
    """Objects in a JSON list or one a line, whose keys are named."""
    STIX = "stix"
    """STIX 2.0 or 2.1: a bundle, or what a TAXII collection gives."""
    MISP = "misp"
    """MISP events or attributes."""
    URLHAUS = "urlhaus"
    """abuse.ch URLhaus, CSV or JSON."""
    THREATFOX = "threatfox"
    """abuse.ch ThreatFox, CSV or JSON."""
    PHISHTANK = "phishtank"
    """PhishTank's online-valid, CSV or JSON."""


class Service(StrEnum):
    """A service that is asked for its entries; without one the location itself is read."""

    TAXII = "taxii"
    """A TAXII 2.1 collection; format stix."""
    MISP_SERVER = "misp_server"
    """The REST interface of a MISP instance; format misp."""
    MISP_FEED = "misp_feed"
    """A folder of MISP events with their manifest.json; format misp."""


PARSER_VERSION: Final = 1
"""To be raised with every change of what parsers make of the same bytes: then all is read anew."""

FORMAT_OF_SERVICE: Final = {
    Service.TAXII: Format.STIX,
    Service.MISP_SERVER: Format.MISP,
    Service.MISP_FEED: Format.MISP,
}
OBJECT_STORES: Final = ("s3", "gs", "az", "abfs", "abfss")

_STATE_THE_TYPE: Final = frozenset(
    {Format.HOSTS, Format.ADBLOCK, Format.STIX, Format.MISP}
    | {Format.URLHAUS, Format.THREATFOX, Format.PHISHTANK}
)

ANALYSTS: Final = "analysts"
"""The source of what people add by hand: no feeds file names it, and none takes it away."""

IGNORE: Final = "ignore"
"""In disposition_by_tag: such entries are left out."""


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
    if parts.scheme.lower() not in ("http", "https", *OBJECT_STORES):
        raise ValueError(
            "write a path, or a URL that starts with https://, http:// or that of an object store: "
            + ", ".join(f"{scheme}://" for scheme in OBJECT_STORES)
        )
    if not parts.hostname:
        raise ValueError("the URL names no host")
    # Azure's own way to write it: abfss://container@account.dfs.core.windows.net/…
    is_container = parts.scheme.lower() in ("abfs", "abfss") and parts.password is None
    if "@" in parts.netloc and not is_container:
        raise ValueError("a URL with a user name or password in it would be written to logs")
    return value


TimeToLive = Annotated[Duration, AfterValidator(_lifetime)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


def _one_line(text: str) -> str:
    text = text.strip()
    if not text.isprintable():
        raise ValueError("write one line of printable text")
    return text


Words = Annotated[str, AfterValidator(_one_line), Field(strict=True, max_length=200)]


def _tag_pattern(text: str) -> str:
    if not text.strip():
        raise ValueError("an empty tag")
    return text.strip().lower()


def _tags_once(stated: object) -> object:
    """Case does not count, so one of two that differ in it would be lost."""
    tags = [str(tag).strip().lower() for tag in stated] if isinstance(stated, dict) else []
    if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
        raise ValueError(f"written twice, but for case: {', '.join(map(repr, twice))}")
    return stated


TagPattern = Annotated[str, AfterValidator(_tag_pattern), Field(max_length=200)]
TagDispositions = Annotated[
    dict[TagPattern, ActionableDisposition | Literal["ignore"]],
    BeforeValidator(_tags_once),
]


class JumpGuard(Section):
    """How much a source may change from one reading to the next before it counts as broken."""

    may_shrink_to: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.5
    """Of what the last reading listed; 0 allows all."""
    may_grow_to: Annotated[float, Field(strict=True, ge=1, le=1_000_000)] = 3.0
    from_size: Annotated[int, Field(strict=True, ge=0)] = 100
    """Smaller readings on both sides may change at will."""


class Columns(Section):
    """Which column (CSV) or key (JSON, dotted for nested ones) holds what.

    An empty cell means the source's own setting.
    """

    value: Text
    type: Text | None = None
    disposition: Text | None = None
    confidence: Text | None = None
    campaign: Text | None = None
    reference: Text | None = None
    first_seen: Text | None = None
    expires_at: Text | None = None
    tags: Text | None = None
    """Labels, separated by commas, or a JSON list."""


class Source(Section):
    """One source of indicators."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Fit for a file name; reports and indicators carry it, so keep it."""
    format: Format
    service: Service | None = None
    """What to ask at the location; None: read it as it is."""
    location: Annotated[Text, AfterValidator(_location)]
    """A path relative to the feeds file, * and ** allowed, or the URL of a page or an object.
    ``{key}`` in a URL stands for the connection's password."""
    connection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,250}$")] | None = None
    """The Airflow connection that holds the key, where one is needed."""
    type: AnyType = "auto"
    """What the values are, where neither the format nor a column says so."""
    disposition: ActionableDisposition
    disposition_by_tag: TagDispositions = Field(default_factory=dict)
    """By tag or label, * allowed, in any case: the gravest that fits an entry's tags counts before
    all else. ``ignore``: such entries are left out, whatever else fits."""
    confidence: Annotated[int, Field(strict=True, ge=0, le=100)]
    """Of entries that state none."""
    confidence_floor: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    """Entries below it are held back."""
    time_to_live: TimeToLive | None = None
    """How long an indicator stays in force after it was last listed. None: no such limit."""
    absence_revokes: StrictBool | None = None
    """Whether an indicator leaves as soon as it is no longer listed. None: when there is no
    time_to_live, so that taking a line out of an own list revokes it; of a service that gives
    only what is new, never."""
    jump_guard: JumpGuard = JumpGuard()
    campaign: Words = ""
    reference: Annotated[str, AfterValidator(_one_line), Field(strict=True, max_length=2000)] = ""
    """Where entries name none themselves."""
    columns: Columns | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    header: Literal[True] | tuple[Text, ...] = True
    """CSV: true when the first row names the columns; else their names, in order."""
    records: Text | None = None
    """JSON: the dotted path to the list of entries; None: the document is the list."""
    may_be_empty: StrictBool = False
    """An own list may hold nothing; of any other source that is an error."""
    enabled: StrictBool = True

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        misfits = [*self._format_misfits(), *self._service_misfits(), *self._pattern_misfits()]
        if misfits:
            raise Misfits(*misfits)
        return self

    def _format_misfits(self) -> Iterator[tuple[SettingPath, str]]:
        is_table = self.format in (Format.CSV, Format.JSON)
        if is_table and self.columns is None:
            yield ("columns",), f"a {self.format} source needs to know at least {{value: <column>}}"
        if not is_table and self.columns:
            yield ("columns",), f"is for csv and json, not {self.format}"
        if self.format is not Format.CSV and self.delimiter != ",":
            yield ("delimiter",), f"is for csv, not {self.format}"
        if self.format is not Format.CSV and self.header is not True:
            yield ("header",), f"is for csv, not {self.format}"
        if self.format is not Format.JSON and self.records is not None:
            yield ("records",), f"is for json, not {self.format}"
        if self.type != "auto" and self.format in _STATE_THE_TYPE:
            yield ("type",), f"{self.format} entries state the type themselves; leave it out"

    def _service_misfits(self) -> Iterator[tuple[SettingPath, str]]:
        if self.service is not None:
            if self.format is not FORMAT_OF_SERVICE[self.service]:
                yield ("format",), f"{self.service} gives {FORMAT_OF_SERVICE[self.service]}"
            if self.scheme not in ("http", "https"):
                yield ("location",), f"{self.service} is reached by an https:// or http:// URL"
        if "{key}" in self.location and self.connection is None:
            yield ("location",), "{key} needs a connection whose password it stands for"
        if self.connection is not None and not self.is_remote:
            yield ("connection",), "a file needs none"

    def _pattern_misfits(self) -> Iterator[tuple[SettingPath, str]]:
        if self.type not in RULE_TYPES:
            return
        columns = self.columns
        if not self.campaign and not (columns and columns.campaign):
            yield ("campaign",), f"a {self.type} counts only for a named campaign: name one"
        if self.time_to_live is None and not (columns and columns.expires_at):
            yield ("time_to_live",), f"a {self.type} counts only for a time: say how long, as P30D"

    @property
    def is_remote(self) -> bool:
        return bool(_SCHEME.match(self.location))

    @property
    def scheme(self) -> str:
        """``https``, ``s3``, …; empty for a path."""
        return self.location.partition("://")[0].lower() if self.is_remote else ""

    @property
    def gives_news_only(self) -> bool:
        """Whether a reading may be only what changed since the one before."""
        return self.service is not None and not self.absence_revokes

    @property
    def revokes_absent(self) -> bool:
        """Whether an indicator leaves as soon as a reading does not list it."""
        if self.absence_revokes is not None:
            return self.absence_revokes
        return self.time_to_live is None and self.service is None

    @property
    def digest(self) -> str:
        """SHA-256 as hex of all that a reading of the same bytes depends on: the settings, and
        what the program makes of them."""
        said = (PARSER_VERSION, EXTRACTOR_VERSION, self.model_dump_json())
        return hashlib.sha256(repr(said).encode()).hexdigest()

    @field_serializer("time_to_live")
    def _iso(self, value: timedelta | None) -> str | None:
        # Not as pydantic writes it: P1Y, which is refused when it is read again.
        return None if value is None else f"P{value.days}DT{value.seconds}S"


class FeedsFile(Section):
    """A whole feeds file."""

    # A location may hold a secret, and what is refused must not end up in a log.
    model_config = ConfigDict(hide_input_in_errors=True)

    sources: tuple[Source, ...] = ()
    hold_back: HoldBackSettings = HoldBackSettings()

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        names = [source.name.lower() for source in self.sources]
        misfits: list[tuple[SettingPath, str]] = [
            (("sources", number, "name"), f"{name!r} is what people add by hand: choose another")
            for number, name in enumerate(names)
            if name == ANALYSTS
        ]
        misfits += [
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
    folder = path.absolute().parent
    return feeds.model_copy(
        update={
            "sources": tuple(_below(folder, one) for one in feeds.sources),
            "hold_back": feeds.hold_back.below(folder),
        }
    )


def _below(folder: Path, source: Source) -> Source:
    if source.is_remote:
        return source
    return source.model_copy(update={"location": str(folder / Path(source.location).expanduser())})
