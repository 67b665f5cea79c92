"""Mail as the lake holds it, made a day at a time, the same for the same seed.

In the proportions of 787 real messages: 17 observables a message with 3.6 lookups each, near half
of them URLs with six; three in five come in no other message, the rest in many; and a message lies
in several mailboxes. What nothing can meet has made-up keys, for nobody compares them with texts.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from retract.lake.delta import DeltaTables
from retract.lake.frames import lookups_frame
from retract.lake.store import Lake
from retract.lake.tables import (
    INDICATORS_TABLE,
    LOOKUPS_TABLE,
    MESSAGES_TABLE,
    OBSERVABLES_TABLE,
)
from retract.model import ObservableType, Window
from retract.observables import EXTRACTOR_VERSION, lookup

NOW: Final = datetime(2026, 1, 31, tzinfo=UTC)
DAYS: Final = 30
WINDOW: Final = Window(NOW - timedelta(days=DAYS), NOW)

URL, DOMAIN, HASH = (ObservableType.URL, ObservableType.DOMAIN, ObservableType.SHA256)
A_MESSAGE: Final = (URL,) * 8 + (DOMAIN,) * 4 + (HASH,) * 5
"""The observables of each message."""

FRESH: Final = 0.6
"""Part of the observables that no other message has."""
POPULAR_HOST: Final = 0.3
"""Part of the fresh URLs that lie on one of `HOSTS` popular hosts."""
HOSTS: Final = 500
COMMON: Final = 5_000
"""URLs that come again and again."""
SEEN: Final = 100
"""Indicators that are seen in mail, and of each `LISTED_LATER` how many."""
SEEN_LATER: Final = 10
LISTED_LATER: Final = 1_000
ROUNDS: Final = 5
"""How often indicators may be added."""
HELD_BACK: Final = 20
SOURCES: Final = 8
MAILBOXES: Final = 5_000

_LATER: Final = 1 << 40
_FRESH: Final = 1 << 48

Numbers = npt.NDArray[np.uint64]


class Mail(NamedTuple):
    """How much mail there is, and how it repeats itself."""

    observables: int
    copies: int = 3
    """Of a message, each in another mailbox."""
    bad: float = 0.001
    """Part of the messages with a URL that is, or will be, listed."""
    days: int = DAYS
    """The last ones of `WINDOW`."""
    seed: int = 1


class Day(NamedTuple):
    """One day's rows, in the shapes of the lake's tables."""

    messages: pl.DataFrame
    observables: pl.DataFrame
    lookups: pl.DataFrame


def write(url: str, days: Iterator[Day]) -> int:
    """Commit each day with the lake's own writer; returns the rows of lookups."""
    tables, rows = DeltaTables(url), 0
    for day in days:
        for table, frame in (
            (LOOKUPS_TABLE, day.lookups),
            (OBSERVABLES_TABLE, day.observables),
            (MESSAGES_TABLE, day.messages),
        ):
            tables.append(table, tables.open_or_create(table), frame)
        rows += day.lookups.height
    return rows


