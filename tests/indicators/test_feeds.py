from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from retract.errors import FeedConfigurationError
from retract.indicators import feeds
from retract.indicators.feeds import (
    Columns,
    FeedsFile,
    Format,
    JumpGuard,
    Service,
    Source,
    load_feeds,
)
from retract.model import Disposition

SHIPPED = Path(__file__).parents[2] / "include" / "feeds" / "feeds.yaml"

GOOD = """\
sources:
  - name: own-list
    format: plain_list
    type: url
    location: lists/*.txt
    disposition: malicious
    confidence: 90
    time_to_live: P30D
  - name: table
    format: csv
    location: https://feeds.example/table.csv
    disposition: spam
    confidence: 50
    columns: {value: url, confidence: score}
    enabled: false
hold_back:
  domains: [own.example]
"""


def load(folder, text):
    path = folder / "feeds.yaml"
    path.write_text(text, encoding="utf-8")
    return load_feeds(path)


def test_a_feeds_file_is_read(tmp_path):
    read = load(tmp_path, GOOD)

    own, table = read.sources
    assert read.enabled == (own,)
    assert read.source("own-list") is own
    assert own.location == str(tmp_path / "lists" / "*.txt")
    assert own.time_to_live == timedelta(days=30)
    assert own.disposition is Disposition.MALICIOUS
    assert table.is_remote
    assert table.columns.value == "url"
    assert table.time_to_live is None
    assert read.hold_back.domains == ("own.example",)


def test_feeds_survive_json(tmp_path):
    read = load(tmp_path, GOOD.replace("P30D", "P1DT90M"))
    assert FeedsFile.model_validate_json(read.model_dump_json()) == read


def test_an_unknown_source_is_a_clear_error(tmp_path):
    with pytest.raises(FeedConfigurationError, match="no source 'other'"):
        load(tmp_path, GOOD).source("other")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("confidence: 90", "confidence: 101", r"line 7: source 'own-list', confidence: .*100"),
        ("confidence: 90", "confidence: yes", r"line 7: source 'own-list', confidence"),
        ("    confidence: 90\n", "", r"line 2: source 'own-list', confidence: missing"),
        ("disposition: malicious", "disposition: evil", r"line 6: .*disposition"),
        ("disposition: malicious", "disposition: none", r"write one of malicious, susp"),
        ("time_to_live: P30D", "time_to_live: 30", r"line 8: .*ISO-8601"),
        ("time_to_live: P30D", "time_to_live: P0D", r"line 8: .*longer than nothing"),
        ("time_to_live: P30D", "ttl: P30D", r"line 8: source 'own-list', ttl: unknown setting"),
        ("format: plain_list", "format: rss", r"line 3: .*format"),
        ("type: url", "type: hostname", r"line 4: .*type"),
        ("name: own-list", "name: own/list", r"line 2: .*name"),
        ("name: table", "name: Own-List", r"two are named 'own-list'"),
        ("https://feeds", "ftp://feeds", r"line 11: source 'table', location: .*https"),
        ("https://feeds", "https://me:secret@feeds", r"line 11: .*written to logs"),
        ("    columns: {value: url, confidence: score}\n", "", r"columns: a csv source needs"),
        ("format: csv", "format: stix", r"line 14: .*columns: is for csv and json, not stix"),
        ("{value: url, ", "{", r"line 14: source 'table', columns.value: missing"),
        ("[own.example]", "['own example']", r"line 17: hold_back.domains.0: .*is not a domain"),
        ("[own.example]", "[own.example", r"not readable YAML"),
        ("    type: url\n", "    type: url\n    type: domain\n", r"'type' is written twice"),
        (GOOD, "- just a list\n", r"is a mapping"),
        (GOOD, "sources: &a [*a]\n", r"feeds.yaml"),
    ],
)
def test_what_is_wrong_is_said_with_line_source_and_reason(tmp_path, old, new, problem):
    assert old in GOOD
    with pytest.raises(FeedConfigurationError, match=problem):
        load(tmp_path, GOOD.replace(old, new, 1))


