from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from retract.errors import FeedError

URLHAUS = """\
################################################################\r
# abuse.ch URLhaus Database Dump (CSV - recent URLs only)      #\r
# Last updated: 2026-01-31 11:54:05 (UTC)                      #\r
#                                                              #\r
# Terms Of Use: https://urlhaus.abuse.ch/api/                  #\r
# For questions please contact urlhaus [at] abuse.ch           #\r
################################################################\r
#\r
# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\r
"3386719","2026-01-31 11:41:05","http://198.51.100.7:53141/bin.sh","online","2026-01-31 11:41:05","malware_download","32-bit,elf,mips,Mozi","https://urlhaus.abuse.ch/url/3386719/","geenensp"\r
"3386718","2026-01-31 11:40:44","https://evil.example/a,b/x.exe?id=1","offline","","malware_download","None","https://urlhaus.abuse.ch/url/3386718/","anonymous"\r
"""
URLHAUS_BEFORE_LAST_ONLINE = """\
# id,dateadded,url,url_status,threat,tags,urlhaus_link,reporter
"7","2019-01-31 11:41:05","http://evil.example/old","offline","malware_download","doc,emotet","https://urlhaus.abuse.ch/url/7/","x"
"""
THREATFOX = """\
################################################################
# ThreatFox IOCs: recent additions - CSV format                #
# Last updated: 2026-01-31 11:50:30 UTC                        #
#                                                              #
# Terms Of Use: https://threatfox.abuse.ch/faq/#tos            #
# For questions please contact threatfox [at] abuse.ch         #
################################################################
#
# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type","fk_malware","malware_alias","malware_printable","last_seen_utc","confidence_level","is_compromised","reference","tags","anonymous","reporter"
"2026-01-31 11:46:30", "1844853", "198.51.100.36:5555", "ip:port", "botnet_cc", "win.cobalt_strike", "Agentemis,BEACON,CobaltStrike,cobeacon", "Cobalt Strike", "2026-01-31 11:48:23", "75", "False", "None", "CobaltStrike,drb-ra", "0", "abuse_ch"
"2026-01-31 11:40:00", "1844852", "https://evil.example/path?q=a,b", "url", "payload_delivery", "win.vidar", "None", "Vidar", "", "100", "True", "https://r.example/1", "ClickFix", "0", "x"
"2026-01-31 11:30:00", "1844851", "evil.example", "domain", "botnet_cc", "unknown", "None", "Unknown malware", "", "50", "False", "None", "None", "1", "anonymous"
"2026-01-31 11:20:00", "1844850", "boss@evil.example", "envelope_from", "phishing", "win.x", "None", "X", "", "50", "False", "None", "None", "1", "anonymous"
"2026-01-31 11:10:00", "1844849", "3DD25CBFE76DB155615283F905992030468F3DA9", "sha1_hash", "payload", "win.vidar", "None", "Vidar", "", "95", "False", "None", "None", "0", "x"
"2026-01-31 11:00:00", "1844848", "ab", "sha3_384_hash", "payload", "win.vidar", "None", "Vidar", "", "95", "False", "None", "None", "0", "x"
# Number of entries: 6
"""  # noqa: E501 - as it is published


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
    dump = {
        "3386719": [
            {
                "dateadded": "2026-01-31 11:41:05 UTC",
                "url": "http://198.51.100.7:53141/bin.sh",
                "url_status": "online",
                "last_online": "2026-01-31 11:41:05 UTC",
                "threat": "malware_download",
                "tags": ["32-bit", "elf", "mips", "Mozi"],
                "urlhaus_link": "https://urlhaus.abuse.ch/url/3386719/",
                "reporter": "geenensp",
            }
        ],
        "3386718": [
            {
                "dateadded": "2026-01-31 11:40:44 UTC",
                "url": "https://evil.example/a,b/x.exe?id=1",
                "url_status": "offline",
                "last_online": None,
                "threat": "malware_download",
                "tags": None,
                "urlhaus_link": "https://urlhaus.abuse.ch/url/3386718/",
                "reporter": "anonymous",
            }
        ],
    }
    assert read("urlhaus", json.dumps(dump)) == read("urlhaus", URLHAUS)


def test_an_answer_of_the_api_of_urlhaus(read):
    answer = {
        "query_status": "ok",
        "urls": [
            {
                "id": "223622",
                "urlhaus_reference": "https://urlhaus.abuse.ch/url/223622/",
                "url": "http://evil.example/server.exe",
                "url_status": "offline",
                "host": "evil.example",
                "date_added": "2026-01-19 01:33:26 UTC",
                "threat": "malware_download",
                "blacklists": {"spamhaus_dbl": "not listed", "surbl": "not listed"},
                "reporter": "Gandylyan1",
                "larted": "true",
                "tags": ["exe"],
            }
        ],
    }

    listed = read("urlhaus", json.dumps(answer)).listed[0]

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


@pytest.mark.parametrize("shape", ["export", "answer"])
def test_threatfox_as_json(read, shape):
    export = {
        "ioc_value": "198.51.100.36:5555",
        "ioc_type": "ip:port",
        "threat_type": "botnet_cc",
        "malware": "win.cobalt_strike",
        "malware_alias": "Agentemis,BEACON,CobaltStrike,cobeacon",
        "malware_printable": "Cobalt Strike",
        "first_seen_utc": "2026-01-31 11:46:30",
        "last_seen_utc": None,
        "confidence_level": 75,
        "is_compromised": False,
        "reference": None,
        "tags": "CobaltStrike,drb-ra",
        "anonymous": "0",
        "reporter": "abuse_ch",
    }
    answer = {
        "id": "1844853",
        "ioc": "198.51.100.36:5555",
        "ioc_type": "ip:port",
        "ioc_type_desc": "ip:port combination that is used for botnet Command&control (C&C)",
        "threat_type": "botnet_cc",
        "malware": "win.cobalt_strike",
        "malware_printable": "Cobalt Strike",
        "malware_malpedia": "https://malpedia.caad.fkie.fraunhofer.de/details/win.cobalt_strike",
        "confidence_level": 75,
        "first_seen": "2026-01-31 11:46:30 UTC",
        "last_seen": None,
        "reference": None,
        "reporter": "abuse_ch",
        "tags": ["CobaltStrike", "drb-ra"],
    }
    whole = {"1844853": [export]} if shape == "export" else {"query_status": "ok", "data": [answer]}

    found = read("threatfox", json.dumps(whole))

    assert found.listed == read("threatfox", THREATFOX).listed[:1]


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
