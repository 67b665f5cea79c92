"""The command ``indicators show``: who says so, since when, and what it has hit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime

from retract.cli.installation import Installation
from retract.cli.opinions import value_of
from retract.cli.shown import CampaignShown, ValueShown, campaign_shown, value_shown
from retract.cli.shown_tables import campaign_tables, value_tables
from retract.cli.terminal import console, step
from retract.errors import ConfigurationError
from retract.model import ObservableType
from retract.reports.json_text import json_text


def run_show(
    value: str | None,
    *,
    kind: ObservableType | None,
    campaign: str | None,
    json: bool,
    clock: Callable[[], datetime],
) -> None:
    """Print it. Raises RetractError for a value that is none, or what cannot be read."""
    notes = console(stderr=True)
    installation, now = Installation.open(), clock()
    shown: ValueShown | CampaignShown
    with step(notes, "Looking"):
        if value is not None and campaign is None:
            shown = value_shown(installation, value_of(value, kind), now)
            tables = value_tables(shown)
        elif value is None and campaign is not None:
            shown = campaign_shown(installation, campaign, now)
            tables = campaign_tables(shown)
        else:
            raise ConfigurationError("name a value, or a campaign with --campaign")
    installation.require_lake()
    (notes if json else console()).print(tables)
    if json:
        sys.stdout.write(json_text(shown))
