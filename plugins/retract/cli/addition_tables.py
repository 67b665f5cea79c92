"""An addition as a person at a terminal reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from retract.cli.addition import Addition, NotTaken, Understood
from retract.cli.terminal import disposition_text, hostile, new_table, number_of, value_text
from retract.cli.would_hit import Named, WouldHit
from retract.model import Mode
from retract.policy import Policy
from retract.reports.text import visible, words

MAX_ROWS: Final = 50
"""Values, and lines that were not understood; --json has all."""
_OTHER_WAY: Final = (
    "Held back means: stored with the reason, and matching nothing. Enter the full URLs or the "
    "addresses instead; or, if a listed host is bad as a whole, name it under hold_back: release "
    "in the feeds file."
)


def addition_tables(addition: Addition, policy: Policy) -> RenderableType:
    """What was understood, what was not, what it would hit, and the warnings last."""
    parts: list[RenderableType] = [_headline(addition)]
    parts.append(_values_table(addition.understood[:MAX_ROWS]))
    if len(addition.understood) > MAX_ROWS:
        parts.append(Text(f"… and {len(addition.understood) - MAX_ROWS:,} more: --json gives all"))
    if any(one.held_back for one in addition.understood):
        parts += [Text(_OTHER_WAY, style="yellow"), Text()]
    if addition.not_understood:
        parts.append(_not_understood_table(addition.not_understood[:MAX_ROWS]))
    if len(addition.not_understood) > MAX_ROWS:
        parts.append(Text(f"… and {len(addition.not_understood) - MAX_ROWS:,} more\n"))
    parts += _hit_parts(addition.would_hit, policy)
    parts += [
        Text(f"WARNING: {hostile(warning)}", style="bold red") for warning in addition.warnings
    ]
    return Group(*parts)


def result_text(addition: Addition, policy: Policy, *, asked: bool) -> Text:
    """How it ended, and what comes next."""
    if not addition.written and not asked:
        return Text("Nothing was written: there is nobody to ask. --yes writes without asking.")
    if not addition.written:
        return Text("Nothing was written.")
    will = (
        "will act on it (mode: enforce)"
        if policy.mode is Mode.ENFORCE
        else "will only write down what it would do (mode: preview)"
    )
    text = Text(f"Entered as version {addition.version} of the indicators. ", style="bold")
    text.append(f"The next run of post_delivery_response {will}.", style="not bold")
    if not policy.post_delivery_response:
        text.append(
            "\nBut post_delivery_response is false in the policy: nothing is judged until then.",
            style="yellow",
        )
    return text


def _headline(addition: Addition) -> Text:
    count = len(addition.understood)
    text = Text(
        f"Campaign {hostile(addition.campaign)}: {number_of(count, 'value')}, ", style="bold"
    )
    text.append_text(disposition_text(addition.disposition))
    text.append(
        f", confidence {addition.confidence}, until {addition.expires_at:%Y-%m-%d %H:%M} UTC, "
        f"entered by {hostile(addition.entered_by)}"
    )
    if addition.reference:
        text.append(f" ({hostile(addition.reference)})")
    return text


def _values_table(understood: Sequence[Understood]) -> Table:
    table = new_table()
    table.add_column("type", no_wrap=True)
    table.add_column("value", ratio=6, overflow="fold")
    table.add_column("copies", justify="right")
    table.add_column("", ratio=5, overflow="fold")
    for one in understood:
        table.add_row(
            words(one.type), value_text(one.value), f"{one.copies:,}", Text("\n").join(_notes(one))
        )
    return table


def _notes(one: Understood) -> list[Text]:
    notes = []
    if one.held_back:
        notes.append(Text(f"held back: {visible(one.held_back)}", style="yellow"))
    if one.note:
        notes.append(Text(hostile(one.note)))
    if one.same_host is not None and one.same_host > one.copies:
        notes.append(Text(f"copies that link to this host: {one.same_host:,}", style="yellow"))
    if one.replaces:
        notes.append(Text(f"no longer of campaign {hostile(one.replaces)}", style="yellow"))
    if one.listed_by:
        notes.append(Text(f"in force already: {hostile(', '.join(one.listed_by))}", style="dim"))
    return notes


def _not_understood_table(lines: Sequence[NotTaken]) -> Table:
    table = new_table(title="Not taken")
    table.add_column("line", justify="right")
    table.add_column("text", ratio=5, overflow="fold")
    table.add_column("why", ratio=6, overflow="fold")
    for one in lines:
        table.add_row(str(one.line), Text(hostile(one.text)), Text(hostile(one.reason)))
    return table


def _hit_parts(hit: WouldHit, policy: Policy) -> list[RenderableType]:
    if not hit.collected:
        return [
            Text(
                "No mail of the policy's window was collected yet, so nobody can say what it "
                "would hit.",
                style="yellow",
            )
        ]
    days = (hit.window_end - hit.window_start).days
    text = Text(
        f"Would retract {hit.retracted:,} of {number_of(hit.collected, 'copy', 'copies')} "
        f"delivered in the last {number_of(days, 'day')}",
        style="bold",
    )
    if hit.retracted:
        text.append(f", in {number_of(hit.mailboxes, 'mailbox', 'mailboxes')}; {hit.read:,} read")
    text.append(".")
    if hit.first_delivery and hit.last_delivery:
        text.append(
            f" Delivered {hit.first_delivery:%Y-%m-%d %H:%M} to {hit.last_delivery:%Y-%m-%d %H:%M}"
            " UTC.",
            style="not bold",
        )
    parts: list[RenderableType] = [text]
    if hit.by_action or hit.left_alone or hit.held_back:
        parts.append(_outcomes_table(hit))
    if hit.subjects:
        parts.append(_most_frequent_table(hit))
    if policy.mode is Mode.PREVIEW:
        parts.append(Text("The policy's mode is preview: nothing would be moved."))
    return parts


def _outcomes_table(hit: WouldHit) -> Table:
    table = new_table()
    table.add_column("judged")
    table.add_column("what would be done")
    table.add_column("copies", justify="right")
    table.add_column("mailboxes", justify="right")
    for one in hit.by_action:
        table.add_row(
            disposition_text(one.disposition),
            words(one.action),
            f"{one.copies:,}",
            f"{one.mailboxes:,}",
        )
    for reason, copies in sorted(hit.left_alone.items(), key=lambda item: (-item[1], item[0])):
        table.add_row("", f"nothing: {words(reason)}", f"{copies:,}", "")
    if hit.held_back:
        table.add_row("", "nothing: held back", f"{hit.held_back:,}", "")
    return table


def _most_frequent_table(hit: WouldHit) -> Table:
    table = new_table()
    for title in ("subject", "sender"):
        table.add_column(title, ratio=1, overflow="fold")
        table.add_column("copies", justify="right")
    for number in range(max(len(hit.subjects), len(hit.senders))):
        table.add_row(*_cells(hit.subjects, number), *_cells(hit.senders, number))
    return table


def _cells(named: Sequence[Named], number: int) -> tuple[Text, str]:
    if number >= len(named):
        return Text(), ""
    return Text(hostile(named[number].text or "(none)")), f"{named[number].copies:,}"
