"""A file is seen as it was before, or as it is meant to be; never in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from retract.whole_file import whole_file, write_text_whole


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file.txt"
    write_text_whole(path, "before\r\nä")
    with pytest.raises(RuntimeError):
        _fail_halfway(path)
    assert path.read_bytes() == "before\r\nä".encode()
    write_text_whole(path, "after")
    assert path.read_text() == "after"
    assert [one.name for one in path.parent.iterdir()] == ["file.txt"]


def _fail_halfway(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError
