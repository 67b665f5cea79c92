"""Documents that are damaged at random, and what must hold of every one that is read."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.indicators.formats import samples

from retract.errors import FeedError
from retract.indicators.feeds import Source
from retract.indicators.formats.parsers import PARSERS
from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.indicators.loose_files import settings_of
from retract.indicators.wording import quoted
from retract.observables.lookup import canonical_value

LONGEST_MESSAGE = 2_000


def _source(format_: str, **settings: object) -> Source:
    usual = {"name": "feed", "location": "/x", "disposition": "malicious", "confidence": 80}
    return Source.model_validate({**usual, "format": format_, **settings})


SAMPLES: tuple[tuple[Source, bytes], ...] = tuple(
    (source, text.encode())
    for source, text in (
        (_source("plain_list"), samples.PLAIN_LIST),
        (_source("hosts"), samples.BLOCKLIST),
        (_source("adblock"), samples.FILTER_LIST + "@@||good.example^\n##.ad\n!#if x\n!#endif\n"),
        (_source("csv", columns=samples.TABLE_COLUMNS), samples.TABLE),
        (
            _source("json", columns=samples.RECORDS_COLUMNS, records="result.items"),
            samples.RECORDS_JSON,
        ),
        (_source("json", columns={"value": "url", "tags": "tags"}), samples.RECORDS_LINES),
        (_source("stix"), samples.STIX),
        (_source("misp"), samples.MISP),
        (_source("urlhaus"), samples.URLHAUS),
        (_source("urlhaus"), samples.URLHAUS_JSON),
        (_source("urlhaus"), samples.URLHAUS_ANSWER),
        (_source("threatfox"), samples.THREATFOX),
        (_source("threatfox"), samples.THREATFOX_JSON),
        (_source("threatfox"), samples.THREATFOX_ANSWER),
        (_source("phishtank"), samples.PHISHTANK),
        (_source("phishtank"), samples.phishtank_json(samples.PHISHTANK)),
    )
)

_NASTY = (
    *(b'"', b"'", b"\\", b"\x00", b"\xff", b"\xe9", b"{", b"}", b"[", b"]", b"\r", b"\n", b"\t"),
    *(b",", b";", b":", b"|", b"||", b"@@", b"$", b"^", b"*", b"#", b"##", b"!", b"%00", b"%25"),
    *(b"null", b"NaN", b"-Infinity", b"1e999", b"true", b"[[]]", b"{}", b'""', b"0", b"-1"),
    *(b"9" * 5_000, b"[" * 3_000, b'{"a":' * 3_000, b"a" * 20_000, b"a" * 140_000, b"." * 300),
    *(b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xd9\xa3", b"\x0c"),
    *(b"http://", b"hxxp://", b"://", b"xn--", b"[::1]", b"1.2.3.4:99999", b"0x7f.1", b"@", b"[.]"),
    *(b"9999-12-31T23:59:59-14:00", b"0000-00-00", b"99999999999999", b"2026-02-30", b"None"),
    *(b"<html>", b"\x1f\x8b", b"PK\x03\x04", b"\xff\xfe", b"query_status", b"Event", b"objects"),
)


_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**20, 10**400, 0.5, math.inf, math.nan, "", " ", [], {}, [[]]),
    *(["a", 1, None], [{}], {"name": 7}, {"": []}, "\ud800", "\x00", "\u2028", "a" * 20_000, "0"),
    *("9999-12-31T23:59:59-14:00", "1601-01-01T00:00:00Z", "2026-02-30", "-5", "None", "null"),
    *(
        "http://[::1",
        "http://",
        "evil.example|198.51.100.7",
        "a|b",
        "x" * 64,
        "ab" * 32,
        "1.2.3.4/99",
    ),
    *("url", "domain|ip", "filename|sha256", "stix", "no_results", "[url:value = '", "bundle"),
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A document, message or text with some of what happens to documents."""
    if rng.random() < 0.5:
        try:
            whole = json.loads(data)
        except ValueError:
            pass
        else:
            return json.dumps(_altered(whole, rng, rng.choice((0.02, 0.1, 0.4)))).encode()
    return _broken(data, rng)


def _altered(value: Any, rng: random.Random, share: float) -> Any:
    """A JSON value of which about this share is another."""
    if rng.random() < share:
        return rng.choice(_ODD_VALUES)
    if isinstance(value, list):
        items = [
            _altered(one, rng, share) for one in value for _ in range(rng.choice((0, 1, 1, 1, 2)))
        ]
        return items if rng.random() > share else dict(enumerate(items))
    if isinstance(value, dict):
        keys = list(value)
        return {
            (rng.choice(keys) if rng.random() < share else key): _altered(one, rng, share)
            for key, one in value.items()
            if rng.random() > share / 2
        }
    return value


def _broken(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6, 12))):
        start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        end = min(end, start + rng.choice((1, 8, 64, 10_000)))
        match rng.randrange(9):
            case 0:
                data = data[:start]
            case 1:
                data = data[:start] + data[end:]
            case 2:
                data = data[:end] + data[start:end] * rng.choice((1, 1, 40)) + data[end:]
            case 3 | 4 | 5:
                after = data[end:] if rng.random() < 0.5 else data[start:]
                data = data[:start] + rng.choice(_NASTY) + after
            case 6:
                data = data[:start] + rng.randbytes(rng.choice((1, 4, 40))) + data[end:]
            case 7:
                other = rng.choice(SAMPLES)[1]
                data = data[:start] + other[rng.randrange(len(other)) :]
            case _:
                encoding = rng.choice(("utf-16", "utf-16-le", "latin-1", "utf-8-sig"))
                data = data.decode("utf-8", "replace").encode(encoding, "replace")
    return data


def inputs(seed: int, count: int) -> Iterator[tuple[Source, bytes]]:
    """As many damaged documents, the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        source, data = SAMPLES[number % len(SAMPLES)]
        yield source, damaged(data, rng)


def outcome(source: Source, data: bytes) -> str:
    """What reading a document gave: ``entries``, ``nothing`` or ``error``.

    Raises AssertionError for what no parser may give, and whatever a parser raises but FeedError.
    """
    found: list[Entry] = []
    try:
        found.extend(PARSERS[source.format](data, source))
    except FeedError as error:
        _require_message(str(error))
        return "error"
    finally:
        for entry in found:
            _require_sound(entry)
    return "entries" if found else "nothing"


def _require_sound(entry: Entry) -> None:
    if isinstance(entry, Rejected | LeftOut):
        _require_message(entry.reason)
        return
    assert isinstance(entry, Listed)
    assert canonical_value(entry.type, entry.value) == entry.value != ""
    assert entry.confidence is None or 0 <= entry.confidence <= 100
    assert all(isinstance(tag, str) and tag for tag in entry.tags)
    for moment in (entry.first_seen, entry.expires_at, entry.stated_at):
        assert moment is None or moment.utcoffset() == timedelta(0)


def _require_message(text: str) -> None:
    assert text
    assert len(text) < LONGEST_MESSAGE
    quoted(text).encode()  # what a snapshot keeps of it can be stored


def guessed(data: bytes) -> str:
    """The format that a file of these bytes is taken for, or ``error``."""
    try:
        return str(settings_of(data)["format"])
    except FeedError as error:
        _require_message(str(error))
        return "error"
