"""The plan: which copies are still to be retracted, which are not, and why. Pure.

A plan is a file a person can read. Its digest covers all of it but ``made_at``: the same run
planning again from the same versions and the same ledger makes the same plan, whatever the time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError, model_validator

from retract.errors import PlanError
from retract.lake.store import LakeVersions
from retract.model import (
    ACTIONABLE_DISPOSITIONS,
    Action,
    Copy,
    Disposition,
    Match,
    Mode,
    ObservableType,
    Overruled,
    Place,
    Provider,
    State,
    Verdict,
    Window,
)
from retract.policy import Policy, SentCopies
from retract.retraction.records import CopyState, mailbox_key
from retract.whole_file import write_text_whole


class SkipReason(StrEnum):
    """Why a copy that is judged to be something is left alone."""

    NO_ACTION = "no_action"
    """The policy gives its disposition no action."""
    ALLOWED = "allowed"
    """An allow rule of the policy beats what speaks against it."""
    PROTECTED_MAILBOX = "protected_mailbox"
    EXEMPT_MAILBOX = "exempt_mailbox"
    EXEMPT_RECIPIENT_DOMAIN = "exempt_recipient_domain"
    EXEMPT_SENDER = "exempt_sender"
    SENT = "sent"
    """Its own mailbox sent it, and the policy leaves such copies."""
    RESTORED = "restored"
    """It was put back after we had moved it."""
    GONE = "gone"
    """It was no longer in the mailbox when we looked."""
    ALREADY_DONE = "already_done"
    """This action, or a graver one, was done before."""
    ALREADY_THERE = "already_there"
    """It was found before at a place as grave or graver."""
    ACTION_MISSING = "action_missing"
    """The connection's service does not offer the action, and the policy names no other. Set
    providers.….hard_delete_fallback, or let the connection hard-delete (docs/connections.md)."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(_Record):
    """One match that speaks for the verdict."""

    type: ObservableType
    observable: str
    indicator: str
    disposition: Disposition
    confidence: int
    source: str
    campaign: str = ""
    reference: str = ""

    @classmethod
    def of(cls, match: Match) -> Reason:
        return cls(
            type=match.type,
            observable=match.observable,
            indicator=match.indicator,
            disposition=match.disposition,
            confidence=match.confidence,
            source=match.source,
            campaign=match.campaign,
            reference=match.reference,
        )


class OverruledReason(Reason):
    """One match that would speak for a verdict, but that an allow rule beats."""

    rule: str
    """The rule's value."""
    rule_reason: str
    """Why it is allowed."""

    @classmethod
    def by_rule(cls, overruled: Overruled) -> OverruledReason:
        match = Reason.of(overruled.match).model_dump()
        return cls(**match, rule=overruled.rule, rule_reason=overruled.reason)


class JudgedCopy(_Record):
    """A copy with its verdict, and what the policy does about it."""

    copy_id: str
    provider: Provider
    connection: str
    mailbox_id: str
    mailbox: str
    message_id: str
    internet_message_id: str
    received_at: AwareDatetime
    subject: str
    sender: str
    body_fingerprint: str = ""
    """With subject and sender: what tells this message from another with its Message-ID."""
    disposition: Disposition
    delivered_disposition: Disposition
    action: Action
    instead_of: Action | None = None
    """What the policy would do, did the connection's service offer it; ``action`` is the next best.
    """
    reasons: tuple[Reason, ...] = ()
    """Gravest and most confident first; empty when only the disposition at delivery speaks."""
    overruled: tuple[OverruledReason, ...] = ()
    """What does not count because the policy allows it, in the same order."""

    @property
    def mailbox_key(self) -> str:
        return mailbox_key(self.to_copy())

    def to_copy(self) -> Copy:
        return Copy(
            provider=self.provider,
            connection=self.connection,
            mailbox_id=self.mailbox_id,
            mailbox=self.mailbox,
            message_id=self.message_id,
            internet_message_id=self.internet_message_id,
        )


class PlannedRetraction(JudgedCopy):
    """A copy to be retracted by ``action``."""


