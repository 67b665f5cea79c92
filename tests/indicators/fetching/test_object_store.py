"""Through the whole of obstore, against a small S3 on loopback."""

from __future__ import annotations

import gzip
import json
import time
import traceback
from datetime import timedelta
from urllib.parse import unquote

import pytest
from pydantic import SecretStr
from tests.indicators.fetching.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server
from tests.indicators.fetching.serving import Says

from retract.errors import FeedError
from retract.indicators.fetching import limits, object_store
from retract.indicators.fetching.credentials import Credentials
from retract.indicators.fetching.document import Marks

FEED = f"s3://{BUCKET}/ti/feed.csv"

OBJECT = Says(b"x", headers={"Last-Modified": "Sat, 31 Jan 2026 08:00:00 GMT", "ETag": '"1"'})


def options(**storage_options: str) -> Credentials:
    return Credentials(
        storage_options={name: SecretStr(value) for name, value in storage_options.items()}
    )


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch):
    """Nothing of the machine's own cloud, and no long waits for it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(object_store._RETRIES, "max_retries", 0)


@pytest.fixture
def bucket(serve):
    """A bucket with some objects; ``bucket.credentials`` open it."""
    server = S3Server(
        {
            "ti/feed.csv": b"url\nhttps://evil.example/\n",
            "ti/day/2026-01-30.csv": b"30",
            "ti/day/2026-01-31.csv": b"31",
            "ti/day/old/2025.csv": b"25",
            "ti/day/notes.md": b"no feed",
            "ti/day/empty.csv": b"",
            "ti/a name & ümlaut+.csv": b"odd",
            "ti/odd[1].csv": b"brackets",
            "ti-other/feed.csv": b"another prefix",
            "packed.gz": gzip.compress(b"evil.example\n"),
        }
    )
    site = serve(server)
    server.site = site
    server.options = {
        "AWS_ENDPOINT": site.url,
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
        "aws_region": "eu-central-1",
        "allow_http": "true",
    }
    server.credentials = options(**server.options)
    return server


def test_an_object_is_read(read, bucket):
    found = read(FEED, credentials=bucket.credentials)
    assert found.documents == [("feed.csv", b"url\nhttps://evil.example/\n")]
    assert found.complete


@pytest.mark.parametrize("key", ["ti/a name & ümlaut+.csv", "packed.gz"])
def test_keys_of_all_kinds_are_found_and_packed_objects_unpacked(read, bucket, key):
    [(name, data)] = read(f"s3://{BUCKET}/{key}", credentials=bucket.credentials).documents
    assert key.endswith(name)
    assert data in (b"odd", b"evil.example\n")


def test_an_object_is_read_again_only_when_it_changed(read, bucket):
    first = read(FEED, credentials=bucket.credentials)
    again = read(FEED, first.marks, bucket.credentials)
    assert again.unchanged
    assert again.marks == first.marks
    assert bucket.site.asked[-1].headers["if-none-match"] == first.marks.etag

    bucket.objects["ti/feed.csv"] = b"url\nhttps://worse.example/\n"
    assert read(FEED, first.marks, bucket.credentials).data == [b"url\nhttps://worse.example/\n"]


def test_a_store_without_etags_gives_the_same_bytes_which_are_no_change(read, bucket):
    bucket.etags = False
    first = read(FEED, credentials=bucket.credentials)
    assert read(FEED, first.marks, bucket.credentials).unchanged


@pytest.mark.parametrize(
    ("pattern", "data"),
    [
        ("ti/day/*.csv", [b"30", b"31"]),
        ("ti/day/2026-01-3?.csv", [b"30", b"31"]),
        ("ti/day/*-3[1].csv", [b"31"]),
        ("ti/day/**/*.csv", [b"30", b"31", b"25"]),
        ("ti/**/2025.csv", [b"25"]),
        ("*/feed.csv", [b"another prefix", b"url\nhttps://evil.example/\n"]),
    ],
)
def test_a_pattern_names_many_objects_in_order(read, bucket, pattern, data):
    assert read(f"s3://{BUCKET}/{pattern}", credentials=bucket.credentials).data == data


def test_objects_that_a_pattern_names_are_read_again_only_when_one_changed(read, bucket):
    pattern = f"s3://{BUCKET}/ti/day/*.csv"
    first = read(pattern, credentials=bucket.credentials)
    asked = len(bucket.site.asked)
    again = read(pattern, first.marks, bucket.credentials)
    assert again.unchanged
    assert all("list-type" in one.query for one in bucket.site.asked[asked:]), "none is fetched"

    bucket.objects["ti/day/2026-02-01.csv"] = b"1"
    assert read(pattern, again.marks, bucket.credentials).data == [b"30", b"31", b"1"]
    del bucket.objects["ti/day/2026-02-01.csv"]
    bucket.objects["ti/day/2026-01-31.csv"] = b"13"
    assert read(pattern, again.marks, bucket.credentials).data == [b"30", b"13"]


def test_login_and_password_are_the_access_key(read, bucket):
    kept = {key: value for key, value in bucket.options.items() if "key" not in key}
    credentials = options(**kept).model_copy(
        update={"login": ACCESS_KEY, "password": SecretStr(SECRET_KEY)}
    )
    assert read(FEED, credentials=credentials).data


@pytest.mark.parametrize(
    "location", ["abfss://feeds@account.dfs.core.windows.net/ti.csv", "az://feeds/ti.csv"]
)
def test_azure_is_asked_by_its_own_names(read, serve, location):
    site = serve(lambda asked: OBJECT)
    credentials = Credentials(
        login="account",
        password="a2V5",
        storage_options={"azure_endpoint": SecretStr(site.url), "allow_http": SecretStr("true")},
    )
    assert read(location, credentials=credentials).documents == [("ti.csv", b"x")]
    assert site.asked[0].path == "/feeds/ti.csv"
    assert site.asked[0].headers["authorization"].startswith("SharedKey account:")


def test_google_is_asked_by_its_own_names(read, serve):
    site = serve(lambda asked: OBJECT)
    key = {"gcs_base_url": site.url, "disable_oauth": True, "client_email": "", "private_key": ""}
    credentials = Credentials(
        password=json.dumps(key | {"private_key_id": ""}),
        storage_options={"allow_http": SecretStr("true")},
    )
    assert read("gs://feeds/ti.csv", credentials=credentials).documents == [("ti.csv", b"x")]
    assert unquote(site.asked[0].path) == "/feeds/ti.csv"


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (f"s3://{BUCKET}/none.csv", "is not there: correct the location"),
        ("s3://no-such-bucket/feed.csv", "is not there"),
        (f"s3://{BUCKET}/none/*.csv", "there is no object at"),
        ("s3://no-such-bucket/*.csv", "is not there"),
        (f"s3://{BUCKET}", r"is a folder: name an object in it, or write s3://threat-feeds/\*"),
        (f"s3://{BUCKET}/ti/", r"is a folder: .*s3://threat-feeds/ti/\*"),
    ],
)
def test_what_is_not_there_is_a_clear_error(read, bucket, location, reason):
    with pytest.raises(FeedError, match=reason):
        read(location, credentials=bucket.credentials)


def test_what_may_not_be_read_is_a_clear_error(read, bucket):
    bucket.may_get = bucket.may_list = False
    for location in (FEED, f"s3://{BUCKET}/ti/*.csv"):
        with pytest.raises(FeedError, match="may not be read with these credentials"):
            read(location, credentials=bucket.credentials)


def test_missing_credentials_are_a_clear_error_in_bounded_time(read, bucket):
    only = {key: value for key, value in bucket.options.items() if not key.startswith("aws_")}
    # Where the library looks for a role; nobody answers there.
    lost = options(**only, aws_metadata_endpoint="http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(FeedError, match=r"there are no credentials|cannot be read"):
        read(FEED, credentials=lost)
    assert time.monotonic() - started < 30
    with pytest.raises(FeedError, match="cannot be read"):
        read("az://container/feed.csv")


def test_wrong_credentials_leave_no_trace(read, bucket):
    wrong = options(**bucket.options | {"aws_access_key_id": "AKIAWRONG"})
    for location in (FEED, f"s3://{BUCKET}/ti/*.csv"):
        with pytest.raises(FeedError, match="may not be read with these credentials") as caught:
            read(location, credentials=wrong)
        told = "".join(traceback.format_exception(caught.value))
        assert SECRET_KEY not in told
        assert "AKIAWRONG" not in told
        assert "Signature" not in told


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"aws_sekret": "hunter2"}, "correct one of .*aws_sekret"),
        ({"aws_skip_signature": "hunter2"}, "correct one of .*aws_skip_signature"),
        ({"allow_invalid_certificates": "true"}, "allow_invalid_certificates is not for feeds"),
        ({"timeout": "9 days"}, "timeout is not for feeds"),
        ({"aws_endpoint": "no url"}, "cannot be read|cannot be opened"),
    ],
)
def test_storage_options_that_are_none_are_named_without_their_values(
    read, bucket, setting, reason
):
    with pytest.raises(FeedError, match=reason) as caught:
        read(FEED, credentials=options(**bucket.options | setting))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_plain_http_is_used_only_where_it_is_allowed(read, bucket):
    del bucket.options["allow_http"]
    with pytest.raises(FeedError, match="cannot be read"):
        read(FEED, credentials=options(**bucket.options))
    assert not bucket.site.asked


def test_a_store_that_is_down_is_a_clear_error(read, bucket):
    away = options(**bucket.options | {"AWS_ENDPOINT": "http://127.0.0.1:1"})
    with pytest.raises(FeedError, match="is its store up, may this machine reach it"):
        read(FEED, credentials=away)


def test_a_store_that_drips_is_left_at_the_deadline(read, bucket, serve, monkeypatch):
    monkeypatch.setattr(limits, "DEADLINE", timedelta(seconds=1))

    def drip(connection) -> None:
        connection.sendall(
            b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: "x"\r\n'
            b"Last-Modified: Sat, 31 Jan 2026 08:00:00 GMT\r\n\r\n"
        )
        for _ in range(60):
            time.sleep(0.1)
            try:
                connection.sendall(b"x")
            except OSError:
                return

    site = serve(lambda asked: Says(raw=drip))
    slow = options(**bucket.options | {"AWS_ENDPOINT": site.url})
    started = time.monotonic()
    with pytest.raises(FeedError, match="did not deliver within 1 seconds"):
        read(FEED, credentials=slow)
    assert time.monotonic() - started < 4


def test_limits_hold_for_one_object_and_for_all(read, bucket, monkeypatch):
    monkeypatch.setattr(limits, "MAX_READING_BYTES", 3)
    with pytest.raises(FeedError, match="holds more than 3 bytes: write a narrower pattern"):
        read(f"s3://{BUCKET}/ti/day/*.csv", credentials=bucket.credentials)
    monkeypatch.setattr(limits, "MAX_DOCUMENTS", 1)
    with pytest.raises(FeedError, match="names more than 1 objects"):
        read(f"s3://{BUCKET}/ti/day/*.csv", credentials=bucket.credentials)
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    with pytest.raises(FeedError, match=r"feed\.csv is larger than 10 bytes"):
        read(FEED, credentials=bucket.credentials)


def test_marks_of_one_object_do_not_hide_a_pattern(read, bucket):
    marks = read(FEED, credentials=bucket.credentials).marks
    pattern = f"s3://{BUCKET}/ti/*.csv"
    assert len(read(pattern, Marks(etag=marks.etag), bucket.credentials).data) == 3
