"""Mail that is there twice: by a list and directly, or with another message's Message-ID."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from local_tenant.delivery import Delivery
from local_tenant.faults.dice import Dice

_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


def with_duplicates(deliveries: Iterable[Delivery], chance: float, seed: int) -> Iterator[Delivery]:
    """The deliveries, some of them followed by a second one that has their Message-ID.

    Either the same message again, as a distribution list brings it a little later, or another
    one to the same mailboxes, whose sender forged the id.
    """
    dice = Dice(seed)
    for delivery in deliveries:
        yield delivery
        key = ("duplicate", delivery.delivery_id)
        if dice.number(key) >= chance:
            continue
        forged = dice.number(("forged", *key)) < 0.5
        raw = _forged(delivery.raw) if forged else _by_list(delivery.raw)
        later = delivery.received_at + timedelta(seconds=1 + int(60 * dice.number(("delay", *key))))
        name = f"{delivery.delivery_id}+{'forged' if forged else 'list'}"
        yield replace(delivery, delivery_id=name, raw=raw, received_at=later)


def _by_list(raw: bytes) -> bytes:
    return b"List-Id: everybody <everybody.lists.example>\r\nPrecedence: list\r\n" + raw


def _forged(raw: bytes) -> bytes:
    found = _MESSAGE_ID.search(raw)
    named = b"Message-ID: " + found[1] + b"\r\n" if found else b""
    return (
        b"From: News of the Week <news@newsletter.example>\r\n"
        b"Subject: What happened this week\r\n" + named + b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nNothing much.\r\n"
    )
