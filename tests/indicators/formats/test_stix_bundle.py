from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats import stix_bundle
from retract.indicators.listed import LeftOut, Listed, Rejected
from retract.model import Disposition, ObservableType

DIGEST = "ab" * 32

SOURCE = Source(
    name="stix", format="stix", location="/nowhere", disposition="malicious", confidence=80
)


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


def bundle(*objects):
    return json.dumps({"type": "bundle", "id": "bundle--1", "objects": list(objects)}).encode()


def parse(stix, *objects):
    return list(stix_bundle.parse(bundle(*objects), stix))


def listed(stix, *objects):
    entries = parse(stix, *objects)
    assert all(isinstance(entry, Listed) for entry in entries), entries
    return entries


def test_what_an_indicator_states_is_used(stix):
    (one,) = listed(
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
    )

    assert (one.type, one.value) == (ObservableType.URL, "https://evil.example/x")
    assert one.confidence == 35
    assert one.first_seen == datetime(2026, 1, 1, tzinfo=UTC)
    assert one.expires_at == datetime(2026, 6, 1, tzinfo=UTC)
    assert one.reference == "https://r.example"
    assert not one.revoked
    assert (one.statement, one.stated_at) == ("indicator--1", datetime(2026, 1, 1, tzinfo=UTC))


def test_a_bare_2_0_indicator_leaves_the_rest_to_the_source(stix):
    (one,) = listed(
        stix,
        {
            "type": "indicator",
            "id": "indicator--1",
            "labels": ["malicious-activity"],
            "pattern": "[file:hashes.SHA256 = '" + "AB" * 32 + "']",
            "valid_from": "2018-01-01T00:00:00.123Z",
        },
    )

    assert (one.type, one.value) == (ObservableType.SHA256, "ab" * 32)
    assert one.disposition is one.confidence is one.expires_at is one.campaign is None
    assert one.stated_at is None


def test_a_revoked_indicator_says_so(stix):
    assert listed(stix, indicator(revoked=True))[0].revoked


def test_only_the_newest_version_of_an_indicator_counts(stix):
    older = indicator(modified="2026-01-01T00:00:00Z")
    newer = indicator(modified="2026-01-05T00:00:00Z", revoked=True)

    for objects in ((older, newer), (newer, older)):
        assert [one.revoked for one in listed(stix, *objects)] == [True]


def relationship(number, target, **more):
    return {
        "type": "relationship",
        "id": f"relationship--{number}{target}",
        "relationship_type": "indicates",
        "source_ref": f"indicator--{number}",
        "target_ref": target,
        **more,
    }


def test_the_campaign_is_what_it_is_said_to_indicate(stix):
    found = listed(
        stix,
        indicator(1),
        indicator(2, "[domain-name:value = 'evil.example']"),
        {"type": "campaign", "id": "campaign--1", "name": "Winter"},
        relationship(2, "campaign--1"),
        relationship(1, "campaign--1", relationship_type="based-on"),
        relationship(1, "campaign--1", revoked=True),
        relationship(1, "campaign--unknown"),
    )
    assert [one.campaign for one in found] == [None, "Winter"]


def test_of_several_causes_the_most_telling_names_the_campaign(stix):
    causes = [
        {"type": "attack-pattern", "id": "attack-pattern--1", "name": "Spearphishing Link"},
        {"type": "malware", "id": "malware--1", "name": "Loader"},
        {"type": "intrusion-set", "id": "intrusion-set--1", "name": "TA999"},
        {"type": "report", "id": "report--1", "name": "A report", "object_refs": ["indicator--1"]},
    ]
    pairs = [relationship(1, cause["id"]) for cause in causes if cause["type"] != "report"]

    assert listed(stix, indicator(), *causes, *pairs)[0].campaign == "TA999"
    assert listed(stix, indicator(), *reversed(pairs), *causes)[0].campaign == "TA999"


def test_where_nothing_is_indicated_the_report_names_the_campaign(stix):
    report = {
        "type": "report",
        "id": "report--1",
        "name": "Invoices from nowhere",
        "object_refs": ["identity--1", "indicator--1"],
    }
    found = listed(stix, indicator(1), indicator(2, "[domain-name:value = 'evil.example']"), report)
    assert [one.campaign for one in found] == ["Invoices from nowhere", None]


def sighting(number, of=1, **more):
    return {
        "type": "sighting",
        "id": f"sighting--{number}",
        "sighting_of_ref": f"indicator--{of}",
        **more,
    }


def test_sightings_are_counted(stix):
    found = listed(
        stix,
        sighting(1),
        sighting(2, count=40),
        sighting(2, count=50),  # the same one again
        sighting(3, count=0),
        sighting(4, count=7, revoked=True),
        sighting(5, count=-1),  # no count: it was seen
        sighting(6, of=99, count=1000),
        indicator(1),
        indicator(2, "[domain-name:value = 'evil.example']"),
    )
    assert [one.sightings for one in found] == [1 + 50 + 0 + 1, 0]


