"""The command ``indicators sources``: how each source was last read, and what it gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime

from pydantic import AwareDatetime
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from retract.cli.installation import Installation
from retract.cli.record import Record
from retract.cli.terminal import console, new_table, step, utc
from retract.indicators.feeds import ANALYSTS
from retract.lake.source_state import SourceState
from retract.reports.build import sources_of
from retract.reports.json_text import json_text
from retract.reports.model import SourceFacts
from retract.reports.text import defanged, visible


class SourceShown(Record):
    """One source, by the feeds file, the lake's states and its indicators."""

    source: str
    configured: bool
    """The feeds file names it and does not disable it, or it is the analysts' own."""
    read_at: AwareDatetime | None
    """When it was last read well."""
    listed: int
    """Indicators it listed then."""
    in_force: int
    held_back: int
    tried_at: AwareDatetime | None
    failing_since: AwareDatetime | None
    error: str | None
    """Why the last try failed."""


class Sources(Record):
    """What ``indicators sources --json`` writes."""

    indicators_version: int | None
    sources: tuple[SourceShown, ...]


def run_sources(*, json: bool, clock: Callable[[], datetime]) -> None:
    """Print it. Raises RetractError when lake or feeds file cannot be read."""
    notes = console(stderr=True)
    with step(notes, "Looking"):
        found = sources(Installation.open(), clock())
    (notes if json else console()).print(sources_table(found.sources))
    if json:
        sys.stdout.write(json_text(found))


def sources(installation: Installation, now: datetime) -> Sources:
    """Those configured, and those of which the lake still knows something."""
    lake = installation.lake
    version = lake.versions().indicators
    states = lake.source_states()
    counts = {facts.source: facts for facts in sources_of(lake.scan_indicators(version), now)}
    configured = {source.name for source in installation.feeds.enabled} | {ANALYSTS}
    return Sources(
        indicators_version=version,
        sources=tuple(
            _source(name, name in configured, states.get(name), counts.get(name))
            for name in sorted({*configured, *states, *counts})
        ),
    )


def sources_table(found: Sequence[SourceShown]) -> RenderableType:
    """One row a source; what needs a person is red."""
    table: Table = new_table()
    table.add_column("source", overflow="fold", ratio=3)
    table.add_column("last read (UTC)", no_wrap=True)
    for title in ("listed", "in force", "held back"):
        table.add_column(title, justify="right")
    table.add_column("", overflow="fold", ratio=5)
    for one in found:
        table.add_row(
            Text(visible(one.source)),
            utc(one.read_at),
            *(f"{number:,}" for number in (one.listed, one.in_force, one.held_back)),
            _remark(one),
        )
    return table


def _source(
    name: str, configured: bool, state: SourceState | None, facts: SourceFacts | None
) -> SourceShown:
    return SourceShown(
        source=name,
        configured=configured,
        read_at=state.read_at if state else None,
        listed=state.listed if state else 0,
        in_force=(facts and facts.active) or 0,
        held_back=(facts and facts.held_back) or 0,
        tried_at=state.tried_at if state else None,
        failing_since=state.failing_since if state else None,
        error=state.error if state else None,
    )


def _remark(one: SourceShown) -> Text:
    if one.error:
        since = f"failing since {utc(one.failing_since)}: " if one.failing_since else ""
        return Text(since + defanged(one.error), style="red")
    if not one.configured:
        return Text("not in the feeds file any more, or disabled", style="yellow")
    if one.source == ANALYSTS:
        return Text("entered by hand", style="dim")
    return Text("" if one.read_at else "never read", style="yellow")
