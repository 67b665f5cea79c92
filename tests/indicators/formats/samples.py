"""Documents as they are published, one a format: real layouts, made-up values."""

from __future__ import annotations

import csv
import json
from typing import Any

PLAIN_LIST = """\
# Phishing URLs, updated every six hours
; another way to comment
hxxps://evil[.]example/login#top
https://evil.example/a#b   # seen yesterday
HTTP://EVIL.example:80/C
evil2.example
198.51.100.7:8080
198.51.100.0/24
boss@evil.example
3DD25CBFE76DB155615283F905992030468F3DA9
"""

TABLE = """\
first_seen,indicator,type,confidence,threat,report,tags
2026-01-02T03:04:05Z,evil[.]example,FQDN,55,Winter,https://r.example/1,"phish, kit"
1769860800,"https://evil.example/a,b",url,,,,
2026-01-02 03:04:05,198.51.100.7,ipv4,100,"Winter ""25"" mails",,
"""
TABLE_COLUMNS = {
    "value": "indicator",
    "type": "type",
    "confidence": "confidence",
    "campaign": "threat",
    "reference": "report",
    "first_seen": "first_seen",
    "tags": "tags",
}

BLOCKLIST = """\
# Title: StevenBlack/hosts
# Date: 31 January 2026 12:00:00 (UTC)
# Number of unique domains: 4

127.0.0.1 localhost
127.0.0.1 localhost.localdomain
127.0.0.1 local
255.255.255.255 broadcasthost
::1 localhost
::1 ip6-loopback
fe80::1%lo0 localhost
ff00::0 ip6-mcastprefix
ff02::2 ip6-allrouters
0.0.0.0 0.0.0.0

# Custom host records are listed here.

0.0.0.0 evil.example www.Evil.Example # phish, since January
127.0.0.1\tpayload.example
::1 six.example
:: seven.example
0 short.example
0.0.0.0 *.wild.example
"""

FILTER_LIST = """\
[Adblock Plus 2.0]
! Title: Malicious URL Blocklist
! Updated: 2026-01-31T12:05:12Z
! Expires: 1 day (update frequency)
! License: https://example.org/license
#
# uBlock Origin takes this for a comment, too

||evil.example^
||EVIL2.example^$document,popup,all
||evil3.example^$important
||evil.example/login.php?step=1
||evil.example/folder/*
||evil.example:8443/panel|
|https://exact.example/a|
https://plain.example/kit.zip
plain.example
||198.51.100.7^
||[2001:db8::7]^
||kit.example^$script,document
||bücher.example^
||app.example/Path$match-case
"""

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

PHISHTANK = """\
phish_id,url,phish_detail_url,submission_time,verified,verification_time,online,target
8888001,https://evil.example/login,http://www.phishtank.com/phish_detail.php?phish_id=8888001,2026-01-13T03:10:00+00:00,yes,2026-01-13T04:12:31+00:00,yes,"1st National, Bank"
8888002,"http://b.example/a,b?x=1&amp;y",http://www.phishtank.com/phish_detail.php?phish_id=8888002,2026-01-13T05:00:00+00:00,yes,2026-01-13T06:00:00+00:00,yes,Other
8888003,http://c.example/,http://www.phishtank.com/phish_detail.php?phish_id=8888003,2026-01-13T05:00:00+00:00,no,,yes,Other
8888004,http://d.example/,http://www.phishtank.com/phish_detail.php?phish_id=8888004,2026-01-13T05:00:00+00:00,yes,2026-01-13T06:00:00+00:00,no,Other
"""  # noqa: E501 - as it is published

