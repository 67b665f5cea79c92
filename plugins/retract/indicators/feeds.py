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
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    field_serializer,
    model_validator,
)

from retract.errors import FeedConfigurationError
from retract.indicators.hold_back import HoldBack
from retract.indicators.listed import AnyType
from retract.model import ACTIONABLE_DISPOSITIONS, Disposition

MAX_FILE_BYTES: Final = 1024 * 1024

_DURATION = re.compile(r"P(?=.)(\d{1,4}W|(\d{1,5}D)?(T(?=.)(\d{1,6}H)?(\d{1,6}M)?)?)")
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


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError("write an ISO-8601 duration of weeks, days or hours, as P30D")
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


def _actionable(value: Disposition) -> Disposition:
    if value not in ACTIONABLE_DISPOSITIONS:
        raise ValueError("write one of " + ", ".join(ACTIONABLE_DISPOSITIONS))
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


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_positive)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Section):
    """Which column of a CSV source holds what. An empty cell means the source's own setting."""

    value: Text
    type: Text | None = None
    disposition: Text | None = None
    confidence: Text | None = None
    campaign: Text | None = None
    reference: Text | None = None
    first_seen: Text | None = None
    expires_at: Text | None = None


class Source(_Section):
    """One source of indicators."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Fit for a file name; reports and indicators carry it, so keep it."""
    format: Format
    location: Annotated[Text, AfterValidator(_location)]
    """A path relative to the feeds file, * and ** allowed, or an http(s) URL."""
    type: AnyType = "auto"
    """What the values are, where neither the format nor a column says so."""
    disposition: Annotated[Disposition, AfterValidator(_actionable)]
    confidence: Annotated[int, Field(strict=True, ge=0, le=100)]
    time_to_live: Duration | None = None
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
            raise ValueError("columns: a csv source needs to know at least {value: <column>}")
        if not is_csv and (self.columns or self.delimiter != "," or self.header is not True):
            raise ValueError(f"columns, delimiter and header are for csv, not {self.format}")
        if self.format is Format.STIX and self.type != "auto":
            raise ValueError("type: STIX patterns state the type themselves; leave it out")
        return self

    @property
    def is_remote(self) -> bool:
        return bool(_SCHEME.match(self.location))

    @field_serializer("time_to_live")
    def _iso(self, value: timedelta | None) -> str | None:
        return None if value is None else f"P{value.days}DT{value.seconds // 60}M"


class FeedsFile(_Section):
    """A whole feeds file."""

    sources: tuple[Source, ...] = ()
    hold_back: HoldBack = HoldBack()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [source.name.lower() for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"sources: two are named {name!r}; every name must be another")
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


def load_feeds(path: Path | str) -> FeedsFile:
    """Read a feeds file; relative locations become relative to its folder.

    Raises FeedConfigurationError with the line, the source and the reason.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FeedConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise FeedConfigurationError(f"{path}: larger than 1 MiB; is it a feeds file?")
    try:
        text = data.decode("utf-8-sig")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        settings = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        raise FeedConfigurationError(f"{path}: not UTF-8 text") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FeedConfigurationError(f"{path}: not readable YAML: {error}") from error
    if not isinstance(settings, dict):
        raise FeedConfigurationError(f"{path}: a feeds file is a mapping with sources in it")
    try:
        feeds = FeedsFile.model_validate(settings)
    except ValidationError as error:
        problems = [_problem(path, root, settings, one) for one in error.errors()]
        raise FeedConfigurationError("\n".join(problems)) from error
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
        raise FeedConfigurationError(f"{path}: there is no such file")
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


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice: YAML would silently take the last one."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for (key_node, _), key in zip(node.value, keys, strict=True):
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key!r} is written twice", key_node.start_mark
            )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _problem(path: Path, root: yaml.Node | None, settings: dict[str, Any], error: Any) -> str:
    where: tuple[str | int, ...] = error["loc"]
    reason = {"extra_forbidden": "unknown setting", "missing": "missing"}.get(
        error["type"], error["msg"].removeprefix("Value error, ")
    )
    if not where:
        return f"{path}: {reason}"
    return f"{path} line {_line(root, where)}: {_setting(settings, where)}: {reason}"


def _setting(settings: dict[str, Any], where: tuple[str | int, ...]) -> str:
    if where[0] != "sources" or len(where) == 1:
        return ".".join(map(str, where))
    # Below a setting come the names of pydantic's alternatives, but for columns.
    inner = where[2 : 4 if "columns" in where else 3]
    parts = [f"source {_name(settings, where[1])}", ".".join(map(str, inner))]
    return ", ".join(filter(None, parts))


def _name(settings: dict[str, Any], number: Any) -> str:
    source = settings["sources"][number]
    named = source.get("name") if isinstance(source, dict) else None
    return repr(named) if named else f"number {int(number) + 1}"


def _line(node: yaml.Node | None, where: Iterable[str | int]) -> int:
    """The line of the setting, or of the nearest thing around it that the file holds."""
    line = 1
    for part in where:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        else:
            break
    return line
