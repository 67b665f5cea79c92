"""What a person names for the demo is looked at first, and refused in words that help."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_system.own_mail import require_feeds, require_mail
from local_system.system import SystemFailed, Tenant, counted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGE = b"From: a@x.example\nSubject: one\n\nbody\n"


def test_one_message_will_do(tmp_path: Path) -> None:
    (tmp_path / "0-empty.eml").write_bytes(b"")
    (tmp_path / "1-noise.eml").write_bytes(bytes(range(256)))
    (tmp_path / "2-mail.eml").write_bytes(MESSAGE)
    require_mail(tmp_path)
    require_mail(tmp_path / "2-mail.eml")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("nowhere", None, "No such file"),
        ("noise.bin", bytes(range(256)), "it has no headers"),
        ("empty.eml", b"", "the file is empty"),
        ("box.mbox", b"", "the file is empty"),
    ],
)
def test_no_mail_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemFailed, match=told) as refused:
        require_mail(tmp_path / name)
    assert str(refused.value).startswith("MAIL: ")
    assert name in str(refused.value)


def test_a_folder_without_mail_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no mail")
    with pytest.raises(SystemFailed, match=r"there is no mail in .*expected \.eml files"):
        require_mail(tmp_path)


def test_feeds_are_refused_with_file_and_reason(tmp_path: Path) -> None:
    good, empty, noise, table = (
        tmp_path / name for name in ("good.txt", "empty.txt", "noise.bin", "table.csv")
    )
    good.write_text("http://bad.example.net/login\n")
    empty.write_text("")
    noise.write_bytes(bytes(range(256)) * 20)
    table.write_text("a,b\n1,2\n")
    require_feeds([], NOW)
    require_feeds([good], NOW)
    for file, told in (
        (tmp_path, "is a folder"),
        (tmp_path / "nowhere.txt", "does not exist"),
        (empty, "lists nothing"),
        (noise, "binary data"),
        (table, "names no column"),
    ):
        with pytest.raises(SystemFailed, match=told) as refused:
            require_feeds([good, file], NOW)
        assert str(refused.value).startswith("FEEDS: ")
        assert file.name in str(refused.value)


def test_a_tenant_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    options = ["--mail", str(tmp_path / "mail"), "--state-dir", str(tmp_path / "state")]
    with pytest.raises(SystemFailed, match="no mail found in"):
        Tenant.start(options, tmp_path / "tenant.log")


def test_numbers_are_told_with_their_nouns() -> None:
    assert counted(1, "copy", "copies") == "1 copy"
    assert counted(2470, "copy", "copies") == "2,470 copies"
    assert counted(0, "message") == "0 messages"
