from __future__ import annotations

import gzip
import os

import pytest

from retract.errors import FeedError
from retract.indicators.fetching import files, limits
from retract.indicators.fetching.document import Marks


def test_a_pattern_names_many_files_in_order(read, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/c.txt", "other.csv"):
        (tmp_path / name).write_text(name, encoding="utf-8")

    assert read(tmp_path / "*.txt").documents == [("a.txt", b"a.txt"), ("b.txt", b"b.txt")]
    assert len(read(tmp_path / "**" / "*.txt").documents) == 3


def test_a_name_with_wildcard_characters_is_a_name_first(read, tmp_path):
    (tmp_path / "feed[1].txt").write_text("x", encoding="utf-8")
    assert read(tmp_path / "feed[1].txt").documents == [("feed[1].txt", b"x")]


def test_a_link_is_the_file_that_it_leads_to(read, tmp_path):
    (tmp_path / "2026-01-31.txt").write_bytes(b"evil.example\n")
    (tmp_path / "latest.txt").symlink_to("2026-01-31.txt")
    assert read(tmp_path / "latest.txt").documents == [("latest.txt", b"evil.example\n")]


def test_a_packed_file_is_unpacked(read, tmp_path):
    (tmp_path / "feed.csv.gz").write_bytes(gzip.compress(b"evil.example\n"))
    assert read(tmp_path / "feed.csv.gz").data == [b"evil.example\n"]


def test_files_are_read_again_only_when_their_bytes_changed(read, tmp_path):
    one, two = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_bytes(b"evil.example\n")
    two.write_bytes(b"bad.example\n")
    first = read(tmp_path / "*.txt")
    assert first.complete
    assert len(first.data) == 2

    os.utime(one, (0, 0))
    again = read(tmp_path / "*.txt", first.marks)
    assert again.unchanged
    assert again.marks == first.marks

    two.write_bytes(b"worse.example\n")
    assert read(tmp_path / "*.txt", again.marks).data == [b"evil.example\n", b"worse.example\n"]
    two.unlink()
    assert read(tmp_path / "*.txt", again.marks).data == [b"evil.example\n"]


def test_bytes_that_move_from_one_file_to_the_next_are_a_change(read, tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"3")
    first = read(tmp_path / "*")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"23")
    assert not read(tmp_path / "*", first.marks).unchanged


def test_marks_are_of_what_was_read_even_when_it_changes_meanwhile(read, tmp_path, monkeypatch):
    path = tmp_path / "feed.txt"
    path.write_bytes(b"new")
    digest = files._digest

    def then_it_changes(paths):
        before = digest(paths)
        path.write_bytes(b"newer")
        return before

    monkeypatch.setattr(files, "_digest", then_it_changes)
    first = read(path, Marks(content="0" * 64))
    assert first.data == [b"newer"]
    monkeypatch.undo()
    assert read(path, first.marks).unchanged


@pytest.mark.parametrize("name", ["none.txt", "none/*.txt", "\0"])
def test_no_file_is_a_clear_error(read, tmp_path, name):
    with pytest.raises(FeedError, match="there is no file at"):
        read(tmp_path / name)


def test_a_path_that_cannot_be_one_is_a_clear_error(read, tmp_path):
    with pytest.raises(FeedError, match="cannot be read: File name too long"):
        read(tmp_path / ("x" * 300))


def test_a_folder_is_a_clear_error(read, tmp_path):
    with pytest.raises(FeedError, match=r"is a folder: name a file in it, or write .*/\*"):
        read(tmp_path)


def test_a_too_large_file_is_not_read_to_its_end(read, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    (tmp_path / "big.txt").write_bytes(b"x" * 11)
    with pytest.raises(FeedError, match=r"big\.txt is larger than 10 bytes"):
        read(tmp_path / "big.txt")


def test_too_many_files_are_a_clear_error(read, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_DOCUMENTS", 2)
    for number in range(3):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(FeedError, match="more than 2 files: write a narrower pattern"):
        read(tmp_path / "*.txt")


def test_a_file_that_vanishes_is_a_clear_error(read, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_files", lambda location: [tmp_path / "gone.txt"])
    with pytest.raises(FeedError, match=r"gone\.txt cannot be read: No such file"):
        read(tmp_path / "gone.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_clear_error(read, tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"x")
    (tmp_path / "secret.txt").chmod(0)
    with pytest.raises(FeedError, match="Permission denied; may this process read it"):
        read(tmp_path / "secret.txt")


def test_a_file_that_fails_while_it_is_read_is_a_clear_error(read, tmp_path, monkeypatch):
    # On Linux a process may open its own memory, but not read where there is none.
    monkeypatch.setattr(files, "_files", lambda location: [files.Path("/proc/self/mem")])
    with pytest.raises(FeedError, match="mem cannot be read: Input/output error"):
        read("/proc/self/mem")
