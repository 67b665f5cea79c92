"""What becomes known after delivery, written the way sources in the field write it.

Besides the campaigns' indicators the files hold thousands of strangers, entries that must
meet nothing although the mail comes close to them, and the carelessness of real lists:
defanged values, odd case, comments, lines that are no indicator at all.
"""

from __future__ import annotations

import csv
import io
import json
import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from local_tenant.synthetic.campaigns import (
    FEED_VERDICTS,
    FREE_HOSTS,
    SHORTENERS,
    Feed,
    Indicator,
    IndicatorType,
    bad_host,
    shop_host,
    short_code,
)

SHARED_HOSTS = (
    *SHORTENERS,
    "docs.google.com",
    "drive.google.com",
    "forms.gle",
    "dropbox.com",
    "sharepoint.com",
    "onedrive.live.com",
)
"""Hosts that everybody uses; careless lists name them as if they were somebody's own."""

_STRANGERS = {Feed.URLS: 2000, Feed.DOMAINS: 1500, Feed.TABLE: 300, Feed.BUNDLE: 200}
_KINDS_OF_STRANGERS = {
    Feed.URLS: (IndicatorType.URL,),
    Feed.DOMAINS: (IndicatorType.DOMAIN,),
    Feed.TABLE: (IndicatorType.URL, IndicatorType.DOMAIN),
    Feed.BUNDLE: (IndicatorType.URL, IndicatorType.SHA256),
}
_TABLE_COLUMNS = ("First Seen", "Indicator", "Kind", "Threat", "Report")


@dataclass(frozen=True, slots=True)
class FeedFiles:
    """The contents of the files, by name."""

    files: dict[str, str]

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (folder / name).write_text(text, encoding="utf-8")


def make_feeds(indicators: Iterable[Indicator], now: datetime, rng: random.Random) -> FeedFiles:
    """Every file, the same for the same arguments."""
    entries: dict[Feed, list[Indicator]] = {feed: [] for feed in Feed}
    for indicator in [*indicators, *_strangers(rng), *_traps(rng)]:
        entries[indicator.feed].append(indicator)
    for listed in entries.values():
        rng.shuffle(listed)
    return FeedFiles(
        {
            "urls.txt": _url_list(entries[Feed.URLS], rng),
            "domains.txt": _domain_list(entries[Feed.DOMAINS], rng),
            "indicators.csv": _table(entries[Feed.TABLE], now, rng),
            "bundle.json": _bundle(entries[Feed.BUNDLE], now, rng),
            "feeds.yaml": _configuration(),
        }
    )


def _strangers(rng: random.Random) -> list[Indicator]:
    found = []
    for feed, count in _STRANGERS.items():
        for _ in range(count):
            kind = rng.choice(_KINDS_OF_STRANGERS[feed])
            value = {
                IndicatorType.DOMAIN: bad_host(rng),
                IndicatorType.URL: f"https://{bad_host(rng)}/{rng.getrandbits(32):08x}/",
                IndicatorType.SHA256: f"{rng.getrandbits(256):064x}",
            }[kind]
            found.append(Indicator(feed, kind, value))
    return found


def _traps(rng: random.Random) -> list[Indicator]:
    """Close to good mail, and no reason to touch it."""
    hosts = (*FREE_HOSTS, *SHARED_HOSTS, "co.uk", "com.br")
    pages = [
        *(f"https://{host}/{short_code(rng)}" for host in SHORTENERS for _ in range(20)),
        *(f"https://docs-{rng.getrandbits(28):07x}.{host}/login" for host in FREE_HOSTS),
        f"https://docs.google.com/forms/d/e/{short_code(rng)}{short_code(rng)}/viewform",
        f"https://{shop_host(rng)}/wp-content/uploads/verify.php",
        *(f"https://{host}/" for host in SHARED_HOSTS),
    ]
    return [
        *(Indicator(Feed.DOMAINS, IndicatorType.DOMAIN, host) for host in hosts),
        *(Indicator(Feed.URLS, IndicatorType.URL, url) for url in pages),
    ]


# ---- plain lists -------------------------------------------------------------------------


def _url_list(indicators: list[Indicator], rng: random.Random) -> str:
    lines = ["# Phishing URLs, one a line", ""]
    lines += [_odd_url(indicator.value, rng) for indicator in indicators]
    lines.insert(rng.randrange(3, len(lines)), "to be confirmed")
    return "\n".join(lines) + "\n"


def _domain_list(indicators: list[Indicator], rng: random.Random) -> str:
    lines = ["# Newly seen look-alike domains", "#"]
    for indicator in indicators:
        value = indicator.value
        dice = rng.random()
        if dice < 0.2:
            value = value.replace(".", "[.]")
        elif dice < 0.3:
            value = value.upper()
        elif dice < 0.35:
            value += "."
        lines.append(value)
    return "\r\n".join(lines) + "\r\n"


