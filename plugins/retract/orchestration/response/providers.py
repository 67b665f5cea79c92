"""The providers of the connections a task needs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from retract.installation import Settings
from retract.orchestration import clock
from retract.orchestration.connections import open_connection
from retract.orchestration.runs import RunFolder

if TYPE_CHECKING:
    from retract.mailboxes.protocol import MailboxProvider


class Providers:
    """Each connection's provider, opened once and closed at the end.

    ``share`` is the part of a connection's rate that one task may use, ``lease`` how long the
    task keeps a mailbox from others: the connection's calls must not take longer.
    """

    def __init__(
        self, folder: RunFolder, *, share: float = 1.0, lease: timedelta | None = None
    ) -> None:
        self._policy = folder.policy()
        self._share = share
        self._lease = lease
        self._opened: dict[str, MailboxProvider] = {}

    def of(self, connection: str) -> MailboxProvider:
        """The connection's provider. Raises ConnectionSettingsError."""
        if connection not in self._opened:
            self._opened[connection] = open_connection(
                connection, self._policy, clock.utc_now, share=self._share, lease=self._lease
            )
        return self._opened[connection]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for provider in self._opened.values():
            provider.close()


def share_of(settings: Settings, tasks: int) -> float:
    """The part of a connection's rate for each of so many tasks, of which the installation lets
    only some run at once."""
    return 1 / max(1, min(settings.tasks_at_once, tasks))
