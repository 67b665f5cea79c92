"""What holds of every format: any bytes give entries or a FeedError."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.documents import SAMPLES, guessed, inputs, outcome

from retract.errors import FeedError
from retract.indicators.feeds import Format
from retract.indicators.formats.parsers import PARSERS
from retract.indicators.listed import Listed

SOURCES = st.sampled_from([source for source, _ in SAMPLES])
NAMES = [f"{number}-{source.format}" for number, (source, _) in enumerate(SAMPLES)]


def values_of(source, data):
    """What is listed until the end or the error."""
    values = []
    with suppress(FeedError):
        entries = PARSERS[source.format](data, source)
        values.extend((one.type, one.value) for one in entries if isinstance(one, Listed))
    return values


def test_every_format_has_a_parser_and_a_sample():
    assert set(PARSERS) == set(Format) == {source.format for source, _ in SAMPLES}


@pytest.mark.parametrize(("source", "data"), SAMPLES, ids=NAMES)
def test_the_samples_are_sound(source, data):
    assert values_of(source, data)


@pytest.mark.parametrize(("source", "data"), SAMPLES, ids=NAMES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_an_encoding_that_says_so_changes_nothing(source, data, encoding):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    other = mark + data.decode().encode(encoding)

    parse = PARSERS[source.format]
    assert list(parse(other, source)) == list(parse(data, source))


@pytest.mark.parametrize(("source", "data"), SAMPLES, ids=NAMES)
def test_line_ends_of_any_system_change_nothing(source, data):
    parse = PARSERS[source.format]
    unix = data.replace(b"\r\n", b"\n")
    for end in (b"\r\n", b"\r"):
        assert list(parse(unix.replace(b"\n", end), source)) == list(parse(unix, source))


@pytest.mark.parametrize(("source", "data"), SAMPLES, ids=NAMES)
def test_a_document_cut_off_anywhere_lists_nothing_else(source, data):
    """Fewer entries, or an error: but for the last line, a part of a value is not taken for it."""
    whole = values_of(source, data)
    for end in range(0, len(data), 7):
        assert set(values_of(source, data[:end])[:-1]) <= set(whole)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" ", b"\n\n", b"\xff", b"\xff\xfe", b"\x00" * 100, b"null", b"[]", b"{}", b"7"),
        *(
            b"<html><body>Sign in</body></html>",
            b"Too many requests",
            b"\x1f\x8b\x08",
            b"PK\x03\x04",
        ),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000, b'"' * 1_000_001, b"a" * 2**20),
        *(b"," * 2**20, b"||" * 2**19, b"\r" * 10_000, b"#" * 2**20, b'"\n' * 20_000),
    ],
    ids=lambda data: repr(data[:8]),
)
@pytest.mark.parametrize(("source", "sample"), SAMPLES, ids=NAMES)
def test_what_is_no_feed_lists_nothing(source, sample, data):
    assert values_of(source, data) == []


@given(SOURCES, st.binary(max_size=400))
@example(SAMPLES[0][0], b"\xc2\x85")
def test_any_bytes_give_entries_or_an_error(source, data):
    outcome(source, data)
    guessed(data)


@given(SOURCES, st.text(alphabet='{}[]",:\\ntrue019.eE-\n|@$^#!/ax ', max_size=200))
def test_any_text_of_signs_gives_entries_or_an_error(source, text):
    outcome(source, text.encode())
    guessed(text.encode())


def test_damaged_documents_give_entries_or_an_error():
    outcomes = [outcome(source, data) for source, data in inputs(seed=3, count=600)]
    assert set(outcomes) == {"entries", "nothing", "error"}
