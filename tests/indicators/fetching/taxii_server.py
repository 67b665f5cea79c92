"""A strict TAXII 2.1 server, and its less strict relatives.

It holds its clients to OASIS TAXII 2.1: the media type, slashes at the end, timestamps, one set of
filters for all pages of a question.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.indicators.fetching.serving import Asked, Says

TAXII = "application/taxii+json;version=2.1"
COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
OBJECTS = f"/api1/collections/{COLLECTION}/objects/"
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_FILTERS = {"added_after", "limit", "next", "match[type]", "match[id]", "match[version]", "api_key"}


def indicator(number: int, modified: str = "2026-01-01T00:00:00.000Z") -> dict[str, Any]:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": modified,
        "pattern": f"[url:value = 'https://evil-{number}.example/login']",
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
    }


@dataclass
class TaxiiServer:
    """Answers as one. What it holds may change between two questions."""

    added: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    pages_by: str = "next"
    """How it leads on: by ``next``, or only by the ``date`` of the last object."""
    inclusive: bool = False
    """Takes added_after for added at or after, which the standard does not."""
    most: int = 100
    """Objects on a page, whatever the client would like."""
    header_digits: int = 6
    """Of the fractions of a second in its headers; fewer are cut off."""
    always_more: bool = False
    authorization: str | None = None

    def add(self, moment: datetime, *things: dict[str, Any]) -> None:
        self.added += [(moment, thing) for thing in things]
        self.added.sort(key=lambda one: one[0])

    def __call__(self, asked: Asked) -> Says:
        if self.authorization and asked.headers.get("authorization") != self.authorization:
            return problem(401, "Unauthorized")
        if asked.headers.get("accept", "").replace(" ", "") != TAXII:
            return problem(406, "Not Acceptable", "TAXII 2.1 only")
        if asked.path == "/taxii2/":
            roots = ["/api1/", "https://other.example/api2/"]
            return says({"title": "Some server", "default": "/api1/", "api_roots": roots})
        if asked.path == "/api1/":
            return says({"title": "Root", "versions": [TAXII], "max_content_length": 10_000})
        if asked.path == "/api1/collections/":
            listed = [
                {"id": COLLECTION, "title": "High value\nindicators", "can_read": True},
                {"id": "52892447-4d7e-4f70-b94d-d7f22742ff63", "title": "T" * 500},
            ]
            return says({"collections": listed})
        if asked.path == OBJECTS:
            return self._objects(asked)
        return problem(404, "Not Found", "no such collection")

    def _objects(self, asked: Asked) -> Says:
        query = dict(parse_qsl(urlsplit(asked.target).query, keep_blank_values=True))
        after, token = query.get("added_after"), query.pop("next", None)
        if not query.keys() <= _FILTERS or (after and not _TIMESTAMP.fullmatch(after)):
            return problem(400, "Bad Request", "no such filter")
        question = hashlib.sha256(json.dumps(sorted(query.items())).encode()).hexdigest()[:8]
        start = 0
        if token is not None:
            start, _, of = token.partition(".")
            if of != question:
                return problem(400, "Bad Request", "next belongs to another question")
            start = int(start)
        limit = min(int(query.get("limit", self.most)), self.most)
        since = datetime.fromisoformat(after) if after else datetime.min.replace(tzinfo=UTC)
        wanted = [
            one for one in self.added if one[0] > since or (self.inclusive and one[0] == since)
        ]
        page = wanted[start : start + limit]
        if not page and not self.always_more:
            return says({})
        envelope: dict[str, Any] = {"objects": [thing for _, thing in page]}
        if start + limit < len(wanted) or self.always_more:
            envelope["more"] = True
            if self.pages_by == "next" and start + limit < len(wanted):
                envelope["next"] = f"{start + limit}.{question}"
        if not page:
            return says(envelope)
        first, last = self._stamp(page[0][0]), self._stamp(page[-1][0])
        return says(envelope, {"X-TAXII-Date-Added-First": first, "X-TAXII-Date-Added-Last": last})

    def _stamp(self, moment: datetime) -> str:
        cut = 10 ** (6 - self.header_digits)
        moment -= timedelta(microseconds=moment.microsecond % cut)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[: 20 + self.header_digits] + "Z"


def says(content: object, headers: dict[str, str] | None = None) -> Says:
    return Says(json.dumps(content).encode(), headers={"Content-Type": TAXII, **(headers or {})})


def problem(status: int, title: str, description: str = "") -> Says:
    message = {"title": title, "description": description, "http_status": str(status)}
    return Says(json.dumps(message).encode(), status, {"Content-Type": TAXII})
