from __future__ import annotations

import json

import pytest
import yaml

from retract.errors import FeedConfigurationError, FeedError
from retract.indicators.feeds import Format, Source, load_feeds
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


def test_files_with_one_name_are_told_apart(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "urls.txt")
        paths[-1].write_text("https://a.example/x\n", encoding="utf-8")

    names = [source.name for source in feeds_of_files(paths).sources]

    assert len(set(names)) == 2


def test_a_feeds_file_written_for_files_reads_back(files, tmp_path):
    path = tmp_path / "feeds.yaml"
    path.write_text(sources_of_files(files), encoding="utf-8")

    assert load_feeds(path) == feeds_of_files(files)
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == {"sources"}


def test_files_that_cannot_be_sources_are_a_clear_error(tmp_path):
    with pytest.raises(FeedConfigurationError, match="no such file"):
        feeds_of_files([tmp_path / "none.txt"])
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(FeedConfigurationError, match="the first row names no column indicator or"):
        feeds_of_files([table])
