"""The policy file: which disposition leads to which action, and what is never touched.

`load_policy` is the only way in from a file. It refuses, with the line and the reason,
whatever it does not know.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

import idna
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StrictBool,
    model_validator,
)

from retract.allow import Allow, AllowRule, no_rule_twice
from retract.errors import PolicyError
from retract.model import ACTIONABLE_DISPOSITIONS, Action, Disposition, Mode, Provider
from retract.settings_file import (
    ActionableDisposition,
    Duration,
    Misfits,
    Section,
    SettingPath,
    SettingsFile,
)

Settings = TypeVar("Settings", bound=BaseModel)

MAX_LOOKBACK: Final = timedelta(days=366)

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class SoftDeleteFolder(StrEnum):
    """Where a Microsoft 365 soft delete puts a copy; its vendor has described both."""

    DELETED_ITEMS = "deleted_items"
    RECOVERABLE_ITEMS = "recoverable_items"


class SentCopies(StrEnum):
    """What is done with the copies that their own mailbox sent."""

    LEAVE = "leave"
    """They are judged and reported. Who answers a phish, or passes it on, quotes its links."""
    RETRACT = "retract"
    """As any other: right where accounts are taken over and send."""


class HardDeleteFallback(StrEnum):
    """What becomes of a hard delete that a connection's service does not offer."""

    REFUSE = "refuse"
    """The copy is left alone, and the report says so."""
    SOFT_DELETE = "soft_delete"
    """Microsoft 365 only."""
    TRASH = "trash"
    """Google Workspace only."""


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


def _sorted_set(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


Actions = dict[ActionableDisposition, Action]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...], AfterValidator(_sorted_set)
]
Senders = Annotated[
    tuple[Annotated[str, AfterValidator(_sender)], ...], AfterValidator(_sorted_set)
]
Domains = Annotated[
    tuple[Annotated[str, AfterValidator(_domain)], ...], AfterValidator(_sorted_set)
]


class GoogleWorkspacePolicy(Section):
    """What differs from ``actions`` for Google Workspace mailboxes."""

    actions: Actions = Field(default_factory=dict)
    hard_delete_fallback: Literal[HardDeleteFallback.REFUSE, HardDeleteFallback.TRASH] = (
        HardDeleteFallback.REFUSE
    )
    """For connections without ``allow_hard_delete``."""


class Microsoft365Policy(Section):
    """What differs from ``actions`` for Microsoft 365 mailboxes."""

    actions: Actions = Field(default_factory=dict)
    soft_delete_folder: SoftDeleteFolder = SoftDeleteFolder.DELETED_ITEMS
    hard_delete_fallback: Literal[HardDeleteFallback.REFUSE, HardDeleteFallback.SOFT_DELETE] = (
        HardDeleteFallback.REFUSE
    )
    """For national clouds, whose Graph has no permanent deletion."""


class ProviderPolicies(Section):
    """The providers' sections; one that is left out follows ``actions``."""

    google_workspace: GoogleWorkspacePolicy = GoogleWorkspacePolicy()
    microsoft365: Microsoft365Policy = Microsoft365Policy()


class Exempt(Section):
    """Copies that are judged and reported, but not acted on."""

    mailboxes: Addresses = ()
    """Each named by any of its addresses."""
    senders: Senders = ()
    """Addresses or ``@domain``. The From header is easily forged: keep this short."""
    recipients_domains: Domains = ()
    """Domains of mailboxes' primary addresses, sub-domains not included."""

    def covers_mailbox(self, *addresses: str) -> bool:
        """Whether the mailbox with these addresses is named by any of them."""
        return any(_normal(address) in self.mailboxes for address in addresses)

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


class Policy(Section):
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
    sent_copies: SentCopies = SentCopies.LEAVE
    confidence_floor: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    """A match counts when its confidence is this or more."""
    allow: Annotated[tuple[AllowRule, ...], AfterValidator(no_rule_twice)] = ()
    """What no indicator may speak against; see `retract.allow` for what each rule covers."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        misfits = [*self._interval_misfits(), *self._google_misfits()]
        if misfits:
            raise Misfits(*misfits)
        return self

    def _interval_misfits(self) -> Iterator[tuple[SettingPath, str]]:
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

    def _google_misfits(self) -> Iterator[tuple[SettingPath, str]]:
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

    def actions_of(self, provider: Provider) -> frozenset[Action]:
        """Everything this policy does at that provider."""
        return frozenset(self.action(provider, each) for each in ACTIONABLE_DISPOSITIONS)

    def instead_of(self, provider: Provider, missing: Action) -> Action | None:
        """What is done where a connection's service does not offer an action; None for nothing."""
        if missing is not Action.HARD_DELETE:
            return None
        fallback = (
            self.providers.google_workspace.hard_delete_fallback
            if provider is Provider.GOOGLE_WORKSPACE
            else self.providers.microsoft365.hard_delete_fallback
        )
        return None if fallback is HardDeleteFallback.REFUSE else Action(fallback.value)

    def protects(self, *addresses: str) -> bool:
        """Whether the mailbox with these addresses is never touched."""
        return any(_normal(address) in self.protected_mailboxes for address in addresses)

    def allowed(self, now: datetime) -> Allow:
        """The allow rules in force at ``now``."""
        return Allow.at(self.allow, now)

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
        if self.sent_copies is SentCopies.RETRACT:
            remarks.append(
                "sent_copies is retract: what a mailbox sent is retracted from it as well, a "
                "person's own answer that quotes a bad link included."
            )
        for provider, where in _WITHOUT_HARD_DELETE.items():
            if Action.HARD_DELETE in self.actions_of(provider):
                instead = self.instead_of(provider, Action.HARD_DELETE)
                does = f"does {instead} instead" if instead else "leaves the copy alone"
                remarks.append(
                    f"hard_delete for {provider} {does} in {where}: hard_delete_fallback says so."
                )
        if self.exempt.senders:
            remarks.append(
                "exempt.senders goes by the From header, which is easily forged: mail that "
                "pretends to come from these senders is not retracted either."
            )
        return remarks


_WITHOUT_HARD_DELETE: Final = {
    Provider.MICROSOFT365: "national clouds, which do not offer it",
    Provider.GOOGLE_WORKSPACE: "connections without allow_hard_delete",
}

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


_FILE: Final = SettingsFile(
    Policy,
    kind="policy",
    error=PolicyError,
    max_bytes=64 * 1024,
    items={"allow": "allow rule"},
)


def load_policy(path: Path | str) -> Policy:
    """Read and check a policy file.

    Raises PolicyError with one line for each thing that is wrong: file, line, setting, reason.
    """
    return _FILE.load(Path(path))


def parse_policy(data: bytes, *, name: str) -> Policy:
    """The same for a file's bytes; ``name`` is what messages call it."""
    return _FILE.parse(data, name=name)
