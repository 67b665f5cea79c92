"""A small export of mail, feeds for it, and a policy."""

from __future__ import annotations

import mailbox
import os
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for installed

from installed import Installed

from retract.cli import ask

FORGED = "Forefront-Antispam-Report"


def message(subject: str, body: str, *, sender: str = "Eve <eve@sender.example>") -> bytes:
    made = EmailMessage()
    made["From"] = sender
    made["To"] = "ann@north.example"
    made["Subject"] = subject
    made["Date"] = "Thu, 22 Aug 2002 12:36:23 +0200"
    made["Message-ID"] = f"<{abs(hash(subject)) % 10**9}@mail.example>"
    made.set_content(body)
    return bytes(made)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two files, an mbox with two messages, and an empty file."""
    folder = tmp_path / "export"
    (folder / "inbox").mkdir(parents=True)
    (folder / "inbox" / "bad.eml").write_bytes(
        message("Pay now", "see https://login.evil.test/pay?id=7 at once")
    )
    (folder / "inbox" / "good.eml").write_bytes(
        message("Lunch", "see https://shop.good.test/menu", sender="Bob <bob@good.test>")
    )
    box = mailbox.mbox(folder / "old.mbox")
    box.add(message("Minutes", "nothing here"))
    box.add(message("Parcel", "track it: http://parcel.spam.test/"))
    box.close()
    (folder / "void.eml").touch()
    return folder


@pytest.fixture
def urls(tmp_path: Path) -> Path:
    path = tmp_path / "urls.txt"
    path.write_text("# bad\nhttps://login.evil.test/pay\nhttps://elsewhere.evil.test/x\n")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "domains.csv"
    path.write_text("indicator,type\nspam.test,domain\ngithub.io,domain\n")
    return path


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "mode: enforce\n"
        "actions: {malicious: soft_delete, suspicious: junk, spam: junk}\n"
        "providers: {google_workspace: {actions: {malicious: trash}}}\n"
    )
    return path


@pytest.fixture
def shared_data() -> Path:
    """The folder of real mail and feeds."""
    repository = Path(__file__).parents[2]
    folder = Path(os.environ.get("RETRACT_SHARED_DATA", repository / ".." / "shared" / "data"))
    if not (folder / "mail").is_dir():
        pytest.skip(f"there is no real mail at {folder}: set RETRACT_SHARED_DATA")
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """An installation without mail, and commands that find no terminal to ask at."""
    monkeypatch.setattr(ask, "TERMINAL", tmp_path / "no terminal")
    return Installed(tmp_path / "home")
