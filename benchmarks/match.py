"""Time and peak memory of a full match, beside pandas.merge on the same rows.

    python benchmarks/match.py [--observables 1000000] [--indicators 100000]

Every way runs in a process of its own, over the same Parquet files, so that peaks are its
own. An observable is one thing seen in one copy; it has several lookups, which are the rows
that are joined.
"""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from _alone import child, figures_of, measured

from retract.lake.tables import INDICATORS_TABLE, OBSERVABLES_TABLE
from retract.model import ObservableType, Window
from retract.observables import lookup
from retract.reevaluation.match import full_match

NOW = datetime(2026, 1, 31, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=30), NOW)
COMMON = ("www.shop.example", "news.example", "t.co", "cdn.mail.example", "bank.example")


class Way(StrEnum):
    """Who does the join."""

    RETRACT = "retract"
    PANDAS = "pandas"


app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    observables: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    indicators: Annotated[int, typer.Option(min=100)] = 100_000,
    hits: Annotated[float, typer.Option(help="Part of the indicators that are seen.")] = 0.01,
    seed: int = 1,
) -> None:
    """Make data, run both ways, print their figures and the ratio."""
    if context.invoked_subcommand is not None:
        return
    with tempfile.TemporaryDirectory(prefix="retract-match-") as name:
        folder = Path(name)
        sizes = [str(observables), str(indicators), str(hits), str(seed)]
        rows = int(child("make", str(folder), *sizes))
        typer.echo(f"{observables:,} observables ({rows:,} lookups) × {indicators:,} indicators")
        figures = {way: figures_of("run", way, str(folder)) for way in Way}
    for way, (seconds, peak, matches) in figures.items():
        typer.echo(f"{way:8} {seconds:8.2f} s   peak {peak:7.0f} MB   {matches:,} matches")
    (ours, our_peak, found), (theirs, their_peak, expected) = figures.values()
    typer.echo(f"ratio    {theirs / ours:8.1f} ×        {their_peak / our_peak:7.1f} ×")
    if found != expected:
        raise SystemExit(f"the results differ: {found} and {expected} matches")


@app.command(hidden=True)
def make(folder: Path, observables: int, indicators: int, hits: float, seed: int) -> None:
    """Write the data, in this process; prints the number of lookups."""
    rng = random.Random(seed)  # noqa: S311 - the same data every time
    typer.echo(_make(folder, observables, indicators, hits, rng))


@app.command(hidden=True)
def run(way: Way, folder: Path) -> None:
    """One way alone, in this process; prints its figures as JSON."""
    match = _retract if way is Way.RETRACT else _pandas
    typer.echo(measured(lambda: match(folder)))


def _retract(folder: Path) -> int:
    messages, observables, indicators = (
        pl.scan_parquet(folder / f"{name}.parquet")
        for name in ("messages", "observables", "indicators")
    )
    return full_match(messages, observables, indicators, WINDOW, NOW).height


def _pandas(folder: Path) -> int:
    import pandas as pd

    observables = pd.read_parquet(folder / "observables.parquet")
    indicators = pd.read_parquet(folder / "indicators.parquet")
    live = indicators[indicators["active"] & indicators["held_back"].isna()]
    joined = observables.merge(live, on="key", suffixes=("", "_listed"))
    joined = joined[
        (joined["lookup"] == joined["lookup_listed"])
        & (joined["type"] == joined["type_listed"])
        & (joined["exact"] | ~joined["exact_only"])
    ]
    return len(joined.drop_duplicates(["copy_id", "indicator_id"]))


def _make(folder: Path, observables: int, indicators: int, hits: float, rng: random.Random) -> int:
    listed = [f"https://{_host(rng)}/{rng.getrandbits(40):x}/login" for _ in range(indicators)]
    seen = rng.sample(listed, max(1, int(indicators * hits)))
    lines = []
    copies = max(1, observables // 10)
    for number in range(observables):
        dice = rng.random()
        if dice < 0.001:
            url = rng.choice(seen)
        elif dice < 0.5:
            url = f"https://{rng.choice(COMMON)}/{rng.getrandbits(32):x}/a?id={number}"
        else:
            url = f"https://{_host(rng)}/{rng.getrandbits(32):x}"
        copy_id = f"{number % copies:032x}"
        day = (NOW - timedelta(days=1 + number % copies % 29)).date()
        lines += [
            (copy_id, day, 1, "url", url, "html", found.text, _key(found.text), found.exact)
            for found in lookup.lookups_of(ObservableType.URL, url)
        ]
    schema = OBSERVABLES_TABLE.empty().schema
    frame = pl.DataFrame(lines, schema=schema, orient="row")
    frame.write_parquet(folder / "observables.parquet")
    frame.select(
        "copy_id",
        "extractor_version",
        received_at=pl.col("delivery_date").cast(pl.Datetime("us", "UTC")),
    ).unique().write_parquet(folder / "messages.parquet")
    _indicators(listed).write_parquet(folder / "indicators.parquet")
    return frame.height


def _indicators(urls: list[str]) -> pl.DataFrame:
    found = [lookup.indicator_lookup(ObservableType.URL, url) for url in urls]
    return (
        pl.DataFrame(
            {
                "indicator_id": [f"{number:032x}" for number in range(len(urls))],
                "value": urls,
                "lookup": [one.text for one in found],
                "key": [_key(one.text) for one in found],
                "exact_only": [one.exact for one in found],
            }
        )
        .select(
            pl.all(),
            type=pl.lit("url"),
            disposition=pl.lit("malicious"),
            confidence=pl.lit(80, pl.Int32),
            source=pl.lit("benchmark"),
            campaign=pl.lit(""),
            reference=pl.lit(""),
            tags=pl.lit([], pl.List(pl.String)),
            sightings=pl.lit(0, pl.Int32),
            first_seen=pl.lit(NOW),
            last_seen=pl.lit(NOW),
            listed=pl.lit(True),
            expires_at=pl.lit(None, pl.Datetime("us", "UTC")),
            held_back=pl.lit(None, pl.String),
            active=pl.lit(True),
            changed_at=pl.lit(NOW),
            inactive_because=pl.lit(None, pl.String),
        )
        .select(INDICATORS_TABLE.schema.names)
    )


def _key(text: str) -> int:
    return lookup.key(ObservableType.URL, text)


def _host(rng: random.Random) -> str:
    return f"{rng.getrandbits(28):x}.{rng.getrandbits(24):x}.example"


if __name__ == "__main__":
    app()
