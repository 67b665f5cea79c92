"""A YAML file of settings that a person writes: read within bounds, refused line by line.

A setting that is misspelt must not be a setting that is ignored: whatever is unknown, written
twice or out of range is told with its line, its name and the reason, all at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from yaml.reader import ReaderError

from retract.errors import ConfigurationError
from retract.model import ACTIONABLE_DISPOSITIONS, Disposition

MAX_DEPTH: Final = 8

SettingPath = tuple[str | int, ...]
"""The keys and list positions that lead from the file's root to a setting."""

Model = TypeVar("Model", bound=BaseModel)

_Lines = dict[SettingPath, int]
_Problem = tuple[SettingPath, str]
"""The setting, and what is wrong with it."""

_DURATION = re.compile(r"P(?=.)(\d{1,6}W|(\d{1,6}D)?(T(?=.)(\d{1,6}H)?(\d{1,6}M)?(\d{1,9}S)?)?)")
_PLAIN_WORD = re.compile(r"\w{1,60}")


# --- the words of such files ---


class Section(BaseModel):
    """Settings that belong together; the whole file is one, too."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError(
            "write an ISO-8601 duration of weeks, days, hours or minutes, as P30D or PT15M"
        )
    return value


def _actionable(value: object) -> object:
    if value not in ACTIONABLE_DISPOSITIONS:
        raise ValueError(
            "not a disposition that gets an action; write one of "
            + ", ".join(ACTIONABLE_DISPOSITIONS)
        )
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
"""ISO-8601 without years and months, whose length depends on the calendar."""
ActionableDisposition = Annotated[Disposition, BeforeValidator(_actionable)]


class Misfits(ValueError):
    """Settings that are each well formed but do not fit together: (path, reason) pairs.

    For a model's validators; a path starts at the model that raises it.
    """

    def __init__(self, *misfits: _Problem) -> None:
        super().__init__("; ".join(f"{_dotted(path)}: {reason}" for path, reason in misfits))
        self.misfits = misfits


# --- reading one ---


@dataclass(frozen=True, slots=True)
class SettingsFile(Generic[Model]):
    """One kind of settings file: what it holds, and how its readers are told what is wrong.

    Values are repeated in messages, unless the model has ``hide_input_in_errors``.
    """

    model: type[Model]
    kind: str
    """What messages call it, as "policy"."""
    error: type[ConfigurationError]
    max_bytes: int
    items: Mapping[str, str] = field(default_factory=dict)
    """Lists at the root whose items have names: the list's setting, and the word for one item."""

    def load(self, path: Path) -> Model:
        """Read and check a file. Raises ``error`` with one line for each thing that is wrong."""
        try:
            with path.open("rb") as file:
                data = file.read(self.max_bytes + 1)
        except OSError as error:
            raise self.error(f"{path}: cannot be read: {error.strerror or error}") from error
        if len(data) > self.max_bytes:
            raise self.error(
                f"{path}: larger than {self.max_bytes // 1024} KiB; is it a {self.kind}?"
            )
        return self.parse(data, name=str(path))

    def parse(self, data: bytes, *, name: str) -> Model:
        """The same for a file's bytes; ``name`` is what messages call it."""
        try:
            settings, lines = _read_yaml(data, self.kind)
        except _YamlProblem as problem:
            raise self.error(f"{name} line {problem.line}: {problem.reason}") from problem
        try:
            return self.model.model_validate(settings)
        except ValidationError as error:
            problems = sorted(
                (lines[_held(path, lines)], self._shown(path, settings), reason)
                for path, reason in self._problems(error, lines)
            )
        # Not chained: a traceback would repeat the values that messages may hide.
        raise self.error(
            "\n".join(
                f"{name} line {line}: " + ": ".join(filter(None, (setting, reason)))
                for line, setting, reason in problems
            )
        )

    def _problems(self, error: ValidationError, lines: _Lines) -> Iterator[_Problem]:
        for problem in error.errors():
            stated: SettingPath = problem["loc"]
            # Below a setting come pydantic's own words: [key], the names of alternatives.
            path = _held(stated, lines)
            cause = problem.get("ctx", {}).get("error")
            if isinstance(cause, Misfits):
                yield from ((path + below, reason) for below, reason in cause.misfits)
            elif problem["type"] == "extra_forbidden":
                known = ", ".join(_known_settings(self.model, path[:-1]))
                yield path, f"unknown setting; known here: {known}"
            elif problem["type"] == "missing":
                yield stated, "missing"
            elif isinstance(cause, ValueError):
                yield path, str(cause)
            elif self.model.model_config.get("hide_input_in_errors"):
                yield path, problem["msg"]
            else:
                shown = repr(problem["input"])
                shown = shown if len(shown) <= 60 else shown[:57] + "…"
                yield path, f"{problem['msg']}, not {shown}"

    def _shown(self, path: SettingPath, settings: dict[str, Any]) -> str:
        """The setting's name for a message of one line, whatever the file calls it."""
        match path:
            case (str() as list_, int() as number, *below) if list_ in self.items:
                item = settings[list_][number]
                name = item.get("name") if isinstance(item, dict) else None
                called = repr(name)[:60] if name else f"number {number + 1}"
                return ", ".join(filter(None, (f"{self.items[list_]} {called}", _dotted(below))))
            case _:
                return _dotted(path)


