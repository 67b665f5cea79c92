"""What a client must know to use the tenant."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from local_tenant import control
from local_tenant.mailbox import Hosting, Provider
from local_tenant.state import TenantState


class ConnectionInfo(BaseModel):
    """One JSON object: endpoints, credentials, and how much the tenant holds.

    The credentials are good for this process only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    graph_url: str
    """Root, without /v1.0."""
    authority_url: str
    """With the tenant id."""
    gmail_url: str
    directory_url: str
    ca_file: Path
    tenant_id: str
    client_id: str
    client_secret: str
    service_account_file: Path
    google_admin: str
    control_url: str
    pid: int
    mailboxes: dict[Provider, int]
    """Mailboxes that can receive mail."""
    messages: int
    """Deliveries: a message sent to both services counts as two."""
    copies: int
    scenario: Path | None

    @classmethod
    def of(
        cls,
        state: TenantState,
        *,
        ca_file: Path,
        service_account_file: Path,
        scenario: Path | None = None,
    ) -> ConnectionInfo:
        """For the tenant as it is now."""
        application = state.microsoft
        items = [item for _, item in state.store.all_items()]
        return cls(
            graph_url=state.origin,
            authority_url=f"{state.origin}/{application.tenant_id}",
            gmail_url=state.origin,
            directory_url=state.origin,
            ca_file=ca_file,
            tenant_id=application.tenant_id,
            client_id=application.client_id,
            client_secret=application.client_secret.get_secret_value(),
            service_account_file=service_account_file,
            google_admin=state.google_admin,
            control_url=f"{state.origin}{control.PREFIX}",
            pid=os.getpid(),
            mailboxes={
                provider: sum(
                    mailbox.hosting is Hosting.CLOUD for mailbox in state.store.mailboxes(provider)
                )
                for provider in Provider
            },
            messages=len({item.delivery_id for item in items}),
            copies=len(items),
            scenario=scenario,
        )
