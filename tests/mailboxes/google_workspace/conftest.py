"""A Google Workspace provider whose waits pass at once, before the local tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from mailbox_bench import Bench

from local_tenant.quota import Budget
from retract.mailboxes.google_workspace.provider import GoogleWorkspace
from retract.mailboxes.settings import GoogleWorkspaceSettings


@dataclass
class Patient:
    """A provider, and how long it waited: time is real time and these waits."""

    bench: Bench
    mailboxes: GoogleWorkspace
    waits: list[float] = field(default_factory=list)

    def calls(self) -> list[str]:
        """Method and path of what was asked of Gmail and the Directory, tokens left out."""
        return [
            f"{method} {path.partition('?')[0]}"
            for method, path in self.bench.door.sent
            if not path.startswith("/token")
        ]

    def service_grants(self, units: int) -> None:
        """The service counts by the provider's time, and allows so much a minute."""
        state = self.bench.tenant.state
        state.gmail_user_units = Budget(
            units,
            timedelta(minutes=1),
            lambda: state.clock() + timedelta(seconds=sum(self.waits)),
        )


@pytest.fixture
def patient(bench: Bench) -> Iterator[Callable[..., Patient]]:
    """Make one with these settings."""
    made: list[GoogleWorkspace] = []
    units = bench.tenant.state.gmail_user_units
    bench.door.sent.clear()

    def make(**changes: Any) -> Patient:
        assert isinstance(bench.settings, GoogleWorkspaceSettings)
        waits: list[float] = []
        mailboxes = GoogleWorkspace(
            bench.settings.model_copy(update=changes),
            "work",
            lambda: bench.tenant.state.clock() + timedelta(seconds=sum(waits)),
            sleep=waits.append,
            seconds=lambda: bench.tenant.state.clock().timestamp() + sum(waits),
        )
        made.append(mailboxes)
        return Patient(bench, mailboxes, waits)

    yield make
    for mailboxes in made:
        mailboxes.close()
    bench.tenant.state.gmail_user_units = units
