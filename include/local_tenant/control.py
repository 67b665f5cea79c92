"""What the real services do not offer: where is this copy now, who changed what, deliver this.

For tests and demos: it shows the tenant's own view of every outcome.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from local_tenant.faults.door import FaultDoor, use_faults
from local_tenant.faults.profile import FaultProfile, put_together
from local_tenant.mailbox import AuditEntry, Item, LastVerb, Mailbox, Provider
from local_tenant.state import TenantState
from local_tenant.store import UnknownRecipient

PREFIX = "/_tenant"


class Delivery(BaseModel):
    """A message to deliver now, or as if it had come earlier."""

    model_config = ConfigDict(extra="forbid")

    raw_base64: str
    recipients: list[str] = Field(min_length=1)
    received_at: AwareDatetime | None = None
    delivery_id: str | None = None


class Response(BaseModel):
    """What the owner of a Microsoft mailbox does with a message."""

    model_config = ConfigDict(extra="forbid")

    verb: Literal["reply", "reply_all", "forward"]


class FaultsWish(BaseModel):
    """What is to go wrong from now on."""

    model_config = ConfigDict(extra="forbid")

    profiles: list[str] = []
    """Names of profiles; see `local_tenant.faults.profile`."""
    profile: FaultProfile = FaultProfile()
    """What is to be different from the named ones."""
    seed: int = 1


def make_router(state: TenantState) -> APIRouter:
    """Everything under /_tenant. No sign-in: it is there on loopback only."""
    router = APIRouter(prefix=PREFIX)
    _add_faults(router, state)

    @router.get("/copies")
    async def list_copies(provider: Provider | None = None) -> list[dict[str, Any]]:
        """Every copy there ever was, the purged ones too."""
        with state.store.lock:
            return [
                copy_json(state, mailbox, item)
                for mailbox, item in state.store.all_items()
                if provider in (None, item.provider)
            ]

    @router.get("/copies/{message_id}")
    async def get_copy(message_id: str) -> dict[str, Any]:
        with state.store.lock:
            item = state.store.find(message_id)
            if item is None:
                raise HTTPException(404, f"there never was a copy with the id {message_id}")
            return copy_json(state, state.store.mailbox_of(item), item)

    @router.post("/copies/{message_id}/respond")
    async def respond(message_id: str, response: Response) -> dict[str, Any]:
        """The owner answers or forwards the message; the copy as it is then."""
        with state.store.lock:
            item = state.store.find(message_id)
            if item is None or item.provider is not Provider.MICROSOFT365:
                raise HTTPException(404, f"no Microsoft copy has the id {message_id}")
            mailbox = state.store.mailbox_of(item)
            verb = LastVerb[response.verb.upper()]
            state.store.respond(mailbox, item, verb, at=state.clock())
            return copy_json(state, mailbox, item)

    @router.get("/audit")
    async def list_audit() -> list[dict[str, Any]]:
        """Every call that changed something, oldest first."""
        with state.store.lock:
            return [audit_json(entry) for entry in state.store.audit]

    @router.post("/deliver", status_code=201)
    async def deliver(delivery: Delivery) -> list[dict[str, Any]]:
        """Deliver to mailboxes of either service; the copies made."""
        try:
            raw = b64decode(delivery.raw_base64, validate=True)
        except binascii.Error as error:
            raise HTTPException(422, f"raw_base64: {error}") from error
        with state.store.lock:
            try:
                items = state.store.deliver(
                    raw,
                    delivery.recipients,
                    delivery.received_at or state.clock(),
                    delivery.delivery_id,
                )
            except UnknownRecipient as unknown:
                raise HTTPException(422, f"there is no mailbox {unknown}") from unknown
            return [copy_json(state, state.store.mailbox_of(item), item) for item in items]

    return router


def _add_faults(router: APIRouter, state: TenantState) -> None:
    @router.get("/faults")
    async def faults_so_far() -> dict[str, Any]:
        """What goes wrong, and how often it did."""
        return faults_json(state)

    @router.put("/faults")
    async def change_faults(wish: FaultsWish) -> dict[str, Any]:
        """From now on these; without any, none."""
        try:
            profile = put_together(wish.profiles)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        use_faults(state, profile | wish.profile, wish.seed)
        return faults_json(state)


def copy_json(state: TenantState, mailbox: Mailbox, item: Item) -> dict[str, Any]:
    """One copy, where it lies now, in words that mean the same for both services."""
    folder = mailbox.folders.get(item.folder_id)
    return {
        "provider": item.provider,
        "mailbox": mailbox.address,
        "message_id": item.message_id,
        "internet_message_id": item.content.internet_message_id,
        "delivery_id": item.delivery_id,
        "subject": item.content.subject,
        "received_at": item.received_at.isoformat(),
        "place": state.store.place(item),
        "folder": (folder.well_known or folder.display_name) if folder else "",
        "labels": sorted(item.labels),
        "is_read": item.is_read,
        "is_flagged": item.is_flagged,
    }


def faults_json(state: TenantState) -> dict[str, Any]:
    """The profile in force and how often each of its faults struck."""
    if not isinstance(state.door, FaultDoor):
        return {"profile": {}, "seed": None, "happened": {}}
    return {
        "profile": state.door.profile.model_dump(mode="json", exclude_unset=True),
        "seed": state.door.seed,
        "happened": dict(state.door.happened),
    }


def audit_json(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": entry.at.isoformat(),
        "provider": entry.provider,
        "mailbox": entry.mailbox,
        "operation": entry.operation,
        "message_id": entry.message_id,
        "from": entry.before,
        "to": entry.after,
        "status": entry.status,
    }
