"""A running tenant: listening on loopback, filled, and stopped cleanly."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from local_tenant import control, tls
from local_tenant.app import make_app
from local_tenant.connection import ConnectionInfo
from local_tenant.dates import with_dates
from local_tenant.google import oauth
from local_tenant.hanging_up import with_connections
from local_tenant.mailbox import Item, Mailbox, Provider
from local_tenant.serving import serving
from local_tenant.state import Clock, TenantSettings, TenantState, new_state, system_clock


@dataclass(frozen=True, slots=True)
class RunningTenant:
    """A tenant that answers on its origin. ``state`` is shared with the server's thread."""

    state: TenantState
    connection: ConnectionInfo

    @property
    def info(self) -> dict[str, Any]:
        """What a client needs to connect, secrets included: the line that ``serve`` prints."""
        return self.connection.model_dump(mode="json")

    def add_mailbox(self, address: str, display_name: str = "", **traits: Any) -> Mailbox:
        """A mailbox at the service whose domain the address is in; ``traits`` as for the store."""
        at_google = address.lower().endswith(f"@{self.state.settings.google_domain}")
        provider = Provider.GOOGLE_WORKSPACE if at_google else Provider.MICROSOFT365
        return self.state.store.add_mailbox(provider, address, display_name, **traits)

    def http_client(self, **options: Any) -> httpx.Client:
        """A client that trusts this tenant's certificate, with the origin as its base URL."""
        trust = ssl.create_default_context(cafile=str(self.connection.ca_file))
        return httpx.Client(base_url=self.state.origin, verify=trust, **options)

    def deliver(
        self, raw: bytes, recipients: Iterable[str], received_at: datetime | None = None
    ) -> list[Item]:
        """Deliver a message, now unless told otherwise; the copies made."""
        return self.state.store.deliver(raw, recipients, received_at or self.state.clock())

    def copies(self) -> list[dict[str, Any]]:
        """Every copy and where it lies now, as GET /_tenant/copies tells it."""
        with self.state.store.lock:
            return [
                control.copy_json(self.state, mailbox, item)
                for mailbox, item in self.state.store.all_items()
            ]

    def audit(self) -> list[dict[str, Any]]:
        """Every call that changed something, as GET /_tenant/audit tells it."""
        with self.state.store.lock:
            return [control.audit_json(entry) for entry in self.state.store.audit]


@contextmanager
def running_tenant(
    state: TenantState | None = None,
    *,
    settings: TenantSettings | None = None,
    clock: Clock = system_clock,
    port: int = 0,
    state_dir: Path | None = None,
    scenario: Path | None = None,
) -> Iterator[RunningTenant]:
    """Serve the tenant from a thread of this process until the block ends.

    ``state`` is an own one already filled, else an empty tenant with ``settings`` and
    ``clock``. Port 0 takes a free one. The CA and key files lie in ``state_dir``, or in a
    folder that is gone afterwards. Raises OSError when the port is taken.
    """
    state = state or new_state(settings, clock)
    with tempfile.TemporaryDirectory(prefix="local-tenant-") as temporary:
        folder = state_dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        ca_file = (folder / "ca.pem").absolute()
        key_file = (folder / "service_account.json").absolute()
        with socket.create_server((tls.HOST, port)) as listening:
            state.origin = f"https://{tls.HOST}:{listening.getsockname()[1]}"
            oauth.write_key_file(state, key_file)
            context = tls.server_context(ca_file)
            app = with_connections(with_dates(make_app(state), state.clock))
            with serving(app, listening, context):
                connection = ConnectionInfo.of(
                    state, ca_file=ca_file, service_account_file=key_file, scenario=scenario
                )
                yield RunningTenant(state, connection)
