"""What is known of one value, or of one campaign: opinions, allow rules, and copies."""

from __future__ import annotations

from datetime import datetime

import polars as pl
from pydantic import AwareDatetime

from retract.cli.installation import Installation
from retract.cli.occurrences import Occurrences, counts, occurrences
from retract.cli.opinions import SourceOpinion, of_campaign, opinions_in, rows_on
from retract.cli.record import Record
from retract.cli.would_hit import rows_of
from retract.errors import ConfigurationError
from retract.indicators.analysts import TypedValue
from retract.model import ObservableType


class CoveringRule(Record):
    """An allow rule of the policy that beats the indicators of a value."""

    type: ObservableType
    value: str
    reason: str
    until: AwareDatetime | None


class ValueShown(Record):
    """What ``indicators show VALUE --json`` writes."""

    type: ObservableType
    value: str
    opinions: tuple[SourceOpinion, ...]
    """Of the value itself first, then of those that cover it."""
    allowed_by: CoveringRule | None
    occurs: Occurrences
    """The copies that the value meets as an indicator, whoever lists it."""


class CampaignShown(Record):
    """What ``indicators show --campaign NAME --json`` writes."""

    campaign: str
    opinions: tuple[SourceOpinion, ...]
    occurs: Occurrences
    """The copies that its indicators meet, expired ones too, but not those held back."""
    held_back: dict[str, int]
    """By the id of an indicator that is held back, the copies that it would meet."""


def value_shown(installation: Installation, value: TypedValue, now: datetime) -> ValueShown:
    """Raises RetractError for what cannot be read."""
    rule = installation.policy.allowed(now).covers(*value)
    return ValueShown(
        type=value[0],
        value=value[1],
        opinions=opinions_in(rows_on(installation.lake, value), value, now),
        allowed_by=None
        if rule is None
        else CoveringRule(type=rule.type, value=rule.value, reason=rule.reason, until=rule.until),
        occurs=occurrences(installation, rows_of([value], now), now),
    )


def campaign_shown(installation: Installation, campaign: str, now: datetime) -> CampaignShown:
    """Raises ConfigurationError when no indicator has such a campaign."""
    rows = of_campaign(installation.lake, campaign)
    if rows.is_empty():
        raise ConfigurationError(
            f"no indicator belongs to a campaign {campaign[:80]!r}: its whole name is needed, in "
            "upper or lower case"
        )
    return CampaignShown(
        campaign=campaign.strip(),
        opinions=opinions_in(rows, None, now),
        occurs=occurrences(installation, rows.filter(pl.col("held_back").is_null()), now),
        held_back=counts(installation, rows.filter(pl.col("held_back").is_not_null()), now),
    )
