from __future__ import annotations

import pytest
from tests.indicators.formats.samples import BLOCKLIST

from retract.errors import FeedError


def test_names_that_are_sent_to_nowhere_are_indicators(read):
    found = read("hosts", BLOCKLIST)

    assert found.values == [
        ("domain", "evil.example"),
        ("domain", "www.evil.example"),
        ("domain", "payload.example"),
        ("domain", "six.example"),
        ("domain", "seven.example"),
        ("domain", "short.example"),
        ("domain", "wild.example"),
    ]
    assert found.rejected == found.left_out == []


@pytest.mark.parametrize("address", ["203.0.113.5", "127.0.1.1", "2001:db8::5", "10.0.0.1"])
def test_a_line_that_says_where_a_host_is_blocks_nothing(read, address):
    found = read("hosts", f"{address} intranet.example wiki.example\n0.0.0.0 evil.example\n")

    assert found.values == [("domain", "evil.example")]
    assert found.left_out == [("line 1", "maps a name to an address, it is not a block")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("evil.example", "begins with 'evil.example', no address; is it a plain list?"),
        ("0 ", "an address without a name"),
        ("0.0.0.0 # nothing", "an address without a name"),
        ("0.0.0.0 evil_example", "not a valid domain"),
        ("0.0.0.0 198.51.100.7", "not a valid domain"),
        ("0.0.0.256 evil.example", "no address"),
        ("0.0.0.0 b\udce9zier.example", "not UTF-8"),
        ("0.0.0.0 " + "a" * 2**20, "longer than 16384"),
        ("0" * 2**20, "no address"),
    ],
)
def test_a_broken_line_is_rejected_alone(read, line, reason):
    text = f"0.0.0.0 good.example\r\n{line}\r\n0.0.0.0 fine.example\r\n"

    found = read("hosts", text.encode("utf-8", "surrogateescape"))

    assert found.values == [("domain", "good.example"), ("domain", "fine.example")]
    assert [where for where, _ in found.rejected] == ["line 2"]
    assert reason in found.rejected[0].reason
    assert len(found.rejected[0].reason) < 200


def test_a_file_cut_off_in_the_middle_keeps_its_whole_lines(read):
    found = read("hosts", "0.0.0.0 a.example\n0.0.0.0 b.example\n0.0.")
    assert len(found.values) == 2
    assert len(found.rejected) == 1


@pytest.mark.parametrize(
    "data", [b"", b"\n# nothing today\n", "0.0.0.0 localhost".encode("utf-16")]
)
def test_a_file_may_block_nothing(read, data):
    assert read("hosts", data) == ([], [], [])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<html><head><title>429 Too Many Requests</title>", "HTML page"),
        (b'{"error": "rate limited"}', "is JSON, not a hosts file"),
        (b"0.0.0.0 evil.example\x00\n", "binary data"),
    ],
)
def test_what_is_no_hosts_file_is_an_error(read, data, problem):
    with pytest.raises(FeedError, match=problem):
        read("hosts", data)
