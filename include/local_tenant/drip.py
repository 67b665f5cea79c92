"""New mail, one message at a time, while the tenant runs."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from local_tenant.fill import deliver_all
from local_tenant.state import TenantState
from local_tenant.synthetic.generate import next_message
from local_tenant.synthetic.world import World

log = logging.getLogger(__name__)


@contextmanager
def dripping(state: TenantState, world: World, seconds: float) -> Iterator[None]:
    """Deliver another message every so many seconds until the block ends."""
    ended = threading.Event()

    def drip() -> None:
        rng = random.Random()
        while not ended.wait(seconds):
            delivery = next_message(world, rng, state.clock())
            deliver_all(state, [delivery])
            log.info("delivered %s to %s", delivery.delivery_id, ", ".join(delivery.recipients))

    thread = threading.Thread(target=drip, name="drip")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
