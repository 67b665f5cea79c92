"""What Microsoft Graph is asked and what it answers, one by one or twenty in a batch."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, ValidationError

LARGEST_BATCH = 20
"""More calls in one are refused: learn.microsoft.com/graph/json-batching."""

_BATCH_PATH = "/$batch"
# Without it a move changes the id, and the copy is lost to us.
_LASTING_IDS = 'IdType="ImmutableId"'


class GraphAnswer(BaseModel):
    """What Graph sends. It adds properties at any time, so unknown ones are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


@dataclass(frozen=True, slots=True)
class Call:
    """One call, not yet made."""

    method: str
    path: str
    """Below the version, query included, quoted: "/users/…/messages/…?$select=id"."""
    task: str
    """What it is for, for people: "read the mail of …"."""
    mailbox_id: str = ""
    """The mailbox whose limits it counts against; empty for none."""
    body: Mapping[str, object] | None = None
    changing: bool = False
    """Whether it must not be repeated when its answer was lost."""
    prefer: str = ""
    """What is preferred besides ids that last: "odata.maxpagesize=50"."""
    times_as_long: float = 1
    """How much longer than others its answer may take."""

    @property
    def headers(self) -> dict[str, str]:
        """All headers but the token's."""
        prefer = f"{_LASTING_IDS}, {self.prefer}" if self.prefer else _LASTING_IDS
        if self.body is None:
            return {"Prefer": prefer}
        return {"Prefer": prefer, "Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered to one call, success or not."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any = b""
    """Bytes as they came; of a call in a batch JSON, or a text in base64 of what is no JSON."""

    @property
    def is_success(self) -> bool:
        """Whether Graph did what it was asked."""
        return 200 <= self.status < 300

    def content(self) -> bytes:
        """The bytes. Raises ValueError."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            # Seen both with the alphabet for URLs and without padding.
            sound = self.body.translate({ord("-"): "+", ord("_"): "/"})
            return base64.b64decode(sound + "=" * (-len(sound) % 4))
        return json.dumps(self.body).encode()

    def json(self) -> Any:
        """The object; an empty one where nothing was said. Raises ValueError."""
        if self.body is None:
            return {}
        if isinstance(self.body, bytes | str):
            return json.loads(self.content() or b"{}")
        return self.body


def segment(value: str) -> str:
    """An id or address as one segment of a path."""
    return quote(value, safe="@=")


def with_query(path: str, **params: str) -> str:
    """The path with a query of these parameters, quoted: ``**{"$select": "id"}``."""
    query = urlencode(params, quote_via=quote, safe="$,")
    return f"{path}?{query}" if query else path


def text(value: str) -> str:
    """A text in an OData filter, whatever it holds."""
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


def batch_of(calls: Sequence[Call]) -> Call:
    """The calls as one; each one's id is its place among them."""
    return Call(
        "POST",
        _BATCH_PATH,
        f"carry out {len(calls)} calls at once",
        body={"requests": [_step(place, call) for place, call in enumerate(calls)]},
        changing=any(call.changing for call in calls),
    )


def _step(place: int, call: Call) -> dict[str, object]:
    step: dict[str, object] = {
        "id": str(place),
        "method": call.method,
        "url": call.path,
        "headers": call.headers,
    }
    if call.body is not None:
        step["body"] = call.body
    return step


class _Answered(GraphAnswer):
    id: str
    status: int
    headers: dict[str, Any] | None = None
    body: Any = None


class _BatchAnswer(GraphAnswer):
    responses: list[Any]


def replies_in(answer: Reply, count: int) -> list[Reply | None]:
    """What a batch of so many calls was answered, in their order; None where nothing was said.

    Graph answers in any order. What answers no call of ours is passed over.
    """
    replies: list[Reply | None] = [None] * count
    try:
        told = _BatchAnswer.model_validate(answer.json()).responses
    except ValueError:
        return replies
    places = {str(place): place for place in range(count)}
    for one in told:
        try:
            found = _Answered.model_validate(one)
        except ValidationError:
            continue
        place = places.pop(found.id, None)
        if place is not None:
            headers = {name.lower(): str(value) for name, value in (found.headers or {}).items()}
            replies[place] = Reply(found.status, headers, found.body)
    return replies
