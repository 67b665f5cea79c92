"""Exports of every shape are read whole, and nothing in them can break the reader."""

from __future__ import annotations

import mailbox
import os
from itertools import accumulate
from pathlib import Path

import pytest

from retract.errors import ConfigurationError
from retract.mailboxes import exported_mail
from retract.mailboxes.exported_mail import ExportedMessage, read_exported_mail

ONE = b"Subject: one\n\nfirst body\n"
TWO = b"Subject: two\n\nsecond body\n"


def read(path: Path) -> list[ExportedMessage]:
    return list(read_exported_mail(path))


def test_an_eml_file_is_one_message_even_with_an_envelope_line(tmp_path: Path) -> None:
    path = tmp_path / "mail.eml"
    path.write_bytes(b"From a@b.example Thu Aug 22 12:36:23 2002\n" + ONE)
    assert read(path) == [ExportedMessage("mail.eml", None, path.read_bytes())]


def test_a_file_of_any_name_given_by_hand_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "suspicious.txt"
    path.write_bytes(ONE)
    assert read(path) == [ExportedMessage("suspicious.txt", None, ONE)]


def test_a_folder_is_read_recursively_and_what_is_not_mail_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep.EML").write_bytes(ONE)
    (tmp_path / "top.eml").write_bytes(TWO)
    (tmp_path / "notes.txt").write_bytes(b"Note: not a message\n")
    (tmp_path / "Inbox").write_bytes(b"From x Mon Jan  5 00:00:00 2026\n" + ONE)
    assert read(tmp_path) == [
        ExportedMessage("Inbox", 1, ONE),
        ExportedMessage("top.eml", None, TWO),
        ExportedMessage("a/b/deep.EML", None, ONE),
    ]


def test_an_mbox_written_by_the_standard_library_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "export.mbox"
    quoting = b"Subject: three\n\nbefore\n\nFrom here on\n>From a quotation\n"
    box = mailbox.mbox(path)
    for raw in (ONE, TWO, quoting):
        box.add(raw)
    box.close()
    messages = read(path)
    assert [(m.source, m.number) for m in messages] == [("export.mbox", n) for n in (1, 2, 3)]
    assert [m.raw.rstrip() for m in messages[:2]] == [ONE.rstrip(), TWO.rstrip()]
    assert b"\nFrom here on\n" in messages[2].raw


def test_an_mbox_with_crlf_and_without_a_final_newline_is_split(tmp_path: Path) -> None:
    path = tmp_path / "export.mbox"
    path.write_bytes(b"From x\r\nSubject: one\r\n\r\nFrom y\r\nSubject: two")
    assert [m.raw for m in read(path)] == [b"Subject: one\r\n\r\n", b"Subject: two"]


def test_a_from_line_inside_a_paragraph_does_not_split(tmp_path: Path) -> None:
    path = tmp_path / "export.mbox"
    path.write_bytes(b"From x\nSubject: one\n\nHello\nFrom the desk of no one\n")
    assert len(read(path)) == 1


def test_a_maildir_gives_new_and_cur_but_not_tmp(tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "box", create=True)
    box.add(ONE)
    box.add_folder("Sent").add(TWO)
    (tmp_path / "box" / "tmp" / "half.eml").write_bytes(b"Subject: half")
    assert sorted(m.raw for m in read(tmp_path / "box")) == [ONE, TWO]
    assert [m.raw for m in read(tmp_path / "box" / "new")] == [ONE]


def test_nothing_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_exported_mail(tmp_path / "absent")


def test_links_pipes_and_loops_neither_hang_nor_crash(tmp_path: Path) -> None:
    (tmp_path / "good.eml").write_bytes(ONE)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "loop.eml").symlink_to("loop.eml")
    (tmp_path / "zero.eml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.eml")
    os.mkfifo(tmp_path / "pipe")
    by_source = {m.source: m for m in read(tmp_path)}
    assert by_source["good.eml"].raw == ONE
    assert by_source["again"].problem == "link to a folder: not followed"
    assert "file not read" in by_source["loop.eml"].problem
    assert "not a regular file" in by_source["zero.eml"].problem
    assert "not a regular file" in by_source["pipe.eml"].problem
    assert set(by_source) == {"good.eml", "again", "loop.eml", "zero.eml", "pipe.eml"}


def test_very_deep_folders_are_walked(tmp_path: Path) -> None:
    folders = list(accumulate(["d"] * 1100, Path.joinpath, initial=tmp_path))
    for folder in folders[1:]:
        folder.mkdir()
    message = folders[-1] / "deep.eml"
    message.write_bytes(ONE)
    try:
        assert [m.raw for m in read(tmp_path)] == [ONE]
    finally:  # pytest clears its folders recursively, which Python cannot do this deep
        message.unlink()
        for folder in reversed(folders[1:]):
            folder.rmdir()


def test_a_name_that_is_not_utf8_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.eml")).write_bytes(ONE)
    (message,) = read(tmp_path)
    assert message.source == r"caf\xe9.eml"


@pytest.mark.parametrize("name", ["big.eml", "big.mbox"])
def test_a_huge_message_is_cut_and_says_so(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_mail, "MAX_MESSAGE_BYTES", 1000)
    (tmp_path / name).write_bytes(b"From x\n" + ONE + b"x" * 70_000 + b"\n" + b"y\n" * 5000)
    (message,) = read(tmp_path / name)
    assert 0 < len(message.raw) <= 1000
    assert message.problem == "only the first 1000 bytes were read"


@pytest.mark.parametrize("name", ["empty.eml", "empty.mbox"])
def test_an_empty_file_is_a_problem_not_a_message(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert read(tmp_path) == [ExportedMessage(name, None, b"", "the file is empty")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_locked_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "locked.eml"
    path.write_bytes(ONE)
    path.chmod(0)
    assert read(tmp_path) == [
        ExportedMessage("locked.eml", None, b"", "file not read: Permission denied")
    ]


def test_every_real_message_is_read(shared_data: Path) -> None:
    files = [path for path in (shared_data / "mail").rglob("*") if path.is_file()]
    messages = read(shared_data / "mail")
    assert len(messages) == len(files) > 0
    assert [m.source for m in messages if m.problem or not m.raw] == []
