"""From an Airflow connection to a mail provider, or to a source of indicators.

A connection of the type ``generic`` says which tenant and how to sign in: ``login`` and
``password`` hold the client id and secret, the extras hold the rest (docs/connections.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from retract.errors import ConnectionSettingsError
from retract.model import Action, Provider

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from retract.indicators.fetching.credentials import Credentials
    from retract.mailboxes.connect import Settings as TenantSettings
    from retract.mailboxes.protocol import MailboxProvider
    from retract.policy import Policy


def open_connection(
    connection: str,
    policy: Policy,
    clock: Callable[[], datetime],
    *,
    share: float = 1.0,
    lease: timedelta | None = None,
) -> MailboxProvider:
    """The provider behind an Airflow connection id, with a share of the connection's rate.
    Nothing is called yet.

    Raises ConnectionSettingsError when the connection is missing or incomplete, or when a call
    over it may outlast a mailbox's lease.
    """
    from retract.mailboxes.connect import open_mailboxes

    settings = settings_of(connection)
    if lease is not None and lease.total_seconds() < 2 * settings.timeout_seconds:
        raise ConnectionSettingsError(
            f"RETRACT_LEASE_SECONDS is {lease.total_seconds():g}, and a call over {connection!r} "
            f"may take {settings.timeout_seconds:g} seconds: raise the one to at least twice the "
            "connection's timeout_seconds, or lower the other"
        )
    return open_mailboxes(policy.apply_to(settings), connection, clock, share=share)


def settings_of(connection: str) -> TenantSettings:
    """How to reach the tenant of an Airflow connection id.

    Raises ConnectionSettingsError when the connection is missing or incomplete.
    """
    from retract.mailboxes.connect import settings_from

    found = _connection(connection, otherwise="take it out of RETRACT_CONNECTIONS")
    extras = dict(found.extra_dejson)
    provider = extras.pop("provider", "")
    return settings_from(provider, extras, found.login, found.password)


def settings_at_a_shell(connection: str) -> TenantSettings:
    """The same outside of a task, where Airflow has to be told that it may ask its database.

    Raises ConnectionSettingsError when the connection is missing or incomplete.
    """
    # As the commands of Airflow itself do (airflow.cli.commands.connection_command).
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    return settings_of(connection)


def missing_actions_of(connections: Iterable[str], policy: Policy) -> dict[str, frozenset[Action]]:
    """What the services of the connections do not offer, where the policy could ask for it.

    Of a connection that cannot be read nothing is said: acting on it tells why.
    """
    if not any(Action.HARD_DELETE in policy.actions_of(provider) for provider in Provider):
        return {}
    from retract.mailboxes.connect import missing_actions

    found = {}
    for connection in connections:
        with suppress(ConnectionSettingsError):
            found[connection] = missing_actions(settings_of(connection))
    return found


def credentials_of(connection: str) -> Credentials:
    """What a source of indicators is asked with, from an Airflow connection id.

    Raises ConnectionSettingsError when the connection is missing, or has an unknown extra.
    """
    from pydantic import ValidationError

    from retract.indicators.fetching.credentials import Credentials

    found = _connection(connection, otherwise="take it out of the feeds file")
    extras = dict(found.extra_dejson)
    options = extras.pop("storage_options", None) or {}
    if isinstance(options, dict):
        options = {
            name: value if isinstance(value, str) else str(value).lower()
            for name, value in options.items()
        }
    try:
        return Credentials.model_validate(
            {
                "login": found.login or "",
                "password": found.password or "",
                "storage_options": options,
                **extras,
            }
        )
    except ValidationError as error:
        wrong = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()}))
    raise ConnectionSettingsError(
        f"the Airflow connection {connection!r} cannot be used for a source of indicators: correct "
        f"{wrong}; its extra may hold header and storage_options"
    )


def _connection(connection: str, *, otherwise: str) -> Connection:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found: Connection = Connection.get(connection)
    except AirflowNotFoundException:
        raise ConnectionSettingsError(
            f"there is no Airflow connection {connection!r}: add it as docs/connections.md "
            f"shows, or {otherwise}"
        ) from None
    return found
