from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats import misp_event
from retract.indicators.listed import LeftOut, Listed, Rejected
from retract.model import ObservableType as Type

DIGEST = "ab" * 32

SOURCE = Source(
    name="misp", format="misp", location="/nowhere", disposition="malicious", confidence=80
)


def attribute(type="url", value="https://evil.example/x", **more) -> dict[str, Any]:  # noqa: A002
    return {
        "id": "336758",
        "type": type,
        "category": "Network activity",
        "to_ids": True,
        "uuid": "9777bc8b-af63-4e4d-9839-a691ece8c92e",
        "event_id": "1317",
        "distribution": "5",
        "timestamp": "1767225600",
        "comment": "",
        "sharing_group_id": "0",
        "deleted": False,
        "disable_correlation": False,
        "object_id": "0",
        "object_relation": None,
        "first_seen": None,
        "last_seen": None,
        "value": value,
        "Galaxy": [],
        "ShadowAttribute": [],
        **more,
    }


def event(*attributes: Any, **more: Any) -> dict[str, Any]:
    return {
        "Event": {
            "id": "1317",
            "orgc_id": "2",
            "date": "2026-01-01",
            "threat_level_id": "1",
            "info": "Invoices from nowhere",
            "published": True,
            "uuid": "41d35b43-e44a-47e2-882b-1a06e0b0581f",
            "timestamp": "1767225600",
            "Orgc": {"id": "2", "name": "A CERT", "uuid": "…"},
            "Attribute": list(attributes),
            "ShadowAttribute": [],
            "RelatedEvent": [],
            "Galaxy": [],
            "Object": [],
            **more,
        }
    }


def parse(document: Any, source: Source = SOURCE) -> list[Any]:
    return list(misp_event.parse(json.dumps(document).encode(), source))


def test_what_an_event_states_of_an_attribute_is_used():
    (one,) = parse(event(attribute(first_seen="2025-12-24T00:00:00.000000+00:00")))

    assert (one.type, one.value) == (Type.URL, "https://evil.example/x")
    assert one.campaign == "Invoices from nowhere"
    assert one.reference == "misp-event:41d35b43-e44a-47e2-882b-1a06e0b0581f"
    assert one.first_seen == datetime(2025, 12, 24, tzinfo=UTC)
    assert one.stated_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert one.statement == "9777bc8b-af63-4e4d-9839-a691ece8c92e"
    assert not one.revoked
    assert one.disposition is one.confidence is one.expires_at is None


@pytest.mark.parametrize(
    "wrapped",
    [
        event(attribute()),
        {"response": [event(attribute())]},
        {"response": event(attribute())},
        [event(attribute())],
        {"response": {"Attribute": [attribute()]}},
        {"Attribute": [attribute()]},
    ],
)
def test_events_and_attributes_are_found_however_they_are_wrapped(wrapped):
    assert [one.value for one in parse(wrapped)] == ["https://evil.example/x"]


