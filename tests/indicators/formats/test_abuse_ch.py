from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from tests.indicators.formats.samples import (
    THREATFOX,
    THREATFOX_ANSWER,
    THREATFOX_JSON,
    URLHAUS,
    URLHAUS_ANSWER,
    URLHAUS_BEFORE_LAST_ONLINE,
    URLHAUS_JSON,
)

from retract.errors import FeedError


def test_a_csv_of_urlhaus(read):
    found = read("urlhaus", URLHAUS)

    first, second = found.listed
    assert (first.type, first.value) == ("url", "http://198.51.100.7/bin.sh")
    assert first.tags == ("32-bit", "elf", "mips", "Mozi", "malware_download", "online")
    assert first.first_seen == datetime(2026, 1, 31, 11, 41, 5, tzinfo=UTC)
    assert first.reference == "https://urlhaus.abuse.ch/url/3386719/"
    assert first.campaign is first.confidence is first.disposition is None
    assert second.value == "https://evil.example/a,b/x.exe?id=1"
    assert second.tags == ("malware_download", "offline")
    assert found.rejected == found.left_out == []


def test_columns_are_those_the_header_names(read):
    listed = read("urlhaus", URLHAUS_BEFORE_LAST_ONLINE).listed[0]
    assert listed.tags == ("doc", "emotet", "malware_download", "offline")
    assert listed.reference == "https://urlhaus.abuse.ch/url/7/"


@pytest.mark.parametrize("text", [URLHAUS, URLHAUS_BEFORE_LAST_ONLINE])
def test_without_its_header_the_number_of_columns_tells(read, text):
    rows = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    assert read("urlhaus", rows) == read("urlhaus", text)


def test_a_header_may_be_a_row(read):
    assert read("urlhaus", URLHAUS.replace("# id,", "id,")) == read("urlhaus", URLHAUS)


def test_a_json_dump_of_urlhaus(read):
    assert read("urlhaus", URLHAUS_JSON) == read("urlhaus", URLHAUS)


def test_an_answer_of_the_api_of_urlhaus(read):
    listed = read("urlhaus", URLHAUS_ANSWER).listed[0]

    assert listed.value == "http://evil.example/server.exe"
    assert listed.first_seen == datetime(2026, 1, 19, 1, 33, 26, tzinfo=UTC)
    assert listed.reference == "https://urlhaus.abuse.ch/url/223622/"
    assert listed.tags == ("exe", "malware_download", "offline")


def test_a_csv_of_threatfox(read):
    found = read("threatfox", THREATFOX)

    assert found.values == [
        ("ip_address", "198.51.100.36"),
        ("url", "https://evil.example/path?q=a,b"),
        ("domain", "evil.example"),
        ("email_address", "boss@evil.example"),
        ("sha1", "3dd25cbfe76db155615283f905992030468f3da9"),
    ]
    beacon, vidar, unknown = found.listed[:3]
    assert (beacon.campaign, beacon.confidence) == ("Cobalt Strike", 75)
    assert beacon.tags == ("CobaltStrike", "drb-ra", "botnet_cc")
    assert beacon.first_seen == datetime(2026, 1, 31, 11, 46, 30, tzinfo=UTC)
    assert beacon.reference == "https://threatfox.abuse.ch/ioc/1844853/"
    assert vidar.reference == "https://r.example/1"
    assert unknown.campaign is None
    assert unknown.tags == ("botnet_cc",)
    assert found.left_out == [("line 15", "'sha3_384_hash' is nothing that mail shows")]
    assert found.rejected == []


def test_threatfox_without_a_header_and_before_it_said_what_is_compromised(read):
    now = "".join(line for line in THREATFOX.splitlines(keepends=True) if line[0] != "#")
    before = now.replace('"False", ', "").replace('"True", ', "")

    assert read("threatfox", now).listed == read("threatfox", before).listed
    assert read("threatfox", now).listed == read("threatfox", THREATFOX).listed


