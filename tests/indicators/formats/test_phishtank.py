from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.indicators.formats.samples import PHISHTANK as CSV
from tests.indicators.formats.samples import phishtank_json

from retract.errors import FeedError


@pytest.mark.parametrize("text", [CSV, phishtank_json(CSV)], ids=["csv", "json"])
def test_verified_phish_that_is_online_is_listed(read, text):
    found = read("phishtank", text)

    first, second = found.listed
    assert (first.type, first.value) == ("url", "https://evil.example/login")
    assert first.first_seen == datetime(2026, 1, 13, 3, 10, tzinfo=UTC)
    assert first.reference == "http://www.phishtank.com/phish_detail.php?phish_id=8888001"
    assert first.tags == ("1st National, Bank",)
    assert first.campaign is None
    assert second.tags == ()
    assert [why for _, why in found.left_out] == ["not verified to be phish", "not online any more"]
    assert found.rejected == []


def test_bytes_of_other_encodings_spoil_no_address(read):
    row = CSV.splitlines()[1].replace("1st National, Bank", "Soci\udce9t\udce9 G\udce9n\udce9rale")
    text = CSV.splitlines()[0] + "\r\n" + row

    listed = read("phishtank", b"\xef\xbb\xbf" + text.encode("utf-8", "surrogateescape")).listed

    assert listed[0].value == "https://evil.example/login"


@pytest.mark.parametrize("text", ["", "[]", CSV.splitlines()[0]])
def test_an_export_may_be_empty(read, text):
    assert read("phishtank", text) == ([], [], [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("8888005,http://evil.example/", "2 fields where there are 8 columns"),
        ("8888005,http://evil.example/a,b,r,2026-01-13,yes,2026-01-13,yes,Other", "9 fields"),
        ("8888005,n/a,r,2026-01-13,yes,2026-01-13,yes,Other", "not a valid url"),
        ("8888005,http://evil.example/,r,today,yes,2026-01-13,yes,Other", "'today' is not a time"),
    ],
)
def test_a_bad_row_is_rejected_alone(read, row, reason):
    found = read("phishtank", CSV + row + "\n" + CSV.splitlines()[1])

    assert len(found.listed) == 3
    assert [where for where, _ in found.rejected] == ["line 6"]
    assert reason in found.rejected[0].reason


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            "url,date\nhttps://evil.example/,2026\n",
            "no CSV of PhishTank: the header is 'url, date'",
        ),
        ("https://evil.example/\n", "no CSV of PhishTank"),
        (CSV[: CSV.index("Bank")], "line 2: a quotation mark there is never closed"),
        (phishtank_json(CSV)[:-30], "ends in the middle"),
        ('{"errortext": "invalid key"}', "no list as PhishTank writes it"),
        ("<!DOCTYPE html><html>Just a moment...", "HTML page"),
        ('<?xml version="1.0"?><output><meta/></output>', "XML instead of data"),
    ],
)
def test_what_is_no_export_is_an_error(read, data, problem):
    with pytest.raises(FeedError, match=problem):
        read("phishtank", data)
