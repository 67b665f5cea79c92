"""The published feeds beside the repository, whole."""

from __future__ import annotations

import pytest

from retract.errors import FeedError
from retract.indicators.hold_back.rules import PUBLIC_SUFFIX, HoldBack
from retract.indicators.loose_files import feeds_of_files
from retract.indicators.refresh import read_source


@pytest.mark.parametrize(
    ("name", "lines", "same"),
    [
        ("openphish.txt", 300, 0),
        ("phishing_database_domains.txt", 21_290, 2),
        ("phishing_database_links.txt", 8_000, 3),
    ],
)
def test_every_line_of_a_published_list_is_an_indicator(shared_data, now, name, lines, same):
    """``same``: lines that say again what another one says, in another spelling."""
    path = shared_data / "feeds" / name

    snapshot = read_source(feeds_of_files([path]).sources[0], now)

    assert len(path.read_text(encoding="utf-8").splitlines()) == lines
    assert snapshot.facts.rejected == 0
    assert snapshot.listed == lines - same
    assert snapshot.rows["indicator_id"].n_unique() == snapshot.listed


def test_public_suffixes_among_published_domains_are_held_back(shared_data, now, listed_now):
    path = shared_data / "feeds" / "phishing_database_domains.txt"
    feeds = feeds_of_files([path])

    rows = listed_now(feeds, now, HoldBack.of(feeds.hold_back))

    held = dict(rows.filter(rows["held_back"].is_not_null()).select("value", "held_back").rows())
    assert held["s3.ap-south-1.amazonaws.com"] == PUBLIC_SUFFIX
    assert len(held) < 0.01 * rows.height


def test_a_published_misp_event_lists_what_is_for_detection(shared_data, now):
    path = shared_data / "feeds" / "misp_event_mozi.json"

    snapshot = read_source(feeds_of_files([path]).sources[0], now)

    listed = dict(snapshot.rows.group_by("type").len().iter_rows())
    assert listed == {"md5": 21, "sha1": 21, "sha256": 21, "url": 11}
    assert snapshot.facts.left_out == 151 - 74
    assert snapshot.facts.rejected == 0
    assert snapshot.rows["campaign"].unique().to_list() == [
        "Who killed Mozi? Finally putting the IoT zombie botnet in its grave"
    ]


def test_a_published_misp_event_without_anything_for_detection_is_an_error(shared_data, now):
    path = shared_data / "feeds" / "misp_event_badiis.json"

    with pytest.raises(FeedError, match=r"all 244 entries are left out; .*to_ids is false"):
        read_source(feeds_of_files([path]).sources[0], now)
