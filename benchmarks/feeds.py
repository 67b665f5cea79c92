"""Time and peak memory of reading feeds, beside what a user would otherwise load them with.

    python benchmarks/feeds.py [--urls 1000000] [--objects 20000]

A plain list of ``urls`` is refreshed three times: for the first time, unchanged, and with one
entry in a hundred changed. A STIX bundle and a MISP event of ``objects`` are read by this program
and by the libraries of those formats, which only make objects: stix2 and pymisp. Every way
runs in a process of its own, over the same files, so that peaks are its own.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from _alone import Figures, child, figures_of, measured

NOW = datetime(2026, 1, 31, tzinfo=UTC)

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    urls: Annotated[int, typer.Option(min=100)] = 1_000_000,
    objects: Annotated[int, typer.Option(min=100)] = 20_000,
    seed: int = 1,
) -> None:
    """Make the feeds, read each in every way, print figures and ratios."""
    if context.invoked_subcommand is not None:
        return
    with tempfile.TemporaryDirectory(prefix="retract-feeds-") as name:
        folder = Path(name)
        child("make", str(folder), str(urls), str(objects), str(seed))
        typer.echo(f"a plain list of {urls:,} URLs")
        for step in ("first", "unchanged", "changed"):
            if step == "changed":
                child("change", str(folder), str(seed))
            _print(f"refresh, {step}", _measure("refresh", folder))
        for theirs, kind in (("stix2", "a STIX bundle of"), ("pymisp", "a MISP event of")):
            typer.echo(f"{kind} {objects:,} indicators")
            ours, other = _measure(f"retract-{theirs}", folder), _measure(theirs, folder)
            _print("retract", ours)
            _print(theirs, other)
            faster, smaller = other.seconds / ours.seconds, other.peak / ours.peak
            typer.echo(f"{'ratio':22} {faster:8.1f} ×        {smaller:7.1f} ×")


def _print(name: str, took: Figures) -> None:
    rate = took.count / took.seconds
    typer.echo(
        f"{name:22} {took.seconds:8.2f} s   peak {took.peak:7.0f} MB   {rate:10,.0f} entries/s"
    )


@app.command(hidden=True)
def make(folder: Path, urls: int, objects: int, seed: int) -> None:
    """Write the feeds."""
    rng = random.Random(seed)  # noqa: S311 - the same data every time
    (folder / "urls.txt").write_text("".join(f"{_url(rng)}\n" for _ in range(urls)))
    (folder / "bundle.json").write_text(json.dumps(_bundle(rng, objects)))
    (folder / "event.json").write_text(json.dumps(_event(rng, objects)))


@app.command(hidden=True)
def change(folder: Path, seed: int) -> None:
    """Exchange one URL in a hundred for another."""
    rng = random.Random(-seed)  # noqa: S311
    lines = (folder / "urls.txt").read_text().splitlines()
    lines[::100] = [_url(rng) for _ in lines[::100]]
    (folder / "urls.txt").write_text("".join(f"{line}\n" for line in lines))


@app.command(hidden=True)
def run(way: str, folder: Path) -> None:
    """One way alone, in this process; prints its figures as JSON."""
    ways: dict[str, Callable[[Path], int]] = {
        "refresh": _refresh,
        "retract-stix2": lambda folder: _read(folder / "bundle.json", "stix"),
        "retract-pymisp": lambda folder: _read(folder / "event.json", "misp"),
        "stix2": _stix2,
        "pymisp": _pymisp,
    }
    typer.echo(measured(lambda: ways[way](folder)))


def _measure(way: str, folder: Path) -> Figures:
    return figures_of("run", way, str(folder))


# --- the ways ---


def _source(file: Path, format_: str) -> Any:
    from retract.indicators.feeds import Source

    return Source(
        name="benchmark",
        format=format_,
        location=str(file),
        disposition="malicious",
        confidence=80,
        time_to_live="P30D",
    )


def _refresh(folder: Path) -> int:
    """What the tasks of refresh_indicators do with one source: read, judge, merge, commit."""
    from retract.indicators.feeds import FeedsFile
    from retract.indicators.hold_back.rules import HoldBack
    from retract.indicators.hold_back.settings import HoldBackSettings
    from retract.indicators.refresh import commit, read_source
    from retract.lake.store import Lake

    lake = Lake(str(folder / "lake"))
    source = _source(folder / "urls.txt", "plain_list")
    last = lake.source_states().get(source.name)
    now = NOW + timedelta(minutes=15 * (lake.versions().indicators or 0))
    snapshot = read_source(source, now, last=last)
    hold_back = HoldBack.of(HoldBackSettings())
    report = commit(FeedsFile(sources=(source,)), lake, [snapshot], {}, now, hold_back)
    return report.sources[0].listed


def _read(file: Path, format_: str) -> int:
    from retract.indicators.refresh import read_source

    return read_source(_source(file, format_), NOW).listed


def _stix2(folder: Path) -> int:
    import stix2

    bundle = stix2.parse((folder / "bundle.json").read_text(), allow_custom=True)
    return len(bundle.objects)


def _pymisp(folder: Path) -> int:
    from pymisp import MISPEvent

    event = MISPEvent()
    event.load_file(str(folder / "event.json"))
    return len(event.attributes)


# --- the feeds ---


def _url(rng: random.Random) -> str:
    host = f"{rng.getrandbits(24):x}.{rng.getrandbits(32):x}.example"
    return f"https://{host}/{rng.getrandbits(40):x}/login?id={rng.getrandbits(20)}"


def _uuid(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def _bundle(rng: random.Random, objects: int) -> dict[str, Any]:
    when = "2026-01-30T00:00:00.000Z"
    indicators = [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--{_uuid(rng)}",
            "created": when,
            "modified": when,
            "valid_from": when,
            "pattern_type": "stix",
            "pattern": f"[url:value = '{_url(rng)}']",
            "indicator_types": ["malicious-activity"],
        }
        for _ in range(objects)
    ]
    return {"type": "bundle", "id": f"bundle--{_uuid(rng)}", "objects": indicators}


def _event(rng: random.Random, objects: int) -> dict[str, Any]:
    attributes = [
        {
            "uuid": _uuid(rng),
            "type": "url",
            "category": "Network activity",
            "value": _url(rng),
            "to_ids": True,
            "timestamp": "1769731200",
        }
        for _ in range(objects)
    ]
    return {
        "Event": {
            "uuid": _uuid(rng),
            "info": "benchmark",
            "date": "2026-01-30",
            "timestamp": "1769731200",
            "Attribute": attributes,
        }
    }


if __name__ == "__main__":
    app()
