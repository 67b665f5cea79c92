"""Changes since a token: of a folder's messages, and of the folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from local_tenant.mailbox import Change, Folder, Item
from local_tenant.microsoft.access import MailboxAccess
from local_tenant.microsoft.errors import GraphError, bad_request, sync_state_not_found
from local_tenant.microsoft.extended_properties import read_expand
from local_tenant.microsoft.odata import (
    PageToken,
    read_filter,
    read_options,
    read_select,
    read_token,
    read_top,
)
from local_tenant.microsoft.resources import (
    FOLDER,
    MESSAGE,
    Json,
    folder_json,
    message_json,
    message_value,
)

FILTERED_LIMIT = 5_000
"""A filtered first round tells of no more messages than this, says the documentation."""
_DELTA_OPTIONS = (
    "$select", "$expand", "$filter", "$orderby", "$top", "$search", "$skiptoken", "$deltatoken",
)  # fmt: skip
_CHANGE_TYPES = ("created", "updated", "deleted")


def item_key(item: Item) -> str:
    """Sorts by delivery; unique in a mailbox."""
    return f"{item.received_at:%Y-%m-%dT%H:%M:%SZ}|{item.message_id}"


def changes(
    access: MailboxAccess, folder: Folder, query: Mapping[str, str], link: str
) -> dict[str, Any]:
    """One page of a round, with the link to go on. Raises GraphError."""
    token = _token(access, query, _DELTA_OPTIONS)
    _check(token.query)
    size = access.prefer.page_size or read_top(token.query.get("$top"), default=10, largest=1000)
    if token.since:
        rows, following = _later_round(access, folder, token, size)
    else:
        rows, following = _first_round(access, folder, token, size)
    return _page(rows, following, token, link)


def folder_changes(access: MailboxAccess, query: Mapping[str, str], link: str) -> dict[str, Any]:
    """As `changes`, of the folders at every depth but for hidden ones. Raises GraphError."""
    token = _token(access, query, ("$select", "$skiptoken", "$deltatoken"))
    select = read_select(token.query.get("$select"), FOLDER)
    known = sorted(access.mailbox.folders.values(), key=lambda folder: folder.folder_id)
    rows: list[Json] = [
        {"@odata.type": _FOLDER_TYPE} | folder_json(access.mailbox, folder, select)
        for folder in known
        if not folder.hidden
        and folder.created <= token.until
        and (not token.since or token.since < folder.changed)
    ]
    rows += [
        {"@odata.type": _FOLDER_TYPE, "id": folder_id, "@removed": {"reason": "deleted"}}
        for folder_id, removed in sorted(access.mailbox.removed_folders.items())
        if token.since and token.since < removed <= token.until
    ]
    size = access.prefer.page_size or 10
    page, end = rows[token.count : token.count + size], token.count + size
    following = token.model_copy(update={"count": end}) if end < len(rows) else None
    return _page(page, following, token, link)


_FOLDER_TYPE = "#microsoft.graph.mailFolder"


def _token(access: MailboxAccess, query: Mapping[str, str], allowed: tuple[str, ...]) -> PageToken:
    """Where the caller stands. Raises GraphError."""
    options = read_options(query, allowed)
    text = options.get("$skiptoken") or options.get("$deltatoken")
    if text is None:
        first = {name: value for name, value in query.items() if not name.startswith("$skip")}
        token = PageToken(until=access.mailbox.last_change, query=first)
    else:
        token = read_token(text)
        if "$deltatoken" in options:
            token = token.model_copy(update={"until": access.mailbox.last_change})
    known = token.since or token.until
    if not access.mailbox.forgotten_before <= known <= access.mailbox.last_change:
        raise sync_state_not_found(access.expired_delta_status)
    return token


def _page(
    rows: list[Json], following: PageToken | None, token: PageToken, link: str
) -> dict[str, Any]:
    if following is None:
        done = PageToken(since=token.until, query=token.query)
        return {"@odata.deltaLink": _link(link, "$deltatoken", done), "value": rows}
    return {"@odata.nextLink": _link(link, "$skiptoken", following), "value": rows}


def _check(query: Mapping[str, str]) -> None:
    """The options of a round's first request."""
    read_select(query.get("$select"), MESSAGE)
    read_expand(query.get("$expand"))
    if "$search" in query:
        raise GraphError(
            400,
            "ErrorInvalidUrlQuery",
            "The following parameters are not supported with change tracking over the "
            "'Messages' resource: '$search'.",
        )
    pattern = r"\s*receivedDateTime\s+(ge|gt)\s+\S+\s*"
    if "$filter" in query and not re.fullmatch(pattern, query["$filter"]):
        raise GraphError(
            400,
            "ErrorInvalidUrlQuery",
            "The '$filter' parameter value is not supported for 'Messages' resource; only a "
            "value of 'receivedDateTime ge value' is supported.",
        )
    if "$orderby" in query and not re.fullmatch(
        r"\s*receivedDateTime\s+desc\s*", query["$orderby"]
    ):
        raise GraphError(
            400,
            "ErrorInvalidUrlQuery",
            "The '$orderby' parameter value is not supported for 'Messages' resource; only a "
            "value of 'receivedDateTime desc' is supported.",
        )
    if query.get("changeType", "created") not in _CHANGE_TYPES:
        raise bad_request(f"Invalid value '{query['changeType']}' for changeType found.")


