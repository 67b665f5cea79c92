"""The door that faults come through: every call to a mailbox, those inside a batch too."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from enum import StrEnum

from fastapi import Request, Response

from local_tenant import hanging_up
from local_tenant.faults import owners, refusals
from local_tenant.faults.calls import Call, read_call
from local_tenant.faults.dice import Dice
from local_tenant.faults.profile import FaultProfile
from local_tenant.inner_calls import OUTER_SCOPE
from local_tenant.mailbox import Hosting, Item
from local_tenant.quota import Budget
from local_tenant.state import Next, TenantState, open_door

_ANSWERS_LOST = "local_tenant.answers_lost"


class Fault(StrEnum):
    """What may happen to a call."""

    REVOKED_TOKEN = "revoked_token"  # noqa: S105  no secret
    EXPIRED_HISTORY = "expired_history"
    VANISHED_MAILBOX = "vanished_mailbox"
    OWNER_DEED = "owner_deed"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    LOST_ANSWER = "lost_answer"
    SLOW = "slow"


_REFUSALS = (Fault.THROTTLED, Fault.UNAVAILABLE, Fault.TIMED_OUT, Fault.RESET_BEFORE)


class _Moment(StrEnum):
    """When an owner's deed falls."""

    BEFORE_A_LOOK = "before a look"
    AFTER_A_LOOK = "after a look"
    BEFORE_A_CHANGE = "before a change"


class FaultDoor:
    """Set as the tenant's door by `use_faults`."""

    def __init__(self, state: TenantState, profile: FaultProfile, seed: int) -> None:
        self.profile = profile
        self.seed = seed
        self.happened: Counter[Fault] = Counter()
        """How often each fault struck."""
        self._state = state
        self._dice = Dice(seed)
        self._met: set[str] = set()
        self._lock = threading.Lock()
        self._chances = {
            Fault.EXPIRED_HISTORY: profile.expired_history,
            Fault.VANISHED_MAILBOX: profile.vanishing_mailboxes,
            Fault.THROTTLED: profile.throttled,
            Fault.UNAVAILABLE: profile.unavailable,
            Fault.TIMED_OUT: profile.timed_out,
            Fault.RESET_BEFORE: profile.reset_before,
            Fault.RESET_AFTER: profile.reset_after,
            Fault.LOST_ANSWER: profile.lost_answers,
            Fault.SLOW: profile.slow,
        }

    async def __call__(self, request: Request, proceed: Next) -> Response:
        call = await read_call(self._state, request)
        if call is None:
            response = await proceed(request)
            return hanging_up.HangUp() if request.scope.get(_ANSWERS_LOST) else response
        self._hold(call)
        self._spoil(call, request)
        refused = next((fault for fault in _REFUSALS if self._strikes(fault, call)), None)
        if refused is not None:
            return self._refuse(refused, call, request)
        self._deeds(call, _Moment.BEFORE_A_CHANGE if call.changes else _Moment.BEFORE_A_LOOK)
        response = await proceed(request)
        if not call.changes:
            self._deeds(call, _Moment.AFTER_A_LOOK)
        if self._strikes(Fault.SLOW, call):
            await asyncio.sleep(self.profile.slow_seconds)
        if self._strikes(Fault.RESET_AFTER, call):
            return self._lose_answer(request)
        if call.changes and self._strikes(Fault.LOST_ANSWER, call):
            return refusals.timed_out(self._state, call.mailbox.provider)
        return response

    def _strikes(self, fault: Fault, call: Call) -> bool:
        """A call about several messages is hit when any one of them has bad luck."""
        chance, most = self._chances[fault], self.profile.most_each
        thrown = [self._dice.hit(chance, (fault, *key), most) for key in call.keys]
        if not any(thrown):
            return False
        self._count(fault)
        return True

    def _count(self, fault: Fault) -> None:
        with self._lock:
            self.happened[fault] += 1

    def _spoil(self, call: Call, request: Request) -> None:
        """What the service then answers by itself."""
        kind = (Fault.REVOKED_TOKEN, call.mailbox.address, call.operation)
        if self._dice.number(kind) < self.profile.revoked_tokens and self._dice.first(kind):
            self._count(Fault.REVOKED_TOKEN)
            token = request.headers.get("authorization", "").partition(" ")[2]
            self._state.access_tokens.revoke(token.removeprefix("ya29."))
        if call.goes_on and self._strikes(Fault.EXPIRED_HISTORY, call):
            self._state.store.forget_changes(call.mailbox)
        if call.changes and self._strikes(Fault.VANISHED_MAILBOX, call):
            call.mailbox.hosting = Hosting.UNLICENSED

    def _hold(self, call: Call) -> None:
        key = ("held", call.mailbox.address)
        if self._dice.number(key) < self.profile.held_mailboxes:
            call.mailbox.on_hold = True

    def _refuse(self, fault: Fault, call: Call, request: Request) -> Response:
        provider, key = call.mailbox.provider, next(iter(call.keys))
        if fault is Fault.RESET_BEFORE:
            return self._lose_answer(request)
        if fault is Fault.UNAVAILABLE:
            return refusals.unavailable(self._state, provider)
        if fault is Fault.TIMED_OUT:
            return refusals.timed_out(self._state, provider)
        told = self._dice.one_of(self.profile.retry_after, ("retry after", *key))
        draw = self._dice.number(("refusal", *key))
        return refusals.throttled(self._state, provider, told, draw)

    def _lose_answer(self, request: Request) -> Response:
        """Close the connection: that of the whole batch, for a call inside one."""
        outer = request.scope.get(OUTER_SCOPE)
        if outer is None:
            return hanging_up.HangUp()
        outer[_ANSWERS_LOST] = True
        return Response(status_code=504)  # nobody will see it

    def _deeds(self, call: Call, moment: _Moment) -> None:
        for item in call.items:
            if self._has_its_deed(call, item, moment):
                deed = self._dice.one_of(tuple(owners.Deed), ("deed", item.message_id))
                owners.do(self._state, call.mailbox, item, deed)
                self._count(Fault.OWNER_DEED)

    def _has_its_deed(self, call: Call, item: Item, moment: _Moment) -> bool:
        """Once for each message at most, at the moment that is drawn for it."""
        address = call.mailbox.address
        if self._dice.number(("owner", address, item.message_id)) >= self.profile.owner_deeds:
            return False
        drawn = self._dice.one_of(tuple(_Moment), ("moment", address, item.message_id))
        with self._lock:
            if drawn is not moment or item.message_id in self._met:
                return False
            self._met.add(item.message_id)
        return True


def use_faults(state: TenantState, profile: FaultProfile, seed: int = 0) -> FaultDoor:
    """From now on these faults, from the first throw on; those of before are over.

    What they did to mailboxes and messages stays.
    """
    door = FaultDoor(state, profile, seed)
    settings, second = state.settings, timedelta(seconds=1)
    state.token_lifetime = (
        timedelta(seconds=profile.token_seconds)
        if profile.token_seconds
        else settings.token_lifetime
    )
    state.app_requests = (
        Budget(profile.app_requests_per_second, second, state.clock)
        if profile.app_requests_per_second
        else Budget(settings.microsoft_app_requests, timedelta(seconds=10), state.clock)
    )
    state.gmail_project_units = (
        Budget(profile.gmail_units_per_second, second, state.clock)
        if profile.gmail_units_per_second
        else Budget(
            profile.gmail_units_per_minute or settings.gmail_project_units,
            timedelta(minutes=1),
            state.clock,
        )
    )
    state.door = open_door if profile == FaultProfile() else door
    return door
