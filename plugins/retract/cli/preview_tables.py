"""A preview as a person at a terminal reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from retract.cli.preview import (
    Preview,
    PreviewMatch,
    PreviewMessage,
    PreviewOverruled,
    PreviewSummary,
)
from retract.cli.terminal import disposition_text, hostile, new_table, number_of
from retract.indicators.snapshot import Snapshot
from retract.model import Action, Disposition
from retract.reevaluation.held_back import HeldBackHits
from retract.reports.text import PROVIDER_NAMES, clipped, defanged, visible, words
from retract.retraction.plan import SkipReason

MAX_ROWS: Final = 50
"""Messages in the table; the JSON file and the report have all."""
MAX_HELD_BACK: Final = 10


def preview_tables(preview: Preview) -> RenderableType:
    """What would be done with which message, why, and all in numbers."""
    summary = preview.summary
    shown = [m for m in preview.messages if m.disposition is not Disposition.NONE]
    shown.sort(key=lambda m: (-m.disposition.severity, m.action is Action.NO_ACTION))
    parts: list[RenderableType] = [_headline(summary), Text()]
    if shown:
        parts += [_messages_table(shown[:MAX_ROWS])]
    if len(shown) > MAX_ROWS:
        parts += [Text(f"… and {len(shown) - MAX_ROWS:,} more: --json and --report give all\n")]
    unread = [m for m in preview.messages if m.problems]
    if unread:
        parts += [_problems_table(unread[:MAX_ROWS])]
    if len(unread) > MAX_ROWS:
        parts += [Text(f"… and {len(unread) - MAX_ROWS:,} more\n")]
    parts += [_counts_table(preview.messages), _sources_table(summary)]
    if summary.held_back.top:
        parts += [_held_back_table(summary.held_back)]
    return Group(*parts)


def rejected_lines(snapshots: Sequence[Snapshot]) -> Text:
    """What in the feeds is broken; empty when nothing is."""
    lines = []
    for snapshot in snapshots:
        if snapshot.facts.rejected:
            examples = "; ".join(
                f"{where}: {why}" for where, why in snapshot.facts.rejected_examples[:3]
            )
            broken = number_of(snapshot.facts.rejected, "broken entry", "broken entries")
            said = f"{snapshot.source}: {broken}: "
            lines.append(visible(said) + clipped(defanged(examples), 300) + "\n")
    return Text("".join(lines), style="yellow")


def _headline(summary: PreviewSummary) -> Text:
    of = f"{summary.retracted:,} of {summary.messages:,} messages"
    text = Text(f"Would retract {of}" if summary.retracted else f"Would retract none of {of[5:]}")
    text.stylize("bold")
    text.append(f" from {PROVIDER_NAMES[summary.provider]} mailboxes. Nothing was touched.")
    return text


def _messages_table(messages: Sequence[PreviewMessage]) -> Table:
    table = new_table()
    table.add_column("message", ratio=5, overflow="fold")
    table.add_column("judged", no_wrap=True)
    table.add_column("action", no_wrap=True)
    table.add_column("why", ratio=5, overflow="fold")
    for message in messages:
        action = words(message.action)
        if message.left_alone:
            action += f"\n({words(message.left_alone)})"
        table.add_row(
            _message(message), disposition_text(message.disposition), Text(action), _why(message)
        )
    return table


def _message(message: PreviewMessage) -> Text:
    text = Text(hostile(message.subject or "(no subject)"), style="bold")
    text.append(f"\n{hostile(message.sender or '(no sender)')}\n", style="not bold")
    text.append(_entry(message), style="not bold dim")
    return text


def _entry(message: PreviewMessage) -> str:
    number = "" if message.number is None else f" no. {message.number}"
    return visible(message.source) + number


def _why(message: PreviewMessage) -> Text:
    parts = []
    if message.matches:
        parts.append(_first_match(message.matches))
    elif message.left_alone is not SkipReason.ALLOWED:
        parts.append(Text("judged so at delivery"))
    if message.overruled:
        parts.append(_first_overruled(message.overruled))
    return Text("\n").join(parts)


def _first_match(matches: Sequence[PreviewMatch]) -> Text:
    first = matches[0]
    text = Text(f"{words(first.type)} {hostile(first.indicator)}")
    text.append(f"\n{visible(first.source)}, confidence {first.confidence}", style="dim")
    if first.campaign:
        text.append(f", campaign {hostile(first.campaign)}", style="dim")
    if len(matches) > 1:
        text.append(f"\nand {len(matches) - 1} more", style="dim")
    return text


def _first_overruled(overruled: Sequence[PreviewOverruled]) -> Text:
    first = overruled[0]
    text = Text(f"does not count: {words(first.type)} {hostile(first.indicator)}")
    text.append(f"\n{visible(first.source)}; allowed by {hostile(first.rule)}", style="dim")
    text.append(f": {visible(first.rule_reason)}", style="dim")
    if len(overruled) > 1:
        text.append(f"\nand {len(overruled) - 1} more", style="dim")
    return text


def _problems_table(messages: Sequence[PreviewMessage]) -> Table:
    table = new_table(title="Not read, or not wholly")
    table.add_column("message", overflow="fold")
    table.add_column("problem", overflow="fold")
    for message in messages:
        table.add_row(Text(_entry(message)), Text(hostile("; ".join(message.problems))))
    return table


def _counts_table(messages: Sequence[PreviewMessage]) -> Table:
    counts = Counter((message.disposition, message.action) for message in messages)
    table = new_table()
    table.add_column("judged")
    table.add_column("action")
    table.add_column("messages", justify="right")
    for (disposition, action), number in sorted(
        counts.items(), key=lambda item: (-item[0][0].severity, -item[0][1].gravity)
    ):
        table.add_row(disposition_text(disposition), words(action), f"{number:,}")
    return table


def _sources_table(summary: PreviewSummary) -> Table:
    table = new_table()
    table.add_column("feed", overflow="fold")
    for column in ("indicators", "held back", "broken", "messages met"):
        table.add_column(column, justify="right")
    for source in summary.sources:
        numbers = (source.indicators, source.held_back, source.rejected, source.matched)
        table.add_row(Text(visible(source.source)), *(f"{number:,}" for number in numbers))
    return table


def _held_back_table(held_back: HeldBackHits) -> Table:
    """What good mail names too, and so matches nothing."""
    table = new_table(title="Held back: what would have been met")
    table.add_column("indicator", ratio=4, overflow="fold")
    table.add_column("why", ratio=5, overflow="fold")
    table.add_column("feed", ratio=2, overflow="fold")
    table.add_column("messages", justify="right")
    for hit in held_back.top[:MAX_HELD_BACK]:
        value = Text(f"{words(hit.type)} {hostile(hit.value)}")
        feeds = Text(visible(", ".join(hit.sources)))
        table.add_row(value, Text(hostile(hit.reason)), feeds, f"{hit.copies:,}")
    if held_back.values > MAX_HELD_BACK:
        more = held_back.values - MAX_HELD_BACK
        table.caption = f"… and {more:,} more: --json and --report name the first 100"
    return table
