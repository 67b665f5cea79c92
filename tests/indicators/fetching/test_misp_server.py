from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
import pytest
from tests.indicators.fetching.misp_instance import KEY, LOGIN_PAGE, SEARCH, Event, MispInstance
from tests.indicators.fetching.serving import Says

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import misp_server
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.merge import merge
from retract.indicators.refresh import read_source
from retract.indicators.snapshot import Snapshot
from retract.lake.source_state import SourceState

CREDENTIALS = Credentials(password=KEY)
HOUR = timedelta(hours=1)


@pytest.fixture
def misp() -> MispInstance:
    return MispInstance()


class Follower:
    """Reads an instance now and then, and keeps what it says, as refreshes do."""

    def __init__(self, source: Source, misp: MispInstance) -> None:
        self.source = source
        self._misp = misp
        self._state: SourceState | None = None
        self.rows: pl.DataFrame | None = None

    def read(self, **more: object) -> Snapshot:
        now = self._misp.now
        self._misp.questions.clear()
        snapshot = read_source(
            self.source, now, last=self._state, **{"credentials": CREDENTIALS, **more}
        )
        self.rows = merge(self.rows, [snapshot], now, [self.source])
        self._state = SourceState(
            source=self.source.name,
            settings=self.source.digest,
            read_at=now,
            listed=snapshot.listed,
            tried_at=now,
            **snapshot.facts.marks.model_dump(),
        )
        return snapshot

    @property
    def in_force(self) -> set[str]:
        return set(self.rows.filter("active")["value"])


@pytest.fixture
def follow(serve, source, misp):
    """Starts to follow the instance."""

    def follow(path: str = "/", **settings: object) -> Follower:
        follow.site = serve(misp)
        usual = {
            "name": "misp",
            "format": "misp",
            "service": "misp_server",
            "connection": "misp",
            "location": follow.site.url + path,
        }
        return Follower(source(**{**usual, **settings}), misp)

    return follow


def published(misp: MispInstance, *values: str, info: str = "An event") -> Event:
    event = misp.event(info)
    for value in values:
        misp.add(event, "domain", value)
    return misp.publish(event)


# --- the first reading ---


def test_everything_that_is_for_detection_and_published_is_read(misp, follow):
    event = misp.event("Invoices from nowhere", tags=("tlp:green",))
    misp.add(
        event,
        "url",
        "https://evil.example/x",
        tags=("phishing",),
        sightings=[{"type": "0", "date_sighting": "1767225600"}],
    )
    misp.add(event, "filename|md5", f"b.exe|{'cd' * 16}")
    misp.add(event, "ip-dst|port", "203.0.113.7|443")
    misp.add(event, "domain", "mentioned.example", to_ids=False)
    misp.add(event, "domain", "deleted.example", deleted=True)
    misp.add(event, "text", "a remark")
    misp.publish(event)
    misp.add(misp.event("A draft"), "domain", "draft.example")

    misp_here = follow()
    snapshot = misp_here.read()

    assert snapshot.facts.complete
    assert misp_here.in_force == {"https://evil.example/x", "cd" * 16, "203.0.113.7"}
    row = misp_here.rows.filter(value="https://evil.example/x").row(0, named=True)
    assert row["campaign"] == "Invoices from nowhere"
    assert row["reference"] == f"{misp_here.source.location}events/view/{event.uuid}"
    assert row["tags"] == ["phishing", "tlp:green"]
    assert row["sightings"] == 1


@pytest.mark.parametrize("path", ["", "/", SEARCH, SEARCH + "/"])
def test_the_location_is_the_server_or_the_search_on_it(misp, follow, path):
    published(misp, "a.example")
    follower = follow(path)
    follower.read()
    assert follower.in_force == {"a.example"}


def test_pages_are_read_until_one_is_empty(misp, follow, monkeypatch):
    monkeypatch.setattr(misp_server, "PAGE", 2)
    published(misp, *(f"{number}.example" for number in range(7)))

    follower = follow()
    follower.read()

    assert follower.in_force == {f"{number}.example" for number in range(7)}
    assert [question["page"] for question in misp.questions] == [1, 2, 3, 4, 5]


def test_a_page_that_is_short_is_not_the_last(misp, follow, monkeypatch):
    monkeypatch.setattr(misp_server, "PAGE", 2)
    published(misp, *(f"{number}.example" for number in range(5)))
    misp.allowed = {"0.example"}

    follower = follow()
    follower.read()
    assert follower.in_force == {f"{number}.example" for number in range(1, 5)}


def test_what_moves_to_another_page_while_we_read_is_given_once(misp, follow, monkeypatch):
    monkeypatch.setattr(misp_server, "PAGE", 2)
    event = published(misp, *(f"{number}.example" for number in range(4)))
    follower = follow()
    answer = follow.site.answer

    def grows(asked):
        said = answer(asked)
        if len(misp.questions) == 1:
            early = misp.add(event, "domain", "early.example", id="0")
            assert int(early["id"]) == 0
            misp.publish(event)
        return said

    follow.site.answer = grows
    snapshot = follower.read()
    assert snapshot.facts.usable == 4  # 1.example came twice; what came first is next time's


