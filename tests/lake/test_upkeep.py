from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from tests.lake.contents import ANN, MONTH, NOW, everything, indicators, message, opened

from retract.errors import LakeError
from retract.lake import upkeep
from retract.lake.coverage import Covered
from retract.lake.frames import messages_frame
from retract.lake.store import Lake, LakeVersions
from retract.lake.tables import (
    ALL_TABLES,
    HITS_TABLE,
    MESSAGES_TABLE,
    WATERMARKS_TABLE,
    Table,
)
from retract.lake.upkeep import Expired
from retract.model import CollectedMessage, Observable, ObservableType, Watermark

OLD = datetime(2026, 1, 3, 23, tzinfo=UTC)
NEW = datetime(2026, 1, 4, 1, tzinfo=UTC)
BEFORE = datetime(2026, 1, 4, 12, tzinfo=UTC)


# --- a lake that is not there yet ---


def test_a_new_lake_has_no_versions_and_reads_as_empty(lake, tmp_path):
    assert lake.versions() == LakeVersions()
    assert lake.scan_messages(None, MONTH).collect().schema == MESSAGES_TABLE.empty().schema
    assert lake.known_message_ids([ANN], MONTH.start, 1) == {ANN: set()}
    assert lake.watermarks([ANN], 1) == {}
    assert lake.rows_by_day(LakeVersions(), MONTH) == {}
    assert not (tmp_path / "lake").exists()


def test_adding_nothing_creates_nothing(lake, tmp_path):
    assert lake.add_messages([], NOW) == 0
    assert not (tmp_path / "lake").exists()


def test_the_upkeep_of_a_new_lake_is_no_error(lake, tmp_path):
    assert lake.expire(NOW) == Expired(messages=0, observables=0, files=0)
    assert lake.compact() == 0
    assert not (tmp_path / "lake").exists()


# --- forgetting ---


def test_expired_messages_leave_with_all_that_is_known_of_them(lake):
    fill(lake, message(1, received_at=OLD), message(2, received_at=NEW))

    expired = lake.expire(BEFORE)

    messages, observables, lookups = everything(lake)
    assert messages["message_id"].to_list() == ["m2"], "of the day itself nothing is forgotten"
    assert set(observables["copy_id"]) == set(messages["copy_id"])
    assert set(lookups["delivery_date"]) == {NEW.date()}
    days = [OLD.date(), NEW.date()]
    assert lake.scan_hits(days).collect()["delivery_date"].to_list() == [NEW.date()]
    assert lake.suspects(days, 9).collect()["message_id"].to_list() == ["m2"]
    assert lake.scan_held_back_counts(days).collect()["delivery_date"].to_list() == [NEW.date()]
    assert lake.coverage(days).keys() == {NEW.date()}
    assert expired.messages == 1
    assert expired.observables > 0
    assert expired.files == 0, "files stay for pinned readers"


def test_a_run_that_is_pinned_to_a_version_reads_on(lake, monkeypatch):
    monkeypatch.setattr(upkeep, "AT_NIGHT", 2)
    fill(lake, message(1, received_at=OLD))
    lake.add_messages([message(2, received_at=OLD), message(3, received_at=NEW)], NOW)
    pinned, before = lake.versions(), everything(lake)

    for _ in range(2):
        lake.expire(BEFORE)
        lake.compact()
    lake.add_messages([message(3, received_at=NEW, version=2)], NOW)

    read = (
        lake.scan_messages(pinned.messages, MONTH),
        lake.scan_observables(pinned.observables, MONTH),
        lake.scan_lookups(pinned.lookups, MONTH),
    )
    for earlier, rows in zip(before, read, strict=True):
        assert rows.collect().equals(earlier)
    days = [OLD.date(), NEW.date()]
    between = lake.messages_between(pinned.messages, lake.versions().messages, days)
    assert set(between.removed.collect()["message_id"]) == {"m1", "m2", "m3"}


def test_a_table_from_before_is_given_the_present_properties(lake, tmp_path):
    DeltaTable.create(str(tmp_path / "lake" / "watermarks"), WATERMARKS_TABLE.schema, mode="error")
    lake.add_watermarks({ANN: Watermark(NOW, "cursor")}, 1, NOW)
    lake.expire(BEFORE)
    found = opened(lake, WATERMARKS_TABLE)
    assert found.metadata().configuration == WATERMARKS_TABLE.configuration
    version = found.version()
    lake._tables.configure(WATERMARKS_TABLE)
    assert opened(lake, WATERMARKS_TABLE).version() == version


# --- not a byte of it is left ---

SECRETS = (
    "Secret subject",
    "secret.example",
    "Mallory Secret",
    "secret-reading",
    "secretbox",
    "secret-id",
)


def secret(number: int, *, version: int = 1, received_at: datetime = OLD) -> CollectedMessage:
    """A message that is a secret wherever it has text."""
    url = f"https://secret.example/{number}/secret-reading-{version}"
    made = message(
        number,
        received_at=received_at,
        version=version,
        mailbox_id="secretbox",
        subject="Secret subject " * 20,
        observables=(Observable(ObservableType.URL, url, "html"),),
    )
    copy = replace(made.copy, internet_message_id=f"<secret-id-{number}@secret.example>")
    extraction = replace(
        made.extraction, sender_address="mallory@secret.example", sender_name="Mallory Secret"
    )
    return replace(made, copy=copy, extraction=extraction)