@pytest.mark.parametrize(
    "nothing", [{"response": []}, [], {"response": {"Attribute": []}}, event()]
)
def test_an_empty_answer_lists_nothing(nothing):
    assert parse(nothing) == []


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("url", "hxxps://evil[.]example/x", [(Type.URL, "https://evil.example/x")]),
        ("uri", "http://evil.example/x", [(Type.URL, "http://evil.example/x")]),
        ("domain", "Evil.example", [(Type.DOMAIN, "evil.example")]),
        ("hostname", "a.evil.example", [(Type.DOMAIN, "a.evil.example")]),
        ("hostname|port", "a.evil.example|8443", [(Type.DOMAIN, "a.evil.example")]),
        ("hostname|port", "a.evil.example", [(Type.DOMAIN, "a.evil.example")]),
        (
            "domain|ip",
            "evil.example|203.0.113.7",
            [(Type.DOMAIN, "evil.example"), (Type.IP_ADDRESS, "203.0.113.7")],
        ),
        ("domain|ip", "evil.example|", [(Type.DOMAIN, "evil.example")]),
        ("ip-src", "203.0.113.7", [(Type.IP_ADDRESS, "203.0.113.7")]),
        ("ip-dst", "203.0.113.0/24", [(Type.IP_ADDRESS, "203.0.113.0/24")]),
        ("ip-dst|port", "203.0.113.7|443", [(Type.IP_ADDRESS, "203.0.113.7")]),
        ("ip-dst|port", "203.0.113.7:443", [(Type.IP_ADDRESS, "203.0.113.7")]),
        ("ip-src|port", "2001:db8::7|443", [(Type.IP_ADDRESS, "2001:db8::7")]),
        ("email", "Boss@evil.example", [(Type.EMAIL_ADDRESS, "boss@evil.example")]),
        ("email-src", "boss@evil.example", [(Type.EMAIL_ADDRESS, "boss@evil.example")]),
        ("email-reply-to", "boss@evil.example", [(Type.EMAIL_ADDRESS, "boss@evil.example")]),
        ("md5", "CD" * 16, [(Type.MD5, "cd" * 16)]),
        ("sha1", "cd" * 20, [(Type.SHA1, "cd" * 20)]),
        ("sha256", DIGEST, [(Type.SHA256, DIGEST)]),
        ("filename|sha256", f"a|b.exe|{DIGEST}", [(Type.SHA256, DIGEST)]),
        ("filename|sha1", f"b.exe|{'cd' * 20}", [(Type.SHA1, "cd" * 20)]),
        ("filename|md5", "cd" * 16, [(Type.MD5, "cd" * 16)]),
        ("malware-sample", f"b.exe|{'cd' * 16}", [(Type.MD5, "cd" * 16)]),
    ],
)
def test_every_type_that_mail_can_show_is_read(kind, value, found):
    assert [(one.type, one.value) for one in parse(event(attribute(kind, value)))] == found


@pytest.mark.parametrize(
    ("bad", "kind", "reason"),
    [
        (attribute(to_ids=False), LeftOut, "to_ids is false"),
        (attribute(to_ids="0"), LeftOut, "to_ids is false"),
        (attribute("email-subject", "Invoice"), LeftOut, "subjects are for campaign rules"),
        (attribute("email-src-display-name", "The CEO"), LeftOut, "for campaign rules"),
        (attribute("email-dst", "victim@example.org"), LeftOut, "recipients"),
        (attribute("filename", "invoice.pdf"), LeftOut, "a file name alone"),
        (attribute("attachment", "invoice.pdf"), LeftOut, "a file name alone"),
        (attribute("email-attachment", "invoice.pdf"), LeftOut, "a file name alone"),
        (attribute("link", "https://cert.example/report"), LeftOut, "lead to reports"),
        (attribute("ssdeep", "3:abc:def"), LeftOut, "only MD5, SHA-1 and SHA-256"),
        (attribute("filename|imphash", "a|b"), LeftOut, "only MD5, SHA-1 and SHA-256"),
        (attribute("sha512", "ab" * 64), LeftOut, "only MD5, SHA-1 and SHA-256"),
        (attribute("yara", "rule x {}"), LeftOut, "type yara cannot be matched with mail"),
        (attribute("uri", "/wp-login.php"), LeftOut, "not a valid url"),
        (attribute("url", "/wp-login.php"), Rejected, "not a valid url"),
        (attribute("sha256", "abc"), Rejected, "not a valid sha256"),
        (attribute("domain|ip", "nonsense!|"), Rejected, "not a valid domain"),
        (attribute("filename|md5", "b.exe|"), Rejected, "empty"),
        (attribute("url", None), Rejected, "value"),
        (attribute("url", {"a": 1}), Rejected, "value"),
        (attribute("url", "https://evil.example/", Tag="none"), Rejected, "Tag"),
        ("an attribute", Rejected, "not an attribute"),
    ],
)
def test_an_unusable_attribute_is_told_of_alone(bad, kind, reason):
    entries = parse(event(bad, attribute("domain", "evil.example")))

    assert [type(entry) for entry in entries] == [kind, Listed]
    assert reason in entries[0].reason


@pytest.mark.parametrize("stated", [True, 1, "1"])
def test_to_ids_is_read_as_all_versions_write_it(stated):
    assert isinstance(parse(event(attribute(to_ids=stated)))[0], Listed)


def test_an_attribute_that_does_not_say_what_it_is_for_is_left_out():
    bare = {"type": "url", "value": "https://evil.example/x", "uuid": "u-1"}
    assert parse(event(bare)) == [LeftOut("u-1", "not meant for detection: to_ids is false")]


