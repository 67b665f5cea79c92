from __future__ import annotations

import base64
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.indicators.fetching.conftest import Read
from tests.indicators.fetching.serving import Says, site
from tests.indicators.fetching.taxii_server import (
    COLLECTION,
    OBJECTS,
    TAXII,
    TaxiiServer,
    indicator,
    problem,
    says,
)

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.fetching import limits, progress, taxii
from retract.indicators.fetching.credentials import NO_CREDENTIALS, Credentials
from retract.indicators.fetching.document import Marks

T0 = datetime(2026, 1, 31, 8, tzinfo=UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)


@pytest.fixture
def pull(read, serve):
    """Reads a collection of that server."""

    def pull(server, last=Marks(), path=OBJECTS, credentials=NO_CREDENTIALS, **settings):  # noqa: B008  # frozen
        pull.site = serve(server)
        return read(
            pull.site.url + path, last, credentials, format="stix", service="taxii", **settings
        )

    return pull


def numbers(found: Read) -> list[int]:
    """Of the indicators, page by page."""
    objects = [one for data in found.data for one in json.loads(data)["objects"]]
    return [int(one["id"][-12:]) for one in objects]


def filled(count: int, step: timedelta = SECOND, **options: object) -> TaxiiServer:
    server = TaxiiServer(**options)
    for number in range(count):
        server.add(T0 + number * step, indicator(number))
    return server


# --- paging ---


@pytest.mark.parametrize("pages_by", ["next", "date"])
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("count", [1, 9, 10, 11, 35])
def test_all_pages_are_read_and_each_object_is_given_once(pull, pages_by, inclusive, count):
    found = pull(filled(count, pages_by=pages_by, inclusive=inclusive, most=10))
    assert numbers(found) == list(range(count))
    assert found.complete


@pytest.mark.parametrize("path", ["", "/", "/objects", "/objects/"])
def test_a_collection_may_be_named_with_or_without_its_objects(pull, path):
    assert numbers(pull(filled(1), path=OBJECTS.removesuffix("/objects/") + path)) == [0]


def test_the_original_query_goes_along_to_every_page(pull):
    pull(filled(5, most=2), path=OBJECTS + "?match[type]=indicator&limit=2")
    assert len(pull.site.asked) == 3
    for asked in pull.site.asked:
        assert asked.query["match[type]"] == "indicator"
        assert asked.query["limit"] == "2"


def test_the_original_date_goes_along_with_next(pull):
    server = filled(30, most=5, step=timedelta(hours=1))
    last = pull(server).marks
    for number in range(30, 45):
        server.add(T0 + timedelta(hours=number), indicator(number))
    assert set(range(30, 45)) <= set(numbers(pull(server, last)))
    dates = {asked.query["added_after"] for asked in pull.site.asked}
    assert len(pull.site.asked) > 2
    assert len(dates) == 1


@pytest.mark.parametrize("inclusive", [False, True])
def test_objects_of_one_moment_that_span_pages_are_not_lost(pull, inclusive):
    server = TaxiiServer(pages_by="date", inclusive=inclusive, most=10_000)
    server.add(T0, *(indicator(number) for number in range(5)))
    server.add(T0 + SECOND, *(indicator(number) for number in range(5, 30)))
    server.add(T0 + 2 * SECOND, *(indicator(number) for number in range(30, 33)))
    found = pull(server, path=OBJECTS + "?limit=10")
    assert numbers(found) == list(range(33))


@pytest.mark.parametrize("inclusive", [False, True])
def test_more_objects_of_one_moment_than_a_server_can_tell_are_an_error_not_a_loss(pull, inclusive):
    server = TaxiiServer(pages_by="date", inclusive=inclusive, most=10)
    server.add(T0, *(indicator(number) for number in range(25)))
    with pytest.raises(FeedError, match=r"more objects of one moment \(2026-01-31T08:00:00"):
        pull(server)
    assert len(pull.site.asked) < 10


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("most", [2, 10])
def test_a_server_that_always_says_more_is_left_at_its_end(pull, inclusive, most):
    server = filled(7, pages_by="date", inclusive=inclusive, always_more=True, most=most)
    assert numbers(pull(server)) == list(range(7))
    assert len(pull.site.asked) < 30


