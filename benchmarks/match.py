"""Which mail meets which indicators: time and peak memory of our ways, and of plainer ones.

    python benchmarks/match.py [--observables 10000000] [--indicators 1000000]
        [--copies 3] [--rounds 3] [--skip pandas]

Both sizes may be given several times: every pair of them is measured. All ways read the same files
of one lake, which its own writer wrote, each in a process of its own; they are in the page cache.
An observable is one thing seen in one copy of a message. A match is what an analyst would see:
this copy meets this indicator; the plain semi-joins find no more than the keys that do.

100,000,000 observables take 4 GB of disk below TMPDIR, 3 GB of memory for pandas, and some minutes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import _machine
import _mail
import polars as pl
import typer
from _alone import Figures, child, figures_of, measured

from retract.installation import Settings
from retract.lake.delta import DeltaTables
from retract.lake.store import Lake
from retract.lake.tables import INDICATORS_TABLE, LOOKUPS_TABLE, OBSERVABLES_TABLE, Table
from retract.model import Window
from retract.observables import EXTRACTOR_VERSION
from retract.reevaluation import days
from retract.reevaluation.incremental import still_there
from retract.reevaluation.match import delivered_in, full_match, in_force, matches_of
from retract.reevaluation.own_domains import without_own

if TYPE_CHECKING:
    import pandas as pd

PACKAGES: Final = ("polars", "deltalake", "duckdb", "pandas", "pyarrow")
SHORT: Final = Window(_mail.NOW - (_mail.WINDOW.end - _mail.WINDOW.start) / 10, _mail.NOW)
"""A tenth of the window."""
FLAT_UP_TO: Final = 10_000_000
"""Observables of which a row a lookup fits into memory."""
PAIR: Final = ("copy_id", "indicator_id")


class Way(StrEnum):
    """What is measured."""

    FLOOR = "floor"
    POLARS = "polars"
    DUCKDB = "duckdb"
    PANDAS = "pandas"
    PANDAS_FLAT = "pandas-flat"
    FULL = "full"
    FIRST = "first"
    NOTHING = "nothing"
    NOTHING_SHORT = "nothing-short"
    LISTED = "listed"
    DELIVERED = "delivered"


SAID: Final = {
    Way.FLOOR: "floor: read the hash column alone",
    Way.POLARS: "polars semi-join of the keys",
    Way.DUCKDB: "DuckDB semi-join of the keys",
    Way.PANDAS: "pandas merge by the dictionary",
    Way.PANDAS_FLAT: "pandas merge of a row a lookup",
    Way.FULL: "full match",
    Way.FIRST: "first run: match, and keep what was found",
    Way.NOTHING: "run with nothing new",
    Way.NOTHING_SHORT: "run with nothing new, a tenth of the window",
    Way.LISTED: "run with 1,000 new indicators",
    Way.DELIVERED: "run with 1 % new mail",
}

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    observables: Annotated[list[int] | None, typer.Option(min=1_000)] = None,
    indicators: Annotated[list[int] | None, typer.Option(min=100)] = None,
    copies: Annotated[int, typer.Option(min=1, help="Of each message, in other mailboxes.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, max=_mail.ROUNDS, help="The best counts.")] = 3,
    skip: Annotated[list[Way] | None, typer.Option(help="Of the plainer ways.")] = None,
) -> None:
    """Measure every pair of sizes."""
    if context.invoked_subcommand is not None:
        return
    skipped = set(skip or [])
    typer.echo(_machine.described(PACKAGES))
    for size in observables or [10_000_000]:
        with tempfile.TemporaryDirectory(prefix="retract-match-") as name:
            mail = Path(name) / "mail"
            rows = int(child("make", str(mail), str(size), str(copies)))
            if size > FLAT_UP_TO:
                skipped.add(Way.PANDAS_FLAT)
            elif Way.PANDAS_FLAT not in skipped:
                child("flatten", str(mail))
            for count in indicators or [1_000_000]:
                lake = Path(name) / str(count)
                # Files are never changed once they are written.
                shutil.copytree(mail, lake, copy_function=os.link)
                child("index", str(lake), str(count))
                typer.echo(f"\n{size:,} observables ({rows:,} lookups) × {count:,} indicators")
                _report(_measure(lake, size, copies, rounds, skipped))
                shutil.rmtree(lake)


def _measure(lake: Path, size: int, copies: int, rounds: int, skip: set[Way]) -> dict[Way, Figures]:
    figures: dict[Way, Figures] = {}

    def measure(way: Way, times: int = 1) -> None:
        best = min(figures_of("run", way, str(lake)) for _ in range(times))
        figures[way] = min(best, figures.get(way, best))
        _print(way, best, figures[Way.FLOOR].seconds)

    in_pandas = {Way.PANDAS, Way.PANDAS_FLAT}
    for way in (Way.FLOOR, Way.POLARS, Way.DUCKDB, *sorted(in_pandas), Way.FULL):
        if way not in skip:
            measure(way, 1 if way in in_pandas else rounds)
    measure(Way.FIRST)
    _check_same(lake, Way.FULL, Way.FIRST, *(in_pandas - skip))
    for way in (Way.NOTHING, Way.NOTHING_SHORT):
        measure(way, rounds)
    for number in range(rounds):
        child("list-later", str(lake), str(number))
        measure(Way.LISTED)
    child("deliver", str(lake), str(size), str(copies))
    measure(Way.DELIVERED)
    child("run", Way.FULL, str(lake))
    _check_same(lake, Way.FULL, Way.DELIVERED)
    return figures


def _check_same(lake: Path, *ways: Way) -> None:
    """Every way that finds matches finds the same ones."""
    expected, *others = (pl.read_parquet(_found(lake, way)) for way in ways)
    for way, found in zip(ways[1:], others, strict=True):
        if not found.equals(expected):
            raise SystemExit(f"{SAID[way]}: {found.height:,} matches, not the same as in full")


def _print(way: Way, figures: Figures, floor: float) -> None:
    typer.echo(
        f"{SAID[way]:45} {figures.seconds:8.3f} s {figures.seconds / floor:7.1f} × floor   "
        f"peak {figures.peak:6.0f} MB   {figures.count:,}"
    )


def _report(figures: dict[Way, Figures]) -> None:
    for one, other, aim in (
        (Way.FULL, Way.POLARS, "at most 2"),
        (Way.PANDAS_FLAT, Way.FULL, "at least 10"),
        (Way.PANDAS, Way.FULL, "none: it has our layout"),
        (Way.LISTED, Way.FLOOR, "at most 1.5"),
        (Way.NOTHING, Way.NOTHING_SHORT, "about 1"),
    ):
        if one in figures and other in figures:
            ratio = figures[one].seconds / figures[other].seconds
            typer.echo(f"ratio {one} to {other}: {ratio:.2f} (aim: {aim})")


# --- each in a process of its own ---


@app.command(hidden=True)
def make(lake: Path, observables: int, copies: int) -> None:
    """Write the mail; prints the number of lookups."""
    mail = _mail.Mail(observables, copies)
    typer.echo(_mail.write(str(lake), _mail.window(mail)))


@app.command(hidden=True)
def flatten(lake: Path) -> None:
    """Write a row for each lookup of each observable: what one has without the dictionary."""
    there = Lake(str(lake))
    versions = there.versions()
    (lake / "flat").mkdir()
    for number in range(_mail.DAYS):
        day = _mail.WINDOW.start.date() + timedelta(days=number)
        mail = there.mail_of(versions, [day])
        (
            mail.observables.join(mail.lookups, on="value_key")
            .select("copy_id", "key", "exact")
            .sink_parquet(lake / "flat" / f"{day}.parquet", compression="zstd", compression_level=1)
        )


@app.command(hidden=True)
def index(lake: Path, count: int) -> None:
    """List the indicators."""
    _mail.list_indicators(str(lake), count)


@app.command(hidden=True)
def list_later(lake: Path, number: int) -> None:
    """List 1,000 more."""
    _mail.list_later(str(lake), number)


@app.command(hidden=True)
def deliver(lake: Path, observables: int, copies: int) -> None:
    """1 % more mail, on the last day."""
    mail = _mail.Mail(observables, copies)
    _mail.write(str(lake), iter([_mail.newest(mail, 0.01)]))


@app.command(hidden=True)
def run(way: Way, lake: Path) -> None:
    """One way; prints its figures as JSON."""
    ways = {
        Way.FLOOR: _floor,
        Way.POLARS: _polars,
        Way.DUCKDB: _duckdb,
        Way.PANDAS: lambda lake: _keep(lake, way, _pandas(lake)),
        Way.PANDAS_FLAT: lambda lake: _keep(lake, way, _pandas_flat(lake)),
        Way.FULL: lambda lake: _keep(lake, Way.FULL, _full(lake)),
        Way.NOTHING_SHORT: lambda lake: _run(lake, SHORT).height,
    }
    # What a way imports is not its time.
    if way is Way.DUCKDB:
        import duckdb  # noqa: F401
    if way in (Way.PANDAS, Way.PANDAS_FLAT):
        import pandas as pd  # noqa: F401
    one = ways.get(way, lambda lake: _keep(lake, way, _run(lake, _mail.WINDOW)))
    typer.echo(measured(lambda: one(lake)))


def _keep(lake: Path, way: Way, found: pl.DataFrame) -> int:
    """Lay the matches aside, to be compared."""
    pairs = found.select(PAIR).sort(PAIR)
    pairs.write_parquet(_found(lake, way))
    return pairs.height


def _found(lake: Path, way: Way) -> Path:
    return lake / f"{way}.parquet"


def _full(lake: Path) -> pl.DataFrame:
    there = Lake(str(lake))
    versions = there.versions()
    return full_match(
        there.scan_messages(versions.messages, _mail.WINDOW),
        there.scan_observables(versions.observables, _mail.WINDOW),
        there.scan_lookups(versions.lookups, _mail.WINDOW),
        there.scan_indicators(versions.indicators),
        _mail.WINDOW,
        _mail.NOW,
    )


def _run(lake: Path, window: Window) -> pl.DataFrame:
    """The matches of a run, as post_delivery_response computes them."""
    there = Lake(str(lake))
    pinned, dealt = days.pin(there, window)
    days.Matching(there, pinned, _mail.NOW).work(dealt)
    matching = days.Matching(there, pinned, _mail.NOW)
    for _ in matching.run(dealt, Settings().match_rows_at_once):
        pass
    dates = [one.day for one in dealt]
    messages = there.scan_messages(pinned.versions.messages, window)
    known = there.suspects(dates, pinned.messages)
    suspects = still_there(known, messages, EXTRACTOR_VERSION, there.kept_since())
    judged = delivered_in(window, suspects).collect(engine="streaming")
    indicators = without_own(there.scan_indicators(pinned.versions.indicators), pinned.own_domains)
    return matches_of(judged.lazy(), there.scan_hits(dates), in_force(indicators, _mail.NOW))


# --- plainer ways ---


def _files(lake: Path, table: Table) -> list[str]:
    tables = DeltaTables(str(lake))
    there = tables.open(table)
    return [] if there is None else sorted(tables.files(table, there)["file"])


def _floor(lake: Path) -> int:
    keys = pl.scan_parquet(_files(lake, LOOKUPS_TABLE)).select(pl.col("key").sum())
    keys.collect(engine="streaming")
    return 0


def _polars(lake: Path) -> int:
    lookups, indicators = (
        pl.scan_parquet(_files(lake, table)).select("key")
        for table in (LOOKUPS_TABLE, INDICATORS_TABLE)
    )
    met = lookups.join(indicators, on="key", how="semi")
    return int(met.select(pl.len()).collect(engine="streaming").item())


def _duckdb(lake: Path) -> int:
    import duckdb

    with duckdb.connect(config={"threads": pl.thread_pool_size()}) as connection:
        (met,) = connection.execute(
            "SELECT count(*) FROM read_parquet($lookups) "
            "WHERE key IN (SELECT key FROM read_parquet($indicators))",
            {
                "lookups": _files(lake, LOOKUPS_TABLE),
                "indicators": _files(lake, INDICATORS_TABLE),
            },
        ).fetchone()
    return int(met)


def _pandas(lake: Path) -> pl.DataFrame:
    """It compares keys alone, and reads the observables day by day."""
    import pandas as pd

    lookups = pd.read_parquet(
        _files(lake, LOOKUPS_TABLE), columns=["key", "value_key", "exact"], partitioning=None
    )
    met = _met_in_pandas(lookups, lake)[["value_key", "indicator_id"]].drop_duplicates()
    found = [
        pd.read_parquet(file, columns=["copy_id", "value_key"], partitioning=None)
        .merge(met, on="value_key")[list(PAIR)]
        .drop_duplicates()
        for file in _files(lake, OBSERVABLES_TABLE)
    ]
    return pl.from_pandas(pd.concat(found).drop_duplicates())


def _pandas_flat(lake: Path) -> pl.DataFrame:
    """What one would write first. It compares keys alone."""
    import pandas as pd

    rows = pd.read_parquet([str(file) for file in sorted((lake / "flat").iterdir())])
    return pl.from_pandas(_met_in_pandas(rows, lake)[list(PAIR)].drop_duplicates())


def _met_in_pandas(rows: pd.DataFrame, lake: Path) -> pd.DataFrame:
    import pandas as pd

    indicators = pd.read_parquet(
        _files(lake, INDICATORS_TABLE),
        columns=["indicator_id", "key", "exact_only", "active", "held_back"],
        partitioning=None,
    )
    live = indicators[indicators["active"] & indicators["held_back"].isna()]
    met = rows.merge(live[["indicator_id", "key", "exact_only"]], on="key")
    return met[met["exact"] | ~met["exact_only"]]


if __name__ == "__main__":
    app()