def fill(lake: Lake, *messages: CollectedMessage) -> None:
    """Put messages into the lake, all of them suspects with a hit, and all else there may be."""
    lake.add_messages(messages, NOW)
    lake.replace_indicators(indicators("a"))
    frame = messages_frame(messages, NOW)
    hits = frame.select(
        "copy_id",
        "delivery_date",
        "extractor_version",
        type=pl.lit("url"),
        key=pl.lit(7, pl.Int64),
        lookup="sender_name",
        exact=pl.lit(True),
        observable="sender_address",
        all_met=pl.concat_list("subject", "sender_name"),
    )
    versions = lake.versions()
    assert versions.messages is not None
    lake.add_findings(hits, frame, versions.messages)
    counts = hits.select("delivery_date", "type", "key", copies=1, exactly=0).unique()
    days = counts["delivery_date"].to_list()
    lake.replace_held_back_counts(days, counts, versions.messages)
    covered = Covered(messages=versions.messages, indicators=versions.indicators, as_of=NOW)
    lake.add_coverage(dict.fromkeys(days, covered))


def texts(folder: Path) -> Iterator[str]:
    """Every file below the folder, as text; of Parquet files, packed as they are, the rows."""
    for file in folder.rglob("*"):
        if file.is_file():
            yield file.read_bytes().decode("utf-8", "replace")
        if file.suffix == ".parquet":
            rows = pl.read_parquet(file, hive_partitioning=False)
            yield "\n".join(map(repr, rows.rows()))


def tell(folder: Path, secrets: Collection[str] = SECRETS) -> set[str]:
    """The secrets that some file tells."""
    return {one for text in texts(folder) for one in secrets if one in text}


def live_through(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that may befall a message: collected, joined, read anew, joined, matched."""
    monkeypatch.setattr(upkeep, "AT_NIGHT", 2)
    fill(lake, secret(1), secret(2, received_at=OLD - timedelta(days=1)), message(9))
    lake.add_messages([secret(3)], NOW)
    lake.compact()
    fill(lake, secret(1, version=2), secret(4))
    lake.add_messages([secret(1, version=3), secret(5)], NOW)
    lake.compact()


def keep_for_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the time for which files and logs are kept had passed."""
    properties = Table.configuration.fget

    def configuration(table: Table) -> dict[str, str]:
        kept = ("delta.deletedFileRetentionDuration", "delta.logRetentionDuration")
        return properties(table) | dict.fromkeys(kept, "interval 0 seconds")

    monkeypatch.setattr(Table, "configuration", property(configuration))


def test_when_files_are_kept_no_longer_no_byte_of_a_forgotten_message_is_left(
    lake, tmp_path, monkeypatch
):
    live_through(lake, monkeypatch)
    # A writer died before its commit.
    left = tmp_path / "lake" / "messages" / f"delivery_date={OLD.date()}" / "left.parquet"
    messages_frame([secret(7)], NOW).write_parquet(left)
    secrets = {*SECRETS, *messages_frame([secret(n) for n in (1, 2, 3, 4, 5, 7)], NOW)["copy_id"]}
    assert tell(tmp_path, secrets) == secrets, "the test finds what is there"

    lake.expire(BEFORE)
    assert tell(tmp_path, secrets) == secrets, "files stay for pinned readers"
    keep_for_no_time(monkeypatch)
    assert lake.expire(BEFORE).files > 0

    assert tell(tmp_path, secrets) == set()
    assert everything(lake)[0]["message_id"].to_list() == ["m9"], "what is not expired stays"
    lake.add_messages([message(10)], NOW)
    assert everything(lake)[0].height == 2


def test_the_log_never_tells_of_a_message(lake, tmp_path, monkeypatch):
    """It is kept longer than the rows, and the checkpoints copy from it."""
    live_through(lake, monkeypatch)
    for table in ALL_TABLES:
        if (there := lake._tables.open(table)) is not None:
            there.create_checkpoint()
    lake.expire(BEFORE)
    logs = list((tmp_path / "lake").glob("*/_delta_log"))
    assert len(logs) == len(ALL_TABLES) - 2, "all but sources and watermarks"
    assert [tell(log) for log in logs] == [set()] * len(logs)


def test_log_entries_leave_with_the_files(lake, tmp_path, monkeypatch):
    live_through(lake, monkeypatch)
    log = tmp_path / "lake" / "messages" / "_delta_log"
    before = set(log.glob("*.json"))
    lake.expire(BEFORE)
    assert before <= set(log.glob("*.json"))
    keep_for_no_time(monkeypatch)
    lake.expire(BEFORE)
    lake.expire(BEFORE)
    assert not before & set(log.glob("*.json"))
    with pytest.raises(LakeError, match="messages: "):
        lake.scan_messages(1, MONTH)


def test_what_other_programs_remove_is_bound_to_the_same_times(lake):
    fill(lake, message(1))
    table = opened(lake, MESSAGES_TABLE)
    assert table.metadata().configuration["delta.deletedFileRetentionDuration"] == (
        "interval 36 hours"
    )
    lake.expire(datetime(2026, 1, 6, tzinfo=UTC))
    assert opened(lake, MESSAGES_TABLE).vacuum(dry_run=True, full=True) == []
    assert lake.scan_hits([date(2026, 1, 5)]).collect().is_empty()
    assert opened(lake, HITS_TABLE).file_uris() == []