class Skipped(JudgedCopy):
    """A copy left alone; ``action`` is what the policy would have done.

    Of one that is allowed, disposition and action are those it would have without allow rules.
    """

    reason: SkipReason


class Plan(_Record):
    """What a run will do, pinned to what it was made from."""

    run_id: str
    made_at: AwareDatetime
    mode: Mode
    window_start: AwareDatetime
    window_end: AwareDatetime
    policy_digest: str
    lake_versions: LakeVersions
    judged: int
    """Copies delivered in the window."""
    matched: int
    """Copies among them that at least one live indicator meets, allowed ones included."""
    retractions: tuple[PlannedRetraction, ...]
    """By mailbox; within one, gravest disposition first, then newest first."""
    skipped: tuple[Skipped, ...]
    digest: str

    @model_validator(mode="after")
    def _unaltered(self) -> Self:
        if self.digest != _digest(self.model_dump(mode="json")):
            raise ValueError("the digest does not fit the content: the plan was altered")
        return self

    def by_mailbox(self) -> dict[str, list[PlannedRetraction]]:
        """The retractions of each mailbox, by its key, in the plan's order."""
        mailboxes: dict[str, list[PlannedRetraction]] = {}
        for retraction in self.retractions:
            mailboxes.setdefault(retraction.mailbox_key, []).append(retraction)
        return mailboxes


def make_plan(
    verdicts: Iterable[Verdict],
    messages: pl.DataFrame,
    states: Mapping[str, CopyState],
    policy: Policy,
    *,
    run_id: str,
    mode: Mode,
    window: Window,
    lake_versions: LakeVersions,
    made_at: datetime,
    missing_actions: Mapping[str, Set[Action]] = MappingProxyType({}),
    aliases: Mapping[tuple[str, str], Sequence[str]] = MappingProxyType({}),
    judged_copies: int | None = None,
) -> Plan:
    """Verdicts × policy × ledger → what is still to do.

    ``messages`` are the copies judged (the lake's columns); those without a verdict may be left out
    where ``judged_copies`` tells how many there are. ``states`` is the ledger's knowledge of
    them by copy id. ``mode`` may narrow the policy's, not widen it. ``missing_actions`` are those
    that a connection's service does not offer, by connection id; ``aliases`` the other addresses
    of mailboxes, by connection and mailbox id: the policy may name them by any.
    """
    verdicts = list(verdicts)
    rows = _rows_of(messages, [verdict.copy_id for verdict in verdicts])
    retractions: list[PlannedRetraction] = []
    skipped: list[Skipped] = []
    for verdict in verdicts:
        row = rows[verdict.copy_id]
        allowed = _is_allowed(verdict, Provider(row["provider"]), policy)
        disposition = verdict.without_rules if allowed else verdict.disposition
        missing = missing_actions.get(row["connection"], frozenset())
        judged = _judged_fields(verdict, disposition, row, policy, missing)
        addresses = (row["mailbox"], *aliases.get((row["connection"], row["mailbox_id"]), ()))
        state = states.get(verdict.copy_id)
        was_sent = row["place"] == Place.SENT
        reason = (
            SkipReason.ALLOWED
            if allowed
            else _skip_reason(judged, addresses, policy, state, was_sent, missing)
        )
        if reason is None:
            retractions.append(PlannedRetraction(**judged))
        else:
            skipped.append(Skipped(**judged, reason=reason))
    content: dict[str, Any] = {
        "run_id": run_id,
        "made_at": made_at,
        "mode": policy.mode.narrowed_by(mode),
        "window_start": window.start,
        "window_end": window.end,
        "policy_digest": policy.digest,
        "lake_versions": lake_versions,
        "judged": messages.height if judged_copies is None else judged_copies,
        "matched": sum(bool(verdict.matches or verdict.overruled) for verdict in verdicts),
        "retractions": tuple(sorted(retractions, key=_order)),
        "skipped": tuple(sorted(skipped, key=_order)),
    }
    # Built twice because the digest is taken of the plan's own JSON form.
    draft = Plan.model_construct(**content, digest="")
    return Plan(**content, digest=_digest(draft.model_dump(mode="json")))


