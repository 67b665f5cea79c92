"""JSON batching: up to twenty calls in one, each answered on its own."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local_tenant.inner_calls import call_inside
from local_tenant.microsoft.access import json_answer, roles_of_caller
from local_tenant.microsoft.errors import GraphError, bad_request
from local_tenant.state import TenantState

LARGEST_BATCH = 20
_AT_ONCE = 4
"""Graph sends Outlook no more than this many calls of a batch at a time."""
_SHOWN_HEADERS = {"content-type", "retry-after", "location", "preference-applied"}


class Step(BaseModel):
    """One call of a batch."""

    # Microsoft's Python SDK sends "depends_on" besides, and the service takes its batches.
    model_config = ConfigDict(extra="ignore")

    id: str
    method: str
    url: str
    headers: dict[str, str] = {}
    body: dict[str, Any] | str | None = None
    depends_on: list[str] = Field(default=[], alias="dependsOn")


class Batch(BaseModel):
    """The body of a call to $batch."""

    model_config = ConfigDict(extra="forbid")

    requests: list[Step] = Field(min_length=1)


def make_router(state: TenantState) -> APIRouter:
    """POST /$batch."""
    router = APIRouter(include_in_schema=False)

    @router.post("/$batch")
    async def batch(request: Request) -> Response:
        roles_of_caller(state, request)
        steps = _read(await request.body())
        return json_answer({"responses": await _run(steps, request)})

    return router


def _read(raw: bytes) -> list[Step]:
    """Raises GraphError where the batch as a whole is refused."""
    try:
        steps = Batch.model_validate_json(raw).requests
    except ValidationError:
        raise bad_request("Invalid batch payload format.") from None
    if len(steps) > LARGEST_BATCH:
        raise bad_request(
            f"Number of batch request steps exceeds the maximum value of {LARGEST_BATCH}."
        )
    seen: set[str] = set()
    for step in steps:
        if step.id.lower() in seen:
            raise bad_request(f"Request Id {step.id} has to be unique in a batch.")
        if step.body is not None and "content-type" not in map(str.lower, step.headers):
            raise bad_request(
                f"Write request id : {step.id} does not contain Content-Type header or body."
            )
        if not {needed.lower() for needed in step.depends_on} <= seen:
            raise bad_request(f"Request Id {step.id} depends on a request that is not before it.")
        seen.add(step.id.lower())
    return steps


async def _run(steps: list[Step], batch: Request) -> list[dict[str, Any]]:
    """The answers in the order they came."""
    answers: list[dict[str, Any]] = []
    places = asyncio.Semaphore(_AT_ONCE)
    running: dict[str, asyncio.Task[int]] = {}

    async def run(step: Step) -> int:
        before = [await running[needed.lower()] for needed in step.depends_on]
        if any(status >= 400 for status in before):
            answer = _failed_dependency(step)
        else:
            async with places:
                answer = await _call(step, batch)
        answers.append(answer)
        return int(answer["status"])

    async with asyncio.TaskGroup() as group:
        for step in steps:
            running[step.id.lower()] = group.create_task(run(step))
    return answers


async def _call(step: Step, batch: Request) -> dict[str, Any]:
    content = b""
    if isinstance(step.body, str):
        content = base64.urlsafe_b64decode(step.body + "=" * (-len(step.body) % 4))
    elif step.body is not None:
        content = json.dumps(step.body).encode()
    response = await call_inside(
        batch,
        step.method.upper(),
        f"/v1.0/{step.url.lstrip('/')}",
        {"authorization": batch.headers["authorization"], **step.headers},
        content,
    )
    answer: dict[str, Any] = {
        "id": step.id,
        "status": response.status,
        "headers": {
            name.title(): value
            for name, value in response.headers.items()
            if name in _SHOWN_HEADERS
        },
    }
    if response.headers.get("content-type", "").startswith("application/json"):
        answer["body"] = json.loads(response.body)
    elif response.body:
        answer["body"] = base64.b64encode(response.body).decode()
    return answer


def _failed_dependency(step: Step) -> dict[str, Any]:
    refusal = GraphError(
        424, "FailedDependency", "The request could not be performed: one it depends on failed."
    )
    body = {"error": {"code": refusal.code, "message": refusal.message}}
    return {"id": step.id, "status": refusal.status, "headers": {}, "body": body}
