"""Breaks the sound input in seeds/ at random, and holds every parser to its word about any input.

    python -m tests.fuzz.fuzzer [--seconds 60] [--inputs 0] [--seed 1]

prints how many inputs each parser was given. It ends with 1 at the first one that breaks a
promise, with the seed and the input that did.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from retract.errors import FeedError
from retract.indicators.feeds import Columns, Format, Source
from retract.indicators.formats.parsers import PARSERS
from retract.indicators.formats.stix_pattern import Unsupported, equalities
from retract.indicators.listed import LeftOut, Listed, Rejected
from retract.indicators.pasted import pasted
from retract.model import Disposition, ObservableType
from retract.observables import lookup
from retract.observables.campaign_rule import rule_matches
from retract.observables.mime import extract
from retract.observables.refang import refang
from retract.observables.url import canonicalize, lookup_expressions, unwrap
from retract.observables.written import canonical

SLOWEST: Final = 5.0
"""Seconds for one input of some kilobytes; more would let a stranger stop a refresh."""

_TOKENS: Final = (
    *(b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\\", b'"', b"'", b"#", b"%"),
    *(b"%25", b"%00", b"[.]", b"[", b"{", b"}", b"]", b"[" * 2000, b"://", b"//", b"@", b"|"),
    *(b"null", b"1e999", b"-1", b"99999999999999999999", b"NaN", b"true", b"0.0.0.0", b"::1"),
    *(b"\xc3\xa9", b"\xe2\x84\x80", b"\xed\xa0\x80", b"xn--", b"." * 300, b"A" * 5000, b"*" * 50),
)
_COLUMNS: Final = Columns(
    value="indicator",
    type="type",
    disposition="disposition",
    confidence="confidence",
    campaign="campaign",
    tags="tags",
)

Target = Callable[[bytes], None]


class BrokenPromise(AssertionError):
    """A parser did what it promises never to do."""


def _source_of(format: Format) -> Source:  # noqa: A002 - the settings' word
    """A source of that format; tables are read by the seeds' columns."""
    return Source(
        name="fuzzed",
        format=format,
        location="fuzzed",
        disposition=Disposition.MALICIOUS,
        confidence=50,
        columns=_COLUMNS if format in (Format.CSV, Format.JSON) else None,
    )


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A seed after one to eight random changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(0, len(data))
        length = min(rng.choice((1, 2, 8, 64)), len(data) - at)
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] = rng.randrange(256)
            case 1:
                data[at : at + length] = b""
            case 2:
                data[at:at] = rng.choice(_TOKENS)
            case 3:
                data[at : at + length] = rng.choice(_TOKENS)
            case 4:
                data[at:at] = data[at : at + length] * rng.randint(1, 20)
            case 5:
                del data[at:]
            case _:
                other = rng.choice(seeds)
                cut = rng.randint(0, len(other))
                data[at:] = other[cut:]
    return bytes(data)


def _feed_target(format: Format) -> Target:  # noqa: A002
    """Any document gives entries, every indicator canonical, or a FeedError of one line."""
    source, parse = _source_of(format), PARSERS[format]

    def check(data: bytes) -> None:
        try:
            for entry in parse(data, source):
                match entry:
                    case Listed(type=type_, value=value):
                        if not value or lookup.canonical_value(type_, value) != value:
                            raise BrokenPromise(f"not canonical: {type_} {value!r}")
                    case Rejected() | LeftOut():
                        pass
                    case _:
                        raise BrokenPromise(f"no entry: {entry!r}")
        except FeedError:
            pass

    return check


def _check_value(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    refang(text)
    for kind in ("auto", *ObservableType):
        try:
            type_, value = canonical(kind, text)
        except ValueError:
            continue
        if lookup.canonical_value(type_, value) != value:
            raise BrokenPromise(f"not canonical: {type_} {value!r}")


def _check_url(data: bytes) -> None:
    for url in unwrap(data.decode("utf-8", "surrogateescape")):
        once = canonicalize(url)
        if canonicalize(once) != once:
            raise BrokenPromise(f"not idempotent: {once!r} from {url!r}")
        if len(lookup_expressions(once)) > 30:
            raise BrokenPromise(f"more than 30 expressions: {url!r}")


def _check_pattern(data: bytes) -> None:
    with suppress(Unsupported):
        equalities(data.decode("utf-8", "replace"))


def _check_pasted(data: bytes) -> None:
    pasted(data.decode("utf-8", "replace"))


def _check_message(data: bytes) -> None:
    extract(data)


def _check_rule(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    rule = lookup.canonical_value(ObservableType.SUBJECT_PATTERN, text)
    if rule:
        rule_matches(rule, text)


def _seeds(folder: str) -> tuple[bytes, ...]:
    files = sorted((Path(__file__).parent / "seeds" / folder).iterdir())
    return tuple(file.read_bytes() for file in files)


_TEXTS: Final = _seeds("text")
TARGETS: Final[dict[str, tuple[Target, tuple[bytes, ...]]]] = {
    **{f"feed: {one}": (_feed_target(one), _seeds(one)) for one in Format},
    "value as written": (_check_value, _TEXTS),
    "URL": (_check_url, _TEXTS),
    "STIX pattern": (_check_pattern, _TEXTS),
    "campaign rule": (_check_rule, _TEXTS),
    "pasted text": (_check_pasted, _TEXTS),
    "message": (_check_message, _seeds("message")),
}
"""By name: what is promised of any input, and the sound input that is broken for it."""


def inputs(name: str, seed: int) -> Iterator[bytes]:
    """Endless broken input for a target; the same for the same seed."""
    rng = random.Random(f"{seed} {name}")
    while True:
        yield mutated(rng, TARGETS[name][1])


def fuzz(name: str, seed: int, *, most: int, until: float) -> int:
    """Give a target broken input; returns how many it took. Raises BrokenPromise with the input."""
    target, _ = TARGETS[name]
    count = 0
    for data in inputs(name, seed):
        if count >= most or time.monotonic() >= until:
            return count
        began = time.perf_counter()
        try:
            target(data)
        except Exception as error:
            raise BrokenPromise(
                f"{name}, seed {seed}, input {count}: {type(error).__name__}: {error}\n{data!r}"
            ) from error
        took = time.perf_counter() - began
        if took > SLOWEST:
            raise BrokenPromise(f"{name}, seed {seed}, input {count}: {took:.1f} s\n{data!r}")
        count += 1
    return count


def main(
    seconds: Annotated[float, typer.Option(help="For all parsers together.")] = 60,
    inputs: Annotated[int, typer.Option(help="At most so many a parser; 0: no limit.")] = 0,
    seed: int = 1,
) -> None:
    """Fuzz every parser, and print the count of inputs each was given."""
    total = 0
    for name in TARGETS:
        until = time.monotonic() + seconds / len(TARGETS)
        try:
            count = fuzz(name, seed, most=inputs or sys.maxsize, until=until)
        except BrokenPromise as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from error
        total += count
        typer.echo(f"{name:20} {count:10,} inputs")
    typer.echo(f"{'all':20} {total:10,} inputs, no promise broken (seed {seed})")


if __name__ == "__main__":
    typer.run(main)
