"""One page of a listing, and the link to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

from fastapi import Request

from local_tenant.microsoft.odata import PageToken, read_token
from local_tenant.microsoft.resources import Json
from local_tenant.state import TenantState

Row = TypeVar("Row")


def cut_page(
    rows: list[Row],
    options: Mapping[str, str],
    top: int,
    *,
    key: Callable[[Row], str],
    descending: bool = False,
) -> tuple[list[Row], PageToken | None]:
    """The rows after the token, and the token for what follows them.

    By the last row's key rather than by a count: rows that come or go between two calls
    shift nothing.
    """
    if "$skiptoken" in options:
        after = read_token(options["$skiptoken"]).after
        rows = [row for row in rows if (key(row) < after if descending else key(row) > after)]
    page = rows[:top]
    return page, PageToken(after=key(page[-1])) if len(rows) > top else None


def next_link(state: TenantState, request: Request, token: PageToken | None) -> Json:
    """The @odata.nextLink, to be followed as it is; nothing after the last page."""
    if token is None:
        return {}
    kept = {name: value for name, value in request.query_params.items() if name != "$skiptoken"}
    query = urlencode(kept | {"$skiptoken": token.encode()}, safe="$", quote_via=quote)
    return {"@odata.nextLink": f"{state.origin}{quote(request.url.path)}?{query}"}


def context(state: TenantState, what: str, select: tuple[str, ...] | None = None) -> Json:
    """The @odata.context every answer begins with."""
    chosen = f"({','.join(select)})" if select else ""
    return {"@odata.context": f"{state.origin}/v1.0/$metadata#{what}{chosen}"}