def test_an_object_with_a_new_version_is_another(pull):
    server = filled(1)
    server.add(T0 + SECOND, indicator(0, modified="2026-02-01T00:00:00.000Z"))
    assert numbers(pull(server)) == [0, 0]


def test_a_page_of_which_nothing_is_known_is_passed_on_as_it_came(pull):
    body = b'{"objects":  [ {"type": "x"}, {"type": "x"}, 7, null ], "x_own": 1}'
    found = pull(lambda asked: Says(body, headers={"Content-Type": TAXII}))
    assert json.loads(found.data[0])["objects"] == [{"type": "x"}, 7, None]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"more": True, "next": "same", "objects": [indicator(1)]}, "the same again and again"),
        ({"more": True, "next": "same"}, "the same again and again"),
        ({"more": True, "next": "x" * 5_000, "objects": [indicator(1)]}, "a next that is too long"),
        ({"more": True, "objects": [indicator(1)]}, "neither next nor X-TAXII-Date-Added-Last"),
        ([], "no TAXII envelope"),
        ({"objects": {"a": 1}}, "no TAXII envelope"),
    ],
)
def test_a_server_that_leads_nowhere_is_left(pull, page, reason):
    with pytest.raises(FeedError, match=reason):
        pull(lambda asked: says(page))
    assert len(pull.site.asked) <= taxii.MAX_IDLE_PAGES + 2


def test_a_server_without_an_end_is_left(pull, monkeypatch):
    monkeypatch.setattr(limits, "MAX_DOCUMENTS", 20)

    def endless(asked):
        number = len(pull.site.asked)
        return says({"more": True, "next": str(number), "objects": [indicator(number)]})

    with pytest.raises(FeedError, match=r"more than 20 pages: add \?match\[type\]=indicator"):
        pull(endless)


def test_pages_that_are_empty_meanwhile_are_no_end(pull):
    pages = [
        {"more": True, "next": 1, "objects": [indicator(0)]},
        {"more": True, "next": 2},
        {"objects": [indicator(1)]},
    ]
    assert numbers(pull(lambda asked: says(pages[int(asked.query.get("next", 0))]))) == [0, 1]


# --- the next reading ---


@pytest.mark.parametrize("pages_by", ["next", "date"])
def test_the_next_reading_asks_for_what_was_added_since(pull, pages_by):
    server = filled(100, step=timedelta(minutes=1), pages_by=pages_by)
    first = pull(server)
    assert first.complete
    server.add(T0 + timedelta(minutes=99), indicator(100))
    server.add(T0 + timedelta(minutes=120), indicator(101))

    second = pull(server, first.marks)

    assert not second.complete
    assert {100, 101} <= set(numbers(second))
    assert len(numbers(second)) < 20, "with a little that is known already"


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("digits", [6, 3])
def test_what_is_read_again_is_told_once(pull, inclusive, digits):
    server = filled(25, most=10, inclusive=inclusive, header_digits=digits)
    server.add(T0 + timedelta(hours=2), indicator(100))
    first = pull(server)

    second = pull(server, first.marks)
    third = pull(server, second.marks)
    assert (numbers(second), third.unchanged) == ([100], True)
    assert third.marks == second.marks

    changed = indicator(100, modified="2026-02-01T00:00:00.000Z")
    server.add(T0 + timedelta(hours=2, minutes=1), changed)
    assert numbers(pull(server, third.marks)) == [100, 100]


def test_a_collection_that_was_filled_at_once_has_nothing_new(pull):
    server = filled(25, most=10)
    first = pull(server)
    assert pull(server, first.marks).unchanged


def test_more_news_than_are_held_are_told_again(pull, monkeypatch):
    server = filled(25, most=10)
    first = pull(server)
    monkeypatch.setattr(taxii, "MAX_HELD", 5_000)
    assert sorted(numbers(pull(server, first.marks))) == list(range(25))


def test_nothing_new_is_no_change_and_the_cursor_stays(pull):
    first = pull(filled(3))
    second = pull(TaxiiServer(), first.marks)
    assert second.unchanged
    assert not second.complete
    assert second.marks == first.marks


def test_an_empty_collection_is_complete_and_leaves_no_cursor(pull):
    found = pull(TaxiiServer())
    assert found.documents == []
    assert found.complete
    assert found.marks == Marks()


