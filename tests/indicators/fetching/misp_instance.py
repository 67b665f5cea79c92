"""A MISP instance, as far as POST /attributes/restSearch goes: as strict as the real one, or more.

After MISP 2.4 (MispAttribute::restSearch, JsonExport, AppController): who passes no key or does
not ask for JSON gets the login page; filters that are not stated are not applied, but for
``deleted``; allowed lists take attributes out of a page after it was cut.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from tests.indicators.fetching.serving import Asked, Says

SEARCH = "/attributes/restSearch"
KEY = "Yq3bMTHLdD0pKmZpLRr2cX8w9f4sV1aUeJ7nG5hC"
LOGIN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Users - MISP</title></head><body>Login</body></html>"
)

_KNOWN = {
    *("returnFormat", "page", "limit", "order", "type", "value", "tags", "org", "category"),
    *("publish_timestamp", "published", "to_ids", "deleted", "includeEventTags"),
    *("includeSightings", "threat_level_id", "eventinfo", "sharinggroup"),
}
_SEPARATED = ("|port", "|ip", "filename|", "malware-sample")


@dataclass
class Event:
    """An event; its ``publish_timestamp`` is set when it is published."""

    id: int
    info: str
    tags: tuple[str, ...] = ()
    published: bool = False
    publish_timestamp: int = 0
    attributes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"event {self.id}"))


@dataclass
class MispInstance:
    """Its events and its clock; call it to have a request answered."""

    now: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)
    events: list[Event] = field(default_factory=list)
    allowed: set[str] = field(default_factory=set)
    """The allowed list: these values are taken out of what is answered."""
    questions: list[dict[str, Any]] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def event(self, info: str, *, tags: tuple[str, ...] = ()) -> Event:
        self.events.append(Event(len(self.events) + 1, info, tags))
        return self.events[-1]

    def add(self, event: Event, kind: str, value: str, **more: Any) -> dict[str, Any]:
        """An attribute, changed now; the event is a draft until it is published again."""
        number = next(self._ids)
        event.attributes.append(
            {
                "id": str(number),
                "event_id": str(event.id),
                "object_id": "0",
                "object_relation": None,
                "category": "Network activity",
                "type": kind,
                "value": value,
                "to_ids": True,
                "uuid": str(uuid5(NAMESPACE_URL, f"attribute {number}")),
                "timestamp": str(int(self.now.timestamp())),
                "distribution": "5",
                "sharing_group_id": "0",
                "comment": "",
                "deleted": False,
                "disable_correlation": False,
                "first_seen": None,
                "last_seen": None,
                "tags": (),
                "sightings": [],
                **more,
            }
        )
        event.published = False
        return event.attributes[-1]

    def change(self, event: Event, attribute: dict[str, Any], **changes: Any) -> None:
        attribute |= {"timestamp": str(int(self.now.timestamp())), **changes}
        event.published = False

    def publish(self, event: Event) -> Event:
        event.published, event.publish_timestamp = True, int(self.now.timestamp())
        return event

    def __call__(self, asked: Asked) -> Says:
        headers = {"Content-Type": "application/json", "Date": format_datetime(self.now, True)}
        if "application/json" not in asked.headers.get("accept", ""):
            return Says(LOGIN_PAGE, headers={**headers, "Content-Type": "text/html"})
        if asked.headers.get("authorization") != KEY:
            message = (
                "Authentication failed. Please make sure you pass the API key of an API enabled "
                "user along in the Authorization header."
            )
            return Says(_error(message, asked.target), 403, headers)
        if asked.target != SEARCH:
            return Says(_error("Not Found", asked.target), 404, headers)
        if asked.method != "POST":
            message = "Restsearch queries using GET and no parameters are not allowed."
            return Says(_error(message, asked.target), 400, headers)
        question = json.loads(asked.body)
        self.questions.append(question)
        found = self._found(question)
        body = json.dumps({"response": {"Attribute": found}}).encode()
        return Says(body, 200, {**headers, "X-Result-Count": str(len(found))})

    def _found(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        assert question.keys() <= _KNOWN, "MISP does not know that filter, and would ignore it"
        assert question["returnFormat"] == "json"
        # Without an order, MySQL may give a row on two pages and another on none.
        assert question["order"] == "Attribute.id asc"
        found = [
            (event, attribute)
            for event in self.events
            for attribute in event.attributes
            if self._fits(event, attribute, question)
        ]
        found.sort(key=lambda pair: int(pair[1]["id"]))
        start = (question["page"] - 1) * question["limit"]
        return [
            _told(event, attribute, question)
            for event, attribute in found[start : start + question["limit"]]
            if attribute["value"] not in self.allowed
        ]

    def _fits(self, event: Event, attribute: dict[str, Any], question: dict[str, Any]) -> bool:
        if "published" in question and event.published != bool(question["published"]):
            return False
        if event.publish_timestamp < question.get("publish_timestamp", 0):
            return False
        if int(attribute["deleted"]) not in question.get("deleted", [0]):
            return False
        if "to_ids" in question and attribute["to_ids"] != bool(question["to_ids"]):
            return False
        if "type" in question and attribute["type"] not in question["type"]:
            return False
        tags = {*event.tags, *attribute["tags"]}
        if "tags" in question and not tags.intersection(question["tags"]):
            return False
        return "value" not in question or _named(attribute, question["value"])


def _named(attribute: dict[str, Any], values: list[str]) -> bool:
    assert not any(value[0] in "!%" or value[-1] == "%" for value in values), "a pattern to MISP"
    both = {attribute["value"]}
    if any(part in attribute["type"] for part in _SEPARATED):
        both = set(attribute["value"].split("|", 1))
    return bool(both.intersection(values))


def _told(event: Event, attribute: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    told = {key: stated for key, stated in attribute.items() if key not in ("tags", "sightings")}
    told["Event"] = {
        "org_id": "1",
        "distribution": "3",
        "publish_timestamp": str(event.publish_timestamp),
        "id": str(event.id),
        "info": event.info,
        "orgc_id": "1",
        "uuid": event.uuid,
    }
    tags = [{"id": "1", "name": name, "local": 0} for name in attribute["tags"]]
    if question.get("includeEventTags"):
        tags += [{"id": "2", "name": name, "inherited": 1} for name in event.tags]
    if tags:
        told["Tag"] = tags
    if question.get("includeSightings"):
        told["Sighting"] = attribute["sightings"]
    return told


def _error(message: str, url: str) -> bytes:
    return json.dumps({"name": message, "message": message, "url": url}).encode()