WHOLE = """\
sources:
  - name: everything
    format: json
    location: https://feeds.example/v1/{key}/entries
    connection: partner
    type: url
    disposition: malicious
    disposition_by_tag: {"Phish*": malicious, spam: spam, "False-Positive": ignore}
    confidence: 70
    confidence_floor: 40
    time_to_live: P30D
    absence_revokes: true
    jump_guard: {may_shrink_to: 0.8, may_grow_to: 1.5, from_size: 10}
    campaign: Winter
    reference: https://feeds.example/about
    columns: {value: ioc.url, type: ioc.type, tags: labels}
    records: data.items
    may_be_empty: true
"""


def test_every_setting_of_a_source_is_read(tmp_path):
    (source,) = load(tmp_path, WHOLE).sources

    assert source.location == "https://feeds.example/v1/{key}/entries"
    assert source.connection == "partner"
    assert source.disposition_by_tag == {
        "phish*": Disposition.MALICIOUS,
        "spam": Disposition.SPAM,
        "false-positive": "ignore",
    }
    assert source.confidence_floor == 40
    assert source.revokes_absent
    assert source.jump_guard == JumpGuard(may_shrink_to=0.8, may_grow_to=1.5, from_size=10)
    assert (source.campaign, source.columns.tags, source.records) == (
        "Winter",
        "labels",
        "data.items",
    )
    assert FeedsFile.model_validate_json(load(tmp_path, WHOLE).model_dump_json()) == load(
        tmp_path, WHOLE
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: everything", "name: Analysts", r"line 2: .*by hand: choose another"),
        ("    connection: partner\n", "", r"line 4: .*location: {key} needs a connection"),
        ("connection: partner", "connection: my key", r"line 5: .*connection"),
        ("https://feeds.example/v1/{key}/entries", "f.json", r"line 5: .*connection: a file needs"),
        ("type: url", "type: subject_patterns", r"line 6: .*type"),
        ('{"Phish*": malicious', "{phish: evil", r"line 8: .*disposition_by_tag.phish"),
        ("spam: spam", "SPAM: spam, spam: bulk", r"line 8: .*but for case: 'spam'"),
        ("spam: spam", '" ": spam', r"line 8: .*disposition_by_tag.* an empty tag"),
        ("confidence_floor: 40", "confidence_floor: 40.5", r"line 10: .*confidence_floor"),
        ("confidence_floor: 40", "confidence_floor: 101", r"line 10: .*confidence_floor"),
        ("absence_revokes: true", "absence_revokes: 1", r"line 12: .*absence_revokes"),
        ("may_shrink_to: 0.8", "may_shrink_to: 1.1", r"line 13: .*jump_guard.may_shrink_to"),
        ("may_shrink_to: 0.8", "may_shrink_to: yes", r"line 13: .*jump_guard.may_shrink_to"),
        ("may_grow_to: 1.5", "may_grow_to: 0.9", r"line 13: .*jump_guard.may_grow_to"),
        ("from_size: 10", "from_size: -1", r"line 13: .*jump_guard.from_size"),
        ("from_size: 10", "size: 10", r"line 13: .*size: unknown setting; .*may_grow_to"),
        ("campaign: Winter", "campaign: [Winter]", r"line 14: .*campaign"),
        ("campaign: Winter", 'campaign: "a\\nb"', r"line 14: .*one line of printable"),
        ("campaign: Winter", "campaign: " + "x" * 201, r"line 14: .*campaign"),
        ("{value: ioc.url, ", "{", r"line 16: .*columns.value: missing"),
        ("labels}", "labels, tlp: x}", r"line 16: .*columns.tlp: unknown setting; .*expires_at"),
        ("format: json", "format: csv", r"line 17: .*records: is for json, not csv"),
        ("    records: data.items\n", "    delimiter: ;\n", r"line 17: .*is for csv, not json"),
        ("    records: data.items\n", "    header: [a]\n", r"line 17: .*is for csv, not json"),
        ("may_be_empty: true", "may_be_empty: maybe", r"line 18: .*may_be_empty"),
        ("format: json", "service: rss\n    format: json", r"line 3: .*service"),
        ("format: json", "service: taxii\n    format: json", r"line 4: .*format: taxii gives stix"),
        (
            "format: json",
            "service: misp_feed\n    format: stix",
            r"line 4: .*format: misp_feed gives misp",
        ),
        ("format: json", "format: hosts", r"line 6: .*type: hosts entries state the type"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_with_its_line(tmp_path, old, new, problem):
    assert old in WHOLE
    with pytest.raises(FeedConfigurationError, match=problem):
        load(tmp_path, WHOLE.replace(old, new, 1))


def test_a_service_is_reached_by_a_url(source):
    with pytest.raises(ValidationError, match="taxii is reached by an https:// or http:// URL"):
        source(format="stix", service="taxii", location="s3://bucket/taxii")


@pytest.mark.parametrize("kind", ["subject_pattern", "display_name_pattern"])
def test_a_list_of_patterns_needs_a_campaign_and_an_end(source, kind):
    with pytest.raises(ValidationError) as caught:
        source(type=kind)
    assert "campaign: a" in str(caught.value)
    assert "time_to_live: a" in str(caught.value)

    assert source(type=kind, campaign="Winter", time_to_live="P30D")
    columns = {"value": "v", "campaign": "c", "expires_at": "e"}
    assert source(type=kind, format="csv", columns=columns), "each row may say"


@pytest.mark.parametrize(
    ("settings", "revokes", "news_only"),
    [
        ({}, True, False),
        ({"time_to_live": "P30D"}, False, False),
        ({"time_to_live": "P30D", "absence_revokes": True}, True, False),
        ({"absence_revokes": False}, False, False),
        ({"format": "stix", "service": "taxii"}, False, True),
        ({"format": "stix", "service": "taxii", "absence_revokes": True}, True, False),
        ({"format": "misp", "service": "misp_server", "time_to_live": "P9D"}, False, True),
    ],
)
def test_when_absence_revokes(source, settings, revokes, news_only):
    found = source(location="https://feeds.example/", **settings)
    assert (found.revokes_absent, found.gives_news_only) == (revokes, news_only)


def test_a_digest_is_of_every_setting(source):
    usual = source(connection="key", location="https://feeds.example/")
    others = {
        "confidence": 81,
        "disposition": "spam",
        "disposition_by_tag": {"a": "spam"},
        "jump_guard": {"from_size": 1},
        "time_to_live": "P1D",
        "location": "https://feeds.example/2",
        "may_be_empty": True,
    }
    digests = {
        source(**{"connection": "key", "location": "https://feeds.example/", name: value}).digest
        for name, value in others.items()
    }
    assert len(digests | {usual.digest}) == len(others) + 1
    assert usual.digest == usual.model_copy().digest
    assert usual.model_copy(update={"confidence": 1}).digest != usual.digest


def test_a_program_that_reads_otherwise_reads_all_anew(source, monkeypatch):
    before = source().digest
    monkeypatch.setattr(feeds, "PARSER_VERSION", feeds.PARSER_VERSION + 1)
    assert source().digest != before


def test_a_secret_is_not_repeated(tmp_path):
    with pytest.raises(FeedConfigurationError) as caught:
        load(tmp_path, GOOD.replace("https://feeds", "https://me:hunter2@feeds"))
    assert "hunter2" not in str(caught.value)


def test_a_missing_or_unreadable_file_is_a_clear_error(tmp_path):
    with pytest.raises(FeedConfigurationError, match="cannot be read"):
        load_feeds(tmp_path / "none.yaml")
    (tmp_path / "feeds.yaml").write_bytes(b"sources: \xff")
    with pytest.raises(FeedConfigurationError, match="not UTF-8"):
        load_feeds(tmp_path / "feeds.yaml")


def test_the_shipped_file_works_without_network(listed_now):
    shipped = load_feeds(SHIPPED)

    assert shipped.enabled
    assert not any(source.is_remote for source in shipped.enabled)
    assert listed_now(shipped, datetime(2026, 1, 1, tzinfo=UTC)).is_empty()


def test_the_shipped_file_shows_and_explains_every_setting_format_and_service():
    shipped = load_feeds(SHIPPED)
    comment = SHIPPED.read_text(encoding="utf-8").partition("\nsources:")[0]

    for word in (*Source.model_fields, *JumpGuard.model_fields, *Columns.model_fields):
        assert word in comment
    for word in (*Format, *Service):
        assert re.search(rf"#.*\b{word}\b", comment)
    assert {source.service for source in shipped.sources} >= set(Service)
    needs_a_key = {"urlhaus", "threatfox", "phishtank"}
    assert all(shipped.source(name).connection for name in needs_a_key)
    assert "s3" in {source.scheme for source in shipped.sources}