def test_a_server_that_gives_the_same_page_for_ever_is_an_error(misp, follow):
    event = published(misp, "a.example")
    follower = follow()
    page = json.dumps({"response": {"Attribute": event.attributes}}).encode()
    follow.site.answer = lambda asked: Says(page, headers={"Content-Type": "application/json"})

    with pytest.raises(FeedError, match="gives the same page again and again"):
        follower.read()


def test_no_more_pages_are_read_than_a_reading_may_have(misp, follow, monkeypatch):
    monkeypatch.setattr(misp_server, "PAGE", 1)
    monkeypatch.setattr(misp_server.limits, "MAX_DOCUMENTS", 3)
    published(misp, *"abcd")

    with pytest.raises(FeedError, match=r"more than 3 pages: narrow the location"):
        follow().read()


def test_the_location_may_narrow_the_reading(misp, follow):
    misp.publish(misp.event("Ours", tags=("phishing",)))
    misp.add(misp.events[0], "domain", "ours.example")
    misp.publish(misp.events[0])
    published(misp, "other.example")

    follower = follow("/?tags=phishing&tags=tlp:red")
    follower.read()

    assert follower.in_force == {"ours.example"}
    assert misp.questions[0]["tags"] == ["phishing", "tlp:red"]
    with pytest.raises(FeedError, match=r"narrows by 'limit': after . it may name category, event"):
        follow("/?limit=5").read()


# --- the next readings ---


def test_the_next_reading_asks_for_what_was_published_since(misp, follow):
    published(misp, "old.example")
    misp.now += HOUR
    follower = follow()
    follower.read()
    misp.now += HOUR
    published(misp, "new.example")

    snapshot = follower.read()

    assert not snapshot.facts.complete
    assert set(snapshot.rows["value"]) == {"new.example"}
    assert follower.in_force == {"old.example", "new.example"}


def test_an_attribute_that_was_published_long_after_it_was_written_is_read(misp, follow):
    """By its own timestamp it would never be."""
    published(misp, "old.example")
    late = misp.event("Written early")
    misp.add(late, "domain", "late.example")
    follower = follow()
    misp.now += HOUR
    follower.read()
    misp.now += HOUR
    misp.publish(late)

    follower.read()
    assert "late.example" in follower.in_force


def test_what_is_published_while_we_read_is_read_next_time(misp, follow, monkeypatch):
    monkeypatch.setattr(misp_server, "PAGE", 1)
    first = published(misp, "a.example", "b.example")
    follower = follow()
    answer = follow.site.answer

    def slow(asked):
        said = answer(asked)
        if len(misp.questions) == 2:
            misp.add(first, "domain", "meanwhile.example", id="0")
            misp.publish(first)
        misp.now += timedelta(minutes=5)
        return said

    follow.site.answer = slow
    follower.read()
    assert "meanwhile.example" not in follower.in_force
    follow.site.answer = answer

    follower.read()
    assert "meanwhile.example" in follower.in_force


def test_where_nothing_was_published_nothing_changes_and_the_cursor_moves_on(misp, follow):
    published(misp, "a.example")
    misp.now += HOUR
    follower = follow()
    follower.read()
    for _ in range(2):
        misp.now += HOUR
        snapshot = follower.read()
        assert snapshot.facts.unchanged
        since = misp.questions[0].get("publish_timestamp")
    assert since == int((misp.now - HOUR - misp_server.OVERLAP).timestamp())
    assert follower.in_force == {"a.example"}


def test_the_cursor_goes_by_the_servers_clock(misp, follow):
    """It may be behind ours by hours, as here by years."""
    published(misp, "a.example")
    follower = follow()

    marks = follower.read().facts.marks
    assert marks.cursor == str(int((misp.now - misp_server.OVERLAP).timestamp()))


def test_a_cursor_that_is_none_reads_everything(misp, follow):
    published(misp, "a.example")
    follower = follow()
    follower.read()
    follower._state = follower._state.model_copy(update={"cursor": "yesterday"})
    assert follower.read().facts.complete


@pytest.mark.parametrize("how", [{"deleted": True}, {"to_ids": False}])
def test_what_is_withdrawn_is_revoked(misp, follow, how):
    event = published(misp, "wrong.example", "right.example")
    follower = follow()
    follower.read()
    misp.now += HOUR
    misp.change(event, event.attributes[0], **how)

    follower.read()
    assert follower.in_force == {"wrong.example", "right.example"}, "not published yet"

    misp.publish(event)
    follower.read()
    assert follower.in_force == {"right.example"}
    (row,) = follower.rows.filter(value="wrong.example").to_dicts()
    assert row["inactive_because"] == "revoked"


