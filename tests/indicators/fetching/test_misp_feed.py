from __future__ import annotations

import json
import logging
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.indicators.fetching.serving import Asked, Says

from retract.errors import FeedError
from retract.indicators.fetching import misp_feed
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Marks
from retract.indicators.refresh import read_source


def uuid(number: int) -> str:
    return str(uuid5(NAMESPACE_URL, f"event {number}"))


class Feed:
    """A folder as PyMISP's feed generator writes it."""

    def __init__(self, events: int = 0) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.missing: set[str] = set()
        self.manifest: Any = None
        for number in range(events):
            self.put(number)

    def put(self, number: int, time: int = 1767225600, *values: str) -> None:
        self.events[uuid(number)] = {
            "info": f"Event {number}",
            "uuid": uuid(number),
            "date": "2026-01-01",
            "timestamp": str(time),
            "threat_level_id": "3",
            "analysis": "2",
            "published": True,
            "Orgc": {"name": "A CERT", "uuid": uuid(0)},
            "Tag": [{"name": "tlp:clear", "colour": "#ffffff"}],
            "Attribute": [
                {
                    "type": "domain",
                    "category": "Network activity",
                    "to_ids": True,
                    "uuid": uuid(100 * number + place),
                    "timestamp": str(time),
                    "comment": "",
                    "value": value,
                }
                for place, value in enumerate(values or [f"evil-{number}.example"], start=1)
            ],
        }

    def __call__(self, asked: Asked) -> Says:
        folder, _, name = asked.path.rpartition("/")
        if folder != "/osint":
            return Says(b"Not Found", 404)
        if name == "manifest.json":
            about = {
                one: {
                    key: event[key]
                    for key in ("info", "Orgc", "analysis", "Tag", "timestamp", "date")
                }
                for one, event in self.events.items()
            }
            return self._says(about if self.manifest is None else self.manifest)
        known = name.removesuffix(".json")
        if known in self.events and known not in self.missing:
            return self._says({"Event": self.events[known]})
        return Says(b"Not Found", 404)

    def _says(self, content: object) -> Says:
        return Says(json.dumps(content).encode(), headers={"Content-Type": "application/json"})


@pytest.fixture
def pull(read, serve):
    """Reads a feed."""

    def pull(feed, last=Marks(), path="/osint/", **settings):  # noqa: B008  # frozen
        pull.site = serve(feed)
        return read(
            pull.site.url + path,
            last,
            **{"format": "misp", "service": "misp_feed", **settings},
        )

    return pull


def events(found: Any) -> set[str]:
    return {json.loads(data)["Event"]["uuid"] for data in found.data}


def test_the_first_reading_gets_every_event_that_the_manifest_names(pull):
    found = pull(Feed(3))

    assert events(found) == {uuid(0), uuid(1), uuid(2)}
    assert found.complete
    assert json.loads(found.marks.cursor) == {uuid(number): "1767225600" for number in range(3)}
    assert found.documents[0].name == f"127.0.0.1 event {uuid(0)}"


@pytest.mark.parametrize("path", ["/osint", "/osint/", "/osint/manifest.json"])
def test_the_location_is_the_folder_or_its_manifest(pull, path):
    assert events(pull(Feed(1), path=path)) == {uuid(0)}


def test_a_key_in_the_question_goes_along(pull):
    feed = Feed(1)
    pull(
        feed,
        path="/osint/?token={key}",
        credentials=Credentials(password="s3cret&more"),
    )
    assert [asked.query for asked in pull.site.asked] == [{"token": "s3cret&more"}] * 2


def test_the_next_reading_gets_what_is_new_or_changed(pull):
    feed = Feed(4)
    last = pull(feed).marks
    feed.put(1, 1767312000)
    feed.put(9)
    del feed.events[uuid(2)]

    found = pull(feed, last)

    assert events(found) == {uuid(1), uuid(9)}
    assert not found.complete
    assert json.loads(found.marks.cursor).keys() == {uuid(0), uuid(1), uuid(3), uuid(9)}


@pytest.mark.parametrize("absence_revokes", [None, True])
def test_a_manifest_that_says_the_same_is_no_change(pull, absence_revokes):
    feed = Feed(2)
    last = pull(feed, absence_revokes=absence_revokes).marks
    found = pull(feed, last, absence_revokes=absence_revokes)

    assert found.unchanged
    assert found.marks == last
    assert [asked.path for asked in pull.site.asked] == ["/osint/manifest.json"]


def test_an_event_that_only_left_is_no_news_but_is_with_absence_revokes(pull):
    feed = Feed(3)
    last = pull(feed).marks
    del feed.events[uuid(2)]

    assert pull(feed, last).unchanged
    found = pull(feed, last, absence_revokes=True)
    assert events(found) == {uuid(0), uuid(1)}
    assert found.complete


@pytest.mark.parametrize("cursor", ["", "{", "[1]", "null", '"text"', "9" * 5000])
def test_a_cursor_that_is_none_reads_everything(pull, cursor):
    assert pull(Feed(2), Marks(cursor=cursor)).complete


# --- when it is not as it should be ---