def _first_round(
    access: MailboxAccess, folder: Folder, token: PageToken, size: int
) -> tuple[list[Json], PageToken | None]:
    """All messages of the folder, newest first."""
    wanted = read_filter(token.query.get("$filter"), MESSAGE)
    left = [
        item
        for item in access.mailbox.reachable()
        if item.folder_id == folder.folder_id
        and (not token.after or item_key(item) < token.after)
        and all(test.holds(message_value(item, test.path)) for test in wanted)
    ]
    if wanted:
        left = left[: FILTERED_LIMIT - token.count]
    page = left[:size]
    rows = [_row(access, item, token.query) for item in page]
    if len(left) <= size:
        return rows, None
    count = token.count + len(page)
    return rows, token.model_copy(update={"after": item_key(page[-1]), "count": count})


def _later_round(
    access: MailboxAccess, folder: Folder, token: PageToken, size: int
) -> tuple[list[Json], PageToken | None]:
    """What came, changed or went since the last round, each message once."""
    steps: dict[str, list[Change]] = {}
    for change in access.mailbox.changes:
        if token.since < change.change_id <= token.until and folder.folder_id in (
            change.folder_before,
            change.folder_after,
        ):
            steps.setdefault(change.message_id, []).append(change)
    wanted = token.query.get("changeType")
    rows = []
    for message_id, taken in steps.items():
        kind = _kind(access.mailbox.items[message_id], folder, taken)
        if kind is None or wanted not in (None, kind):
            continue
        if kind == "deleted":
            rows.append(_removed(access, taken[-1]))
        else:
            rows.append(_row(access, access.mailbox.items[message_id], token.query))
    page = rows[token.count : token.count + size]
    if len(rows) <= token.count + size:
        return page, None
    return page, token.model_copy(update={"count": token.count + len(page)})


def _kind(item: Item, folder: Folder, steps: list[Change]) -> str | None:
    """What the steps amount to; None when the message came and went between two rounds."""
    was_here = steps[0].folder_before == folder.folder_id
    is_here = item.removed is None and item.folder_id == folder.folder_id
    if is_here:
        return "updated" if was_here else "created"
    return "deleted" if was_here else None


def _row(access: MailboxAccess, item: Item, query: Mapping[str, str]) -> Json:
    shown = message_json(
        item,
        read_select(query.get("$select"), MESSAGE),
        immutable=access.prefer.immutable_ids,
        expand=read_expand(query.get("$expand")),
    )
    return {"@odata.type": "#microsoft.graph.message"} | shown


def _removed(access: MailboxAccess, last: Change) -> Json:
    known_as = last.message_id if access.prefer.immutable_ids else last.rest_id
    return {
        "@odata.type": "#microsoft.graph.message",
        "id": known_as,
        "@removed": {"reason": "deleted"},
    }


def _link(link: str, name: str, token: PageToken) -> str:
    return f"{link}?{urlencode({name: token.encode()}, safe='$', quote_via=quote)}"
