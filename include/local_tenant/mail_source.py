"""A person's own mail as deliveries: .eml files and folders of them, mbox files, Maildirs."""

from __future__ import annotations

import mailbox
import os
import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from local_tenant.delivery import Delivery, moment_before

_ONE_TO_FIVE_RECIPIENTS = (70, 16, 8, 4, 2)
"""Relative weights."""


def load_mail(
    path: Path, addresses: Sequence[str], now: datetime, *, seed: int = 1
) -> list[Delivery]:
    """Every message at ``path``, its bytes untouched, delivered to one or several addresses.

    A delivery's id is the message's path relative to ``path``, with ``#number`` in an mbox.
    Recipients and delivery times depend on seed and id alone: the real dates may be decades
    old. Raises FileNotFoundError when nothing is at ``path``, ValueError when it holds no mail
    or there is nobody to deliver to.
    """
    if not addresses:
        raise ValueError("there are no mailboxes to deliver mail to")
    deliveries = [
        _delivery(delivery_id, raw, addresses, now, seed) for delivery_id, raw in _read(path) if raw
    ]
    if not deliveries:
        raise ValueError(f"no mail found in {path}: expected .eml files, an mbox or a Maildir")
    return sorted(deliveries, key=lambda delivery: (delivery.received_at, delivery.delivery_id))


def _delivery(
    delivery_id: str, raw: bytes, addresses: Sequence[str], now: datetime, seed: int
) -> Delivery:
    rng = random.Random(f"{seed}/{delivery_id}")
    wanted = rng.choices(range(1, 6), _ONE_TO_FIVE_RECIPIENTS)[0]
    recipients = rng.sample(list(addresses), min(wanted, len(addresses)))
    return Delivery(delivery_id, raw, tuple(recipients), moment_before(now, rng))


def _read(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.exists():
        raise FileNotFoundError(path)
    if path.is_file():
        yield from _read_file(path, path.name)
        return
    for folder, subfolders, names in os.walk(path):
        here = Path(folder)
        if _is_maildir(here):
            subfolders[:] = [name for name in subfolders if name != "tmp"]
        subfolders.sort()
        one_message_each = here.name in ("cur", "new") and _is_maildir(here.parent)
        for name in sorted(names):
            file = here / name
            if one_message_each or _is_mail(file):
                yield from _read_file(
                    file, file.relative_to(path).as_posix(), one_message=one_message_each
                )


def _read_file(
    file: Path, delivery_id: str, *, one_message: bool = False
) -> Iterator[tuple[str, bytes]]:
    if one_message or not _is_mbox(file):
        yield delivery_id, file.read_bytes()
        return
    box = mailbox.mbox(file, create=False)
    try:
        for number, key in enumerate(box.iterkeys(), start=1):
            yield f"{delivery_id}#{number}", box.get_bytes(key)
    finally:
        box.close()


def _is_maildir(folder: Path) -> bool:
    return (folder / "cur").is_dir() and (folder / "new").is_dir()


def _is_mail(file: Path) -> bool:
    return file.is_file() and (file.suffix.lower() == ".eml" or _is_mbox(file))


def _is_mbox(file: Path) -> bool:
    if file.suffix.lower() in (".mbox", ".mbx"):
        return True
    if file.suffix.lower() == ".eml":
        return False
    with file.open("rb") as opened:
        return opened.read(5) == b"From "