def window(mail: Mail) -> Iterator[Day]:
    """All of it, alike on each day."""
    for number in range(DAYS - mail.days, DAYS):
        yield _day(mail, number, mail.observables // mail.days, stream=number)


def newest(mail: Mail, part: float) -> Day:
    """More mail of the last day, so much of what the window has."""
    return _day(mail, DAYS - 1, int(mail.observables * part), stream=DAYS)


# --- indicators ---


def list_indicators(url: str, count: int) -> None:
    """Make these so many the indicators; `HELD_BACK` more are held back."""
    values = listed_urls(np.arange(count, dtype=np.uint64))
    held = pl.Series("value", [_host(number) for number in range(HELD_BACK)])
    rows = [_indicators(URL, values), _indicators(DOMAIN, held, held_back="popular")]
    Lake(url).replace_indicators(pl.concat(rows))


def list_later(url: str, number: int) -> None:
    """`LISTED_LATER` more, as one source's next reading; the ``number``th time."""
    lake = Lake(url)
    first = _LATER + number * LISTED_LATER
    new = _indicators(URL, listed_urls(np.arange(first, first + LISTED_LATER, dtype=np.uint64)))
    new = new.with_columns(source=pl.lit("source-1"))
    known = lake.scan_indicators(lake.versions().indicators)
    of_source = known.filter(pl.col("source") == "source-1").collect()
    lake.replace_indicators(pl.concat([of_source, new]), sources=["source-1"])


def listed_urls(numbers: Numbers) -> pl.Series:
    """The URLs of the indicators with these numbers; mail meets those up to `SEEN`."""
    host, path = _hex(_mix(numbers, salt=1)), _hex(_mix(numbers, salt=2))
    return _text("https://www.{}.example/{}/login", host.str.head(12), path)


def _indicators(
    kind: ObservableType, values: pl.Series, held_back: str | None = None
) -> pl.DataFrame:
    texts = values.str.strip_prefix("https://")
    keys = np.array([lookup.key(kind, text) for text in texts], dtype=np.int64)
    return (
        pl.DataFrame({"value": values, "lookup": texts, "key": keys})
        .with_row_index("number")
        .with_columns(
            indicator_id=_hex(keys.view(np.uint64), 2),
            type=pl.lit(kind.value),
            exact_only=pl.lit(False),
            disposition=pl.lit("malicious"),
            confidence=pl.lit(80, pl.Int32),
            source=pl.format("source-{}", pl.col("number") % SOURCES),
            campaign=pl.lit(""),
            reference=pl.lit(""),
            tags=pl.lit([], pl.List(pl.String)),
            sightings=pl.lit(0, pl.Int32),
            first_seen=pl.lit(NOW),
            last_seen=pl.lit(NOW),
            listed=pl.lit(True),
            expires_at=pl.lit(None, pl.Datetime("us", "UTC")),
            held_back=pl.lit(held_back, pl.String),
            active=pl.lit(True),
            changed_at=pl.lit(NOW),
            inactive_because=pl.lit(None, pl.String),
        )
        .select(INDICATORS_TABLE.schema.names)
    )


# --- mail ---


class _Known(NamedTuple):
    """Values that come again and again: those that are common, and those that are or get listed."""

    values: pl.DataFrame
    """type, value, value_key; in the order of their numbers."""
    lookups: pl.DataFrame
    """number, key, value_key, exact."""
    first_of: dict[ObservableType, int]
    """The number of a type's first common value."""
    first_bad: int


@functools.cache
def _known() -> _Known:
    later = [
        np.arange(_LATER + n * LISTED_LATER, _LATER + n * LISTED_LATER + SEEN_LATER)
        for n in range(ROUNDS)
    ]
    bad = listed_urls(np.concatenate([np.arange(SEEN), *later]).astype(np.uint64)).to_list()
    common = {
        URL: [f"https://www.{_host(n % HOSTS)}/{n:x}/?id={n}" for n in range(COMMON)],
        DOMAIN: [f"www.{_host(n)}" for n in range(HOSTS)],
        HASH: [hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(COMMON // 10)],
    }
    first_of, rows = {}, []
    for kind, values in common.items():
        first_of[kind] = len(rows)
        rows += [(kind.value, value) for value in values]
    first_bad = len(rows)
    # As listed, and as what is seen more often: with a query of its own.
    rows += [(URL.value, url + query) for url in bad for query in ("", "?user=1")]
    values = pl.DataFrame(rows, schema=["type", "value"], orient="row").with_columns(
        value_key=pl.Series([lookup.key(ObservableType(kind), value) for kind, value in rows])
    )
    lookups = lookups_frame(values.with_columns(delivery_date=pl.lit(NOW.date())))
    numbers = values.select("value_key").with_row_index("number")
    lookups = lookups.drop("delivery_date").join(numbers, on="value_key")
    return _Known(values, lookups, first_of, first_bad)


def _day(mail: Mail, number: int, observables: int, stream: int) -> Day:
    rng = np.random.default_rng([mail.seed, stream])
    begins = WINDOW.start + timedelta(days=number)
    copies = max(1, observables // len(A_MESSAGE))
    sent = -(-copies // mail.copies)
    numbers = _numbers(mail, rng, sent, stream)
    values, lookups = _values(numbers, rng)
    day = pl.lit(begins.date())
    copy_ids = _hex(_mix(_serial(copies, stream), salt=13), 2)
    rows = np.repeat(np.arange(copies), len(A_MESSAGE))
    seen = values[
        np.searchsorted(values["number"], numbers)[np.arange(copies) // mail.copies].reshape(-1)
    ]
    return Day(
        _messages(copy_ids, begins, mail.copies, stream),
        seen.select(
            delivery_date=day,
            copy_id=copy_ids[rows],
            extractor_version=pl.lit(EXTRACTOR_VERSION, pl.Int32),
            type="type",
            value="value",
            value_key="value_key",
            found_in=pl.lit("html"),
        ),
        lookups.select(day.alias("delivery_date"), "key", "value_key", "exact"),
    )


def _numbers(mail: Mail, rng: np.random.Generator, sent: int, stream: int) -> Numbers:
    """Which value each message has at each place: (messages, places)."""
    known = _known()
    shape = (sent, len(A_MESSAGE))
    fresh = (
        _FRESH + (np.uint64(stream) << np.uint64(40)) + np.arange(sent * shape[1], dtype=np.uint64)
    )
    # A few are in a great part of the mail, and most of them in little.
    sizes = {URL: COMMON, DOMAIN: HOSTS, HASH: COMMON // 10}
    skewed = rng.random(shape) ** 4
    common = np.stack(
        [
            known.first_of[kind] + (skewed[:, place] * sizes[kind]).astype(np.uint64)
            for place, kind in enumerate(A_MESSAGE)
        ],
        axis=1,
    )
    numbers = np.where(rng.random(shape) < FRESH, fresh.reshape(shape), common)
    # URLs come first. One message in thousand, and at least one a day.
    is_bad = rng.random(sent) < mail.bad
    is_bad[0] = True
    listed = known.values.height - known.first_bad
    numbers[is_bad, 0] = known.first_bad + rng.integers(0, listed, is_bad.sum(), dtype=np.uint64)
    return numbers


def _values(numbers: Numbers, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The distinct values, by number, and their lookups."""
    known = _known()
    kinds = np.broadcast_to(np.arange(len(A_MESSAGE)), numbers.shape)
    fresh = {
        kind: numbers[(numbers >= _FRESH) & np.isin(kinds, _places(kind))]
        for kind in (URL, DOMAIN, HASH)
    }
    common = np.unique(numbers[numbers < _FRESH])
    urls, url_lookups = _urls(fresh[URL], rng)
    domains, domain_lookups = _domains(fresh[DOMAIN])
    hashes, hash_lookups = _hashes(fresh[HASH])
    values = pl.concat(
        [known.values[common].select(pl.Series("number", common), pl.all()), urls, domains, hashes]
    ).sort("number")
    of_known = known.lookups.filter(pl.col("number").is_in(pl.Series(common).implode()))
    lookups = [of_known.drop("number"), url_lookups, domain_lookups, hash_lookups]
    return values, pl.concat([one.select("key", "value_key", "exact") for one in lookups])


def _urls(numbers: Numbers, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    # Neighbours are of one message, and three of them on one host.
    hosts = _hex(_mix(numbers // np.uint64(24), salt=3)).str.head(12)
    popular = rng.random(len(numbers)) < POPULAR_HOST
    which = (rng.random(len(numbers)) ** 4 * HOSTS).astype(np.int64)
    names = pl.Series([_host(n) for n in range(HOSTS)])[which]
    host = pl.select(
        pl.when(pl.Series(popular)).then(names).otherwise(pl.format("{}.example", hosts))
    ).to_series()
    texts = _text("https://www.{}/{}?id={}", host, *(_hex(_mix(numbers, salt=s)) for s in (4, 5)))
    roots = [
        np.where(
            popular,
            np.array([lookup.key(URL, f"{www}{_host(n)}/") for n in range(HOSTS)])[which],
            _mix(numbers // np.uint64(24), salt=salt).view(np.int64),
        )
        for salt, www in ((6, "www."), (7, ""))
    ]
    own = [_mix(numbers, salt=salt).view(np.int64) for salt in (8, 9, 10, 11)]
    return _fresh(URL, numbers, texts), _fresh_lookups(numbers, [*own, *roots])


def _domains(numbers: Numbers) -> tuple[pl.DataFrame, pl.DataFrame]:
    texts = _text("www.{}.example", _hex(_mix(numbers, salt=4)).str.head(12))
    own = [_mix(numbers, salt=salt).view(np.int64) for salt in (8, 9)]
    return _fresh(DOMAIN, numbers, texts), _fresh_lookups(numbers, own)


def _hashes(numbers: Numbers) -> tuple[pl.DataFrame, pl.DataFrame]:
    texts = _hex(_mix(numbers, salt=4), 4)
    return _fresh(HASH, numbers, texts), _fresh_lookups(
        numbers, [_mix(numbers, salt=8).view(np.int64)]
    )


def _fresh(kind: ObservableType, numbers: Numbers, texts: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"number": numbers, "value": texts}).select(
        "number",
        type=pl.lit(kind.value),
        value="value",
        value_key=_value_keys(numbers),
    )


def _fresh_lookups(numbers: Numbers, keys: list[npt.NDArray[np.int64]]) -> pl.DataFrame:
    """The first is exact."""
    value_keys = _value_keys(numbers)
    return pl.concat(
        [
            pl.DataFrame({"key": key, "value_key": value_keys}).with_columns(
                exact=pl.lit(not place)
            )
            for place, key in enumerate(keys)
        ]
    )


def _messages(copy_ids: pl.Series, begins: datetime, copies: int, stream: int) -> pl.DataFrame:
    number = pl.int_range(len(copy_ids), dtype=pl.Int64)
    mail = number // copies
    mailbox = (mail * 31 + number % copies * 1_009) % MAILBOXES
    step = timedelta(hours=23) / len(copy_ids)
    text = pl.format("{}-{}", stream, mail)
    return (
        pl.DataFrame({"copy_id": copy_ids})
        .with_columns(
            provider=pl.lit("microsoft365"),
            connection=pl.lit("microsoft365_default"),
            mailbox_id=pl.format("mailbox-{}", mailbox),
            mailbox=pl.format("person.{}@north.example", mailbox),
            message_id=pl.format("AAMkAGI2-{}-{}", stream, number),
            internet_message_id=pl.format("<{}@mail.elsewhere.example>", text),
            received_at=pl.lit(begins) + number * step,
            delivery_date=pl.lit(begins.date()),
            subject=pl.format("Offers of the week {}", text),
            sender_address=pl.format("news-{}@elsewhere.example", mail % 997),
            sender_name=pl.format("News {}", mail % 997),
            delivered_disposition=pl.when(mail % 100 == 1)
            .then(pl.lit("spam"))
            .otherwise(pl.lit("unknown")),
            sending_ip=pl.format("192.0.2.{}", mail % 250),
            body_fingerprint=pl.format("{}-{}", stream, mail),
            place=pl.lit("inbox"),
            folder_id=pl.lit("AQMkADAwATM0MDAAMS0yMDkyLWVjMzYtMDACLTAwCgAuAAAD"),
            folder_name=pl.lit("Inbox"),
            labels=pl.lit([], pl.List(pl.String)),
            is_read=number % 2 == 0,
            is_flagged=pl.lit(False),
            authentication=pl.lit("[]"),
            problems=pl.lit([], pl.List(pl.String)),
            extractor_version=pl.lit(EXTRACTOR_VERSION, pl.Int32),
            collected_at=pl.lit(NOW),
        )
        .select(MESSAGES_TABLE.schema.names)
    )


# --- numbers and texts ---


def _host(number: int) -> str:
    return f"shop{number}.example"


def _places(kind: ObservableType) -> list[int]:
    return [place for place, one in enumerate(A_MESSAGE) if one is kind]


def _serial(count: int, stream: int) -> Numbers:
    return (np.uint64(stream) << np.uint64(40)) + np.arange(count, dtype=np.uint64)


def _value_keys(numbers: Numbers) -> npt.NDArray[np.int64]:
    return _mix(numbers, salt=12).view(np.int64)


def _mix(numbers: Numbers, salt: int) -> Numbers:
    """As good as random, and never the same for two numbers (the finalizer of SplitMix64)."""
    mixed = numbers + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hex(numbers: Numbers, times: int = 1) -> pl.Series:
    """16 digits for each number, and further ones mixed from it."""
    parts = np.stack([numbers, *(_mix(numbers, salt) for salt in range(20, 19 + times))], axis=1)
    width = 8 * times
    binary = pa.Array.from_buffers(
        pa.binary(width), len(numbers), [None, pa.py_buffer(np.ascontiguousarray(parts))]
    )
    return pl.Series(binary.cast(pa.large_binary())).bin.encode("hex")


def _text(template: str, *parts: pl.Series) -> pl.Series:
    return pl.select(pl.format(template, *parts)).to_series()