def test_a_missing_event_is_told_of_and_asked_for_again(pull, caplog):
    feed = Feed(3)
    feed.missing = {uuid(1)}
    with caplog.at_level(logging.WARNING):
        found = pull(feed)

    assert events(found) == {uuid(0), uuid(2)}
    assert not found.complete, "what it would list is not known to be gone"
    assert f"1 of 3 events that the manifest of 127.0.0.1 names, as {uuid(1)}" in caplog.text

    feed.missing.clear()
    assert events(pull(feed, found.marks)) == {uuid(1)}


def test_an_event_that_stays_missing_breaks_no_later_reading(pull):
    feed = Feed(3)
    feed.missing = {uuid(1)}
    last = pull(feed).marks

    assert pull(feed, last).unchanged

    feed.put(3)
    assert events(pull(feed, last)) == {uuid(3)}


def test_where_most_events_are_missing_the_feed_is_broken(pull):
    feed = Feed(3)
    feed.missing = {uuid(1), uuid(2)}
    with pytest.raises(FeedError, match=r"2 of 3 events that the manifest .* are not there"):
        pull(feed)


HOSTILE = [
    "../../../etc/passwd",
    "//evil.example/x",
    "https://evil.example/x",
    "..%2f..%2fadmin",
    "41d35b43-e44a-47e2-882b-1a06e0b0581f/../../admin",
    "41d35b43-e44a-47e2-882b-1a06e0b0581f\n",
    "41d35b43-e44a-47e2-882b-1a06e0b0581f?x=",
    "４1d35b43-e44a-47e2-882b-1a06e0b0581f",
    "",
]


def test_only_names_that_are_uuids_are_asked_for(pull, caplog):
    feed = Feed(10)
    feed.manifest = {
        **{name: {"timestamp": "1"} for name in HOSTILE},
        **{uuid(number): {"timestamp": "1"} for number in range(10)},
    }
    with caplog.at_level(logging.WARNING):
        found = pull(feed)

    asked = {asked.target for asked in pull.site.asked}
    assert asked == {"/osint/manifest.json"} | {f"/osint/{one}.json" for one in events(found)}
    assert len(found.documents) == 10
    assert "9 of 19 names in its manifest are no UUIDs, as '../../../etc/passwd'" in caplog.text


@given(st.dictionaries(st.text(max_size=50), st.none() | st.dictionaries(st.text(), st.integers())))
@settings(max_examples=200, deadline=None)
def test_no_name_that_a_stranger_makes_up_leads_out_of_the_folder(names):
    for name in names:
        if misp_feed._UUID.fullmatch(name):
            assert len(name) == 36
            assert set(name) <= set("0123456789abcdefABCDEF-")


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        ({name: {} for name in HOSTILE}, "9 of 9 names in its manifest are no UUIDs"),
        ([], "is not the list of a feed's events"),
        ("text", "is not the list of a feed's events"),
    ],
)
def test_a_manifest_that_is_none_is_an_error(pull, manifest, problem):
    feed = Feed()
    feed.manifest = manifest
    with pytest.raises(FeedError, match=problem):
        pull(feed)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (Says(b"<html><body>moved</body></html>"), "an HTML page instead of data"),
        (Says(b'{"41d35b43-'), "cut off"),
        (Says(b"", 404), "HTTP 404: correct the location"),
        (Says(b"", 403), "does the feed need a key"),
    ],
)
def test_without_a_manifest_nothing_is_read(pull, said, problem):
    with pytest.raises(FeedError, match=problem):
        pull(lambda asked: said)


def test_a_feed_has_no_more_events_than_a_reading_may_have(pull, monkeypatch):
    monkeypatch.setattr(misp_feed.limits, "MAX_DOCUMENTS", 2)
    with pytest.raises(FeedError, match="lists more than 2 events"):
        pull(Feed(3))


@pytest.mark.parametrize("stated", [{}, None, {"timestamp": None}, {"timestamp": ["x"]}, 5])
def test_an_event_without_a_time_is_read(pull, stated):
    feed = Feed(1)
    feed.manifest = {uuid(0): stated}
    assert events(pull(feed)) == {uuid(0)}


def test_a_feed_becomes_indicators(serve, source, now):
    feed = Feed(2)
    feed.put(7, 1767225600, "one.example", "two.example")
    site = serve(feed)
    follow = source(format="misp", service="misp_feed", location=site.url + "/osint")

    snapshot = read_source(follow, now)

    assert set(snapshot.rows["value"]) == {
        *("evil-0.example", "evil-1.example", "one.example", "two.example"),
    }
    row = snapshot.rows.filter(value="one.example").row(0, named=True)
    assert row["campaign"] == "Event 7"
    assert row["reference"] == f"{site.url}/osint/{uuid(7)}.json"
    assert row["tags"] == ["tlp:clear"]


def test_an_event_that_is_broken_is_an_error_that_names_it(serve, source, now):
    feed = Feed(2)
    site = serve(lambda asked: Says(b'{"Event": {"in') if uuid(1) in asked.path else feed(asked))
    follow = source(format="misp", service="misp_feed", location=site.url + "/osint")
    with pytest.raises(FeedError, match=f"127.0.0.1 event {uuid(1)} is no readable JSON"):
        read_source(follow, now)
