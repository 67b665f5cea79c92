"""How a source of indicators was last read: one row of the sources table."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict


class SourceState(BaseModel):
    """The last good reading of a source, and how the last try went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    settings: str = ""
    """The digest of the settings it was read with; empty before the first good reading."""
    read_at: AwareDatetime | None = None
    listed: int = 0
    """Indicators of the source that were listed after that reading."""
    etag: str = ""
    last_modified: str = ""
    content: str = ""
    cursor: str = ""
    hold_back: str = ""
    """The digest of the hold-back rules that the source's rows were judged with."""
    tried_at: AwareDatetime
    failing_since: AwareDatetime | None = None
    error: str | None = None
    """Why the last try failed; None when it did not."""