def test_the_cursor_is_when_objects_were_added_never_when_they_were_modified(pull):
    server = TaxiiServer()
    server.add(T0, indicator(1, modified="2026-01-31T23:59:59.000Z"))
    assert pull(server).marks.cursor == "2026-01-31T07:50:00.000000Z"


def test_a_date_from_the_future_does_not_hide_what_comes(pull):
    server = TaxiiServer()
    server.add(datetime(9999, 12, 31, tzinfo=UTC), indicator(1))
    assert datetime.fromisoformat(pull(server).marks.cursor) < datetime.now(UTC)


def test_a_server_without_dates_is_read_whole_each_time(pull):
    first = pull(lambda asked: says({"objects": [indicator(1)]}))
    assert first.marks.cursor == ""
    assert pull(lambda asked: says({"objects": [indicator(1)]}), first.marks).complete


def test_where_absence_revokes_all_is_read_each_time(pull):
    server = filled(3)
    first = pull(server, absence_revokes=True)
    second = pull(server, first.marks, absence_revokes=True)
    assert second.complete
    assert numbers(second) == [0, 1, 2]
    assert "added_after" not in pull.site.asked[0].query


def test_a_cursor_that_is_none_means_a_whole_reading(pull):
    assert pull(filled(2), Marks(cursor="yesterday")).complete


moments = st.sampled_from([0, 1, 400, 1_000, 1_000_000, 3_600_000_000])


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.tuples(moments, st.booleans()), max_size=12), max_size=4),
    pages_by=st.sampled_from(["next", "date"]),
    inclusive=st.booleans(),
    most=st.integers(1, 8),
    asked_for=st.integers(1, 8),
    header_digits=st.sampled_from([3, 6]),
)
def test_every_object_arrives_over_the_readings_whatever_the_server(
    batches, pages_by, inclusive, most, asked_for, header_digits
):
    """What is added late appears below a date that was read, by less than the overlap."""
    server = TaxiiServer(
        pages_by=pages_by, inclusive=inclusive, most=most, header_digits=header_digits
    )
    now, marks, arrived, number = T0, Marks(), set(), 0
    with site(server) as running:
        source = Source(
            name="taxii",
            format="stix",
            service="taxii",
            location=f"{running.url}{OBJECTS}?limit={asked_for}",
            disposition="malicious",
            confidence=80,
        )
        for batch in batches:
            for passed, late in batch:
                now += timedelta(microseconds=passed)
                server.add(now - (taxii.OVERLAP / 2 if late else 0 * SECOND), indicator(number))
                number += 1
            try:
                found = Read(source, marks, NO_CREDENTIALS)
            except FeedError:
                assert pages_by == "date", "next leads everywhere"
                assert crowd(server) >= most, "only what cannot be told may fail"
                return
            marks = found.marks
            arrived.update(numbers(found))
            assert arrived == set(range(number))


def crowd(server: TaxiiServer) -> int:
    """The most objects that one page would have to hold, for their dates do not tell them apart."""
    width = timedelta(milliseconds=3) if server.header_digits < 6 else MICROSECOND
    return max(
        (
            sum(start <= added <= start + width for added, _ in server.added)
            for start, _ in server.added
        ),
        default=0,
    )


def test_the_crowd_of_the_test_above_is_counted_right():
    server = TaxiiServer()
    server.add(T0, indicator(1), indicator(2))
    server.add(T0 + 2 * MICROSECOND, indicator(3))
    assert crowd(server) == 2
    server.header_digits = 3
    assert crowd(server) == 3


# --- who may read ---


@pytest.mark.parametrize(
    ("credentials", "authorization"),
    [
        (Credentials(login="ann", password="pw"), "Basic " + base64.b64encode(b"ann:pw").decode()),
        (Credentials(password="t0ken"), "Bearer t0ken"),
        (Credentials(password="t0ken", header="Authorization"), "t0ken"),
    ],
)
def test_credentials_are_sent_as_the_server_wants_them(pull, credentials, authorization):
    server = filled(3, most=2, authorization=authorization)
    assert numbers(pull(server, credentials=credentials)) == [0, 1, 2]
    with pytest.raises(FeedError, match=r"refuses access \(HTTP 401\): the credentials"):
        pull(server, credentials=Credentials(password="wrong"))
    with pytest.raises(FeedError, match="does the feed need a key"):
        pull(server)


