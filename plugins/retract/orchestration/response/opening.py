"""Which run this is, and which mailboxes there are."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from retract.errors import ConfigurationError, MailboxError, MailboxUnavailable
from retract.installation import Settings
from retract.model import Mailbox, UnwatchedMailbox
from retract.orchestration import clock, maintenance
from retract.orchestration.params import parse_params
from retract.orchestration.response.providers import Providers
from retract.orchestration.runs import Listing, MailboxEntry, Run, RunFolder, listing_file
from retract.orchestration.windows import RunRequest, resolve_window
from retract.policy import load_policy

if TYPE_CHECKING:
    from retract.mailboxes.protocol import MailboxProvider

log = logging.getLogger(__name__)


def open_run(settings: Settings, request: RunRequest) -> str:
    """Start an attempt: fix its window, its mode and its policy. Returns the run's folder.

    Raises ConfigurationError (PolicyError for the policy file) when there is nothing sound
    to start from.
    """
    params = parse_params(request.params)
    policy = load_policy(settings.policy_file)
    if not policy.post_delivery_response:
        raise ConfigurationError(
            f"{settings.policy_file}: post_delivery_response is false, so nothing is judged; "
            "pause this DAG or set it to true"
        )
    if not settings.connection_ids:
        raise ConfigurationError(
            "RETRACT_CONNECTIONS names no connection, so no mailbox can be judged: name the "
            "Airflow connections of the tenants, as docs/connections.md shows"
        )
    now = clock.utc_now()
    kept_from = maintenance.kept_from(settings, policy.lookback, now)
    window = resolve_window(request, params, policy.lookback, kept_from)
    folder = RunFolder.create(settings.home, request.dag_id, request.run_id, now)
    folder.write_text("policy.yaml", settings.policy_file.read_text(encoding="utf-8"))
    run = Run(
        dag_id=request.dag_id,
        run_id=request.run_id,
        run_type=request.run_type,
        attempt=folder.attempt,
        started_at=now,
        window_start=window.start,
        window_end=window.end,
        mode=policy.mode.narrowed_by(params.narrowing),
        connections=tuple(settings.connection_ids),
        mailboxes=tuple(sorted(set(params.mailboxes))),
    )
    folder.write("run.json", run)
    log.info("%s, mail delivered from %s to %s", run.mode, run.window_start, run.window_end)
    return str(folder.path)


def connections(path: str) -> list[str]:
    """The connections whose mailboxes are judged."""
    return list(RunFolder(path).run().connections)


def list_mailboxes(path: str, connection: str) -> int:
    """List one connection's mailboxes, or those of them the run is narrowed to."""
    folder = RunFolder(path)
    run, file = folder.run(), listing_file(connection)
    folder.forget(file)
    try:
        with Providers(folder) as providers:
            listing = _listing(providers.of(connection), connection, run)
    except (MailboxError, ConfigurationError) as error:
        folder.write(file, Listing(connection=connection, problems=(str(error),)))
        raise
    folder.write(file, listing)
    return len(listing.mailboxes)


def _listing(provider: MailboxProvider, connection: str, run: Run) -> Listing:
    if not run.mailboxes:
        listed = list(provider.list_mailboxes())
        return Listing(
            connection=connection,
            mailboxes=tuple(MailboxEntry.of(one) for one in listed if isinstance(one, Mailbox)),
            unwatched=tuple(one for one in listed if isinstance(one, UnwatchedMailbox)),
        )
    found: dict[str, MailboxEntry] = {}
    for address in run.mailboxes:
        with suppress(MailboxUnavailable):
            found[address] = MailboxEntry.of(provider.mailbox(address))
    return Listing(connection=connection, mailboxes=tuple(found.values()), found=tuple(found))