def test_labels_types_phases_and_markings_are_tags(stix):
    (one,) = listed(
        stix,
        indicator(
            labels=["Phishing", "phishing", "tlp:amber"],
            indicator_types=["malicious-activity"],
            kill_chain_phases=[{"kill_chain_name": "mitre-attack", "phase_name": "delivery"}],
            object_marking_refs=[
                "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
                "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
                "marking-definition--own",
                "marking-definition--unknown",
            ],
        ),
        {"type": "marking-definition", "id": "marking-definition--own", "name": "Partners only"},
    )
    assert one.tags == (
        *("malicious-activity", "phishing", "tlp:amber", "delivery", "tlp:amber+strict"),
        "partners only",
    )


@pytest.mark.parametrize("where", ["labels", "indicator_types"])
def test_labels_count(stix, where):
    entries = parse(
        stix,
        indicator(1, **{where: ["malicious-activity", "anomalous-activity"]}),
        indicator(2, **{where: ["anomalous-activity"]}),
        indicator(3, **{where: ["Benign"]}),
    )
    assert [one.disposition for one in entries[:2]] == [None, Disposition.SUSPICIOUS]
    assert entries[2] == LeftOut("indicator--3", "labelled benign")
    assert [one.revoked for one in entries[3:]] == [True], "it may have been listed before"


def test_in_2_1_a_free_label_does_not_make_a_weak_type_strong(stix):
    (one,) = listed(stix, indicator(labels=["q3-sweep"], indicator_types=["unknown"]))
    assert one.disposition is Disposition.SUSPICIOUS


def test_labels_make_nothing_graver(source):
    (one,) = listed(source(format="stix", disposition="spam"), indicator(labels=["unknown"]))
    assert one.disposition is None


def test_null_states_nothing(stix):
    (one,) = listed(stix, indicator(confidence=None, labels=None, revoked=None, pattern_type=None))
    assert (one.confidence, one.tags, one.revoked) == (None, (), False)


@pytest.mark.parametrize(
    ("bad", "kind", "reason"),
    [
        (indicator(2, "[process:name = 'x']"), LeftOut, "cannot be matched with mail"),
        (indicator(2, "[email-message:subject = 'x']"), LeftOut, "for campaign rules"),
        (indicator(2, "[file:name = 'invoice.pdf']"), LeftOut, "says too little"),
        (indicator(2, "[file:hashes.SSDEEP = 'x']"), LeftOut, "only MD5, SHA-1 and SHA-256"),
        (indicator(2, "[url:value LIKE 'https://evil.example/%']"), LeftOut, "only equality"),
        (indicator(2, pattern_type="sigma"), LeftOut, "'sigma' is not supported"),
        (indicator(2, "[url:value = '/relative']"), Rejected, "not a valid url"),
        (indicator(2, "[file:hashes.MD5 = 'abc']"), Rejected, "not a valid md5"),
        (indicator(2, confidence=500), Rejected, "confidence"),
        (indicator(2, valid_until="tomorrow"), Rejected, "valid_until"),
        (indicator(2, modified="2026-01-01T00:00:00"), Rejected, "modified"),
        ({"type": "indicator", "id": "indicator--2"}, Rejected, "pattern"),
        ({"type": "indicator", "id": "indicator--2", "pattern": ["x"]}, Rejected, "pattern"),
    ],
)
def test_an_unusable_indicator_is_told_of_alone(stix, bad, kind, reason):
    entries = parse(stix, indicator(1), bad)

    assert [type(entry) for entry in entries] == [Listed, kind]
    assert entries[1].where == "indicator--2"
    assert reason in entries[1].reason


def test_what_is_no_object_is_told_of_alone(stix):
    first, second = parse(stix, "indicator", indicator(1))

    assert first == Rejected("object 1", "not an object")
    assert isinstance(second, Listed)


def test_a_version_that_is_broken_does_not_hide_the_one_before(stix):
    older = indicator(modified="2026-01-01T00:00:00Z")
    broken = indicator(modified="2026-01-05T00:00:00Z", confidence="high")

    entries = parse(stix, older, broken)
    assert [type(entry) for entry in entries] == [Rejected, Listed]


