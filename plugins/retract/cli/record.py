"""What a command tells: shown to a person, and with --json to a program."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A part of what a command tells."""

    model_config = ConfigDict(extra="forbid", frozen=True)