def _dotted(path: Sequence[str | int]) -> str:
    parts = (str(part) for part in path)
    return ".".join(part if _PLAIN_WORD.fullmatch(part) else ascii(part)[:60] for part in parts)


def _held(path: SettingPath, lines: _Lines) -> SettingPath:
    """The path, or that of the nearest thing around it that the file holds."""
    while path not in lines:
        path = path[:-1]
    return path


def _known_settings(section: type[BaseModel], path: SettingPath) -> list[str]:
    """The settings that the section at this path has."""
    for part in path:
        if isinstance(part, str):
            section = next(_models_in(section.model_fields[part].annotation))
    return list(section.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


# --- YAML as plain values, each with its line ---


class _YamlProblem(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def _read_yaml(data: bytes, kind: str) -> tuple[dict[str, Any], _Lines]:
    """The file's plain values, and the line of every key and item by its path."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _YamlProblem(line, "not UTF-8 text") from error
    try:
        _check_events(text, kind)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise _YamlProblem(1, f"a {kind} is a mapping of settings; this file holds none")
        lines: _Lines = {(): 1}
        return _plain_mapping(loader, root, (), lines), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not YAML"
        raise _YamlProblem(mark.line + 1 if mark else 1, f"not readable YAML: {reason}") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _YamlProblem(line, "not readable YAML: a control character") from error


def _check_events(text: str, kind: str) -> None:
    """Refuse what could make reading costly or surprising: references, deep nesting, tags."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _YamlProblem(line, f"anchors and aliases (& and *) have no place in a {kind}")
        if tag := getattr(event, "tag", None):
            raise _YamlProblem(line, f"the tag {tag!r} is not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _YamlProblem(line, f"nested more than {MAX_DEPTH} deep")


def _plain(loader: yaml.SafeLoader, node: yaml.Node, path: SettingPath, lines: _Lines) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(loader, node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for number, item in enumerate(node.value):
            lines[(*path, number)] = item.start_mark.line + 1
            items.append(_plain(loader, item, (*path, number), lines))
        return items
    try:
        return loader.construct_object(node)
    except ValueError as error:  # a date or number that looks like one but is none
        raise _YamlProblem(node.start_mark.line + 1, f"{node.value[:40]!r}: {error}") from error


def _plain_mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: SettingPath, lines: _Lines
) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise _YamlProblem(line, "a key must be a plain word")
        key = key_node.value
        if key in settings:
            first = lines[(*path, key)]
            raise _YamlProblem(line, f"{key!r} is written twice; the first is on line {first}")
        lines[(*path, key)] = line
        settings[key] = _plain(loader, value_node, (*path, key), lines)
    return settings