def test_the_attributes_of_objects_count_too():
    thing = {
        "name": "file",
        "deleted": False,
        "Attribute": [
            attribute("sha256", DIGEST, object_relation="sha256"),
            attribute("filename", "x.exe", object_relation="filename"),
            attribute("size-in-bytes", "5", to_ids=False),
        ],
    }
    entries = parse(event(Object=[thing, "no object"]))

    assert [type(entry) for entry in entries] == [Listed, LeftOut, LeftOut, Rejected]
    assert entries[0].campaign == "Invoices from nowhere"


def test_what_is_deleted_is_revoked():
    gone = {"name": "url", "deleted": True, "Attribute": [attribute("domain", "gone.example")]}
    entries = parse(
        event(
            attribute(deleted=True),
            attribute("domain", "off.example", deleted="1", to_ids=False),
            attribute("text", "a remark", deleted=True),
            attribute("domain", "", deleted=True),  # blanked by the server
            Object=[gone],
        )
    )

    revoked = [entry for entry in entries if isinstance(entry, Listed)]
    assert {entry.value for entry in revoked} == {
        "https://evil.example/x",
        "off.example",
        "gone.example",
    }
    assert all(entry.revoked for entry in revoked)
    assert not any(isinstance(entry, Rejected) for entry in entries)


def tag(name: str) -> dict[str, Any]:
    return {"id": "37", "name": name, "colour": "#00223b", "exportable": True, "local": 0}


def galaxy(name: str) -> dict[str, Any]:
    cluster = {"value": "Sofacy", "tag_name": name, "description": "…", "meta": {}}
    return {"name": "Threat Actor", "type": "threat-actor", "GalaxyCluster": [cluster]}


def test_tags_of_event_attribute_and_galaxies_are_tags_those_of_galaxies_last():
    sofacy, ta1 = 'misp-galaxy:threat-actor="Sofacy"', 'misp-galaxy:threat-actor="TA1"'
    (one,) = parse(
        event(
            attribute(Tag=[tag(ta1), tag("phishing")], Galaxy=[galaxy(ta1)]),
            Tag=[tag(sofacy), tag("tlp:clear"), tag("phishing")],
            Galaxy=[galaxy(sofacy)],
        )
    )
    assert one.tags == ("phishing", ta1, "tlp:clear", sofacy)


def sighting(kind: int, at: int, **more: Any) -> dict[str, Any]:
    return {"id": "1", "attribute_id": "1", "type": str(kind), "date_sighting": str(at), **more}


def test_sightings_are_counted_but_not_false_positives():
    seen = [sighting(0, 1767225600), sighting(0, 1767225601), sighting(1, 1767225602)]
    assert parse(event(attribute(Sighting=seen)))[0].sightings == 2


def test_an_expiration_ends_an_attribute_unless_it_was_seen_after_that():
    ended = [sighting(0, 1767225600), sighting(2, 1767312000)]
    seen_again = [*ended, sighting(0, 1767398400)]
    entries = parse(event(attribute(Sighting=ended), attribute(Sighting=seen_again)))

    assert [one.expires_at for one in entries] == [datetime(2026, 1, 2, tzinfo=UTC), None]


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        ("1767225600", datetime(2026, 1, 1, tzinfo=UTC)),
        (1767225600, datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T02:00:00+02:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("0", None),
        ("-5", None),
        ("9" * 30, None),
        ("9" * 5000, None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        ([], None),
    ],
)
def test_a_time_is_read_in_each_form_and_is_never_why_an_indicator_is_lost(stated, meant):
    (one,) = parse(event(attribute(timestamp=stated)))
    assert (one.stated_at, one.first_seen) == (meant, meant)


def test_a_servers_attribute_carries_its_event():
    about = {
        "org_id": "1",
        "distribution": "1",
        "id": "1317",
        "info": "Invoices from nowhere",
        "uuid": "41d35b43-e44a-47e2-882b-1a06e0b0581f",
        "publish_timestamp": "1767225600",
    }
    server = Source(
        **{**SOURCE.model_dump(), "service": "misp_server", "location": "https://misp.example/"}
    )
    inherited = {**tag("tlp:green"), "inherited": 1}
    (one,) = parse({"response": {"Attribute": [attribute(Event=about, Tag=[inherited])]}}, server)
    assert one.campaign == "Invoices from nowhere"
    assert one.reference == (
        "https://misp.example/events/view/41d35b43-e44a-47e2-882b-1a06e0b0581f"
    )
    assert one.tags == ("tlp:green",)


