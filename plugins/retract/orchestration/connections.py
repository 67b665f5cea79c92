"""From an Airflow connection to a mail provider.

A connection of the type ``generic`` says which tenant and how to sign in: ``login`` and
``password`` hold the client id and secret, the extras hold the rest (docs/connections.md).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from retract.errors import ConnectionSettingsError

if TYPE_CHECKING:
    from retract.mailboxes.protocol import MailboxProvider
    from retract.policy import Policy


def open_connection(
    connection: str, policy: Policy, clock: Callable[[], datetime]
) -> MailboxProvider:
    """The provider behind an Airflow connection id. Nothing is called yet.

    Raises ConnectionSettingsError when the connection is missing or incomplete.
    """
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    from retract.mailboxes.connect import open_mailboxes, settings_from

    try:
        found = Connection.get(connection)
    except AirflowNotFoundException:
        raise ConnectionSettingsError(
            f"there is no Airflow connection {connection!r}: add it as docs/connections.md "
            "shows, or take it out of RETRACT_CONNECTIONS"
        ) from None
    extras = dict(found.extra_dejson)
    provider = extras.pop("provider", "")
    settings = settings_from(provider, extras, found.login, found.password)
    return open_mailboxes(policy.apply_to(settings), connection, clock)
