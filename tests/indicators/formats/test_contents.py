from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.errors import FeedError
from retract.indicators.formats.contents import json_of, lines_of, text_of


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\xef\xbb\xbfa\n", "a\n"),
        ("ä\n".encode("utf-16"), "ä\n"),
        ("ä\n".encode("utf-16-be").join([b"\xfe\xff", b""]), "ä\n"),
        (b"b\xe9zier", "b\udce9zier"),
        (b"a\rb\r", "a\nb\n"),
        (b"a\r\nb\r", "a\r\nb\r"),
    ],
)
def test_text_is_decoded(data, text):
    assert text_of(data) == text


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "HTML page instead"),
        (b'\n <?xml version="1.0"?>\n<html xmlns="x">', "HTML page instead"),
        (b"<!-- cached --><html><title>502 Bad Gateway</title>", "HTML page instead"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is XML instead"),
        (b"<rss:feed>\n", "is XML instead"),
        (b"\x1f\x8b\x08\x00\x00", "packed with gzip"),
        (b"PK\x03\x04\x14\x00", "packed with zip"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "binary data"),
        (b"https://evil.example/\n" + b"\x00" * 4096, "binary data"),
        ("https://evil.example/".encode("utf-16-le"), "binary data"),
        (b"\xff\xfea", "broken UTF-16"),
        (b"\xff\xfe\x00\xd8a\x00", "broken UTF-16"),
    ],
)
def test_what_is_no_text_of_a_feed_is_refused(data, problem):
    with pytest.raises(FeedError, match=problem):
        text_of(data)


def test_an_address_in_angle_brackets_is_no_markup():
    assert text_of(b"<https://evil.example/>\n").startswith("<https")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a\n\nb\n", [(1, "a"), (2, ""), (3, "b")]),
        ("a\r\nb", [(1, "a"), (2, "b")]),
        ("a\u2028b\x0cc\n", [(1, "a\u2028b\x0cc")]),
    ],
)
def test_a_line_ends_where_an_editor_says(text, lines):
    assert list(lines_of(text)) == lines


@given(st.text(alphabet="ab\n\r \x85"))
def test_no_character_is_lost_between_lines(text):
    joined = "".join(line for _, line in lines_of(text))
    assert joined.replace("\r", "") == text.replace("\n", "").replace("\r", "")


def test_json_is_read_as_its_writers_write_it():
    assert json_of(" \n") is None
    assert json_of('\n{"a": NaN, "b": [Infinity, -Infinity]} \n') == {"a": None, "b": [None, None]}
    assert json_of('{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": [1, 2', "line 1 column 12: ends in the middle: it was cut off, fetch it again"),
        ('{"a":\n {"b": "never clos', "line 2 column 8: ends in the middle"),
        ('{"a": tru', "ends in the middle"),
        ('{"a": -', "ends in the middle"),
        ('{"a": "\\u00', "ends in the middle"),
        ('{"a": "\\', "ends in the middle"),
        ('{"a":', "ends in the middle"),
        ("{", "ends in the middle"),
        ('{"a" "b"}', "no readable JSON at line 1 column 6: Expecting ':'"),
        ('{"a": 1,}', "Expecting property name"),
        ('{"a": "\\u12"}', "Invalid"),
        ('{"a": 1}\n\n  {"b": 2}', "line 3 column 3: more after its end"),
        ("https://evil.example/", "Expecting value"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "a number too long"),
    ],
)
def test_what_is_no_json_says_where_and_why(text, problem):
    with pytest.raises(FeedError, match=problem):
        json_of(text)


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=20), st.data())
def test_json_that_is_cut_off_is_said_to_be(value, data):
    text = json.dumps({"key": value, "next": "x"}, ensure_ascii=False)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    with pytest.raises(FeedError, match="ends in the middle"):
        json_of(cut)
