from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from retract.errors import FeedError
from retract.model import Disposition

URL = {"value": "url"}


@pytest.fixture
def read_json(read):
    def parse(data, columns=URL, **settings):
        text = data if isinstance(data, str | bytes) else json.dumps(data)
        return read("json", text, columns=columns, **settings)

    return parse


def test_an_object_states_all_it_has_keys_for(read_json):
    columns = {
        "value": "ioc.value",
        "type": "ioc.kind",
        "disposition": "verdict",
        "confidence": "score",
        "campaign": "threat.names",
        "reference": "links.href",
        "first_seen": "seen.first",
        "expires_at": "until",
        "tags": "labels.name",
    }
    record = {
        "ioc": {"value": "evil[.]example", "kind": "FQDN"},
        "verdict": "spam",
        "score": 55.0,
        "threat": {"names": ["Winter", "Snow"]},
        "links": [{"href": "https://r.example/1"}, {"href": "https://r.example/2"}],
        "seen": {"first": 1769860800},
        "until": "2026-03-01",
        "labels": [{"name": "phish"}, {"name": "kit"}, {"colour": "red"}],
    }

    listed = read_json([record], columns).listed[0]

    assert (listed.type, listed.value) == ("domain", "evil.example")
    assert (listed.disposition, listed.confidence) == (Disposition.SPAM, 55)
    assert (listed.campaign, listed.reference) == ("Winter", "https://r.example/1")
    assert listed.first_seen == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert listed.expires_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert listed.tags == ("phish", "kit")


def test_absent_and_null_keys_leave_it_to_the_source(read_json):
    columns = {"value": "url", "confidence": "score", "tags": "tags", "campaign": "a.b"}

    listed = read_json([{"url": "https://evil.example/x", "score": None}], columns).listed[0]

    assert listed.confidence is listed.campaign is None
    assert listed.tags == ()


def test_a_key_with_a_dot_in_it_counts_as_it_is_written(read_json):
    found = read_json([{"url.full": "https://evil.example/x"}], {"value": "url.full"})
    assert found.values == [("url", "https://evil.example/x")]


ONE = {"url": "https://a.example/1"}
TWO = {"url": "https://b.example/2"}


@pytest.mark.parametrize(
    ("document", "records"),
    [
        ([ONE, TWO], None),
        (["https://a.example/1", "https://b.example/2"], None),
        ([{"url": ["https://a.example/1", "https://b.example/2"]}], None),
        ({"data": [ONE, TWO]}, None),
        ({"urls": ["https://a.example/1", "https://b.example/2"]}, None),
        ({"101": ONE, "102": TWO}, None),
        ({"101": [ONE], "102": [TWO]}, None),
        ({"count": 2, "data": [ONE, TWO]}, "data"),
        ({"result": {"page": 1, "items": [ONE, TWO]}}, "result.items"),
        ({"result": {"items": {"101": ONE, "102": TWO}}}, "result.items"),
        ([{"items": [ONE]}, {"items": [TWO]}], "items"),
        (json.dumps(ONE) + "\n" + json.dumps(TWO), None),
        ("\n" + json.dumps(ONE) + "\r\n\r\n" + json.dumps(TWO) + "\r\n", None),
    ],
)
def test_the_records_are_found_where_feeds_put_them(read_json, document, records):
    found = read_json(document, records=records)

    assert found.values == [("url", "https://a.example/1"), ("url", "https://b.example/2")]
    assert found.rejected == []


def test_one_record_alone_is_one(read_json):
    assert len(read_json(ONE).listed) == len(read_json({"data": ONE}, records="data").listed) == 1


@pytest.mark.parametrize("document", ["", " \n", "[]", "null", {"data": []}])
def test_a_document_may_hold_nothing(read_json, document):
    assert read_json(document) == ([], [], [])


def test_nothing_at_the_place_of_the_records_is_nothing(read_json):
    assert read_json({"data": None, "count": 0}, records="data") == ([], [], [])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"url": "n/a"}, "not a valid url"),
        ({"url": ""}, "empty"),
        ({"url": None}, "empty"),
        ({"url": []}, "empty"),
        ({"url": {"full": "https://evil.example/"}}, "empty"),
        ({"link": "https://evil.example/"}, "empty"),
        ({"url": "https://evil\ud800.example/"}, "not UTF-8"),
        ({"url": "https://evil\u0000.example/"}, "unprintable"),
        ({"url": "https://evil.example/" + "a" * 2**20}, "longer than 16384"),
        (7, "neither an object nor a text"),
        ([ONE], "neither an object nor a text"),
        (None, "neither an object nor a text"),
    ],
)
def test_a_bad_record_is_rejected_alone(read_json, record, reason):
    found = read_json([ONE, record, TWO], type="url")

    assert len(found.listed) == 2
    assert [where for where, _ in found.rejected] == ["entry 2"]
    assert reason in found.rejected[0].reason


def test_a_bad_line_among_objects_a_line_is_rejected_alone(read_json):
    lines = [json.dumps(ONE), '{"url": "cut', "rubbish", "[1]", json.dumps(TWO), ""]

    found = read_json("\n".join(lines))

    assert len(found.listed) == 2
    assert [(where, why) for where, why in found.rejected] == [
        ("line 2", "no readable JSON"),
        ("line 3", "no readable JSON"),
        ("line 4", "neither an object nor a text"),
    ]


def test_of_a_key_written_twice_the_last_counts(read_json):
    assert read_json('[{"url": "https://a.example/", "url": "https://b.example/"}]').values == [
        ("url", "https://b.example/")
    ]


@pytest.mark.parametrize(
    ("document", "settings", "problem"),
    [
        (json.dumps([ONE, TWO])[:-20], {}, "ends in the middle: it was cut off"),
        (json.dumps(ONE) + "\n" + json.dumps(TWO)[:-5], {}, "ends in the middle of line 2"),
        ('{"meta": 1, "data": []}', {}, "set records .* its keys are 'meta', 'data'"),
        ('{"error": "rate limited"}', {}, "no list of records: .* its keys are 'error'"),
        ('{"data": [{"link": "x"}], "next": 2}', {}, "set records"),
        ("[" + json.dumps(ONE) + "]", {"records": "data"}, "has nothing at 'data'"),
        (
            '{"data": {"items": []}, "count": 0}',
            {"records": "data.list"},
            "has nothing at 'data.list'; correct records: its keys are 'data', 'count'",
        ),
        ("17", {}, "no list of records"),
        ("https://evil.example/\n", {}, "no readable JSON at line 1"),
        ("<html></html>", {}, "HTML page"),
        (b"[]\x00", {}, "binary data"),
        ("[" * 100_000, {}, "nested too deeply"),
        ('{"a":' * 100_000 + "\n", {}, "nested too deeply"),
        ('[{"url": ' + "7" * 5_000 + "}]", {}, "a number too long"),
    ],
)
def test_what_is_no_such_json_is_an_error_that_says_what_to_do(
    read_json, document, settings, problem
):
    with pytest.raises(FeedError, match=problem):
        read_json(document, **settings)
