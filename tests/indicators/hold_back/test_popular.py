from __future__ import annotations

from pathlib import Path

import pytest

from retract.errors import FeedConfigurationError
from retract.indicators.hold_back.popular import ABOVE, PopularNames, digest_of, names_of


def written(folder: Path, data: bytes) -> Path:
    path = folder / "top-1m.csv"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_list_is_read_up_to_a_rank(tmp_path, end):
    lines = [b"1,google.com", b"2,xn--bcher-kva.example", b"3,mail.ru"]
    path = written(tmp_path, end.join(lines) + end)

    assert list(names_of(path, 2)) == ["google.com", "xn--bcher-kva.example"]
    assert len(list(names_of(path, 1_000_000))) == 3


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (b"<!DOCTYPE html>\n<title>Sign in</title>", 1),
        (b"PK\x03\x04\x14\x00\x08\x00", 1),
        (b"rank,domain\n1,google.com\n", 1),
        (b"google.com\n", 1),
        (b"1,google.com\n3,mail.ru\n", 2),
        (b"1,google.com\n2,\n", 2),
        (b"1,google.com\n2,no domain at all\n", 2),
        (b"1,google.com\n2," + b"a" * 1000 + b".com\n", 2),
        (b"\xff\xfe1\x00,\x00g\x00", 1),
    ],
)
def test_what_is_no_such_list_is_told_with_its_line(tmp_path, data, line):
    with pytest.raises(FeedConfigurationError, match=rf"top-1m\.csv is no list .* line {line} "):
        list(names_of(written(tmp_path, data), 1_000_000))


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    for read in (digest_of, lambda path: list(names_of(path, 10))):
        with pytest.raises(FeedConfigurationError, match=r"cannot be read: .*; mend the path"):
            read(tmp_path / "missing.csv")
        with pytest.raises(FeedConfigurationError, match="cannot be read: Is a directory"):
            read(tmp_path)


def test_a_name_is_found_with_those_above_it():
    popular = PopularNames.of(["www.one.example", "b.two.example"], "well known")

    assert popular.says_of("one.example") == "well known"
    assert popular.says_of("b.two.example") == "well known"
    assert popular.says_of("two.example") == ABOVE + "well known"
    assert popular.says_of("c.two.example") is None