def test_other_objects_and_an_envelope_without_a_bundle_are_fine(stix):
    envelope = {
        "more": True,
        "next": "2",
        "objects": [{"type": "identity", "id": "identity--1"}, indicator()],
    }
    assert len(list(stix_bundle.parse(json.dumps(envelope).encode(), stix))) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"type": "bundle", "id": "bundle--1"}',
        b'{"type": "bundle", "id": "bundle--1", "objects": []}',
        b'{"type": "bundle", "id": "bundle--1", "objects": null}',
        b"{}",
        b'{"more": false}',
    ],
)
def test_an_empty_bundle_or_envelope_lists_nothing(stix, data):
    assert list(stix_bundle.parse(data, stix)) == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (json.dumps({"type": "bundle", "objects": [indicator()]}).encode()[:-30], "cut off"),
        (b'{"type": "bundle", "objects": [{"type": "ind', "cut off"),
        (b'{"type": "bundle" "objects": []}', "no readable JSON at line 1 column 19"),
        (b"https://evil.example/\n", "no readable JSON"),
        (b'{"response": [{"Event": {}}]}', "no STIX bundle"),
        (b"[1, 2]", "no STIX bundle"),
        (b'{"title": "Unauthorized", "http_status": "401"}', "no STIX bundle"),
        (b'{"type": "bundle", "objects": {}}', "no STIX bundle"),
        (b"<html></html>", "HTML page"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_bundle_is_an_error_that_says_what_to_do(stix, data, problem):
    with pytest.raises(FeedError, match=problem):
        list(stix_bundle.parse(data, stix))


VENDOR_BUNDLE = bundle(
    {"type": "identity", "id": "identity--1", "name": "A vendor", "identity_class": "organization"},
    {
        "type": "indicator",
        "id": "indicator--1",
        "created": "2019-05-01T12:00:00.000Z",
        "modified": "2019-05-01T12:00:00.000Z",
        "labels": ["malicious-activity"],
        "name": "Loader",
        "pattern": f"[file:hashes.'SHA-256' = '{DIGEST}' OR file:hashes.MD5 = '{'cd' * 16}']",
        "valid_from": "2019-05-01T12:00:00Z",
        "kill_chain_phases": [{"kill_chain_name": "lockheed", "phase_name": "delivery"}],
    },
    indicator(2, "[domain-name:value = 'evil[.]example']", confidence=75, x_score=None),
    indicator(3, "[ipv4-addr:value = '203.0.113.7'] WITHIN 5 SECONDS"),
    {"type": "malware", "id": "malware--1", "name": "Loader", "is_family": True},
    relationship(1, "malware--1"),
    sighting(1, count=3),
)


def test_a_vendors_bundle_gives_what_is_in_it(stix):
    entries = list(stix_bundle.parse(VENDOR_BUNDLE, stix))

    assert [(entry.type, entry.value) for entry in entries[:3]] == [
        (ObservableType.SHA256, DIGEST),
        (ObservableType.MD5, "cd" * 16),
        (ObservableType.DOMAIN, "evil.example"),
    ]
    assert {entry.campaign for entry in entries[:2]} == {"Loader"}
    assert [entry.sightings for entry in entries[:3]] == [3, 3, 0]
    assert entries[3:] == [LeftOut("indicator--3", entries[3].reason)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
properties = st.sampled_from(
    [
        *("id", "pattern", "pattern_type", "modified", "valid_from", "valid_until", "revoked"),
        *("confidence", "labels", "indicator_types", "kill_chain_phases", "object_marking_refs"),
        *("external_references", "count", "sighting_of_ref", "source_ref", "target_ref", "name"),
        *("object_refs", "definition", "definition_type", "relationship_type"),
    ]
)
kinds = st.sampled_from(
    [
        *("indicator", "sighting", "relationship", "campaign", "report", "marking-definition"),
        *("unheard-of", 5, None, []),
    ]
)


@given(
    st.lists(
        st.builds(
            lambda kind, stated, plain: {**(indicator() if plain else {}), "type": kind, **stated},
            kinds,
            st.dictionaries(properties, json_values, max_size=5),
            st.booleans(),
        )
        | json_values,
        max_size=5,
    )
)
@settings(max_examples=500, deadline=None)
def test_whatever_objects_state_the_rest_is_read(objects):
    entries = parse(SOURCE, *objects, indicator("last", "[domain-name:value = 'last.example']"))

    assert entries[-1].value == "last.example"


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda position, put, keep: (
            VENDOR_BUNDLE[:position] + put + VENDOR_BUNDLE[position + keep :]
        ),
        st.integers(0, len(VENDOR_BUNDLE)),
        st.binary(max_size=4) | st.sampled_from([b"{", b"]", b'"', b"null", b"[url:value = 'a"]),
        st.integers(0, 40),
    )
)
@example(b"\xff\xfe\x00")
@settings(max_examples=500, deadline=None)
def test_whatever_bytes_come_they_are_read_or_refused(data):
    try:
        for entry in stix_bundle.parse(data, SOURCE):
            assert isinstance(entry, Listed | LeftOut | Rejected)
    except FeedError:
        pass
