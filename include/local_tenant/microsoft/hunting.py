"""Graph's advanced hunting: security: runHuntingQuery."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from local_tenant.microsoft import kql
from local_tenant.microsoft.access import json_answer, roles_of_caller
from local_tenant.microsoft.errors import GraphError, bad_request
from local_tenant.microsoft.mail_events import KEPT, tables
from local_tenant.quota import Budget
from local_tenant.state import TenantState

_READ_HUNTING = {"ThreatHunting.Read.All"}
_TYPES = {datetime: "DateTime", str: "String", int: "Int64"}
_DURATION = re.compile(
    r"P(?:(\d{1,5})W)?(?:(\d{1,5})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,5})M)?(?:(\d{1,5})S)?)?"
)


class HuntingQuery(BaseModel):
    """The body of the call."""

    model_config = ConfigDict(extra="forbid")

    Query: str
    Timespan: str | None = None


def make_router(state: TenantState) -> APIRouter:
    """POST /security/runHuntingQuery."""
    router = APIRouter(include_in_schema=False)
    calls = Budget(state.settings.hunting_calls, timedelta(minutes=1), state.clock)

    @router.post("/security/runHuntingQuery")
    @router.post("/security/microsoft.graph.security.runHuntingQuery")
    async def run_hunting_query(request: Request) -> Response:
        if not roles_of_caller(state, request) & _READ_HUNTING:
            raise GraphError(403, "Forbidden", "User does not have permission to run this query.")
        wait = calls.spend("")
        if wait is not None:
            seconds = max(1, math.ceil(wait.total_seconds()))
            raise GraphError(
                429,
                "TooManyRequests",
                "The number of calls has reached the limit of "
                f"{state.settings.hunting_calls} a minute.",
                {"Retry-After": str(seconds)},
            )
        wish = _read(await request.body())
        now = state.clock()
        start, end = _span(wish.Timespan, now)
        with state.store.lock:
            try:
                found = kql.run(wish.Query, tables(state.store, start, end), now)
                results = [
                    {name: _shown(column.read(row)) for name, column in found.columns.items()}
                    for row in found.rows
                ]
            except kql.QueryError as error:
                raise bad_request(f"{error}. Fix semantic errors in your query.") from None
        schema = [
            {"name": name, "type": _TYPES[column.kind]} for name, column in found.columns.items()
        ]
        what = f"{state.origin}/v1.0/$metadata#microsoft.graph.security.huntingQueryResults"
        return json_answer({"@odata.context": what, "schema": schema, "results": results})

    return router


def _read(raw: bytes) -> HuntingQuery:
    """Raises GraphError. The parameters' names are taken in any case, as OData actions do."""
    try:
        found = json.loads(raw)
        return HuntingQuery.model_validate({name.title(): found[name] for name in found})
    except (AttributeError, TypeError, ValueError, ValidationError):
        raise bad_request("The request body is not valid: it needs a Query.") from None


def _shown(value: kql.Value) -> Any:
    """Times with the seven decimals that Kusto keeps."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
    return value


def _span(text: str | None, now: datetime) -> tuple[datetime, datetime]:
    """The time that a Timespan names, as far as it is kept. Raises GraphError."""
    oldest = now - KEPT
    if text is None:
        return oldest, now
    first, _, second = text.partition("/")
    duration, end = _duration(first), _moment(second) if second else now
    length = _duration(second)
    if duration is not None and end is not None:
        start: datetime | None = end - duration
    else:
        start = _moment(first)
        if start is not None and length is not None:
            end = start + length
    if start is None or end is None:
        raise bad_request(f"The Timespan '{text}' is not valid.")
    return max(start, oldest), min(end, now)


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    weeks, days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
