"""What is known of a value or a campaign, as a person at a terminal reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from retract.cli.occurrences import NOT_ACTED_ON, Occurrences
from retract.cli.opinions import SourceOpinion
from retract.cli.shown import CampaignShown, CoveringRule, ValueShown
from retract.cli.terminal import disposition_text, hostile, new_table, number_of, utc, value_text
from retract.model import State
from retract.reports.text import visible, words

MAX_ROWS: Final = 50
"""Opinions; --json has all."""

_WORDS: Final = {
    State.PLANNED.value: "begun, outcome open",
    State.DONE.value: "retracted",
    State.ALREADY_THERE.value: "found there already",
    State.GONE.value: "gone from the mailbox",
    State.SKIPPED.value: "left alone by a run",
    State.FAILED.value: "failed",
    State.RESTORED.value: "restored",
    NOT_ACTED_ON: "not acted on",
}


def value_tables(shown: ValueShown) -> RenderableType:
    """Who says so, since when, and what it has hit."""
    parts: list[RenderableType] = [
        Text.assemble((f"{words(shown.type)} ", "bold"), value_text(shown.value))
    ]
    if shown.opinions:
        parts += _opinions(shown.opinions, with_value=any(one.covers for one in shown.opinions))
    else:
        parts.append(Text("No source lists it, or anything that covers it."))
    if shown.allowed_by:
        parts.append(_rule_text(shown.allowed_by))
    return Group(*parts, *_occurrences(shown.occurs, "It occurs in"))


def campaign_tables(shown: CampaignShown) -> RenderableType:
    """Its indicators and what they have hit."""
    in_force = sum(one.in_force for one in shown.opinions)
    head = Text(f"Campaign {hostile(shown.campaign)}: ", style="bold")
    head.append(f"{number_of(len(shown.opinions), 'indicator')}, {in_force:,} in force")
    copies = shown.occurs.by_indicator | shown.held_back
    return Group(
        head,
        *_opinions(shown.opinions, with_value=True, copies=copies),
        *_occurrences(shown.occurs, "In force or not, but for what is held back, they meet"),
    )


def _opinions(
    opinions: Sequence[SourceOpinion], *, with_value: bool, copies: dict[str, int] | None = None
) -> Iterable[RenderableType]:
    table = new_table()
    if with_value:
        table.add_column("value", ratio=5, overflow="fold")
    table.add_column("source", ratio=3, overflow="fold")
    table.add_column("says", no_wrap=True)
    table.add_column("since (UTC)", no_wrap=True)
    table.add_column("in force", ratio=4, overflow="fold")
    if copies is not None:
        table.add_column("copies", justify="right")
    for one in opinions[:MAX_ROWS]:
        cells: list[RenderableType] = [_value_cell(one)] if with_value else []
        cells += [_source_cell(one), _says_cell(one), _since_cell(one), _force_cell(one)]
        if copies is not None:
            cells.append(f"{copies.get(one.indicator_id, 0):,}")
        table.add_row(*cells)
    yield table
    if len(opinions) > MAX_ROWS:
        yield Text(f"… and {len(opinions) - MAX_ROWS:,} more: --json gives all\n")


def _value_cell(one: SourceOpinion) -> Text:
    text = value_text(one.value)
    kind = f"{words(one.type)} that covers it" if one.covers else words(one.type)
    return text.append(f"\n{kind}", style="dim")


def _source_cell(one: SourceOpinion) -> Text:
    text = Text(visible(one.source), style="bold")
    said = {
        "campaign ": one.campaign,
        "": one.reference,
        "tags ": ", ".join(one.tags),
        "sightings ": f"{one.sightings:,}" if one.sightings else "",
    }
    for what, saying in said.items():
        if saying:
            text.append(f"\n{what}{hostile(saying)}", style="not bold dim")
    return text


def _says_cell(one: SourceOpinion) -> Text:
    return disposition_text(one.disposition).append(f"\nconfidence {one.confidence}", style="dim")


def _since_cell(one: SourceOpinion) -> Text:
    text = Text(utc(one.first_seen))
    return text.append(f"\nlast {utc(one.last_seen)}", style="dim")


def _force_cell(one: SourceOpinion) -> Text:
    if not one.in_force:
        return Text(f"no: {visible(one.not_because or '')}", style="yellow")
    return Text("yes" if one.expires_at is None else f"until {utc(one.expires_at)}", style="green")


def _rule_text(rule: CoveringRule) -> Text:
    until = "" if rule.until is None else f", until {utc(rule.until)}"
    text = Text("Allowed by the policy: ", style="bold")
    text.append(f"{words(rule.type)} ", style="not bold").append_text(value_text(rule.value))
    return text.append(f" ({visible(rule.reason)}{until}). No indicator counts against it.")


def _occurrences(occurs: Occurrences, verb: str) -> Iterable[RenderableType]:
    if not occurs.copies:
        yield Text(f"{verb} no copy that the lake remembers.")
        return
    text = Text(f"{verb} {number_of(occurs.copies, 'copy', 'copies')}", style="bold")
    text.append(
        f" in {number_of(occurs.mailboxes, 'mailbox', 'mailboxes')}, delivered "
        f"{utc(occurs.first_delivery)} to {utc(occurs.last_delivery)} UTC: ",
        style="not bold",
    )
    states = (f"{copies:,} {_WORDS[word]}" for word, copies in occurs.by_state.items())
    yield text.append(", ".join(states) + ".", style="not bold")
    table = new_table(title="The newest")
    table.add_column("delivered", no_wrap=True)
    for title in ("mailbox", "sender", "subject"):
        table.add_column(title, ratio=1, overflow="fold")
    table.add_column("state", no_wrap=True)
    for one in occurs.examples:
        table.add_row(
            utc(one.received_at),
            *(Text(hostile(text)) for text in (one.mailbox, one.sender, one.subject)),
            _WORDS[one.state],
        )
    yield table
