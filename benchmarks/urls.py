"""Time for a URL's one form and its lookups, beside what else makes one form of a URL.

    python benchmarks/urls.py [--file URLS.txt] [--count 200000]

Every way runs in a process of its own over the same file, once, with empty caches. None of the
others is made for matching: the last column says how many of the vectors that Google publishes
for Safe Browsing each gets right.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from _alone import child

VECTORS = Path(__file__).parents[1] / "tests" / "observables" / "data" / "safe_browsing.json"


class Way(StrEnum):
    """What makes the one form."""

    RETRACT = "retract"
    LOOKUPS = "retract, with lookups and keys"
    YARL = "yarl"
    ADA = "ada-url"
    W3LIB = "w3lib.canonicalize_url"


app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    file: Annotated[Path | None, typer.Option(help="URLs, one a line.")] = None,
    count: Annotated[int, typer.Option(min=100, help="URLs to generate.")] = 200_000,
    seed: int = 1,
) -> None:
    """Run every way, print its figures and the ratio to this program's."""
    if context.invoked_subcommand is not None:
        return
    with tempfile.TemporaryDirectory(prefix="retract-urls-") as name:
        urls = file or _generated(Path(name) / "urls.txt", count, random.Random(seed))  # noqa: S311
        figures = {way: _measure(way, urls) for way in Way}
    number = next(iter(figures.values()))[0]
    typer.echo(f"{number:,} URLs")
    ours = figures[Way.RETRACT][1]
    for way, (_, seconds, refused, passed, vectors) in figures.items():
        typer.echo(
            f"{way:31} {seconds / number * 1e6:7.2f} µs a URL   ratio {seconds / ours:6.1f} ×"
            f"   {refused:7,} refused   {passed:2} of {vectors} vectors"
        )


@app.command(hidden=True)
def run(way: Way, file: Path) -> None:
    """One way alone, in this process; prints its figures as JSON."""
    form = _FORMS[way]()
    urls = file.read_text(encoding="utf-8", errors="replace").splitlines()
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["v4"]
    refused = 0
    start = time.process_time()
    for url in urls:
        try:
            form(url)
        except ValueError:
            refused += 1
    seconds = time.process_time() - start
    passed = sum(_passes(form, url, canonical) for url, canonical in vectors)
    typer.echo(json.dumps([len(urls), seconds, refused, passed, len(vectors)]))


def _measure(way: Way, file: Path) -> tuple[int, float, int, int, int]:
    number, seconds, refused, passed, vectors = json.loads(child("run", way, str(file)))
    return number, seconds, refused, passed, vectors


def _passes(form: Callable[[str], str], url: str, canonical: str) -> bool:
    try:
        return form(url) == canonical
    except ValueError:
        return False


def _retract() -> Callable[[str], str]:
    from retract.observables.url import canonicalize

    return canonicalize


def _lookups() -> Callable[[str], str]:
    """What is done with each link of a message."""
    from retract.model import ObservableType
    from retract.observables import lookup
    from retract.observables.url import canonicalize

    def form(url: str) -> str:
        canonical = canonicalize(url)
        for found in lookup.lookups_of(ObservableType.URL, canonical):
            lookup.key(ObservableType.URL, found.text)
        return canonical

    return form


def _yarl() -> Callable[[str], str]:
    from yarl import URL

    return lambda url: str(URL(url))


def _ada() -> Callable[[str], str]:
    from ada_url import URL

    return lambda url: URL(url).href


def _w3lib() -> Callable[[str], str]:
    from w3lib.url import canonicalize_url

    return canonicalize_url


_FORMS: dict[Way, Callable[[], Callable[[str], str]]] = {
    Way.RETRACT: _retract,
    Way.LOOKUPS: _lookups,
    Way.YARL: _yarl,
    Way.ADA: _ada,
    Way.W3LIB: _w3lib,
}


def _generated(file: Path, count: int, rng: random.Random) -> Path:
    """URLs in about the mix of a feed of phish: nearly all plain, some hidden."""
    file.write_text("".join(_url(rng) + "\n" for _ in range(count)), encoding="utf-8")
    return file


def _url(rng: random.Random) -> str:
    host = f"{rng.getrandbits(24):x}.{rng.choice(('bank-login', 'pages', 'shop'))}.example"
    path = f"/{rng.getrandbits(40):x}/login.php?id={rng.getrandbits(16)}"
    dice = rng.random()
    if dice < 0.20:
        return f"https://{host}"
    if dice < 0.25:
        return f"http://{rng.randrange(1, 224)}.{rng.randrange(256)}.0.{rng.randrange(256)}{path}"
    if dice < 0.27:
        return f"http://{rng.getrandbits(32)}{path}"
    if dice < 0.29:
        return f"https://www.bank.example@{host}:8443{path}"
    if dice < 0.31:
        return f"https://ü{host}/Überweisung"
    if dice < 0.33:
        return f"https://{host}/%61/..//%2541?q=%20#top"
    if dice < 0.35:
        return f"HTTPS://{host.upper()}{path}"
    return f"https://{host}{path}"


if __name__ == "__main__":
    app()
