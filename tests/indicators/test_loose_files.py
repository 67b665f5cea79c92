from __future__ import annotations

import gzip
import json
import zipfile

import pytest
import yaml
from tests.indicators.formats import samples

from retract.errors import FeedConfigurationError, FeedError
from retract.indicators.feeds import Format, load_feeds
from retract.indicators.formats.parsers import PARSERS
from retract.indicators.listed import Listed
from retract.indicators.loose_files import feeds_of_files, settings_of, sources_of_files


@pytest.fixture
def files(tmp_path):
    contents = {
        "urls.txt": "https://a.example/x\n",
        "my list.csv": "date;URL;Type\n2026;https://b.example/y;url\n",
        "bundle.json": '{"type": "bundle", "objects": [{"type": "indicator", "id": "i", '
        '"pattern": "[domain-name:value = \'c.example\']"}]}',
        "[odd] name": "d.example\n",
    }
    paths = [tmp_path / name for name in contents]
    for path, text in zip(paths, contents.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def test_the_format_shows_in_the_file(files, listed_now, now):
    feeds = feeds_of_files(files)

    assert [source.format for source in feeds.sources] == [
        Format.PLAIN_LIST,
        Format.CSV,
        Format.STIX,
        Format.PLAIN_LIST,
    ]
    frame = listed_now(feeds, now)
    assert set(frame["value"]) == {
        "https://a.example/x",
        "https://b.example/y",
        "c.example",
        "d.example",
    }


URL = "https://evil.example/x"


@pytest.mark.parametrize(
    ("text", "format_"),
    [
        (samples.PLAIN_LIST, "plain_list"),
        ("https://evil.example/a,b\nhttps://evil.example/c\n", "plain_list"),
        ('"https://evil.example/"\n"never closed\n', "plain_list"),
        ("", "plain_list"),
        ("# nothing\n", "plain_list"),
        (samples.BLOCKLIST, "hosts"),
        ("0.0.0.0 evil.example\n", "hosts"),
        (samples.FILTER_LIST, "adblock"),
        ("! Title: a list\nexample.org##.ad\nexample.org##.b\n||evil.example^\n", "adblock"),
        ("||evil.example^\n||b.example^\nexample.org##.ad\n", "adblock"),
        ("[Adblock Plus 2.0]\nexample.org##.ad\n", "adblock"),
        (samples.TABLE, "csv"),
        (samples.URLHAUS, "urlhaus"),
        (samples.URLHAUS_BEFORE_LAST_ONLINE, "urlhaus"),
        (samples.URLHAUS_JSON, "urlhaus"),
        (samples.URLHAUS_ANSWER, "urlhaus"),
        ('{"query_status": "unknown_auth_key"}', "urlhaus"),
        (samples.THREATFOX, "threatfox"),
        (samples.THREATFOX_JSON, "threatfox"),
        (samples.THREATFOX_ANSWER, "threatfox"),
        (samples.PHISHTANK, "phishtank"),
        (samples.phishtank_json(samples.PHISHTANK), "phishtank"),
        (samples.STIX, "stix"),
        ('{"more": false, "objects": []}', "stix"),
        (samples.MISP, "misp"),
        (json.dumps([json.loads(samples.MISP)]), "misp"),
        (json.dumps({"response": [json.loads(samples.MISP)]}), "misp"),
        ('{"response": {"Attribute": []}}', "misp"),
        (samples.RECORDS_LINES, "json"),
        (json.dumps([{"url": URL}]), "json"),
    ],
)
def test_each_format_is_told_by_its_content(text, format_):
    assert settings_of(text.encode())["format"] == format_
    assert settings_of(text.encode("utf-16"))["format"] == format_


@pytest.mark.parametrize(
    ("document", "records"),
    [
        ([{"id": 7, "url": URL}], None),
        ([URL], None),
        ([{"note": "no value"}, {"URL": URL}], None),
        ({"url": URL}, None),
        ({"data": [{"indicator": URL, "type": "url"}]}, None),
        ({"101": {"ioc": URL}, "102": {"ioc": URL}}, None),
        ({"count": 1, "data": [{"url": URL}]}, "data"),
        ({"count": 1, "urls": [URL]}, "urls"),
        ({"ok": True, "result": {"page": 1, "items": [{"value": [URL]}]}}, "result.items"),
    ],
)
def test_json_is_read_where_its_records_are(source, document, records):
    data = json.dumps(document).encode()

    settings = settings_of(data)

    assert settings["records"] == records
    one = source(**settings)
    entries = PARSERS[one.format](data, one)
    assert URL in {entry.value for entry in entries if isinstance(entry, Listed)}


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ("evil.example,domain\n198.51.100.7,ipv4\nx,mutex\n", "type"),
        ("invoice.pdf,file_name\nevil.example,FQDN\nx,banana\n", "type"),
        ("evil.example,\n", "type"),
        ("evil.example,phishing\nhttps://b.example/x,malware\n", None),
    ],
)
def test_a_type_column_counts_when_it_holds_types(rows, kind):
    columns = settings_of(b"value,type\n" + rows.encode())["columns"]
    assert columns.type == kind


