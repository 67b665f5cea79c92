"""Carrying out a plan, each task its own part of it."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta

from retract.errors import ConfigurationError, MailboxError
from retract.installation import Settings
from retract.model import State
from retract.orchestration import clock
from retract.orchestration.response.pinned import open_ledger
from retract.orchestration.response.providers import Providers, share_of
from retract.orchestration.response.shards import Shard
from retract.orchestration.retries import ShardFailed, add_failure
from retract.orchestration.runs import Acted, RunFolder, part_file

log = logging.getLogger(__name__)


def act(settings: Settings, path: str, shard: Shard) -> dict[str, int]:
    """Carry out the plan in a shard's mailboxes. Returns how many copies ended in which state.

    Every mailbox is tried, and a retry takes only what is unfinished. Raises ShardFailed when
    a mailbox failed, or has copies that failed or are unfinished.
    """
    from retract.retraction.act import act_on_mailboxes
    from retract.retraction.parts import PlanPart

    folder = RunFolder(path)
    part = folder.read(part_file("to_act", shard["index"]), PlanPart)
    lease = timedelta(seconds=settings.lease_seconds)
    counts: Counter[State] = Counter()
    failures: dict[str, Exception] = {}
    with (
        folder.timed("act", shard["index"]),
        open_ledger(settings) as ledger,
        Providers(folder, share=share_of(settings, shard["tasks"]), lease=lease) as providers,
    ):
        part.check_against(ledger.run(part.run_id))
        for connection, to_do in part.by_connection().items():
            copies = sum(map(len, to_do.values()))
            log.info("%s: %d copies in %d mailboxes", connection, copies, len(to_do))
            addresses = {key: retractions[0].mailbox for key, retractions in to_do.items()}
            try:
                provider = providers.of(connection)
            except ConfigurationError as error:
                log.error("%s: %s", connection, error)
                for address in addresses.values():
                    add_failure(failures, address, connection, error)
                continue
            results = act_on_mailboxes(
                to_do, provider, ledger, part.run_id, clock.utc_now, lease=lease
            )
            for key, result in results.items():
                counts.update(result.counts)
                if result.problem:
                    log.error("%s: %s", addresses[key], result.problem)
                    why = result.error or MailboxError(result.problem)
                    add_failure(failures, addresses[key], connection, why)
    folder.write(part_file("acted", shard["index"]), Acted(counts=counts))
    log.info("%s", ", ".join(f"{n} {state}" for state, n in counts.items()) or "nothing to do")
    if failures:
        raise ShardFailed(failures)
    return {state.value: count for state, count in counts.items()}