def write_plan(plan: Plan, path: Path) -> None:
    """Write the plan as JSON; the file appears whole or not at all."""
    write_text_whole(path, plan.model_dump_json(indent=1) + "\n")


def read_plan(path: Path) -> Plan:
    """Read a plan back. Raises PlanError when it is missing, damaged or was altered."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PlanError(f"{path}: the plan cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PlanError(
            f"{path}: not a plan this program wrote: {where + ': ' if where else ''}{first['msg']}"
        ) from error


def _rows_of(messages: pl.DataFrame, copy_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    wanted = messages.filter(pl.col("copy_id").is_in(copy_ids)).select(
        "copy_id",
        "provider",
        "connection",
        "mailbox_id",
        "mailbox",
        "message_id",
        "internet_message_id",
        "received_at",
        "subject",
        "body_fingerprint",
        "place",
        sender="sender_address",
    )
    return {row["copy_id"]: row for row in wanted.iter_rows(named=True)}


def _is_allowed(verdict: Verdict, provider: Provider, policy: Policy) -> bool:
    """Whether it is by allow rules that nothing is done with the copy."""
    if not verdict.overruled or policy.action(provider, verdict.disposition).gravity:
        return False
    is_judged = verdict.disposition in ACTIONABLE_DISPOSITIONS
    return not is_judged or bool(policy.action(provider, verdict.without_rules).gravity)


def _judged_fields(
    verdict: Verdict,
    disposition: Disposition,
    row: dict[str, Any],
    policy: Policy,
    missing: Set[Action],
) -> dict[str, Any]:
    provider = Provider(row["provider"])
    wanted = policy.action(provider, disposition)
    next_best = policy.instead_of(provider, wanted) if wanted in missing else None
    return {
        **{name: value for name, value in row.items() if name != "place"},
        "disposition": disposition,
        "delivered_disposition": verdict.delivered_disposition,
        "action": next_best or wanted,
        "instead_of": wanted if next_best else None,
        "reasons": tuple(Reason.of(match) for match in verdict.matches),
        "overruled": tuple(OverruledReason.by_rule(beaten) for beaten in verdict.overruled),
    }


def _skip_reason(
    judged: Mapping[str, Any],
    addresses: Sequence[str],
    policy: Policy,
    state: CopyState | None,
    was_sent: bool,
    missing: Set[Action],
) -> SkipReason | None:
    action = judged["action"]
    by_policy = {
        SkipReason.NO_ACTION: action is Action.NO_ACTION,
        SkipReason.PROTECTED_MAILBOX: policy.protects(*addresses),
        SkipReason.EXEMPT_MAILBOX: policy.exempt.covers_mailbox(*addresses),
        SkipReason.EXEMPT_RECIPIENT_DOMAIN: policy.exempt.covers_recipient(judged["mailbox"]),
        SkipReason.EXEMPT_SENDER: policy.exempt.covers_sender(judged["sender"]),
        SkipReason.SENT: was_sent and policy.sent_copies is SentCopies.LEAVE,
    }
    by_ledger = state is not None and {
        SkipReason.RESTORED: state.exempt,
        SkipReason.GONE: state.state is State.GONE,
        SkipReason.ALREADY_THERE: state.settled(action) and state.state is State.ALREADY_THERE,
        SkipReason.ALREADY_DONE: state.settled(action),
    }
    by_service = {SkipReason.ACTION_MISSING: action in missing}
    reasons = by_policy | (by_ledger or {}) | by_service
    return next((reason for reason, holds in reasons.items() if holds), None)


def _order(judged: JudgedCopy) -> tuple[str, int, float, str]:
    return (
        judged.mailbox_key,
        -judged.disposition.severity,
        -judged.received_at.timestamp(),
        judged.copy_id,
    )


def _digest(content: dict[str, Any]) -> str:
    """SHA-256 of the plan's JSON form without ``made_at`` and the digest itself, as hex."""
    covered = {k: v for k, v in content.items() if k not in ("made_at", "digest")}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
