"""Damages sound input at random, and holds every parser to its word about any input.

    python -m tests.fuzz.fuzzer [--seconds 60] [--inputs 0] [--seed 1]

prints how many inputs each parser was given. It ends with 1 at the first one that breaks a
promise, with the seed and the input that did.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer
from tests.fuzz.documents import SAMPLES, damaged, guessed, outcome

from retract.indicators.feeds import Format
from retract.indicators.formats.stix_pattern import Unsupported, equalities
from retract.indicators.pasted import pasted
from retract.model import ObservableType
from retract.observables import lookup
from retract.observables.campaign_rule import rule_matches
from retract.observables.mime import extract
from retract.observables.refang import refang
from retract.observables.url import canonicalize, lookup_expressions, unwrap
from retract.observables.written import canonical

SLOWEST: Final = 5.0
"""Seconds for one input of some kilobytes; more would let a stranger stop a refresh."""

Check = Callable[[bytes], object]
"""Raises when a promise is broken."""


class BrokenPromise(AssertionError):
    """A parser did what it promises never to do."""


def _check_value(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    refang(text)
    for kind in ("auto", *ObservableType):
        try:
            type_, value = canonical(kind, text)
        except ValueError:
            continue
        assert lookup.canonical_value(type_, value) == value


def _check_url(data: bytes) -> None:
    for url in unwrap(data.decode("utf-8", "surrogateescape")):
        once = canonicalize(url)
        assert canonicalize(once) == once
        assert len(lookup_expressions(once)) <= 30


def _check_pattern(data: bytes) -> None:
    with suppress(Unsupported):
        equalities(data.decode("utf-8", "replace"))


def _check_rule(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    rule = lookup.canonical_value(ObservableType.SUBJECT_PATTERN, text)
    if rule:
        rule_matches(rule, text)


def _check_pasted(data: bytes) -> None:
    for found in pasted(data.decode("utf-8", "replace")).found:
        assert lookup.canonical_value(found.type, found.value) == found.value


def _seeds(pattern: str) -> tuple[bytes, ...]:
    return tuple(
        file.read_bytes() for file in sorted((Path(__file__).parent / "seeds").glob(pattern))
    )


def _feeds() -> Iterator[tuple[str, list[tuple[Check, bytes]]]]:
    for format_ in Format:
        yield (
            f"feed: {format_}",
            [
                (lambda damage, source=source: outcome(source, damage), data)
                for source, data in SAMPLES
                if source.format is format_
            ],
        )


_TEXTS: Final = _seeds("*.txt")
TARGETS: Final[dict[str, list[tuple[Check, bytes]]]] = {
    **dict(_feeds()),
    "feed of any format": [(guessed, data) for _, data in SAMPLES],
    "value as written": [(_check_value, text) for text in _TEXTS],
    "URL": [(_check_url, text) for text in _TEXTS],
    "STIX pattern": [(_check_pattern, text) for text in _TEXTS],
    "campaign rule": [(_check_rule, text) for text in _TEXTS],
    "pasted text": [(_check_pasted, text) for text in _TEXTS],
    "message": [(extract, message) for message in _seeds("*.eml")],
}
"""By name: what is promised of any input, and the sound input that is damaged for it."""


def fuzz(name: str, seed: int, *, most: int, until: float) -> int:
    """Give a target damaged input; returns how many it took. Raises BrokenPromise with the input.

    The same seed gives the same inputs.
    """
    rng = random.Random(f"{seed} {name}")
    for count in range(most):
        if time.monotonic() >= until:
            return count
        check, sound = rng.choice(TARGETS[name])
        data = damaged(sound, rng)
        began = time.perf_counter()
        where = f"{name}, seed {seed}, input {count}"
        try:
            check(data)
        except Exception as error:
            raise BrokenPromise(f"{where}: {type(error).__name__}: {error}\n{data!r}") from error
        took = time.perf_counter() - began
        if took > SLOWEST:
            raise BrokenPromise(f"{where}: {took:.1f} s\n{data!r}")
    return most


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
