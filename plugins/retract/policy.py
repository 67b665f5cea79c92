"""The policy file: which disposition leads to which action, and what is never touched.

`load_policy` is the only way in from a file. It refuses, with the line and the reason,
whatever it does not know: a setting that is misspelt must not be a setting that is ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

import idna
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)
from yaml.reader import ReaderError

from retract.errors import PolicyError
from retract.model import ACTIONABLE_DISPOSITIONS, Action, Disposition, Mode, Provider

Settings = TypeVar("Settings", bound=BaseModel)

MAX_FILE_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 8
MAX_LOOKBACK: Final = timedelta(days=366)

_DURATION = re.compile(r"P(?=.)(\d{1,6}W|(\d{1,6}D)?(T(?=.)(\d{1,6}H)?(\d{1,6}M)?(\d{1,9}S)?)?)")
_PLAIN_WORD = re.compile(r"\w{1,60}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class SoftDeleteFolder(StrEnum):
    """Where a Microsoft 365 soft delete puts a copy; its vendor has described both."""

    DELETED_ITEMS = "deleted_items"
    RECOVERABLE_ITEMS = "recoverable_items"


def _duration(value: object) -> object:
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError("write an ISO-8601 duration of weeks, days, hours or minutes, as PT15M")
    return value


def _domain(value: str) -> str:
    name = value.strip().removeprefix("@").rstrip(".").lower()
    try:
        return idna.encode(name, uts46=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise ValueError(f"{value!r} is not a domain") from error


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value.strip()):
        raise ValueError(f"{value!r} is not an address; write one as soc@example.com")
    local, _, domain = value.strip().rpartition("@")
    return f"{local.lower()}@{_domain(domain)}"


def _sender(value: str) -> str:
    """An address, or ``@domain`` for every address at exactly that domain."""
    if value.strip().startswith("@"):
        return "@" + _domain(value)
    return _address(value)


@lru_cache(maxsize=4096)
def _normal(address: str) -> str:
    """A mail's or directory's address in the form the policy keeps them in. Never raises."""
    try:
        return _address(address)
    except ValueError:
        return address.strip().lower()


def _actionable(value: object) -> object:
    if value not in ACTIONABLE_DISPOSITIONS:
        raise ValueError(
            "not a disposition that gets an action; write one of "
            + ", ".join(ACTIONABLE_DISPOSITIONS)
        )
    return value


def _sorted_set(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Actions = dict[Annotated[Disposition, BeforeValidator(_actionable)], Action]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...], AfterValidator(_sorted_set)
]
Senders = Annotated[
    tuple[Annotated[str, AfterValidator(_sender)], ...], AfterValidator(_sorted_set)
]
Domains = Annotated[
    tuple[Annotated[str, AfterValidator(_domain)], ...], AfterValidator(_sorted_set)
]


class _Misfits(ValueError):
    """Settings that are each well formed but do not fit together: (path, reason) pairs."""

    def __init__(self, misfits: list[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(path)}: {reason}" for path, reason in misfits))
        self.misfits = misfits


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GoogleWorkspacePolicy(_Section):
    """What differs from ``actions`` for Google Workspace mailboxes."""

    actions: Actions = Field(default_factory=dict)


class Microsoft365Policy(_Section):
    """What differs from ``actions`` for Microsoft 365 mailboxes."""

    actions: Actions = Field(default_factory=dict)
    soft_delete_folder: SoftDeleteFolder = SoftDeleteFolder.DELETED_ITEMS


class ProviderPolicies(_Section):
    """The providers' sections; one that is left out follows ``actions``."""

    google_workspace: GoogleWorkspacePolicy = GoogleWorkspacePolicy()
    microsoft365: Microsoft365Policy = Microsoft365Policy()


