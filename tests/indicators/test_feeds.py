from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retract.errors import FeedConfigurationError
from retract.indicators.feeds import FeedsFile, load_feeds
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
    feeds = load(tmp_path, GOOD)

    own, table = feeds.sources
    assert feeds.enabled == (own,)
    assert feeds.source("own-list") is own
    assert own.location == str(tmp_path / "lists" / "*.txt")
    assert own.time_to_live == timedelta(days=30)
    assert own.disposition is Disposition.MALICIOUS
    assert table.is_remote
    assert table.columns.value == "url"
    assert table.time_to_live is None
    assert feeds.hold_back.domains == ("own.example",)


def test_feeds_survive_json(tmp_path):
    feeds = load(tmp_path, GOOD.replace("P30D", "P1DT90M"))
    assert FeedsFile.model_validate_json(feeds.model_dump_json()) == feeds


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
        ("format: plain_list", "format: misp", r"line 3: .*format"),
        ("type: url", "type: hostname", r"line 4: .*type"),
        ("name: own-list", "name: own/list", r"line 2: .*name"),
        ("name: table", "name: Own-List", r"two are named 'own-list'"),
        ("https://feeds", "ftp://feeds", r"line 11: source 'table', location: .*https"),
        ("https://feeds", "https://me:secret@feeds", r"line 11: .*written to logs"),
        ("    columns: {value: url, confidence: score}\n", "", r"columns: a csv source needs"),
        ("format: csv", "format: stix", r"columns, delimiter and header are for csv"),
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
    feeds = load_feeds(SHIPPED)

    assert feeds.enabled
    assert not any(source.is_remote for source in feeds.enabled)
    assert listed_now(feeds, datetime(2026, 1, 1, tzinfo=UTC)).is_empty()