def test_a_key_in_the_query_goes_along_and_is_not_told(pull, caplog):
    caplog.set_level(logging.DEBUG)
    key = Credentials(password="hunter2")
    server = filled(3, most=2)
    assert len(numbers(pull(server, path=OBJECTS + "?api_key={key}", credentials=key))) == 3
    assert [asked.query["api_key"] for asked in pull.site.asked] == ["hunter2"] * 2
    assert "hunter2" not in caplog.text


# --- servers that refuse ---


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "does not take the question: correct what follows . in the location"),
        (403, r"refuses access \(HTTP 403\)"),
        (404, "knows no such collection, or does not show it to these credentials"),
        (406, "does not speak TAXII 2.1"),
        (415, "does not speak TAXII 2.1"),
        (416, "does not take the question"),
        (500, "after 3 tries: HTTP 500"),
    ],
)
def test_a_refusal_is_a_clear_error_with_the_servers_own_words(pull, soon, status, reason):
    with pytest.raises(FeedError, match=reason) as caught:
        pull(lambda asked: problem(status, "Some\ntitle", "\x1b[31m" + "x" * 1000))
    if status in (400, 404, 406):
        assert "it says: Some title:  [31mxxx" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_busy_server_is_asked_again_after_the_time_that_it_names(pull, soon):
    server = filled(3, most=2)

    def busy(asked):
        if len(pull.site.asked) == 2:
            return Says(status=429, headers={"Retry-After": "1"})
        return server(asked)

    assert numbers(pull(busy)) == [0, 1, 2]
    assert len(pull.site.asked) == 3


@pytest.mark.parametrize(
    ("stated", "is_taken"),
    [
        ("application/taxii+json;version=2.1", True),
        ("Application/TAXII+json; Version=2.1; charset=utf-8", True),
        ("application/taxii+json", True),
        ("application/json", True),
        ("application/stix+json;version=2.1", True),
        ("application/taxii+json;version=2.0", False),
        ("application/vnd.oasis.stix+json; version=2.0", False),
        ("text/html", False),
        ("", False),
    ],
)
def test_the_media_type_must_be_that_of_taxii_2_1_or_plain_json(pull, stated, is_taken):
    body = json.dumps({"objects": [indicator(1)]}).encode()

    def server(asked):
        return Says(body, headers={"Content-Type": stated})

    if is_taken:
        assert numbers(pull(server)) == [1]
    else:
        with pytest.raises(FeedError, match=r"answers with .* instead of application/taxii"):
            pull(server)


@pytest.mark.parametrize("body", [b'{"objects": [', b"<html>", b'{"objects": ' + b"[" * 99_999])
def test_what_is_no_json_is_a_clear_error(pull, body):
    with pytest.raises(FeedError, match=r"what 127\.0\.0\.1 answers"):
        pull(lambda asked: Says(body, headers={"Content-Type": TAXII}))


# --- not a collection ---


@pytest.mark.parametrize("path", ["/taxii2/", "/api1/", "/api1/collections/"])
def test_a_location_above_the_collections_lists_them(pull, path):
    with pytest.raises(FeedError, match="no TAXII collection: name one of its collections") as told:
        pull(TaxiiServer(), path=path)
    assert f"High value indicators {pull.site.url}/api1/collections/{COLLECTION}/" in str(
        told.value
    )
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 1_000


def test_other_servers_that_a_discovery_names_are_told_but_not_asked(pull):
    with pytest.raises(FeedError, match=r"those of another server, https://other\.example/api2/"):
        pull(TaxiiServer(), path="/taxii2/")


def test_a_location_that_is_nothing_says_what_to_name(pull):
    with pytest.raises(FeedError, match=r"name a collection, as https://…/collections/<id>/"):
        pull(TaxiiServer(), path="/nothing/")


def test_a_hostile_list_of_collections_stays_short(pull):
    listed = [{"id": "x" * 10_000, "title": "t\u202e" * 10_000}, {"id": 5}, "x"] * 5_000
    with pytest.raises(FeedError) as told:
        pull(lambda asked: says({"collections": listed}), path="/api1/collections/")
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 3_000


def test_a_long_reading_tells_how_far_it_is(pull, caplog, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0)
    caplog.set_level(logging.INFO, "retract")
    pull(filled(5, most=2), name="ti-sharing")
    assert "ti-sharing: reading, 4 objects so far" in caplog.text
