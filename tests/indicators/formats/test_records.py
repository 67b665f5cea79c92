from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.indicators.feeds import Columns
from retract.indicators.formats.records import (
    NotInMail,
    confidence_of,
    entries,
    tags_of,
    time_of,
    type_of,
)
from retract.indicators.listed import LeftOut, Listed, Rejected
from retract.model import ObservableType

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("url", "url"),
        ("URI", "url"),
        ("hostname", "domain"),
        ("FQDN", "domain"),
        ("Domain Name", "domain"),
        ("email-src", "email_address"),
        ("envelope_from", "email_address"),
        ("display_name", "display_name"),
        ("FileName", "file_name"),
        ("md5_hash", "md5"),
        ("FileHash-SHA1", "sha1"),
        ("SHA-256", "sha256"),
        ("sha256_hash", "sha256"),
        ("ip:port", "ip_address"),
        ("IPv4", "ip_address"),
        ("ip-dst|port", "ip_address"),
        ("CIDR", "ip_address"),
        ("subject_pattern", "subject_pattern"),
        ("display_name_pattern", "display_name_pattern"),
        ("hash", "auto"),
        *((kind.value, kind.value) for kind in ObservableType),
    ],
)
def test_types_are_known_by_the_words_of_feeds(word, kind):
    assert type_of(word) == kind


@pytest.mark.parametrize("word", ["mutex", "JA3", "sha3_384_hash", "FileHash-SHA512", "CVE", "ASN"])
def test_types_that_no_mail_shows_are_no_mistake(word):
    with pytest.raises(NotInMail, match="is nothing that mail shows"):
        type_of(word)


@pytest.mark.parametrize("word", ["", "phishing", "x" * 10_000, "url\x00x"])
def test_other_types_are(word):
    with pytest.raises(ValueError, match="unknown type"):
        type_of(word)


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.000000000Z",
        "2026-01-31T13:00:00+01:00",
        "2026-01-31 12:00:00",
        "2026-01-31 12:00:00 UTC",
        "20260131T120000Z",
        "1769860800",
        "1769860800.0",
        1769860800,
        1769860800.0,
        "1769860800000",
        1769860800000,
        1769860800000000,
    ],
)
def test_times_are_read_as_feeds_write_them(written):
    assert time_of(written) == NOON


def test_a_day_is_its_beginning():
    assert time_of("2026-01-31") == time_of("20260131") == NOON.replace(hour=0)


@pytest.mark.parametrize(
    "unknown",
    [
        *("", " ", None, True, {}, [], "0", 0, -5.5, "0000-00-00", "0000-00-00 00:00:00"),
        *("1970-01-01", "1970-01-01 00:00:00", "0001-01-01T00:00:00", "1601-01-01T00:00:00Z"),
    ],
)
def test_what_databases_write_for_no_time_is_none(unknown):
    assert time_of(unknown) is None


@pytest.mark.parametrize(
    "wrong",
    [
        *("soon", "31/01/2026", "2026-13-01", "99999-01-01", "9" * 400, 1e300, math.inf, math.nan),
        *(10**400, "9999-12-31T23:59:59-12:00", "٢٠٢٦٠١٣١٠٠"),
    ],
)
def test_what_is_no_time_says_so(wrong):
    with pytest.raises(ValueError, match="is not a time as 2026-01-31T12:00:00Z"):
        time_of(wrong)


@pytest.mark.parametrize(
    ("written", "confidence"),
    [("", None), (None, None), (True, None), (0, 0), ("100", 100), (75.0, 75), ("75 %", 75)],
)
def test_confidence(written, confidence):
    assert confidence_of(written) == confidence


@pytest.mark.parametrize("wrong", ["high", "-1", 101, "0.9", 0.9, math.inf, 10**400, "٥"])
def test_what_is_no_confidence_says_so(wrong):
    with pytest.raises(ValueError, match="is not a whole number from 0 to 100"):
        confidence_of(wrong)


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        (None, ()),
        ("", ()),
        ("elf,Mozi, elf ,", ("elf", "Mozi")),
        (["elf", 32, None, "Mozi", {"name": "x"}, "elf"], ("elf", "32", "Mozi")),
    ],
)
def test_tags(written, tags):
    assert tags_of(written) == tags


@pytest.mark.parametrize("written", [",".join(map(str, range(10_000))), list(range(10_000))])
def test_a_thousand_tags_are_cut(written):
    assert tags_of(written) == tuple(map(str, range(100)))


def test_a_list_of_values_is_an_entry_each():
    cells = {"value": ["a.example", "b .example", "c.example"], "campaign": "Winter"}

    first, second, third = entries(cells, "auto", "entry 1")

    assert (first.value, first.campaign) == ("a.example", "Winter")
    assert (third.value, third.campaign) == ("c.example", "Winter")
    assert isinstance(second, Rejected)
    assert second.where == "entry 1"


FIELDS = st.sampled_from(list(Columns.model_fields))


@given(st.dictionaries(FIELDS, ANYTHING), st.sampled_from(["auto", *ObservableType]))
def test_any_cells_give_entries(cells, kind):
    found = list(entries(cells, kind, "entry 1"))

    assert found
    assert all(isinstance(entry, Listed | Rejected | LeftOut) for entry in found)
