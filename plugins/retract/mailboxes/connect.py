"""From what a person wrote down for a connection to a provider that can be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from retract.errors import ConnectionSettingsError
from retract.mailboxes.clouds import CLOUDS, cloud_at
from retract.mailboxes.described import DescribedMailboxes, Descriptions
from retract.mailboxes.gateway_files import GatewayFiles
from retract.mailboxes.google_workspace.provider import GoogleWorkspace
from retract.mailboxes.microsoft365.hunting import AdvancedHunting
from retract.mailboxes.microsoft365.provider import Microsoft365
from retract.mailboxes.protocol import MailboxProvider
from retract.mailboxes.settings import (
    CollectFrom,
    GoogleWorkspaceSettings,
    Microsoft365Settings,
)
from retract.model import Action, Provider

Settings = Microsoft365Settings | GoogleWorkspaceSettings

# Where a connection's own two fields belong, per provider.
_KINDS: dict[Provider, tuple[type[Settings], str, str]] = {
    Provider.MICROSOFT365: (Microsoft365Settings, "client_id", "client_secret"),
    Provider.GOOGLE_WORKSPACE: (
        GoogleWorkspaceSettings,
        "admin_subject",
        "service_account_info",
    ),
}


def settings_from(
    provider: str, extras: Mapping[str, Any], login: str | None, password: str | None
) -> Settings:
    """The settings of a connection whose login, password and extras are these.

    Login and password are the client id and secret of Microsoft 365, or the administrator's
    address and the service account's key of Google Workspace; the extras may hold them too.
    Raises ConnectionSettingsError naming every setting that is wrong.
    """
    try:
        kind, login_field, password_field = _KINDS[Provider(provider)]
    except ValueError:
        names = " or ".join(repr(str(name)) for name in Provider)
        raise ConnectionSettingsError(
            f"the connection's extra 'provider' must be {names}, not {provider!r}"
        ) from None
    values = dict(extras)
    for field, value in ((login_field, login), (password_field, password)):
        if value:
            if field in values:
                raise ConnectionSettingsError(
                    f"{field} is given twice: in the connection's own field and in its extras"
                )
            values[field] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # Never the input itself: it may be a secret in the wrong place.
        told = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or provider}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise ConnectionSettingsError(
            f"the settings of this connection are wrong: {told}"
        ) from None


def missing_actions(settings: Settings) -> frozenset[Action]:
    """What the service behind the settings does not offer, as far as they tell; asks nobody.

    Permanent deletion is missing in Microsoft's national clouds, and in Gmail for a connection
    that does not ask for the scope it needs.
    """
    if isinstance(settings, GoogleWorkspaceSettings):
        may = settings.allow_hard_delete
        return frozenset() if may else frozenset({Action.HARD_DELETE})
    cloud = cloud_at(settings.graph_url)
    return CLOUDS[cloud].missing_actions if cloud else frozenset()


def open_mailboxes(
    settings: Settings, connection: str, clock: Callable[[], datetime], share: float = 1.0
) -> MailboxProvider:
    """The provider behind the settings. Nothing is called yet.

    ``share`` is the part of the whole application's calls in a second that this one may make.
    Raises ConnectionSettingsError when a key or certificate file cannot be read.
    """
    if isinstance(settings, GoogleWorkspaceSettings):
        google = GoogleWorkspace(settings, connection, clock, share)
        return _told_by(settings, google, None)
    microsoft = Microsoft365(settings, connection, clock, share=share)
    return _told_by(settings, microsoft, AdvancedHunting(microsoft.graph, clock))


def _told_by(
    settings: Settings, mailboxes: MailboxProvider, hunting: Descriptions | None
) -> MailboxProvider:
    """The provider, or the same one with its delivered mail learnt from elsewhere."""
    match settings.collect_from:
        case CollectFrom.GATEWAY_FILES:
            return DescribedMailboxes(mailboxes, GatewayFiles(settings.gateway_files))
        case CollectFrom.ADVANCED_HUNTING if hunting is not None:
            return DescribedMailboxes(mailboxes, hunting)
    return mailboxes
