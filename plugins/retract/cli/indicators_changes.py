"""The command ``indicators changes``: how two versions of the indicators differ."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from retract.cli.installation import Installation
from retract.cli.record import Record
from retract.cli.terminal import console, hostile, new_table, step, utc, value_text
from retract.errors import ConfigurationError
from retract.indicators.changes import Change, changes
from retract.lake.store import Lake
from retract.model import ObservableType
from retract.reports.json_text import json_text
from retract.reports.text import visible, words

MAX_ROWS: Final = 50
"""Changes; --json has all."""
_BESIDES: Final = frozenset({"last_seen", "changed_at", "lookup", "exact_only", "active", "listed"})
"""What follows from the change itself, or is for programs."""
_OF_WHOLES: Final = (Change.ADDED, Change.FORGOTTEN)
_WHOLE: Final = ("disposition", "confidence", "campaign", "held_back", "expires_at")
"""What is told of an indicator that came or went as a whole."""


class Difference(Record):
    """One thing that a source says otherwise than before."""

    what: str
    before: str | None
    after: str | None


class Changed(Record):
    """One indicator that is not as it was."""

    change: Change
    type: ObservableType
    value: str
    source: str
    differences: tuple[Difference, ...]


class Changes(Record):
    """What ``indicators changes --json`` writes."""

    from_version: int
    to_version: int
    counts: dict[str, dict[Change, int]]
    """By source; all of them."""
    changed: tuple[Changed, ...]
    """All of them, or the first ones where only these were asked for."""

    @property
    def total(self) -> int:
        return sum(sum(by_change.values()) for by_change in self.counts.values())


def run_changes(from_version: int | None, to_version: int | None, *, json: bool) -> None:
    """Print it. Raises LakeError for a version that is not there, or not any more."""
    lake = Installation.open().lake
    notes = console(stderr=True)
    with step(notes, "Comparing"):
        most = None if json else MAX_ROWS  # a first refresh is a million changes
        found = changes_between(lake, from_version, to_version, most=most)
    (notes if json else console()).print(changes_tables(found))
    if json:
        sys.stdout.write(json_text(found))


def changes_between(
    lake: Lake, from_version: int | None, to_version: int | None, *, most: int | None = None
) -> Changes:
    """By default what the newest version changed. ``most`` changes are told one by one."""
    newest = lake.versions().indicators
    if newest is None:
        raise ConfigurationError("there are no indicators yet: run refresh_indicators first")
    to = newest if to_version is None else to_version
    since = max(to - 1, 0) if from_version is None else from_version
    if max(since, to) > newest:
        raise ConfigurationError(f"there is no version {max(since, to)}: the newest is {newest}")
    rows = changes(lake.scan_indicators(since), lake.scan_indicators(to))
    changed = tuple(map(_changed, rows.head(most or rows.height).iter_rows(named=True)))
    counts: dict[str, dict[Change, int]] = {}
    for source, change, count in rows.group_by("source", "change").len().sort("source").rows():
        counts.setdefault(source, {})[Change(change)] = count
    return Changes(from_version=since, to_version=to, counts=counts, changed=changed)


def changes_tables(found: Changes) -> RenderableType:
    """The numbers by source, and the changes one by one."""
    head = Text(f"Indicators, version {found.from_version} to {found.to_version}", style="bold")
    if not found.changed:
        return Group(head, Text("Nothing changed."))
    counts = new_table()
    counts.add_column("source", overflow="fold")
    counts.add_column("change")
    counts.add_column("indicators", justify="right")
    for source, by_change in sorted(found.counts.items()):
        for change in Change:
            if change in by_change:
                counts.add_row(Text(visible(source)), words(change), f"{by_change[change]:,}")
    single = new_table()
    single.add_column("change", no_wrap=True)
    single.add_column("value", ratio=5, overflow="fold")
    single.add_column("source", ratio=2, overflow="fold")
    single.add_column("what", ratio=5, overflow="fold")
    for one in found.changed[:MAX_ROWS]:
        said = Text(", " if one.change in _OF_WHOLES else "\n").join(
            _difference_text(each) for each in one.differences
        )
        value = value_text(one.value).append(f"\n{words(one.type)}", style="dim")
        single.add_row(words(one.change), value, Text(visible(one.source)), said)
    parts: list[RenderableType] = [head, counts, single]
    if found.total > MAX_ROWS:
        parts.append(Text(f"… and {found.total - MAX_ROWS:,} more: --json gives all"))
    return Group(*parts)


def _changed(row: dict[str, Any]) -> Changed:
    change = Change(row["change"])
    return Changed(
        change=change,
        type=row["type"],
        value=row["value"],
        source=row["source"],
        differences=tuple(_differences(row, change)),
    )


def _differences(row: dict[str, Any], change: Change) -> Iterator[Difference]:
    every = (name.removeprefix("before_") for name in row if name.startswith("before_"))
    besides = _BESIDES - {"listed"} if change is Change.RESTATED else _BESIDES
    for what in _WHOLE if change in _OF_WHOLES else every:
        before, after = _said(row[f"before_{what}"]), _said(row[f"after_{what}"])
        if what not in besides and (before or "") != (after or ""):
            yield Difference(what=what, before=before, after=after)


def _said(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return ", ".join(value) if isinstance(value, list) else str(value)


def _difference_text(one: Difference) -> Text:
    if not one.before:
        return Text(f"{words(one.what)}: {_shown(one.after)}")
    return Text(f"{words(one.what)}: {_shown(one.before)} → {_shown(one.after)}")


def _shown(text: str | None) -> str:
    try:
        return utc(datetime.fromisoformat(text or ""))
    except ValueError:
        return hostile(text) if text else "-"
