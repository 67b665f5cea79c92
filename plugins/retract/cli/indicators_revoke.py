"""The command ``indicators revoke``: take back what analysts entered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl
from rich.console import Group, RenderableType
from rich.text import Text

from retract.cli.ask import confirmed
from retract.cli.installation import Installation
from retract.cli.occurrences import occurrences
from retract.cli.opinions import current_of, of_campaign, value_of
from retract.cli.record import Record
from retract.cli.terminal import (
    console,
    hostile,
    new_table,
    number_of,
    step,
    value_text,
)
from retract.errors import ConfigurationError
from retract.indicators import analysts
from retract.indicators.analysts import TypedValue
from retract.indicators.feeds import ANALYSTS
from retract.lake.store import Lake
from retract.model import ObservableType, State
from retract.reports.json_text import json_text
from retract.reports.text import visible, words


class Entry(Record):
    """One value that analysts entered, and that is to be revoked."""

    type: ObservableType
    value: str
    campaign: str
    reference: str
    also_listed_by: tuple[str, ...]
    """Sources in whose opinion it stays in force."""


class Revocation(Record):
    """What ``indicators revoke --json`` writes."""

    entries: tuple[Entry, ...]
    not_entered: tuple[str, ...]
    """Of the values that analysts did not enter, who lists them and what to do, a line each."""
    retracted: int
    """Copies that the entries meet and that are retracted; revoking leaves them where they are."""
    written: bool = False
    version: int | None = None


def run_revoke(
    values: Sequence[str],
    *,
    kind: ObservableType | None,
    campaign: str | None,
    yes: bool,
    json: bool,
    clock: Callable[[], datetime],
) -> bool:
    """Whether anything was written. Raises RetractError for what is no value, or cannot be read."""
    if bool(values) == (campaign is not None):
        raise ConfigurationError("name values, or a campaign with --campaign")
    now = clock()
    asked = [value_of(text, kind) for text in values]
    notes = console(stderr=True)
    shown = notes if json else console()
    with step(notes, "Looking"):
        installation = Installation.open()
        rows = _entered(installation.lake, asked, campaign)
        revocation = _revocation(installation, rows, asked, now)
    shown.print(revocation_tables(revocation))
    if revocation.entries:
        question = f"Revoke {number_of(len(revocation.entries), 'value')}? [y/N] "
        answer = yes or confirmed(question, stdin_is_read=False)
        if answer:
            snapshot = analysts.revoked([(one.type, one.value) for one in revocation.entries], now)
            with step(notes, "Writing"):
                report = analysts.write(
                    installation.lake, snapshot, clock(), installation.hold_back(now)
                )
            update = {"written": True, "version": report.version}
            revocation = revocation.model_copy(update=update)
        shown.print(result_text(revocation, asked=answer is not None))
    if json:
        sys.stdout.write(json_text(revocation))
    return revocation.written


def revocation_tables(revocation: Revocation) -> RenderableType:
    """What would be revoked, and what would not."""
    parts: list[RenderableType] = []
    if revocation.entries:
        table = new_table(title="Entered by analysts, and in force")
        table.add_column("type", no_wrap=True)
        table.add_column("value", ratio=5, overflow="fold")
        table.add_column("campaign", ratio=2, overflow="fold")
        table.add_column("", ratio=4, overflow="fold")
        for one in revocation.entries:
            note = Text(hostile(one.reference), style="dim")
            if one.also_listed_by:
                others = visible(", ".join(one.also_listed_by))
                note.append(f"\nstays in force: listed by {others}", style="yellow")
            table.add_row(words(one.type), value_text(one.value), Text(hostile(one.campaign)), note)
        parts.append(table)
    parts += [Text(line, style="yellow") for line in revocation.not_entered]
    return Group(*parts)


def result_text(revocation: Revocation, *, asked: bool) -> Text:
    """How it ended, and what it does not do."""
    if not revocation.written:
        why = "" if asked else ": there is nobody to ask. --yes writes without asking"
        return Text(f"Nothing was written{why}.")
    text = Text(f"Revoked in version {revocation.version} of the indicators.", style="bold")
    text.append(
        f"\nCopies that they meet and that have been retracted: {revocation.retracted:,}. Revoking "
        "leaves these where they are: restoring is a step of its own.",
        style="not bold",
    )
    return text


def _entered(lake: Lake, asked: Sequence[TypedValue], campaign: str | None) -> pl.DataFrame:
    """The analysts' rows in question that are in force or held back."""
    if campaign is not None:
        rows = of_campaign(lake, campaign).filter(pl.col("active"), source=ANALYSTS)
        if rows.is_empty():
            raise ConfigurationError(
                f"no entry of analysts that is in force belongs to a campaign {campaign[:80]!r}; "
                "indicators show --campaign tells what there is of it"
            )
        return rows
    there = lake.scan_indicators(lake.versions().indicators)
    wanted = pl.LazyFrame(asked, schema={"type": pl.String, "value": pl.String}, orient="row")
    mine = there.filter(pl.col("active"), source=ANALYSTS)
    return mine.join(wanted, on=["type", "value"], how="semi").sort("type", "value").collect()


def _revocation(
    installation: Installation, rows: pl.DataFrame, asked: Sequence[TypedValue], now: datetime
) -> Revocation:
    found = {(row["type"], row["value"]) for row in rows.iter_rows(named=True)}
    missing = [value for value in asked if value not in found]
    schema = {"type": pl.String, "value": pl.String}
    wanted = pl.DataFrame([*asked, *found], schema=schema, orient="row").unique()
    others: dict[tuple[str, str], list[str]] = {}
    in_force: dict[tuple[str, str], list[str]] = {}
    listed = current_of(installation.lake, wanted, now)
    for row in listed.filter(pl.col("source") != ANALYSTS).sort("source").iter_rows(named=True):
        others.setdefault((row["type"], row["value"]), []).append(row["source"])
        if row["held_back"] is None:
            in_force.setdefault((row["type"], row["value"]), []).append(row["source"])
    met = occurrences(installation, rows, now)
    return Revocation(
        entries=tuple(
            Entry(
                type=row["type"],
                value=row["value"],
                campaign=row["campaign"],
                reference=row["reference"],
                also_listed_by=tuple(in_force.get((row["type"], row["value"]), ())),
            )
            for row in rows.iter_rows(named=True)
        ),
        not_entered=tuple(
            _not_entered(value, others.get(value, []), installation) for value in missing
        ),
        retracted=met.by_state.get(State.DONE, 0),
    )


def _not_entered(value: TypedValue, sources: Sequence[str], installation: Installation) -> str:
    shown = hostile(value[1])
    if not sources:
        return f"{shown}: no source lists it now, and no analyst entered it."
    return (
        f"{shown}: not entered by analysts, but listed by {visible(', '.join(sources))}. To "
        f"overrule that, write an allow rule into {visible(str(installation.settings.policy_file))}"
        "; to end it, see the source itself, or take it out of the feeds file."
    )