@pytest.mark.parametrize(
    ("location", "reference"),
    [
        ("https://feed.example/osint/", "https://feed.example/osint/{uuid}.json"),
        ("https://feed.example/osint/manifest.json", "https://feed.example/osint/{uuid}.json"),
        ("https://feed.example/osint?a=b", "https://feed.example/osint/{uuid}.json"),
        ("https://feed.example/{key}/osint", "misp-event:{uuid}"),
    ],
)
def test_an_event_of_a_feed_is_referred_to_where_it_lies(location, reference):
    feed = Source(
        **{
            **SOURCE.model_dump(),
            "service": "misp_feed",
            "location": location,
            "connection": "misp" if "key" in location else None,
        }
    )
    uuid = "41d35b43-e44a-47e2-882b-1a06e0b0581f"
    assert parse(event(attribute()), feed)[0].reference == reference.replace("{uuid}", uuid)
    evil = parse(event(attribute(), uuid="../../login?"), feed)[0].reference
    assert evil == "misp-event:../../login?"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (json.dumps(event(attribute())).encode()[:-20], "cut off"),
        (b"https://evil.example/\n", "no readable JSON"),
        (b'{"type": "bundle", "objects": []}', "neither Event nor Attribute"),
        (b"{}", "neither Event nor Attribute"),
        (b"[1, 2]", "neither Event nor Attribute"),
        (b'"text"', "neither Event nor Attribute"),
        (
            b'{"name": "Authentication failed.", "message": "Authentication failed.", "url": "/"}',
            "it says 'Authentication failed.'",
        ),
        (b"<!DOCTYPE html><html><title>Users - MISP</title></html>", "HTML page"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_event_is_an_error_that_says_what_to_do(data, problem):
    with pytest.raises(FeedError, match=problem):
        list(misp_event.parse(data, SOURCE))


def test_an_event_that_is_broken_does_not_take_the_others_with_it():
    entries = parse([event(attribute(), info=["no text"]), {"Event": 5}, event(attribute())])
    assert [type(entry) for entry in entries] == [Rejected, Rejected, Listed]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
properties = st.sampled_from(
    [
        *("type", "value", "to_ids", "deleted", "uuid", "timestamp", "first_seen", "Tag"),
        *("Galaxy", "GalaxyCluster", "Sighting", "Event", "info", "id", "Attribute", "Object"),
    ]
)
changes = st.dictionaries(properties, json_values, max_size=4)


@given(changes, changes, changes, json_values)
@settings(max_examples=500, deadline=None)
def test_whatever_is_stated_the_next_event_is_read(of_attribute, of_event, of_object, value):
    thing = {"Attribute": [attribute(**of_attribute)], **of_object}
    odd = event(attribute(**of_attribute), value, **{"Object": [thing, value], **of_event})
    last = event(attribute("domain", "last.example"))

    assert parse([odd, last])[-1].value == "last.example"


EVENT = json.dumps(
    {
        "response": [
            event(
                attribute(Tag=[tag("phishing")], Sighting=[sighting(0, 1767225600)]),
                attribute("filename|md5", f"b.exe|{'cd' * 16}"),
                Object=[{"name": "file", "Attribute": [attribute("sha256", DIGEST)]}],
            )
        ]
    }
).encode()


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda position, put, keep: EVENT[:position] + put + EVENT[position + keep :],
        st.integers(0, len(EVENT)),
        st.binary(max_size=4) | st.sampled_from([b"{", b"]", b'"', b"null", b"[[", b"1e999"]),
        st.integers(0, 40),
    )
)
@example(b"\xff\xfe\x00")
@settings(max_examples=500, deadline=None)
def test_whatever_bytes_come_they_are_read_or_refused(data):
    try:
        for entry in misp_event.parse(data, SOURCE):
            assert isinstance(entry, Listed | LeftOut | Rejected)
    except FeedError:
        pass
