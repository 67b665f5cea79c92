"""What is sent to Graph, and what is made of its answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.mailboxes.microsoft365.calls import (
    Call,
    Reply,
    batch_of,
    replies_in,
    segment,
    text,
    with_query,
)


def test_a_batch_holds_each_call_with_its_own_headers() -> None:
    calls = [
        Call("GET", "/users/1?$select=id", "look", prefer="odata.maxpagesize=5"),
        Call("POST", "/users/1/messages/2/move", "move", body={"destinationId": "junkemail"}),
    ]
    assert json.loads(json.dumps(batch_of(calls).body)) == {
        "requests": [
            {
                "id": "0",
                "method": "GET",
                "url": "/users/1?$select=id",
                "headers": {"Prefer": 'IdType="ImmutableId", odata.maxpagesize=5'},
            },
            {
                "id": "1",
                "method": "POST",
                "url": "/users/1/messages/2/move",
                "headers": {"Prefer": 'IdType="ImmutableId"', "Content-Type": "application/json"},
                "body": {"destinationId": "junkemail"},
            },
        ]
    }


def answered(*responses: Any) -> Reply:
    return Reply(200, {}, json.dumps({"responses": responses}).encode())


def test_answers_come_in_any_order_and_some_do_not_come() -> None:
    reply = answered(
        {"id": "2", "status": 429, "headers": {"Retry-After": "1.5"}},
        {"id": "0", "status": 200, "body": {"id": "a"}},
        {"id": "7", "status": 200, "body": {}},
        {"id": "0", "status": 500},
        {"status": 200},
        "what?",
        None,
    )
    first, second, third = replies_in(reply, 3)
    assert first == Reply(200, {}, {"id": "a"})
    assert second is None
    assert third == Reply(429, {"retry-after": "1.5"}, None)


def test_a_header_that_is_no_text_loses_no_answer() -> None:
    reply = answered({"id": "0", "status": 429, "headers": {"Retry-After": 2.5, "Date": None}})
    (told,) = replies_in(reply, 1)
    assert told is not None
    assert (told.status, told.headers["retry-after"]) == (429, "2.5")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"{}", b'{"responses": 7}', b"\xff"])
def test_an_answer_that_is_no_batch_answers_nobody(body: bytes) -> None:
    assert replies_in(Reply(200, {}, body), 2) == [None, None]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["id", "status", "headers", "body", "responses"]), x)
        ),
    )
)
def test_no_answer_is_too_strange(strange: Any) -> None:
    for told in (strange, {"responses": strange}, {"responses": [strange]}):
        replies = replies_in(Reply(200, {}, json.dumps(told).encode()), 2)
        assert len(replies) == 2


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("length", range(4))
def test_what_is_no_json_comes_in_base64(encode: Callable[[bytes], bytes], length: int) -> None:
    raw = b"?>\xfb\xff" + bytes(length)
    told = encode(raw).decode()
    assert Reply(200, {}, told).content() == raw
    assert Reply(200, {}, told.rstrip("=")).content() == raw


def test_json_may_come_in_base64_too() -> None:
    assert Reply(200, {}, base64.b64encode(b'{"id": "1"}').decode()).json() == {"id": "1"}


@pytest.mark.parametrize("nothing", [b"", None, ""])
def test_nothing_said_is_an_empty_object(nothing: Any) -> None:
    assert Reply(204, {}, nothing).json() == {}


@given(st.text())
def test_no_text_leaves_its_place_in_a_query(hostile: str) -> None:
    path = with_query(f"/users/{segment(hostile)}/messages", **{"$filter": f"a eq {text(hostile)}"})
    assert path.isascii()
    parts = urlsplit(path)
    assert parts.path.count("/") == 3
    assert not parts.fragment
    (told,) = parse_qs(parts.query, strict_parsing=True)["$filter"]
    # The quotes inside are doubled, so the text ends where it should.
    assert told.removeprefix("a eq '").removesuffix("'").replace("''", "") == hostile.replace(
        "'", ""
    )
