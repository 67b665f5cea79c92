"""A mail gateway's files: read for the mailboxes asked for, broken records left out and told."""

import gzip
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retract.errors import MailboxError
from retract.mailboxes.gateway_files import GatewayFiles
from retract.model import Mailbox, Provider

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
ANN = Mailbox(Provider.MICROSOFT365, "tenant", "1", "Ann@north.example")
BOB = Mailbox(Provider.MICROSOFT365, "tenant", "2", "bob@north.example")


def record(number: int = 1, recipient: str = "ann@NORTH.example", **fields: Any) -> dict[str, Any]:
    known = {
        "recipient": recipient,
        "internet_message_id": f"<{number}@x>",
        "received_at": (AT + timedelta(minutes=number)).isoformat(),
        "subject": f"Number {number}",
        "urls": [f"https://evil.example/{number}"],
        "attachments": [{"name": "a.zip", "sha256": "0" * 64}],
        "authentication": {"spf": "pass"},
    }
    return known | fields


def lines(*records: object) -> str:
    return "".join(json.dumps(one) + "\n" for one in records)


def subjects(files: GatewayFiles, mailbox: Mailbox, start: datetime = AT) -> list[str]:
    return [one.subject for one in files.of(mailbox, start)]


def test_each_mailbox_gets_its_own_records_of_all_kinds_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(lines(record(1), record(2, "bob@north.example")))
    with gzip.open(tmp_path / "b.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines(record(3)))
    pl.DataFrame([record(4), record(5, "eve@north.example")]).with_columns(
        pl.col("received_at").str.to_datetime(time_zone="UTC")
    ).write_parquet(tmp_path / "c.parquet")
    files = GatewayFiles(str(tmp_path / "*"))
    files.prepare([ANN, BOB], AT)
    assert subjects(files, ANN) == ["Number 1", "Number 3", "Number 4"]
    assert subjects(files, BOB) == ["Number 2"]
    (described,) = (one for one in files.of(ANN, AT) if one.subject == "Number 4")
    assert described.attachments[0].sha256 == "0" * 64
    assert described.authentication == {"spf": "pass"}


def test_mail_to_another_address_of_a_mailbox_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(lines(record(1), record(2, "A.Alias@north.example")))
    files = GatewayFiles(str(tmp_path / "*"))
    aliased = replace(ANN, aliases=("a.alias@north.example",))
    files.prepare([aliased, BOB], AT)
    assert subjects(files, aliased) == ["Number 1", "Number 2"]
    assert subjects(files, BOB) == []


def test_what_was_delivered_before_the_start_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(lines(record(1), record(2)))
    files = GatewayFiles(str(tmp_path / "*.ndjson"))
    assert subjects(files, ANN, AT + timedelta(minutes=2)) == ["Number 2"]


def test_a_file_last_written_before_the_start_is_not_opened(tmp_path: Path) -> None:
    old = tmp_path / "old.ndjson"
    old.write_text(lines(record(1)))
    before = (AT - timedelta(days=1)).timestamp()
    os.utime(old, (before, before))
    assert subjects(GatewayFiles(str(old)), ANN) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("{ no json\n", "no JSON|not an object"),
        (lines(["a", "list"]), "not an object"),
        (lines({**record(2), "received_at": "2026-01-05T12:00:00"}), "received_at"),
        (lines({**record(2), "subjekt": "typo"}), "subjekt"),
        (lines({"internet_message_id": "<x>"}), "recipient"),
    ],
)
def test_a_broken_record_is_left_out_and_told_with_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str, told: str
) -> None:
    (tmp_path / "a.ndjson").write_text(lines(record(1)) + broken + lines(record(3)))
    with caplog.at_level(logging.WARNING):
        assert subjects(GatewayFiles(str(tmp_path / "*")), ANN) == ["Number 1", "Number 3"]
    (warning,) = caplog.messages
    assert warning.startswith("a.ndjson, record 2 left out")
    assert any(part in warning for part in told.split("|"))


def test_hostile_records_forge_no_lines_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = {**record(2), "evil\nERROR forged": 1}
    (tmp_path / "a.ndjson").write_text(lines(hostile))
    with caplog.at_level(logging.WARNING):
        assert subjects(GatewayFiles(str(tmp_path / "*")), ANN) == []
    assert all(message.isprintable() for message in caplog.messages)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1 not really"),
        ("a.ndjson.gz", b"\x1f\x8b broken"),
        ("a.ndjson", b"\xff\xfe\x00"),
        ("a.csv", b"recipient,subject\n"),
    ],
)
def test_a_broken_file_keeps_no_other_from_being_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "z.ndjson").write_text(lines(record(1)))
    with caplog.at_level(logging.WARNING):
        assert subjects(GatewayFiles(str(tmp_path / "*")), ANN) == ["Number 1"]
    assert [m for m in caplog.messages if name in m]


def test_a_file_that_breaks_in_the_middle_keeps_what_was_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = bytearray(gzip.compress("".join(lines(record(n)) for n in range(9_000)).encode()))
    packed[len(packed) // 2 :] = b"\xff" * 500
    (tmp_path / "a.ndjson.gz").write_bytes(packed)
    with caplog.at_level(logging.WARNING):
        found = subjects(GatewayFiles(str(tmp_path / "*")), ANN)
    assert 0 < len(found) < 9_000
    assert "a.ndjson.gz was not read to its end" in caplog.text


def test_a_record_in_another_encoding_costs_no_other(tmp_path: Path) -> None:
    hostile = json.dumps(record(1, subject="caf\xe9"), ensure_ascii=False).encode("latin-1")
    (tmp_path / "a.ndjson").write_bytes(hostile + b"\n" + lines(record(2)).encode())
    first, second = subjects(GatewayFiles(str(tmp_path / "*")), ANN)
    assert first.startswith("caf")
    assert second == "Number 2"


def test_a_file_that_is_thrown_away_meanwhile_keeps_no_other_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.ndjson").write_text(lines(record(1)))
    (tmp_path / "b.ndjson").write_text(lines(record(2)))
    was_file = Path.is_file

    def vanishing(path: Path) -> bool:
        found = was_file(path)
        if path.name == "a.ndjson":
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", vanishing)
    assert subjects(GatewayFiles(str(tmp_path / "*")), ANN) == ["Number 2"]


def test_thousands_of_broken_records_do_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.ndjson").write_text("nothing\n" * 5000)
    with caplog.at_level(logging.WARNING):
        assert subjects(GatewayFiles(str(tmp_path / "*")), ANN) == []
    assert len(caplog.messages) < 30
    assert "5000 records left out in all" in caplog.messages[-1]


def test_no_file_at_all_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MailboxError, match="gateway_files"):
        GatewayFiles(str(tmp_path / "*.ndjson")).prepare([ANN], AT)


def test_a_mailbox_nobody_prepared_for_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(lines(record(1), record(2, "bob@north.example")))
    files = GatewayFiles(str(tmp_path / "*"))
    files.prepare([ANN], AT)
    found: Iterable[str] = subjects(files, BOB)
    assert found == ["Number 2"]