@pytest.mark.parametrize("text", [THREATFOX_JSON, THREATFOX_ANSWER], ids=["export", "answer"])
def test_threatfox_as_json(read, text):
    assert read("threatfox", text).listed == read("threatfox", THREATFOX).listed[:1]


@pytest.mark.parametrize(
    ("format_", "answer"),
    [
        ("urlhaus", '{"query_status": "no_results"}'),
        (
            "threatfox",
            '{"query_status": "no_result", "data": "Your search did not yield any results"}',
        ),
        ("urlhaus", "{}"),
        ("threatfox", "{}"),
        ("urlhaus", ""),
        ("threatfox", "# Number of entries: 0\n"),
    ],
)
def test_no_results_are_none(read, format_, answer):
    assert read(format_, answer) == ([], [], [])


@pytest.mark.parametrize(
    ("format_", "data", "problem"),
    [
        (
            "urlhaus",
            '{"query_status": "unknown_auth_key"}',
            "refusal of URLhaus, 'unknown_auth_key': put a valid Auth-Key of abuse.ch into the",
        ),
        ("threatfox", '{"query_status": "no_auth_key"}', "put a valid Auth-Key"),
        ("threatfox", '{"query_status": "illegal_days", "data": "Wrong"}', "says 'illegal_days': "),
        ("threatfox", '{"query_status": "ok", "data": "none"}', "has no list of 'data'"),
        ("urlhaus", '{"query_status": 7}', "says '7'"),
        ("urlhaus", '{"error": "Unauthorized"}', "no export of URLhaus: check format"),
        ("urlhaus", "7", "has 1 fields and no header"),
        ("urlhaus", URLHAUS[:-50], "line 11: a quotation mark there is never closed; was it cut"),
        ("urlhaus", URLHAUS[:-60], "ends in the middle of line 11, 7 fields where there are 9"),
        ("threatfox", THREATFOX[: THREATFOX.index("Agentemis")], "line 10: a quotation mark"),
        ("urlhaus", '{"3386719": [{"url": "http://evil.exa', "ends in the middle"),
        ("urlhaus", "http://evil.example/a\nhttp://evil.example/b\n", "set format to plain_list"),
        ("urlhaus", THREATFOX.split("#\n")[-1].split("\n", 1)[1], "has 15 fields and no header"),
        ("threatfox", "<html><title>403 Forbidden</title></html>", "HTML page"),
        ("threatfox", b"PK\x03\x04\x14\x00", "packed with zip"),
    ],
)
def test_what_is_no_export_is_an_error_that_says_what_to_do(read, format_, data, problem):
    with pytest.raises(FeedError, match=problem):
        read(format_, data)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"1","2026-01-31 11:41:05"', "2 fields where there are 9 columns"),
        ('"1","2026-01-31 11:41:05","n/a","online","","x","None","y","z"', "not a valid url"),
        ('"1","once","http://a.example/","online","","x","None","y","z"', "'once' is not a time"),
        ('"1","2026-01-31 11:41:05","http://a.example/"x","online"', "no CSV: "),
        ("http://evil.example/", "1 fields where there are 9 columns"),
        ('"1","","http://a.example/' + "a" * 200_000 + '","","","","","",""', "field larger"),
    ],
)
def test_a_bad_row_is_rejected_alone(read, row, reason):
    found = read("urlhaus", URLHAUS + row + "\r\n" + URLHAUS.splitlines()[-1] + "\r\n")

    assert len(found.listed) == 3
    assert [where for where, _ in found.rejected] == ["line 12"]
    assert reason in found.rejected[0].reason


def test_an_entry_of_no_known_type_is_rejected(read):
    whole = {"7": [{"ioc_value": "x", "ioc_type": "banana"}], "8": [{"ioc_value": "x"}], "9": [3]}

    found = read("threatfox", json.dumps(whole))

    assert [why.split(";")[0] for _, why in found.rejected] == [
        "unknown type 'banana'",
        "unknown type 'none stated'",
        "not an object",
    ]
