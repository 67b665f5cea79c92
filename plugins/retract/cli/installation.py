"""This installation's lake, ledger, policy and feeds, as commands at a shell open them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from pydantic import ValidationError

from retract.errors import ConfigurationError
from retract.indicators.feeds import FeedsFile, load_feeds
from retract.indicators.hold_back.rules import HoldBack
from retract.installation import Settings
from retract.lake.store import Lake, LakeVersions
from retract.policy import Policy, load_policy
from retract.retraction.ledger import Ledger
from retract.retraction.records import CopyState


@dataclass(frozen=True)
class Installation:
    """What the ``RETRACT_…`` environment variables name. Files are read when first asked for."""

    settings: Settings
    lake: Lake

    @classmethod
    def open(cls) -> Self:
        """Raises ConfigurationError when a variable holds no such setting."""
        try:
            settings = Settings()
        except ValidationError as error:
            wrong = [
                f"RETRACT_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
                for problem in error.errors()
            ]
            raise ConfigurationError("; ".join(wrong)) from error
        return cls(settings, Lake(settings.lake))

    @property
    def has_lake(self) -> bool:
        """Whether anything was ever collected or refreshed."""
        return self.lake.versions() != LakeVersions()

    def require_lake(self) -> None:
        """Raises ConfigurationError where there is none: "nothing found" would be no answer."""
        if not self.has_lake:
            raise ConfigurationError(
                f"there is no lake at {self.settings.lake} yet: run "
                "refresh_indicators first, or name the right lake: RETRACT_HOME, RETRACT_LAKE_URL"
            )

    @cached_property
    def policy(self) -> Policy:
        """Raises PolicyError."""
        return load_policy(self.settings.policy_file)

    @cached_property
    def feeds(self) -> FeedsFile:
        """Raises FeedConfigurationError."""
        return load_feeds(self.settings.feeds_file)

    @cached_property
    def own_domains(self) -> frozenset[str]:
        """The organisation's, in lower case: its mailboxes', and those the feeds file names."""
        return self.lake.mailbox_domains() | frozenset(self.feeds.hold_back.own_domains)

    def hold_back(self, now: datetime) -> HoldBack:
        """The rules as the next refresh will apply them. Reads large lists: make it once."""
        return HoldBack.of(
            self.feeds.hold_back, own_domains=self.own_domains, allow=self.policy.allowed(now)
        )

    def states(self, copy_ids: Iterable[str]) -> dict[str, CopyState]:
        """What the ledger knows of these copies; nothing where there is no ledger yet.

        Raises LedgerError. It never makes a ledger: that is for the DAGs, and their user, to do.
        """
        wanted = list(copy_ids)
        if not wanted or not self._has_ledger:
            return {}
        with Ledger(self.settings.ledger) as ledger:
            return ledger.current(wanted)

    @property
    def _has_ledger(self) -> bool:
        try:
            url = sa.make_url(self.settings.ledger)
        except (sa.exc.ArgumentError, ValueError):
            return True  # for Ledger to say what is wrong with it
        is_file = url.get_backend_name() == "sqlite"
        return not is_file or Path(url.database or "").exists()