class Exempt(_Section):
    """Copies that are judged and reported, but not acted on."""

    mailboxes: Addresses = ()
    senders: Senders = ()
    """Addresses or ``@domain``. The From header is easily forged: keep this short."""
    recipients_domains: Domains = ()
    """Domains of mailbox addresses, sub-domains not included."""

    def covers_mailbox(self, address: str) -> bool:
        return _normal(address) in self.mailboxes

    def covers_sender(self, address: str) -> bool:
        normal = _normal(address)
        return normal in self.senders or "@" + normal.rpartition("@")[2] in self.senders

    def covers_recipient(self, address: str) -> bool:
        return _normal(address).rpartition("@")[2] in self.recipients_domains


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One line of the matrix as it will act, in words for people."""

    provider: Provider
    disposition: Disposition
    action: Action
    lands_in: str
    recoverable_by: str
    recoverable_for: str
    undo: str


class Policy(_Section):
    """A policy file. Frozen; equal files have equal digests whatever their layout."""

    mode: Mode = Mode.PREVIEW
    reevaluate_every: Duration = timedelta(minutes=15)
    lookback: Duration = timedelta(days=30)
    post_delivery_response: StrictBool = True
    phish_submission_response: StrictBool = False
    actions: Actions
    """A disposition that is not named gets no action."""
    providers: ProviderPolicies = ProviderPolicies()
    exempt: Exempt = Exempt()
    protected_mailboxes: Addresses = ()
    confidence_floor: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    """A match counts when its confidence is this or more."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        misfits = [*self._interval_misfits(), *self._google_misfits()]
        if misfits:
            raise _Misfits(misfits)
        return self

    def _interval_misfits(self) -> Iterator[tuple[tuple[str, ...], str]]:
        try:
            _cron(self.reevaluate_every)
        except ValueError as error:
            yield ("reevaluate_every",), str(error)
        if self.lookback < self.reevaluate_every:
            yield (
                ("lookback",),
                "shorter than reevaluate_every: mail delivered in between would never be judged",
            )
        if self.lookback > MAX_LOOKBACK:
            yield ("lookback",), f"longer than {MAX_LOOKBACK.days} days"

    def _google_misfits(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Soft delete exists only in Microsoft 365: stated for Google, or fallen through to it."""
        own = self.providers.google_workspace.actions
        for disposition in ACTIONABLE_DISPOSITIONS:
            if self.action(Provider.GOOGLE_WORKSPACE, disposition) is not Action.SOFT_DELETE:
                continue
            if disposition in own:
                yield (
                    ("providers", "google_workspace", "actions", disposition),
                    "Gmail has no soft_delete; write trash (the user can recover it for 30 days) "
                    "or hard_delete (the user cannot)",
                )
            else:
                yield (
                    ("actions", disposition),
                    "soft_delete is Microsoft 365 only and would apply to Google Workspace too; "
                    "keep it and add what Gmail shall do instead, as "
                    f"providers: {{google_workspace: {{actions: {{{disposition}: trash}}}}}}",
                )

    def action(self, provider: Provider, disposition: Disposition) -> Action:
        """What this policy does with a copy of that disposition at that provider."""
        own = (
            self.providers.google_workspace.actions
            if provider is Provider.GOOGLE_WORKSPACE
            else self.providers.microsoft365.actions
        )
        return own.get(disposition, self.actions.get(disposition, Action.NO_ACTION))

    def protects(self, address: str) -> bool:
        """Whether the mailbox with this address is never touched."""
        return _normal(address) in self.protected_mailboxes

    def apply_to(self, settings: Settings) -> Settings:
        """A connection's settings with what the policy decides about them: where soft delete goes.

        Settings of a provider without soft delete come back as they are.
        """
        if "soft_delete_folder" not in type(settings).model_fields:
            return settings
        folder = self.providers.microsoft365.soft_delete_folder
        return settings.model_copy(update={"soft_delete_folder": folder})

    @property
    def cron(self) -> str:
        """``reevaluate_every`` as a cron expression, for UTC."""
        return _cron(self.reevaluate_every)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the settings as hex; comments, order and layout do not take part."""
        settings = self.model_dump(mode="json")
        canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def describe(self) -> list[PolicyRow]:
        """The matrix as it will act: every provider × actionable disposition, gravest first."""
        return [
            self._row(provider, disposition)
            for provider in Provider
            for disposition in ACTIONABLE_DISPOSITIONS
        ]

    def _row(self, provider: Provider, disposition: Disposition) -> PolicyRow:
        action = self.action(provider, disposition)
        key: tuple[Provider, Action | SoftDeleteFolder] = (provider, action)
        if action is Action.SOFT_DELETE:
            key = (provider, self.providers.microsoft365.soft_delete_folder)
        return PolicyRow(provider, disposition, action, *_FATES[key])

    def remarks(self) -> list[str]:
        """What a reader of the matrix should know besides, one sentence each."""
        remarks = []
        if self.mode is Mode.PREVIEW:
            remarks.append("mode is preview: retractions are written down, nothing is moved.")
        if not self.post_delivery_response:
            remarks.append("post_delivery_response is false: scheduled runs judge nothing.")
        if self.phish_submission_response:
            remarks.append(
                "phish_submission_response is true, but this release has no DAG that reads user "
                "reports: the setting has no effect yet."
            )
        if self.exempt.senders:
            remarks.append(
                "exempt.senders goes by the From header, which is easily forged: mail that "
                "pretends to come from these senders is not retracted either."
            )
        return remarks


_NOTHING = ("stays where it is", "-", "-", "nothing to undo")
_BY_LABELS = "restore the recorded labels"
_BY_MOVE = "move back to the recorded folder"

# Sources: Microsoft Graph message: move and permanentDelete, Exchange Online recoverable items,
# Gmail API users.messages, Google Workspace admin help on restoring deleted mail.
_FATES: Final[dict[tuple[Provider, Action | SoftDeleteFolder], tuple[str, str, str, str]]] = {
    (Provider.MICROSOFT365, Action.NO_ACTION): _NOTHING,
    (Provider.MICROSOFT365, Action.JUNK): (
        "Junk Email",
        "the user",
        "while it stays in the folder",
        _BY_MOVE,
    ),
    (Provider.MICROSOFT365, Action.TRASH): (
        "Deleted Items",
        "the user",
        "while it stays in the folder",
        _BY_MOVE,
    ),
    (Provider.MICROSOFT365, SoftDeleteFolder.DELETED_ITEMS): (
        "Deleted Items",
        "the user",
        "while it stays in the folder",
        _BY_MOVE,
    ),
    (Provider.MICROSOFT365, SoftDeleteFolder.RECOVERABLE_ITEMS): (
        "Recoverable Items (Deletions)",
        "the user, by Recover Deleted Items",
        "14 days, up to 30 where the tenant says so",
        "move back by its immutable id",
    ),
    (Provider.MICROSOFT365, Action.HARD_DELETE): (
        "Recoverable Items (Purges)",
        "an administrator",
        "14 to 30 days, longer under a hold",
        "none by API",
    ),
    (Provider.GOOGLE_WORKSPACE, Action.NO_ACTION): _NOTHING,
    (Provider.GOOGLE_WORKSPACE, Action.JUNK): (
        "Spam",
        "the user",
        "30 days, then Gmail deletes it",
        _BY_LABELS,
    ),
    (Provider.GOOGLE_WORKSPACE, Action.TRASH): (
        "Trash",
        "the user, afterwards an administrator",
        "user 30 days, then administrator 25 days",
        _BY_LABELS,
    ),
    (Provider.GOOGLE_WORKSPACE, Action.HARD_DELETE): (
        "nowhere: deleted past Trash",
        "perhaps an administrator: the vendor's pages disagree for deletion by API",
        "25 days if at all; count on none",
        "none (only inserting a copy saved before would bring it back)",
    ),
}


def _cron(interval: timedelta) -> str:
    """The cron expression of the interval. Raises ValueError where there is none."""
    minutes, rest = divmod(interval, timedelta(minutes=1))
    if not rest and 1 <= minutes < 60 and 60 % minutes == 0:
        return "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
    hours, rest = divmod(interval, timedelta(hours=1))
    if not rest and 1 <= hours <= 24 and 24 % hours == 0:
        return {1: "0 * * * *", 24: "0 0 * * *"}.get(hours, f"0 */{hours} * * *")
    raise ValueError(
        "runs must fall on the same minutes every day: write minutes that divide an hour "
        "(PT5M, PT15M, PT30M) or hours that divide a day (PT1H, PT6H, P1D)"
    )


# ---------------------------------------------------------------------------------------------
# Reading the file

_Path = tuple[str | int, ...]


def load_policy(path: Path | str) -> Policy:
    """Read and check a policy file.

    Raises PolicyError with one line for each thing that is wrong: file, line, setting, reason.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise PolicyError(f"{path}: larger than {MAX_FILE_BYTES // 1024} KiB; is it a policy?")
    return parse_policy(data, name=str(path))


def parse_policy(data: bytes, *, name: str) -> Policy:
    """The same for a file's bytes; ``name`` is what messages call it."""
    try:
        settings, lines = _read_yaml(data)
    except _YamlProblem as problem:
        raise PolicyError(f"{name} line {problem.line}: {problem.reason}") from problem
    try:
        return Policy.model_validate(settings)
    except ValidationError as error:
        problems = sorted(
            (_line_of(path, lines), _shown(path), reason) for path, reason in _problems(error)
        )
    raise PolicyError(
        "\n".join(f"{name} line {line}: {setting}: {reason}" for line, setting, reason in problems)
    )


class _YamlProblem(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def _read_yaml(data: bytes) -> tuple[dict[str, Any], dict[_Path, int]]:
    """The file's plain values, and the line of every key and item by its path."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _YamlProblem(line, "not UTF-8 text") from error
    try:
        _check_events(text)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise _YamlProblem(1, "a policy is a mapping of settings; this file holds none")
        lines: dict[_Path, int] = {(): 1}
        return _plain_mapping(loader, root, (), lines), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not YAML"
        raise _YamlProblem(mark.line + 1 if mark else 1, f"not readable YAML: {reason}") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _YamlProblem(line, "not readable YAML: a control character") from error


def _check_events(text: str) -> None:
    """Refuse what could make reading costly: references and deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _YamlProblem(line, "anchors and aliases (& and *) have no place in a policy")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _YamlProblem(line, f"nested more than {MAX_DEPTH} deep")


def _plain(loader: yaml.SafeLoader, node: yaml.Node, path: _Path, lines: dict[_Path, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(loader, node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        _require_tag(node, "tag:yaml.org,2002:seq")
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
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: _Path, lines: dict[_Path, int]
) -> dict[str, Any]:
    _require_tag(node, "tag:yaml.org,2002:map")
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


def _require_tag(node: yaml.Node, tag: str) -> None:
    if node.tag != tag:
        raise _YamlProblem(node.start_mark.line + 1, f"the tag {node.tag!r} is not allowed")


def _problems(error: ValidationError) -> Iterator[tuple[_Path, str]]:
    for problem in error.errors():
        path: _Path = tuple(part for part in problem["loc"] if part != "[key]")
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, _Misfits):
            yield from cause.misfits
        elif problem["type"] == "extra_forbidden":
            yield path, "unknown setting; known here: " + ", ".join(_known_settings(path[:-1]))
        elif problem["type"] == "missing":
            yield path, "missing"
        elif isinstance(cause, ValueError):
            yield path, str(cause)
        else:
            shown = repr(problem["input"])
            shown = shown if len(shown) <= 60 else shown[:57] + "…"
            yield path, f"{problem['msg']}, not {shown}"


def _known_settings(path: _Path) -> list[str]:
    section: Any = Policy
    for part in path:
        section = section.model_fields[part].annotation
    return list(section.model_fields)


def _shown(path: _Path) -> str:
    """The setting's name for a message of one line, whatever the file calls it."""
    parts = (str(part) for part in path)
    return ".".join(part if _PLAIN_WORD.fullmatch(part) else ascii(part)[:60] for part in parts)


def _line_of(path: _Path, lines: dict[_Path, int]) -> int:
    """The line of the path, or of the nearest thing around it that the file holds."""
    while path not in lines:
        path = path[:-1]
    return lines[path]