def test_what_comes_back_is_in_force_again(misp, follow):
    event = published(misp, "a.example", "b.example")
    follower = follow()
    follower.read()
    for deleted in (True, False):
        misp.now += HOUR
        misp.change(event, event.attributes[0], deleted=deleted)
        misp.publish(event)
        follower.read()
        assert ("a.example" in follower.in_force) is not deleted


def test_what_another_event_lists_is_not_revoked(misp, follow):
    """Two of three attributes are never for detection, and name what others are listed for."""
    published(misp, "shared.example")
    misp.now += HOUR
    follower = follow()
    follower.read()
    misp.now += HOUR
    report = misp.event("A report")
    misp.add(report, "domain", "shared.example", to_ids=False)
    misp.add(report, "domain", "never.example", to_ids=False)
    misp.add(report, "hostname|port", "shared.example|443", deleted=True)
    misp.publish(report)

    snapshot = follower.read()

    assert "shared.example" in follower.in_force
    assert "never.example" not in set(follower.rows["value"]), "we never knew it"
    assert snapshot.facts.rejected == 0


def test_whether_values_are_still_listed_is_asked_in_parts_and_never_as_a_pattern(
    misp, follow, monkeypatch
):
    monkeypatch.setattr(misp_server, "VALUES", 3)
    follower = follow()
    published(misp, "a.example")
    follower.read()
    misp.now += HOUR
    report = misp.event("A report")
    for number in range(5):
        misp.add(report, "domain", f"{number}.example", to_ids=False)
    for pattern in ("%", "https://evil.example/%", "!x", "%y"):
        misp.add(report, "url", pattern, to_ids=False)
    misp.add(report, "email-src", "", deleted=True)
    misp.publish(report)

    follower.read()

    asked = [question["value"] for question in misp.questions if "value" in question]
    assert asked == [["0.example", "1.example", "2.example"], ["3.example", "4.example"]]


def test_with_absence_revokes_everything_is_read_each_time(misp, follow):
    event = published(misp, "a.example", "b.example")
    gone = published(misp, "gone.example")
    follower = follow(absence_revokes=True)
    follower.read()
    misp.now += HOUR
    misp.events.remove(gone)
    event.attributes.pop()

    assert follower.read().facts.complete
    assert follower.in_force == {"a.example"}


# --- when it is not as it should be ---


def test_a_wrong_key_is_told_in_the_servers_words_and_stays_secret(misp, follow):
    published(misp, "a.example")
    with pytest.raises(FeedError) as caught:
        follow().read(credentials=Credentials(password="wrong-" + KEY[:20]))

    message = str(caught.value)
    assert "refuses the question (HTTP 403): the password of the connection" in message
    assert "it says: Authentication failed. Please make sure you pass the API key" in message
    assert "wrong-" not in message


def test_without_a_key_nothing_is_asked(misp, follow):
    with pytest.raises(FeedError, match="name a connection whose password is the key"):
        follow().read(credentials=Credentials())
    assert follow.site.asked == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (Says(LOGIN_PAGE), "an HTML page instead of data, perhaps of a login"),
        (Says(b"{}"), "lists no attributes: name the address of a MISP server"),
        (Says(b'{"response": {"Attribute": 5}}'), "lists no attributes"),
        (Says(b'{"response": {"Attribute": [{"id": "1"'), "cut off"),
        (Says(b'{"message": "No such\\nthing"}', 404), "MISP server alone; it says: No such thing"),
        (Says(b'{"message": "Bad filter"}', 400), "what follows . in the location; it says: Bad"),
        (Says(b'{"message": ["x"]}', 405), r"\(HTTP 405\): the password of the connection"),
        (Says(b"nothing", 403), r"\(HTTP 403\): the password of the connection"),
        (Says(b"", 500), "after 3 tries: HTTP 500"),
        (Says(b"", 302, {"Location": "/users/login"}), "redirects a question"),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_what_to_do(follow, soon, said, problem):
    follower = follow()
    follow.site.answer = lambda asked: said
    with pytest.raises(FeedError, match=problem):
        follower.read()


def test_strange_attributes_are_told_of_and_the_others_are_read(misp, follow):
    event = published(misp, "a.example")
    event.attributes += [
        {**event.attributes[0], "id": "7", "uuid": None, "type": ["domain"]},
        {**event.attributes[0], "id": "8", "uuid": "u-8", "value": {"a": 1}},
    ]
    follower = follow()
    follow.site.answer = lambda asked: Says(
        json.dumps(
            {
                "response": {
                    "Attribute": ["text", None, *event.attributes]
                    if json.loads(asked.body)["page"] == 1
                    else []
                }
            }
        ).encode()
    )
    snapshot = follower.read()
    assert follower.in_force == {"a.example"}
    assert (snapshot.facts.rejected, snapshot.facts.left_out) == (1, 1)
