"""Many calls at once: filled into batches, each answered once, tried again where that is safe."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from retract.errors import (
    AuthenticationFailed,
    MailboxError,
    OutcomeUnknown,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.microsoft365.calls import LARGEST_BATCH, Call, Reply
from retract.mailboxes.microsoft365.lanes import Lanes
from retract.mailboxes.microsoft365.refusals import lost, refusal
from retract.mailboxes.pace import Pace
from retract.mailboxes.patience import Tries

_UNAUTHORIZED = 401
# Batches that came to nothing, one after the other: the service is down, and whoever still
# waits need not find that out for himself.
_FAILURES_IN_A_ROW = 12


class Exchange(Protocol):
    """One HTTP request that holds these calls."""

    async def __call__(self, calls: Sequence[Call]) -> Sequence[Reply | None]:
        """What each was answered, in their order; None where nothing was said.

        What concerns the request as a whole is raised. Throttled, TenantUnreachable: no call
        was carried out. OutcomeUnknown: some may have been. Any other MailboxError: none was;
        a plain one may be for the sake of a single call.
        """


@dataclass(frozen=True, slots=True)
class Packing:
    """How calls are packed into requests."""

    batch_size: int = LARGEST_BATCH
    batches_at_once: int = 6
    """Graph carries out four calls of a batch at a time, whatever their mailboxes."""

    @classmethod
    def for_pace(cls, per_second: float) -> Packing:
        """The largest batches that use up a second's calls: of 150 eight of 18, where seven
        of 20 would leave 10 unused."""
        batches = math.ceil(per_second / LARGEST_BATCH)
        return cls(max(1, int(per_second / batches)))


@dataclass(eq=False, slots=True)
class _Ticket:
    """A call on its way to an answer."""

    place: int
    call: Call
    tries: Tries = field(default_factory=Tries)
    renewed: bool = False
    """Whether it was tried again with a fresh token."""
    alone: bool = False
    """Whether it shares no request: one that it was in was refused, perhaps for another's sake."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Carries out calls within the limits of the service."""

    exchange: Exchange
    pace: Pace
    clock: Callable[[], datetime]
    max_wait_seconds: float
    """The longest sum of waits for one call."""
    sleep: Callable[[float], Awaitable[None]]

    async def carry_out(
        self, calls: Iterable[Call], packing: Packing, until: datetime | None = None
    ) -> list[Reply | MailboxError]:
        """The answer to each call, in their order: a success, or why there is none.

        No call is begun after ``until``. A changing call whose answer was lost is answered
        with OutcomeUnknown and never made again.
        """
        tickets = [_Ticket(place, call) for place, call in enumerate(calls)]
        return await _Round(self, tickets, until).to_the_end(packing)


