"""The command ``policy check``: what is wrong with a policy file, or what it means."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from retract.cli.terminal import console, disposition_text, new_table
from retract.model import Provider
from retract.policy import Policy, load_policy
from retract.reports.text import PROVIDER_NAMES, visible, words


def check_policy(file: Path) -> None:
    """Print a policy's matrix. Raises PolicyError that says what is wrong with the file."""
    console().print(policy_tables(load_policy(file)))


def policy_tables(policy: Policy) -> RenderableType:
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
    parts += [Text(f"note: {visible(remark)}", style="yellow") for remark in policy.remarks()]
    return Group(*parts)


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
