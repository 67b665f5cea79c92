"""Hold what was reported against what the tenant itself says: where is each message now?"""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict

from local_system.system import TenantInfo

CopyKey = tuple[str, str, str]
"""(provider, mailbox address, the provider's id of the item)"""

_LANDS = {
    ("microsoft365", "junk"): "junk",
    ("microsoft365", "trash"): "trash",
    ("microsoft365", "soft_delete"): "trash",
    ("microsoft365", "hard_delete"): "purged",
    ("google_workspace", "junk"): "junk",
    ("google_workspace", "trash"): "trash",
    ("google_workspace", "hard_delete"): "gone",
}
"""Where the vendors say an action puts a message, in the tenant's own words."""
_GRAVITY = {"inbox": 0, "other": 0, "sent": 0, "junk": 1, "trash": 2, "recoverable": 3}


class TenantCopy(BaseModel):
    """One copy, as the tenant knows it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    provider: str
    mailbox: str
    message_id: str
    delivery_id: str
    internet_message_id: str = ""
    place: str
    folder: str | None = None
    labels: tuple[str, ...] = ()

    @property
    def key(self) -> CopyKey:
        return (self.provider, self.mailbox, self.message_id)


def copies(tenant: TenantInfo) -> dict[CopyKey, TenantCopy]:
    """Every copy the tenant ever held, and where it is now."""
    found = [TenantCopy.model_validate(row) for row in _get(tenant, "copies")]
    return {copy.key: copy for copy in found}


def audit(tenant: TenantInfo) -> list[dict[str, Any]]:
    """Every changing call the tenant has seen, in its order."""
    return _get(tenant, "audit")


def deliver(
    tenant: TenantInfo, raw: bytes, recipients: Iterable[str], received_at: datetime | None = None
) -> None:
    """Deliver one more message, now or as if it had come earlier."""
    message: dict[str, Any] = {
        "raw_base64": b64encode(raw).decode(),
        "recipients": list(recipients),
    }
    if received_at is not None:
        message["received_at"] = received_at.isoformat()
    with _client(tenant) as client:
        client.post("deliver", json=message).raise_for_status()


def _get(tenant: TenantInfo, path: str) -> list[dict[str, Any]]:
    with _client(tenant) as client:
        answer = client.get(path)
        answer.raise_for_status()
        listed: list[dict[str, Any]] = answer.json()
        return listed


def _client(tenant: TenantInfo) -> httpx.Client:
    return httpx.Client(
        base_url=tenant.control_url,
        verify=ssl.create_default_context(cafile=tenant.ca_file),
        timeout=60,
    )


def expected_by_truth(
    truth_file: Path, known: Iterable[TenantCopy], actions: Mapping[tuple[str, str], str]
) -> dict[CopyKey, str]:
    """What should happen to each copy, by the generator's own knowledge of what it wrote.

    ``actions`` is the policy's (provider, disposition) → action.
    """
    truth = {row["delivery_id"]: row for row in json.loads(truth_file.read_text())}
    expected: dict[CopyKey, str] = {}
    for copy in known:
        disposition = truth[copy.delivery_id]["expected_disposition"]
        action = actions.get((copy.provider, disposition), "no_action")
        if action != "no_action":
            expected[copy.key] = action
    return expected


def differences(
    before: Mapping[CopyKey, TenantCopy],
    after: Mapping[CopyKey, TenantCopy],
    expected: Mapping[CopyKey, str],
) -> list[str]:
    """Every copy that is not where it should be; empty when all are."""
    wrong: list[str] = []
    for key, was in before.items():
        now = after.get(key)
        place = now.place if now else "gone"
        action = expected.get(key)
        if action is None:
            if now is None or (now.place, now.folder, now.labels) != (
                was.place,
                was.folder,
                was.labels,
            ):
                wrong.append(f"{key}: should not have moved, was {was.place}, is {place}")
            continue
        lands = _LANDS[key[0], action]
        gone = {"purged", "gone"}
        already = _GRAVITY.get(was.place, 9) >= _GRAVITY.get(lands, 9)
        wanted = {was.place} if already else gone if lands in gone else {lands}
        if place not in wanted:
            wrong.append(f"{key}: {action} should put it in {sorted(wanted)}, it is in {place}")
    return wrong