def _odd_url(url: str, rng: random.Random) -> str:
    """The same URL as somebody else would write it down."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    match rng.randrange(8):
        case 0 | 1:
            return f"hxxp{scheme[4:]}://{host.replace('.', '[.]')}{slash}{path}"
        case 2:
            return f"{scheme.upper()}://{host.upper()}{slash}{path}"
        case 3:
            return f"{scheme}://{host}:{443 if scheme == 'https' else 80}{slash}{path}"
        case 4:
            return f"  {url}#top "
    return url


# ---- a table with named columns ----------------------------------------------------------


def _table(indicators: list[Indicator], now: datetime, rng: random.Random) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(_TABLE_COLUMNS)
    for number, indicator in enumerate(indicators):
        table.writerow(
            (
                _learnt(now, rng).strftime("%Y-%m-%dT%H:%M:%SZ"),
                indicator.value.replace(".", "[.]") if rng.random() < 0.2 else indicator.value,
                indicator.type.upper() if rng.random() < 0.2 else indicator.type,
                indicator.campaign,
                f"https://reports.example/{number}",
            )
        )
    table.writerow(("", "n/a", "url", "", ""))
    return out.getvalue()


# ---- a STIX 2.1 bundle -------------------------------------------------------------------

_PATTERNS = {
    IndicatorType.URL: "[url:value = '{}']",
    IndicatorType.DOMAIN: "[domain-name:value = '{}']",
    IndicatorType.EMAIL_ADDRESS: "[email-message:from_ref.value = '{}']",
    IndicatorType.SHA256: "[file:hashes.'SHA-256' = '{}']",
}


def _bundle(indicators: list[Indicator], now: datetime, rng: random.Random) -> str:
    author = _identifier("identity", rng)
    objects: list[dict[str, Any]] = [
        _object("identity", author, now, {"name": "Example CERT", "identity_class": "organization"})
    ]
    campaigns: dict[str, str] = {}
    for indicator in indicators:
        value = indicator.value
        if indicator.type is IndicatorType.SHA256 and rng.random() < 0.3:
            value = value.upper()
        identifier = _identifier("indicator", rng)
        learnt = _learnt(now, rng)
        objects.append(
            _object(
                "indicator",
                identifier,
                learnt,
                {
                    "name": f"Malicious {indicator.type}",
                    "indicator_types": ["malicious-activity"],
                    "pattern": _PATTERNS[indicator.type].format(value),
                    "pattern_type": "stix",
                    "valid_from": _timestamp(learnt),
                    "created_by_ref": author,
                },
            )
        )
        if indicator.campaign:
            if indicator.campaign not in campaigns:
                campaigns[indicator.campaign] = _identifier("campaign", rng)
                objects.append(
                    _object(
                        "campaign", campaigns[indicator.campaign], now, {"name": indicator.campaign}
                    )
                )
            objects.append(
                _object(
                    "relationship",
                    _identifier("relationship", rng),
                    now,
                    {
                        "relationship_type": "indicates",
                        "source_ref": identifier,
                        "target_ref": campaigns[indicator.campaign],
                    },
                )
            )
    objects.append(
        _object(
            "indicator",
            _identifier("indicator", rng),
            now,
            {
                "name": "Beacon (not about mail)",
                "pattern": "[process:command_line MATCHES '.*-enc.*'] FOLLOWEDBY "
                "[network-traffic:dst_port = 4444]",
                "pattern_type": "stix",
                "valid_from": _timestamp(now),
            },
        )
    )
    bundle = {"type": "bundle", "id": _identifier("bundle", rng), "objects": objects}
    return json.dumps(bundle, indent=1, ensure_ascii=False) + "\n"


def _object(type_: str, identifier: str, moment: datetime, more: dict[str, Any]) -> dict[str, Any]:
    stamp = _timestamp(moment)
    return {
        "type": type_,
        "spec_version": "2.1",
        "id": identifier,
        "created": stamp,
        "modified": stamp,
        **more,
    }


def _identifier(type_: str, rng: random.Random) -> str:
    return f"{type_}--{uuid.UUID(int=rng.getrandbits(128), version=4)}"


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _learnt(now: datetime, rng: random.Random) -> datetime:
    """After the mail came in: within the last hours."""
    return now - timedelta(minutes=rng.randint(1, 180))


# ---- the configuration that names them ---------------------------------------------------


def _configuration() -> str:
    sources = [
        {
            "name": "local-urls",
            "format": "plain_list",
            "type": "url",
            "location": "urls.txt",
            "disposition": str(FEED_VERDICTS[Feed.URLS]),
            "confidence": 90,
            "time_to_live": "P30D",
        },
        {
            "name": "local-domains",
            "format": "plain_list",
            "type": "domain",
            "location": "domains.txt",
            "disposition": str(FEED_VERDICTS[Feed.DOMAINS]),
            "confidence": 75,
            "time_to_live": "P90D",
        },
        {
            "name": "local-table",
            "format": "csv",
            "location": "indicators.csv",
            "disposition": str(FEED_VERDICTS[Feed.TABLE]),
            "confidence": 80,
            "time_to_live": "P14D",
            "columns": {
                "value": "Indicator",
                "type": "Kind",
                "first_seen": "First Seen",
                "campaign": "Threat",
                "reference": "Report",
            },
        },
        {
            "name": "local-bundle",
            "format": "stix",
            "location": "bundle.json",
            "disposition": str(FEED_VERDICTS[Feed.BUNDLE]),
            "confidence": 85,
            "time_to_live": "P60D",
        },
    ]
    head = "# What becomes known after delivery, for the local tenant's synthetic mail.\n"
    configuration = {"sources": sources, "hold_back": {"domains": list(SHARED_HOSTS)}}
    return head + yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
