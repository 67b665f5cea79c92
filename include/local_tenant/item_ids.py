"""The ids Microsoft gives messages and folders.

Classic ids begin AAMkA…, immutable ones AAkALg…, and both carry the mailbox, so that a
malformed id, an id of another mailbox and an id that leads nowhere can be told apart.
"""

from __future__ import annotations

import base64
import random
import uuid


def classic_id(mailbox_id: str, rng: random.Random) -> str:
    """A message's id until it moves."""
    return "AAMkAG" + _url_safe(_guid(mailbox_id) + b"\x07" + rng.randbytes(34))


def immutable_id(mailbox_id: str, rng: random.Random) -> str:
    """A message's id for as long as it stays in the mailbox."""
    return "AAkALg" + _url_safe(_guid(mailbox_id) + b"\x09" + rng.randbytes(22))


def folder_id(mailbox_id: str, rng: random.Random) -> str:
    return "AQMkAG" + _url_safe(_guid(mailbox_id) + b"\x01" + rng.randbytes(22))


def conversation_id(rng: random.Random) -> str:
    return _url_safe(b"\x00\x02" + rng.randbytes(58))


def owner_of_id(item_id: str) -> str | None:
    """The mailbox GUID inside a Microsoft id; None when the id is malformed."""
    if item_id[:6] not in ("AAMkAG", "AAkALg", "AQMkAG"):
        return None
    try:
        data = base64.b64decode(item_id[6:], altchars=b"-_", validate=True)
    except ValueError:
        return None
    return str(uuid.UUID(bytes=data[:16])) if len(data) in (39, 51) else None


def _guid(mailbox_id: str) -> bytes:
    return uuid.UUID(mailbox_id).bytes


def _url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