class _Round:
    """Calls that were asked for together, until each has its answer."""

    def __init__(
        self, batches: Batches, tickets: Sequence[_Ticket], until: datetime | None
    ) -> None:
        self._batches = batches
        self._until = until
        self._answers: dict[int, Reply | MailboxError] = {}
        self._wanted = len(tickets)
        self._lanes: Lanes[_Ticket] = Lanes(lambda ticket: ticket.call.mailbox_id)
        self._lanes.put(tickets)
        self._held = 0
        """How many waits are under way in which no call at all may go."""
        self._failures = 0
        self._changed = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def to_the_end(self, packing: Packing) -> list[Reply | MailboxError]:
        """All answers."""
        try:
            async with self._group:
                for _ in range(min(packing.batches_at_once, self._wanted)):
                    self._group.create_task(self._work(packing.batch_size))
        except ExceptionGroup as broken:
            raise broken.exceptions[0] from None
        return [self._answers[place] for place in range(self._wanted)]

    async def _work(self, batch_size: int) -> None:
        while len(self._answers) < self._wanted:
            batch = [] if self._held else self._lanes.take(batch_size)
            if batch:
                for request in _requests(batch):
                    if self._held:  # since the request before
                        self._lanes.put_back(reversed(request))
                        self._over(request)
                    else:
                        await self._send(request)
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _send(self, batch: Sequence[_Ticket]) -> None:
        try:
            await self._batches.pace.keep(len(batch))
            if self._is_over():
                self._give_up(batch)
                return
            replies = await self._batches.exchange([ticket.call for ticket in batch])
        except MailboxError as error:
            self._take_failure(batch, error)
        else:
            self._failures = 0
            for ticket, reply in zip(batch, replies, strict=True):
                self._take_reply(ticket, reply)
        finally:
            self._over(batch)

    def _over(self, batch: Sequence[_Ticket]) -> None:
        for ticket in batch:
            self._lanes.done(ticket)
        self._changed.set()

    # ---- what came of it --------------------------------------------------------------

    def _take_reply(self, ticket: _Ticket, reply: Reply | None) -> None:
        if reply is None:
            self._take_error(ticket, lost(ticket.call, "its batch was answered without it"))
        elif reply.is_success:
            self._answer(ticket, reply)
        elif reply.status == _UNAUTHORIZED and not ticket.renewed:
            ticket.renewed = True
            self._lanes.put_back([ticket])
        else:
            self._take_error(ticket, refusal(reply, ticket.call, self._batches.clock()))

    def _take_error(self, ticket: _Ticket, error: MailboxError) -> None:
        wait = self._wait_after(ticket, error)
        mailbox = ticket.call.mailbox_id
        throttled = isinstance(error, Throttled)
        if wait is not None:
            if throttled:
                self._lanes.hold(mailbox)
            self._group.create_task(self._come_back(ticket, wait, release=throttled))
            return
        self._answer(ticket, error)
        if throttled and mailbox:
            # The others of the mailbox would only be told the same.
            for other in self._lanes.clear(mailbox):
                self._answer(other, error)

    async def _come_back(self, ticket: _Ticket, wait: float, *, release: bool) -> None:
        await self._batches.sleep(wait)
        self._lanes.put_back([ticket])
        if release:
            self._lanes.release(ticket.call.mailbox_id)
        self._changed.set()

    def _take_failure(self, batch: Sequence[_Ticket], error: MailboxError) -> None:
        """The request as a whole came to nothing."""
        if isinstance(error, AuthenticationFailed):
            self._answer_all([*batch, *self._lanes.clear()], error)
            return
        if isinstance(error, OutcomeUnknown | TenantUnreachable):
            self._failures += 1
        if isinstance(error, Throttled):
            self._hold_all(batch, error)
            return
        if type(error) is MailboxError and len(batch) > 1:
            # For one call's sake, whose part a sender chose: none of the others was carried out.
            for ticket in batch:
                ticket.alone = True
            self._lanes.put_back(reversed(batch))
            return
        for ticket in batch:
            self._take_error(
                ticket,
                lost(ticket.call, str(error)) if isinstance(error, OutcomeUnknown) else error,
            )
        if self._failures >= _FAILURES_IN_A_ROW:
            down = TenantUnreachable(f"Microsoft Graph is down: {error}")
            self._answer_all(self._lanes.clear(), down)

    def _hold_all(self, batch: Sequence[_Ticket], error: Throttled) -> None:
        """The application as a whole is asked for patience: nobody goes for a while."""
        waits = {ticket: self._wait_after(ticket, error) for ticket in batch}
        self._answer_all([ticket for ticket, wait in waits.items() if wait is None], error)
        coming = {ticket: wait for ticket, wait in waits.items() if wait is not None}
        if coming:
            self._held += 1
            self._group.create_task(self._come_back_together(coming))
        else:
            self._answer_all(self._lanes.clear(), error)

    async def _come_back_together(self, waits: dict[_Ticket, float]) -> None:
        # The shortest of the waits, all of which are as long as was asked for: none of the
        # calls waits longer than it was counted for.
        await self._batches.sleep(min(waits.values()))
        self._held -= 1
        self._lanes.put_back(reversed(waits))
        self._changed.set()

    # ---- the end ----------------------------------------------------------------------

    def _wait_after(self, ticket: _Ticket, error: MailboxError) -> float | None:
        wait = ticket.tries.next_wait(error, self._batches.max_wait_seconds)
        if wait is None or self._until is None:
            return wait
        return wait if self._batches.clock() + timedelta(seconds=wait) < self._until else None

    def _is_over(self) -> bool:
        return self._until is not None and self._batches.clock() >= self._until

    def _give_up(self, batch: Sequence[_Ticket]) -> None:
        for ticket in [*batch, *self._lanes.clear()]:
            told = f"there was no time left to {ticket.call.task}: it is for the next try"
            self._answer(ticket, Throttled(told))

    def _answer_all(self, tickets: Iterable[_Ticket], error: MailboxError) -> None:
        for ticket in tickets:
            self._answer(ticket, error)

    def _answer(self, ticket: _Ticket, answer: Reply | MailboxError) -> None:
        self._answers[ticket.place] = answer


def _requests(batch: Sequence[_Ticket]) -> list[list[_Ticket]]:
    """What is sent together."""
    together = [ticket for ticket in batch if not ticket.alone]
    return [*([together] if together else []), *([one] for one in batch if one.alone)]
