"""What Gmail's methods have in common: finding a message, checking ids, labels and page sizes."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated

from fastapi import Query

from local_tenant.google.errors import invalid_argument, not_found
from local_tenant.mailbox import Item, Mailbox

MaxResults = Annotated[int, Query(alias="maxResults", ge=0, lt=2**32)]
PageToken = Annotated[str, Query(alias="pageToken")]

_LARGEST_PAGE = 500
_LARGEST_ID = 2**63 - 1


def item_of(mailbox: Mailbox, message_id: str) -> Item:
    """A message still in the mailbox. Raises GoogleError 400 or 404."""
    check_id(message_id, "Invalid id value")
    item = mailbox.items.get(message_id)
    if item is None or item.removed is not None:
        raise not_found()
    return item


def check_id(message_id: str, problem: str) -> None:
    """Ids are positive 64-bit numbers in hex; anything else is refused before looking."""
    if not re.fullmatch("[0-9a-f]{1,16}", message_id) or int(message_id, 16) > _LARGEST_ID:
        raise invalid_argument(problem)


def check_labels(mailbox: Mailbox, label_ids: list[str], refused: Collection[str]) -> None:
    for label_id in label_ids:
        if label_id in refused or label_id not in mailbox.labels:
            raise invalid_argument(f"Invalid label: {label_id}")


def page_size(max_results: int) -> int:
    """More than the maximum is taken for the maximum, and nothing for the default."""
    return min(max_results or 100, _LARGEST_PAGE)
