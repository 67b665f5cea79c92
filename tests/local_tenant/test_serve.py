"""``python -m local_tenant serve``: one line on stdout, a clean end, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY / "include")}


@contextmanager
def serving(tmp_path, *options):
    """A tenant in a process of its own, and what it printed."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    with (tmp_path / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "local_tenant", "serve", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT | {"TMPDIR": str(tmp_path / "tmp")},
            text=True,
        )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def control(info, path):
    trust = ssl.create_default_context(cafile=info["ca_file"])
    return httpx.get(f"{info['control_url']}/{path}", verify=trust).json()


def write_mail(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.eml").write_bytes(
            b"From: a@b.example\nSubject: mail %d\n\nbody\n" % number
        )
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_serves_and_ends_cleanly(tmp_path, number):
    mail = write_mail(tmp_path / "mail", 4)
    with serving(tmp_path, "--mail", str(mail), "--mailboxes", "5") as (process, info):
        assert info["pid"] == process.pid
        assert info["mailboxes"] == {"microsoft365": 3, "google_workspace": 3}
        assert info["authority_url"] == f"{info['graph_url']}/{info['tenant_id']}"
        key = json.loads(Path(info["service_account_file"]).read_text(encoding="utf-8"))
        assert key["token_uri"].startswith(info["gmail_url"])
        copies = control(info, "copies")
        assert len(copies) == info["copies"]
        assert {copy["subject"] for copy in copies} == {f"mail {n}" for n in range(4)}
        assert len({copy["delivery_id"] for copy in copies}) == info["messages"] == 4
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
        assert list((tmp_path / "tmp").iterdir()) == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{info['control_url']}/copies", verify=False)  # noqa: S501  nobody is there


def test_a_scenario_is_written_and_its_mail_delivered(tmp_path):
    folder = tmp_path / "scenario"
    options = ("--messages", "40", "--mailboxes", "4", "--scenario", str(folder))
    with serving(tmp_path, *options, "--state-dir", str(tmp_path / "state")) as (_, info):
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        assert info["scenario"] == str(folder)
        assert {row["delivery_id"] for row in truth} == {
            copy["delivery_id"] for copy in control(info, "copies")
        }
        assert (folder / "feeds.yaml").exists()
        assert Path(info["ca_file"]) == tmp_path / "state" / "ca.pem"
        assert Path(info["service_account_file"]).stat().st_mode & 0o077 == 0


def test_new_mail_drips_in(tmp_path):
    options = ("--messages", "0", "--mailboxes", "4", "--drip", "0.2")
    with serving(tmp_path, *options) as (_, info):
        deadline = time.monotonic() + 20
        while len({copy["delivery_id"] for copy in control(info, "copies")}) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--mail", "no/such/folder"), "no/such/folder"),
        (("--mail", "{empty}"), "no mail found in"),
        (("--messages", "0", "--port", "{taken}"), "Address already in use"),
    ],
)
def test_a_tenant_that_cannot_start_says_why(tmp_path, running_tenants, options, says):
    taken = running_tenants().state.origin.rpartition(":")[2] if "{taken}" in options else ""
    (tmp_path / "empty").mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "local_tenant", "serve"]
        + [option.format(empty=tmp_path / "empty", taken=taken) for option in options],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
