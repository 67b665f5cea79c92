"""Where this installation keeps its things: read from ``RETRACT_…`` environment variables.

None of these can make a run act that the policy file does not allow: they say *where* the
policy, the feeds, the lake and the ledger are, never *what may be done*.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_INCLUDE = Path(__file__).resolve().parents[2] / "include"


def _default_home() -> Path:
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "retract"


class Settings(BaseSettings):
    """The installation's paths, addresses and limits of its fan-out."""

    model_config = SettingsConfigDict(env_prefix="RETRACT_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=_default_home)
    """Run folders (plans and reports) live here; all workers must see the same folder."""
    policy_file: Path = _INCLUDE / "policies" / "auto_retract.yaml"
    feeds_file: Path = _INCLUDE / "feeds" / "feeds.yaml"
    lake_url: str = ""
    """A folder or an object-store URL; ``<home>/lake`` when empty."""
    ledger_url: str = ""
    """A SQLAlchemy URL; ``<home>/ledger.db`` (SQLite) when empty."""
    connections: str = "microsoft365_default"
    """Airflow connection ids of the tenants, separated by commas."""
    max_shards: int = Field(default=256, ge=1, le=1000)
    """One mailbox a task up to this many tasks; whole-mailbox shards beyond it."""
    tasks_at_once: int = Field(default=16, ge=1, le=256)
    """How many of a run's tasks read mailboxes, match, or act on mailboxes, at the same time. Each
    has its part of a connection's rate."""
    match_rows_a_task: int = Field(default=20_000_000, ge=1)
    """Matching is one task for each so many rows of the table ``lookups`` that are to be looked at,
    of whole days. A few rows come with each thing seen in a message."""
    match_rows_at_once: int = Field(default=20_000_000, ge=1)
    """Of how many rows of ``lookups`` a matching task takes the days together, a single day
    whatever it has: between two such stretches it commits what it found. This bounds its memory:
    beside a million indicators 20 million took 0.75 GB, and 46 million 1 GB.
    """
    lease_seconds: float = Field(default=300.0, ge=5, le=3600)
    """How long a worker that died keeps its mailboxes from others; longer than any call takes."""
    retry_seconds: float = Field(default=15.0, ge=0)
    """The first wait before a mailbox's task is tried again; later ones double."""
    retention_days: int = Field(default=90, ge=1)
    """How long the lake keeps what it knows of a delivered message."""

    @property
    def lake(self) -> str:
        """Where the lake is."""
        return self.lake_url or str(self.home / "lake")

    @property
    def ledger(self) -> str:
        """Where the ledger is."""
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def connection_ids(self) -> list[str]:
        """The connection ids, in order, without blanks."""
        return [part.strip() for part in self.connections.split(",") if part.strip()]