def test_a_column_of_values_is_found_by_its_name():
    settings = settings_of(b'"First seen"\t"IOC"\n2026\tevil.example\n')

    assert settings["columns"].value == "IOC"
    assert settings["delimiter"] == "\t"


@pytest.mark.parametrize(
    ("data", "suffix", "problem"),
    [
        (b"a,b\n1,2\n", ".csv", "the first row names no column indicator, value, .* or observable"),
        (b"<html><title>Sign in</title></html>", "", "HTML page instead of data"),
        (b"evil.example\x00", "", "binary data"),
        (b'{"type": "bundle", "objects": [{"type": "ind', "", "ends in the middle"),
        (b"https://evil.example/\n", ".json", "no readable JSON"),
        (b'[{"link": "https://evil.example/"}]', "", "shows no key indicator, .* keys are 'link'"),
        (b'{"meta": {"next": 2}}', "", "under records and columns which ones; its keys are 'meta'"),
        (b"[]", ".json", "its keys are none"),
        (
            b'{"a": {"x": [{"url": "http://a.example/"}]}, "n": 1, "b": [{"url": "x"}]}',
            "",
            "holds lists at 'a' and 'b': name it in a feeds file and say under records which one",
        ),
    ],
)
def test_what_does_not_show_how_to_read_it_says_what_to_do(data, suffix, problem):
    with pytest.raises(FeedError, match=problem):
        settings_of(data, suffix)


def test_packed_files_show_it_too(tmp_path, listed_now, now):
    packed = tmp_path / "urlhaus.csv.gz"
    packed.write_bytes(gzip.compress(samples.URLHAUS.encode()))
    archive = tmp_path / "full.json.zip"
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("full.json", samples.THREATFOX_JSON)

    feeds = feeds_of_files([packed, archive])

    assert [source.format for source in feeds.sources] == [Format.URLHAUS, Format.THREATFOX]
    assert len(listed_now(feeds, now)) == 3


def test_files_with_one_name_are_told_apart(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "urls.txt")
        paths[-1].write_text("https://a.example/x\n", encoding="utf-8")

    names = [source.name for source in feeds_of_files(paths).sources]

    assert len(set(names)) == 2


def test_a_feeds_file_written_for_files_reads_back(files, tmp_path):
    files.append(tmp_path / "records.json")
    files[-1].write_text('{"count": 1, "data": [{"url": "https://e.example/"}]}', encoding="utf-8")
    path = tmp_path / "feeds.yaml"
    path.write_text(sources_of_files(files), encoding="utf-8")

    assert load_feeds(path) == feeds_of_files(files)
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == {"sources"}


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("table.csv", b"a,b\n1,2\n", "table.csv shows no column to read"),
        (
            "list.csv.gz",
            gzip.compress(b"a,b\n1,2\n", mtime=0),
            "list.csv.gz shows no column to read",
        ),
        (
            "list.gz",
            gzip.compress(b"evil.example\n" * 1000, mtime=0)[:40],
            "list.gz is a broken gzip file",
        ),
        ("page.txt", b"<html></html>", "page.txt is an HTML page"),
    ],
)
def test_a_file_that_cannot_be_a_source_is_named(tmp_path, name, data, problem):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(FeedConfigurationError, match=problem):
        feeds_of_files([path])


def test_what_is_no_file_is_a_clear_error(tmp_path):
    with pytest.raises(FeedConfigurationError, match="no such file"):
        feeds_of_files([tmp_path / "none.txt"])
    with pytest.raises(FeedConfigurationError, match="a folder, not a file"):
        feeds_of_files([tmp_path])