URLHAUS_JSON = json.dumps(
    {
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
)
URLHAUS_ANSWER = json.dumps(
    {
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
)
THREATFOX_JSON = json.dumps(
    {
        "1844853": [
            {
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
        ]
    }
)
THREATFOX_ANSWER = json.dumps(
    {
        "query_status": "ok",
        "data": [
            {
                "id": "1844853",
                "ioc": "198.51.100.36:5555",
                "ioc_type": "ip:port",
                "ioc_type_desc": "ip:port combination of a botnet (C&C)",
                "threat_type": "botnet_cc",
                "malware": "win.cobalt_strike",
                "malware_printable": "Cobalt Strike",
                "malware_malpedia": "https://malpedia.example/details/win.cobalt_strike",
                "confidence_level": 75,
                "first_seen": "2026-01-31 11:46:30 UTC",
                "last_seen": None,
                "reference": None,
                "reporter": "abuse_ch",
                "tags": ["CobaltStrike", "drb-ra"],
            }
        ],
    }
)


def phishtank_json(text: str) -> str:
    """The same as PhishTank's JSON."""
    details = [{"ip_address": "203.0.113.9", "cidr_block": "203.0.113.0/24", "rir": "ripencc"}]
    records: list[dict[str, Any]] = [*csv.DictReader(text.splitlines())]
    return json.dumps(
        [{**one, "phish_id": int(one["phish_id"]), "details": details} for one in records]
    )


RECORDS_JSON = json.dumps(
    {
        "count": 2,
        "result": {
            "items": [
                {
                    "ioc": {"value": "evil[.]example", "kind": "FQDN"},
                    "score": 55.0,
                    "threat": {"names": ["Winter", "Snow"]},
                    "seen": 1769860800,
                    "labels": [{"name": "phish"}, {"name": "kit"}],
                },
                {"ioc": {"value": ["https://evil.example/x", "198.51.100.7"]}, "score": None},
            ]
        },
    }
)
RECORDS_COLUMNS = {
    "value": "ioc.value",
    "type": "ioc.kind",
    "confidence": "score",
    "campaign": "threat.names",
    "first_seen": "seen",
    "tags": "labels.name",
}
RECORDS_LINES = """\
{"url": "https://evil.example/1", "tags": "phish,kit"}
{"url": "https://evil.example/2", "first_seen": "2026-01-31"}
"""

STIX = json.dumps(
    {
        "type": "bundle",
        "id": "bundle--4a2f7d0e-53f5-4b0a-8f8f-0f3a2d7a9b11",
        "objects": [
            {
                "type": "indicator",
                "spec_version": "2.1",
                "id": "indicator--a932fcc6-e032-476c-826f-cb970a5a1ade",
                "created": "2026-01-01T00:00:00Z",
                "modified": "2026-01-01T00:00:00.000Z",
                "indicator_types": ["malicious-activity"],
                "pattern": "[url:value = 'https://evil.example/x' OR url:value = 'evil.example/y']",
                "pattern_type": "stix",
                "valid_from": "2026-01-01T00:00:00Z",
                "confidence": 55,
            },
            {
                "type": "indicator",
                "id": "indicator--2",
                "labels": ["malicious-activity"],
                "pattern": "[file:hashes.'SHA-256' = '" + "AB" * 32 + "']",
                "valid_from": "2018-01-01T00:00:00.123Z",
            },
            {"type": "campaign", "id": "campaign--1", "name": "Winter"},
            {
                "type": "relationship",
                "relationship_type": "indicates",
                "source_ref": "indicator--2",
                "target_ref": "campaign--1",
            },
        ],
    }
)
MISP = json.dumps(
    {
        "Event": {
            "id": "1317",
            "date": "2026-01-01",
            "threat_level_id": "1",
            "info": "Invoices from nowhere",
            "published": True,
            "uuid": "41d35b43-e44a-47e2-882b-1a06e0b0581f",
            "timestamp": "1767225600",
            "Orgc": {"name": "A CERT"},
            "Tag": [{"name": "tlp:clear"}],
            "Attribute": [
                {
                    "type": "url",
                    "category": "Network activity",
                    "to_ids": True,
                    "uuid": "9777bc8b-af63-4e4d-9839-a691ece8c92e",
                    "timestamp": "1767225600",
                    "value": "https://evil.example/x",
                },
                {
                    "type": "filename|sha256",
                    "category": "Payload delivery",
                    "to_ids": True,
                    "uuid": "9777bc8b-af63-4e4d-9839-a691ece8c92f",
                    "timestamp": "1767225600",
                    "value": "invoice.html|" + "ab" * 32,
                },
            ],
        }
    }
)
