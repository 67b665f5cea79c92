"""How far a day's deliveries were matched, and what changed between two versions of a table."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict


class Covered(BaseModel):
    """All of a day's copies of one version of the messages were matched with all indicators of
    one version that were in force at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: int
    indicators: int | None
    """None when there were none yet."""
    as_of: AwareDatetime


class Between(NamedTuple):
    """The rows of two versions of a table, by the files that hold them.

    A row may be in both ``added`` and ``removed``, when a file was only written anew.
    """

    kept: pl.LazyFrame
    """Of files that both versions have."""
    added: pl.LazyFrame
    """Of files that only the later one has."""
    removed: pl.LazyFrame
    """Of files that only the earlier one had."""
