"""The command ``policy check``: what is wrong with a policy file, or what it means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from retract.allow import AllowRule
from retract.cli.terminal import console, disposition_text, new_table
from retract.model import Provider
from retract.policy import Policy, load_policy
from retract.reports.text import PROVIDER_NAMES, visible, words


def check_policy(file: Path, now: datetime) -> None:
    """Print a policy's matrix. Raises PolicyError that says what is wrong with the file."""
    console().print(policy_tables(load_policy(file), now))


def policy_tables(policy: Policy, now: datetime) -> RenderableType:
    """The matrix as it will act, and what else a reader should know."""
    parts: list[RenderableType] = [
        Text(
            f"mode {policy.mode} · judges anew every {_span(policy.reevaluate_every)} "
            f"· mail of the last {_span(policy.lookback)} "
            f"· matches of confidence {policy.confidence_floor} or more"
        ),
        Text(),
    ]
    for provider in Provider:
        table = new_table(title=PROVIDER_NAMES[provider])
        for column in (
            "disposition",
            "action",
            "lands in",
            "who can recover it",
            "how long",
            "undo",
        ):
            table.add_column(column)
        for row in policy.describe():
            if row.provider is provider:
                table.add_row(
                    disposition_text(row.disposition),
                    words(row.action),
                    Text(row.lands_in),
                    Text(row.recoverable_by),
                    Text(row.recoverable_for),
                    Text(row.undo),
                )
        parts.append(table)
    exempt = policy.exempt
    left_alone = {
        "protected mailboxes": policy.protected_mailboxes,
        "exempt mailboxes": exempt.mailboxes,
        "exempt senders": exempt.senders,
        "exempt recipients' domains": exempt.recipients_domains,
    }
    parts += [Text(f"{name}: {visible(', '.join(v))}") for name, v in left_alone.items() if v]
    if policy.allow:
        parts.append(_allow_table(policy.allow, now))
    parts += [Text(f"note: {visible(remark)}", style="yellow") for remark in policy.remarks()]
    return Group(*parts)


def _allow_table(rules: Sequence[AllowRule], now: datetime) -> Table:
    """What no indicator may speak against; rules whose time is over are told as such."""
    table = new_table(title="Allowed: beats any indicator")
    table.add_column("value", overflow="fold", ratio=4)
    table.add_column("type", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=4)
    table.add_column("until (UTC)", no_wrap=True)
    for rule in rules:
        until = f"{rule.until:%Y-%m-%d %H:%M}" if rule.until else "-"
        void = rule.is_void(now)
        table.add_row(
            Text(visible(rule.value)),
            Text(words(rule.type)),
            Text(visible(rule.reason)),
            Text(f"void since {until}" if void else until, style="yellow" if void else ""),
        )
    return table


def _span(length: timedelta) -> str:
    """The length in the largest unit that divides it: "15 minutes", "30 days"."""
    units = (
        ("day", timedelta(days=1)),
        ("hour", timedelta(hours=1)),
        ("minute", timedelta(minutes=1)),
    )
    for name, unit in units:
        if not length % unit:
            number = length // unit
            return name if number == 1 else f"{number} {name}s"
    return str(length)
