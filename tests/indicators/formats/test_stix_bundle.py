from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from retract.errors import FeedError
from retract.indicators.formats import stix_bundle
from retract.model import Disposition, ObservableType


@pytest.fixture
def stix(source):
    return source(format="stix")


def indicator(number=1, pattern="[url:value = 'https://evil.example/x']", **more):
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{number}",
        "created": "2026-01-01T00:00:00Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
        **more,
    }


def parse(stix, *objects):
    bundle = {"type": "bundle", "id": "bundle--1", "objects": list(objects)}
    return stix_bundle.parse(json.dumps(bundle).encode(), stix)


def test_what_an_indicator_states_is_used(stix):
    listed = parse(
        stix,
        indicator(
            confidence=35,
            valid_until="2026-06-01T00:00:00Z",
            external_references=[
                {"source_name": "x"},
                {"source_name": "y", "url": "https://r.example"},
            ],
            x_custom={"anything": [1]},
        ),
    ).indicators[0]

    assert (listed.type, listed.value) == (ObservableType.URL, "https://evil.example/x")
    assert listed.confidence == 35
    assert listed.first_seen == datetime(2026, 1, 1, tzinfo=UTC)
    assert listed.expires_at == datetime(2026, 6, 1, tzinfo=UTC)
    assert listed.reference == "https://r.example"
    assert not listed.revoked


def test_a_bare_2_0_indicator_leaves_the_rest_to_the_source(stix):
    listed = parse(
        stix,
        {
            "type": "indicator",
            "id": "indicator--1",
            "labels": ["malicious-activity"],
            "pattern": "[file:hashes.SHA256 = '" + "AB" * 32 + "']",
            "valid_from": "2018-01-01T00:00:00.123Z",
        },
    ).indicators[0]

    assert (listed.type, listed.value) == (ObservableType.SHA256, "ab" * 32)
    assert listed.disposition is listed.confidence is listed.expires_at is listed.campaign is None


def test_a_revoked_indicator_says_so(stix):
    assert parse(stix, indicator(revoked=True)).indicators[0].revoked


def test_only_the_newest_version_of_an_indicator_counts(stix):
    older = indicator(modified="2026-01-01T00:00:00Z")
    newer = indicator(modified="2026-01-05T00:00:00Z", revoked=True)

    for objects in ((older, newer), (newer, older)):
        assert [listed.revoked for listed in parse(stix, *objects).indicators] == [True]


def test_the_campaign_is_what_it_is_said_to_indicate(stix):
    parsed = parse(
        stix,
        indicator(1),
        indicator(2, "[domain-name:value = 'evil.example']"),
        {"type": "campaign", "id": "campaign--1", "name": "Winter"},
        {
            "type": "relationship",
            "relationship_type": "indicates",
            "source_ref": "indicator--2",
            "target_ref": "campaign--1",
        },
    )
    assert [listed.campaign for listed in parsed.indicators] == [None, "Winter"]


@pytest.mark.parametrize("where", ["labels", "indicator_types"])
def test_labels_count(stix, where):
    parsed = parse(
        stix,
        indicator(1, **{where: ["malicious-activity", "anomalous-activity"]}),
        indicator(2, **{where: ["anomalous-activity"]}),
        indicator(3, **{where: ["benign"]}),
    )
    assert [listed.disposition for listed in parsed.indicators] == [None, Disposition.SUSPICIOUS]
    assert parsed.rejected == [("indicator--3", "labelled benign")]


def test_labels_make_nothing_graver(source):
    parsed = parse(source(format="stix", disposition="spam"), indicator(labels=["unknown"]))
    assert parsed.indicators[0].disposition is None


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (indicator(2, "[process:name = 'x']"), "cannot be matched with mail"),
        (indicator(2, "[url:value = '/relative']"), "not a valid url"),
        (indicator(2, pattern_type="sigma"), "'sigma' is not supported"),
        (indicator(2, confidence=500), "confidence"),
        (indicator(2, valid_until="tomorrow"), "valid_until"),
        ({"type": "indicator", "id": "indicator--2"}, "pattern"),
    ],
)
def test_an_unusable_indicator_is_rejected_alone(stix, bad, reason):
    parsed = parse(stix, indicator(1), bad)

    assert len(parsed.indicators) == 1
    assert [rejected.where for rejected in parsed.rejected] == ["indicator--2"]
    assert reason in parsed.rejected[0].reason


def test_other_objects_and_an_envelope_without_a_bundle_are_fine(stix):
    envelope = {"more": False, "objects": [{"type": "identity", "id": "identity--1"}, indicator()]}
    assert len(stix_bundle.parse(json.dumps(envelope).encode(), stix).indicators) == 1


def test_an_empty_bundle_lists_nothing(stix):
    assert parse(stix).indicators == []
    assert stix_bundle.parse(b'{"type": "bundle", "id": "bundle--1"}', stix).indicators == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (json.dumps({"type": "bundle", "objects": [indicator()]}).encode()[:-30], "cut off"),
        (b'{"type": "bundle", "objects": [{"type": "ind', "cut off"),
        (b'{"type": "bundle" "objects": []}', "no readable JSON at line 1 column 19"),
        (b"https://evil.example/\n", "no readable JSON"),
        (b'{"response": [{"Event": {}}]}', "no STIX bundle"),
        (b"[1, 2]", "no STIX bundle"),
        (b"<html></html>", "HTML page"),
        (b"[" * 100_000, "nested too deeply"),
        (
            json.dumps({"objects": [indicator(1, "[process:name = 'x']")]}).encode(),
            "1 indicators and none that can be matched",
        ),
    ],
)
def test_what_is_no_bundle_is_an_error_that_says_what_to_do(stix, data, problem):
    with pytest.raises(FeedError, match=problem):
        stix_bundle.parse(data, stix)
