"""What a call is about: which mailbox, which messages, and whether it changes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import Request

from local_tenant.faults.dice import Key
from local_tenant.google.errors import GoogleError
from local_tenant.google.oauth import caller_of
from local_tenant.mailbox import Item, Mailbox, Provider
from local_tenant.state import TenantState

_GRAPH = re.compile(r"/v1\.0/users/(?P<user>[^/]+)/(?P<rest>(?:messages|mailFolders)(?:/.*)?)")
_GMAIL = re.compile(r"/gmail/v1/users/[^/]+/(?P<rest>.+)")
_BATCH_CALLS = ("messages/batchModify", "messages/batchDelete")


@dataclass(frozen=True, slots=True)
class Call:
    """A call to one mailbox of either service."""

    mailbox: Mailbox
    operation: str
    """Method and kind, without ids: ``POST move``, ``GET messages``."""
    items: tuple[Item, ...]
    """The messages it names, in its order; none for a listing."""
    changes: bool

    @property
    def keys(self) -> Iterator[Key]:
        """One for each thing the call is about."""
        for message_id in [item.message_id for item in self.items] or [""]:
            yield self.mailbox.address, self.operation, message_id

    @property
    def goes_on(self) -> bool:
        """Whether it asks what happened since an earlier call."""
        return self.operation in ("GET delta", "GET history")


async def read_call(state: TenantState, request: Request) -> Call | None:
    """None for a call that is to no mailbox, to one unknown, or by nobody known."""
    path = request.url.path
    if found := _GRAPH.fullmatch(path):
        mailbox = state.store.mailbox(Provider.MICROSOFT365, found["user"])
    elif found := _GMAIL.fullmatch(path):
        try:
            address = caller_of(state, request.headers).address
        except GoogleError:
            return None
        mailbox = state.store.mailbox(Provider.GOOGLE_WORKSPACE, address)
    else:
        return None
    if mailbox is None:
        return None
    kind, ids = _kind(found["rest"], request.url.query)
    if found["rest"] in _BATCH_CALLS:
        ids = _named_ids(await request.body())
    with state.store.lock:
        known = (mailbox.items.get(mailbox.by_rest_id.get(name, name)) for name in ids)
        items = tuple(item for item in known if item is not None)
    return Call(mailbox, f"{request.method} {kind}", items, changes=request.method != "GET")


def _kind(rest: str, query: str) -> tuple[str, list[str]]:
    """``messages/ID/move`` is a move of ID."""
    parts = rest.split("/")
    if parts[-1] == "delta":
        return ("delta" if "token=" in query else "first delta"), []
    if parts[0] != "messages" or len(parts) == 1:
        return (parts[2] if len(parts) > 2 else parts[0]), []
    if rest in _BATCH_CALLS:
        return parts[1], []
    return (parts[2] if len(parts) > 2 else "message"), [parts[1]]


def _named_ids(body: bytes) -> list[str]:
    try:
        ids = json.loads(body)["ids"]
    except (ValueError, KeyError, TypeError):
        return []
    return [name for name in ids if isinstance(name, str)] if isinstance(ids, list) else []
