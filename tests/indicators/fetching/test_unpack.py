from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import time
import tracemalloc
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.errors import FeedError
from retract.indicators.fetching import limits
from retract.indicators.fetching.unpack import gunzipped, unpacked

LIST = b"".join(b"https://evil-%d.example/login\n" % number for number in range(5_000))
PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def documents(data: bytes) -> list[tuple[str, bytes]]:
    return list(unpacked("feed", data))


def archive(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as writer:
        for name, data in files.items():
            writer.writestr(name, data)
    return packed.getvalue()


def test_what_is_not_packed_stays_as_it_is():
    assert documents(LIST) == [("feed", LIST)]
    assert documents(b"") == [("feed", b"")]


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_what_is_packed_is_known_by_its_bytes(pack):
    assert documents(pack(LIST)) == [("feed", LIST)]
    assert documents(pack(b"")) == [("feed", b"")]


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_parallel_packers_write_one_stream_after_another(pack):
    halves = pack(LIST[:70_000]) + pack(LIST[70_000:])
    assert documents(halves) == [("feed", LIST)]
    assert documents(halves + b"\0" * 512) == [("feed", LIST)]


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_what_was_cut_off_or_damaged_is_no_feed(pack):
    packed = pack(LIST)
    for broken in (
        packed[:-1],
        packed[: len(packed) // 2],
        packed[:12],
        packed + b"<html>",
        packed[:100] + b"\xff\xff\xff" + packed[103:],
    ):
        with pytest.raises(FeedError, match=r"feed is a broken \w+ file, or was cut off"):
            documents(broken)


def test_what_is_packed_twice_is_refused():
    for inner in (*PACK.values(), lambda data: archive({"a.txt": data})):
        with pytest.raises(FeedError, match="packed twice"):
            documents(gzip.compress(inner(LIST)))
        with pytest.raises(FeedError, match="packed twice"):
            documents(archive({"a.txt": inner(LIST)}))


# --- zip ---


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_the_only_file_of_an_archive_is_the_feed_whatever_its_name(method):
    data = archive({"full/": b"", "full/urlhaus.dump": LIST, "__MACOSX/._x": b"-"}, method)
    assert documents(data) == [("feed: full/urlhaus.dump", LIST)]


def test_all_files_of_data_of_an_archive_are_documents():
    data = archive(
        {"a.txt": b"a", "sub/b.CSV": b"b", "README.txt": b"no", "logo.png": b"no", ".hidden": b"no"}
    )
    assert documents(data) == [("feed: a.txt", b"a"), ("feed: sub/b.CSV", b"b")]


def test_an_archive_without_data_says_what_it_holds():
    with pytest.raises(FeedError, match=r"without a file of data: it holds a\.exe, b\.png;"):
        documents(archive({"a.exe": b"", "b.png": b""}))
    with pytest.raises(FeedError, match="it holds nothing"):
        documents(archive({}))


def test_hostile_names_in_an_archive_stay_on_one_line():
    data = archive({"../../etc/passwd\n\x1b[2J" + "x" * 500: b"x"})
    [(name, _)] = documents(data)
    assert name.isprintable()
    assert len(name) < 150


def test_an_encrypted_archive_is_refused():
    data = bytearray(archive({"iocs.csv": LIST}))
    data[6] |= 1
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    with pytest.raises(FeedError, match=r"feed: iocs\.csv is encrypted"):
        documents(bytes(data))


def test_an_archive_that_is_packed_in_a_rare_way_is_refused():
    with pytest.raises(FeedError, match="in a way that few can unpack"):
        documents(archive({"iocs.csv": LIST}, zipfile.ZIP_LZMA))


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_an_archive_that_was_cut_off_is_no_feed(keep):
    data = archive({"iocs.csv": LIST})
    with pytest.raises(FeedError, match="broken zip file, or was cut off"):
        documents(data[: int(len(data) * keep)])


def test_an_archive_of_too_many_files_is_not_even_listed(monkeypatch):
    monkeypatch.setattr(limits, "MAX_DOCUMENTS", 10)
    with pytest.raises(FeedError, match="an archive of more than 10 files"):
        documents(archive({f"{number}.txt": b"" for number in range(11)}))


# --- made to exhaust ---


def bomb(pack) -> bytes:
    return pack(b"\0" * (64 * 1024 * 1024))


@pytest.mark.parametrize(
    "pack", [*PACK.values(), lambda data: archive({"a.txt": data})], ids=[*PACK, "zip"]
)
def test_a_bomb_is_left_before_it_goes_off(pack):
    data = bomb(pack)
    assert len(data) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(FeedError, match="made to exhaust its reader"):
            documents(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * limits.RATIO_FROM_BYTES


def test_what_lists_pack_to_is_no_bomb():
    many = b"".join(b"0.0.0.0 ads-%d.example\n" % number for number in range(1_500_000))
    assert len(many) > limits.RATIO_FROM_BYTES
    assert documents(lzma.compress(many, preset=1)) == [("feed", many)]


def test_members_of_an_archive_count_together(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 1_000)
    half = random.Random(1).randbytes(600)
    assert documents(archive({"a.txt": half}))
    with pytest.raises(FeedError, match="larger than 1000 bytes when it is unpacked"):
        documents(archive({"a.txt": half, "b.txt": half}))


def test_members_that_lie_about_their_size_are_counted_as_they_are(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 100_000)
    data = bytearray(archive({"a.txt": LIST}))
    directory = data.index(b"PK\x01\x02")
    data[22:26] = data[directory + 24 : directory + 28] = (10).to_bytes(4, "little")
    with pytest.raises(FeedError, match="broken zip file"):
        documents(bytes(data))


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_endless_empty_streams_end(pack):
    started = time.monotonic()
    with pytest.raises(FeedError, match="more than 10000 streams"):
        documents(pack(b"") * 200_000)
    assert time.monotonic() - started < 20


def test_a_dictionary_that_would_fill_the_memory_is_refused():
    huge = lzma.compress(
        LIST, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 * 1024 * 1024}]
    )
    with pytest.raises(FeedError, match="broken xz file"):
        documents(huge)


def test_what_a_server_packed_for_the_way_is_held_to_the_same():
    assert gunzipped("host", gzip.compress(LIST)) == LIST
    with pytest.raises(FeedError, match="host sent a broken gzip stream, or it was cut off"):
        gunzipped("host", gzip.compress(LIST)[:-9])
    with pytest.raises(FeedError, match="made to exhaust its reader"):
        gunzipped("host", bomb(gzip.compress))


@given(
    packed=st.sampled_from(
        [pack(LIST[:3_000]) for pack in PACK.values()]
        + [archive({"a.txt": LIST[:3_000], "b.csv": b"x,y\n"}), archive({"a": b"x"})]
    ),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6)), max_size=6),
    end=st.integers(0, 10_000),
)
def test_no_damage_gives_anything_but_documents_or_a_feed_error(packed, damage, end):
    data = bytearray(packed)
    for at, what in damage:
        at %= len(data)
        data[at : at + len(what)] = what
    with suppress(FeedError):
        assert all(name.isprintable() for name, _ in unpacked("feed", bytes(data[: max(4, end)])))
