"""The demo as a person starts it, with own mail and feeds: small, so that it is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local_system.system import REPOSITORY, python_path

pytestmark = pytest.mark.end_to_end

BAD = """\
From: "Parcel <script>alert(1)</script>" <parcel@sender.example>
Subject: [red]Your parcel[/red] \x1b[31m
Message-ID: <bad@sender.example>
Content-Type: text/html

<a href="http://parcel.bad.example/pay?id=7">pay</a>
"""
GOOD = """\
From: ann@sender.example
Subject: Lunch
Message-ID: <good@sender.example>

See http://parcel.bad.example/menu
"""


def demo(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local_system", "demo", "--home", str(home), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": python_path(), "COLUMNS": "200"},
    )


def test_own_mail_and_feeds_go_through_the_whole_system(tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.mkdir()
    (mail / "bad.eml").write_text(BAD)
    (mail / "good.eml").write_text(GOOD)
    (tmp_path / "urls.txt").write_text("hxxp://parcel[.]bad[.]example/pay\n")
    home = tmp_path / "demo"
    done = demo(home, "--mail", str(mail), "--feeds", str(tmp_path / "urls.txt"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Checked against the tenant" in done.stdout
    assert "\x1b[31m" not in done.stdout
    assert (home / "report" / "report.html").is_file()
    assert "<script>" not in (home / "report" / "report.html").read_text()
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(home) in " ".join(process.info["cmdline"] or ())
    ]
    assert left == []


def test_what_does_not_exist_is_told_before_anything_starts(tmp_path: Path) -> None:
    done = demo(tmp_path / "demo", "--mail", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert not (tmp_path / "demo").exists()
