"""Gmail's HTTP batch endpoint: many calls in one multipart/mixed request.

Every part is served as a request of its own, with its own status, quota and concurrency.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from email import policy
from email.message import Message
from email.parser import BytesParser, Parser
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from local_tenant.google.errors import GoogleError, GoogleRoute
from local_tenant.inner_calls import InnerAnswer, call_inside
from local_tenant.state import TenantState

_MOST_PARTS = 100
_PARTS_THAT_FILL_THE_SLOTS = 50
"""More than 50 calls in a batch are discouraged: "likely to trigger rate limiting"."""


@dataclass(frozen=True, slots=True)
class InnerRequest:
    """One call of a batch."""

    content_id: str
    method: str
    target: str
    """Path and query."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def make_router(state: TenantState) -> APIRouter:
    """POST /batch/gmail/v1."""
    router = APIRouter(route_class=GoogleRoute)

    @router.post("/batch/gmail/v1")
    async def batch(request: Request) -> Response:
        calls = _read(request.headers.get("content-type", ""), await request.body())
        # The service works on a batch in parallel, and the wider the batch the more so: 25
        # calls pass, 50 just fill a user's slots, and of 100 many are answered 429.
        at_once = asyncio.Semaphore(
            max(1, len(calls) * state.gmail_user_slots.limit // _PARTS_THAT_FILL_THE_SLOTS)
        )
        authorization = request.headers.get("authorization")
        own_headers = {"authorization": authorization} if authorization else {}

        async def serve(call: InnerRequest) -> bytes:
            async with at_once:
                headers = own_headers | call.headers
                answer = await call_inside(request, call.method, call.target, headers, call.body)
                return _part(call, answer)

        parts = await asyncio.gather(*(serve(call) for call in calls))
        boundary = f"batch_{uuid.uuid4().hex}"
        body = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts)
        return Response(
            body + f"--{boundary}--\r\n".encode(),
            headers={"Content-Type": f"multipart/mixed; boundary={boundary}"},
        )

    return router


def _read(content_type: str, body: bytes) -> list[InnerRequest]:
    """Raises GoogleError 400 when the batch as a whole cannot be served."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    outer = BytesParser(policy=policy.compat32).parsebytes(head + body)
    parts = outer.get_payload()
    if outer.get_content_type() != "multipart/mixed" or not isinstance(parts, list):
        raise _bad_batch("Failed to parse batch request, error: Missing multipart/mixed body.")
    if len(parts) > _MOST_PARTS:
        raise _bad_batch(
            f"Inner request count exceeds the limit. Received: {len(parts)}, Limit: {_MOST_PARTS}"
        )
    return [_inner_request(part) for part in parts if isinstance(part, Message)]


def _inner_request(part: Message) -> InnerRequest:
    payload = part.get_payload(decode=True)
    if part.get_content_type() != "application/http" or not isinstance(payload, bytes):
        raise _bad_batch("Failed to parse batch request, error: Part is not application/http.")
    request_line, _, rest = payload.decode("utf-8", "replace").partition("\n")
    words = request_line.split()
    if len(words) < 2:
        raise _bad_batch("Failed to parse batch request, error: Malformed request line.")
    target = urlsplit(words[1])
    if not target.path.startswith("/gmail/"):
        raise _bad_batch(
            f"Failed to parse batch request, error: Batch is for gmail only, found {target.path}."
        )
    message = Parser(policy=policy.compat32).parsestr(rest)
    body = message.get_payload()
    headers = {
        name.lower(): str(value)
        for name, value in message.items()
        if name.lower() not in ("host", "content-length", "mime-version")
    }
    return InnerRequest(
        str(part.get("Content-ID", "")).strip(),
        words[0].upper(),
        target.path + (f"?{target.query}" if target.query else ""),
        headers,
        body.encode() if isinstance(body, str) else b"",
    )


def _part(call: InnerRequest, answer: InnerAnswer) -> bytes:
    """``Content-ID: <x>`` is answered with ``<response-x>``."""
    content_id = call.content_id.strip("<>")
    named = f"Content-ID: <response-{content_id}>\r\n" if content_id else ""
    kept = ("content-type", "retry-after", "www-authenticate")
    headers = "".join(
        f"{name.title()}: {value}\r\n" for name, value in answer.headers.items() if name in kept
    )
    return (
        f"Content-Type: application/http\r\n{named}\r\n"
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"{headers}Content-Length: {len(answer.body)}\r\n\r\n"
    ).encode() + answer.body


def _bad_batch(message: str) -> GoogleError:
    return GoogleError(400, "badRequest", message)
