"""Why the lake stores observables as it does: each layout's size, and what writing and matching it
take.

    python benchmarks/layout.py [--observables 3000000] [--copies 1 --copies 5] [--rounds 3]

Of three days' mail, each layout of it written with the lake's own writer: the dictionary of lookups
beside the observables, as the lake has it; one row a lookup with its text; a list of keys in each
observable's row. And of the dictionary: other orders, row groups, encodings, and shorter keys. A
full match looks for 100,000 indicators' keys, an incremental one for 1,000, and both end with the
copies and keys that meet, which are the same for all layouts.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import _machine
import _mail
import numpy as np
import polars as pl
import pyarrow as pa
import typer
from _alone import child
from deltalake import ColumnProperties, WriterProperties

from retract.lake.delta import DeltaTables
from retract.lake.store import Lake
from retract.lake.tables import LOOKUPS_TABLE, MESSAGES_TABLE, OBSERVABLES_TABLE, Table
from retract.model import ObservableType
from retract.observables import lookup

INDICATORS: Final = 100_000
NEW: Final = 1_000
DAYS: Final = 3
PACKAGES: Final = ("polars", "deltalake")
MET: Final = ("copy_id", "key")

Frames = dict[str, pl.DataFrame]
"""A layout's rows of one day, by its tables' names."""


class Layout(NamedTuple):
    """One way to store what was seen."""

    said: str
    tables: dict[str, Table]
    rows: Callable[[_mail.Day], Frames]
    met: Callable[[Path, pl.Series], pl.DataFrame]
    """The (copy_id, key) that have one of these keys."""
    key_of: Callable[[pl.Expr], pl.Expr] = lambda key: key


# --- reading ---


def _scan(folder: Path, name: str) -> pl.LazyFrame:
    return pl.scan_parquet(sorted((folder / name).rglob("*.parquet")), hive_partitioning=False)


def _with(rows: pl.LazyFrame, column: str, keys: pl.Series) -> pl.LazyFrame:
    """Few keys are asked of the reader; many are joined."""
    if len(keys) <= 10_000:
        return rows.filter(pl.col(column).is_in(keys.implode()))
    return rows.join(keys.alias(column).to_frame().lazy(), on=column, how="semi")


def _collected(rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.unique().collect(engine="streaming")


def _met_in_rows(folder: Path, keys: pl.Series) -> pl.DataFrame:
    rows = _scan(folder, "observables")
    met = _collected(_with(rows.select("key"), "key", keys))
    return _collected(_with(rows, "key", met["key"]).select(MET))


def _met_in_lists(folder: Path, keys: pl.Series) -> pl.DataFrame:
    rows = _scan(folder, "observables")
    pairs = rows.select("value_key", key="keys").explode("key")
    return _met_in_observables(folder, _collected(_with(pairs, "key", keys)))


def _met_in_dictionary(folder: Path, keys: pl.Series) -> pl.DataFrame:
    pairs = _scan(folder, "lookups").select("value_key", "key")
    return _met_in_observables(folder, _collected(_with(pairs, "key", keys)))


def _met_in_observables(folder: Path, met: pl.DataFrame) -> pl.DataFrame:
    rows = _scan(folder, "observables").select("copy_id", "value_key")
    seen = _with(rows, "value_key", met["value_key"].unique())
    return _collected(seen.join(met.lazy(), on="value_key").select(MET))


# --- writing ---


def _as_it_is(day: _mail.Day) -> Frames:
    return {"lookups": day.lookups, "observables": day.observables}


def _a_row_a_lookup(day: _mail.Day) -> Frames:
    text = pl.col("value").str.strip_prefix("https://")
    host, plain = text.str.extract(r"^([^/]*)"), pl.lit("")
    place = pl.int_range(pl.len()).over("value_key")
    # Nearly the texts that the keys were made of, and as long.
    texts = pl.when(place % 6 == 0).then(text)
    for number, one in enumerate(
        (
            text.str.replace(r"\?.*", ""),
            host + "/",
            text.str.strip_prefix("www."),
            text.str.strip_prefix("www.").str.replace(r"\?.*", ""),
            host.str.strip_prefix("www.") + "/",
        ),
        start=1,
    ):
        texts = texts.when(place % 6 == number).then(one)
    values = day.observables.select("value_key", "value").unique("value_key")
    pairs = day.lookups.drop("delivery_date").join(values, on="value_key")
    lookups = pairs.with_columns(lookup=texts.otherwise(plain)).drop("value")
    rows = day.observables.join(lookups, on="value_key", maintain_order="left")
    return {"observables": rows.drop("value_key")}


def _lists(day: _mail.Day) -> Frames:
    keys = day.lookups.sort("exact", descending=True).group_by("value_key").agg(keys="key")
    rows = day.observables.join(keys, on="value_key", maintain_order="left")
    return {"observables": rows}


def _short_keys(day: _mail.Day) -> Frames:
    return {
        "lookups": day.lookups.with_columns(_short(pl.col("key"))),
        "observables": day.observables,
    }


def _short(key: pl.Expr) -> pl.Expr:
    """Half of its bits."""
    return (key % 2**31).cast(pl.Int32)


_PLAIN: Final = OBSERVABLES_TABLE.schema
_LOOKUP: Final = (
    pa.field("lookup", pa.string(), nullable=False),
    pa.field("key", pa.int64(), nullable=False),
    pa.field("exact", pa.bool_(), nullable=False),
)


def _table(table: Table, schema: pa.Schema | None = None, **changes: object) -> Table:
    return dataclasses.replace(table, **({"schema": schema} if schema else {}), **changes)


def _dictionary(said: str, lookups: Table, observables: Table = OBSERVABLES_TABLE) -> Layout:
    tables = {"lookups": lookups, "observables": observables}
    return Layout(said, tables, _as_it_is, _met_in_dictionary)


class _Raw(Table):
    """Its keys neither compressed nor gathered into a dictionary that is full at once."""

    @property
    def writer(self) -> WriterProperties:
        raw = ColumnProperties(dictionary_enabled=False)
        return WriterProperties(
            compression="ZSTD",
            compression_level=1,
            max_row_group_size=self.row_group,
            column_properties={"key": raw, "value_key": raw},
        )


def _raw(table: Table) -> Table:
    return _Raw(**{field.name: getattr(table, field.name) for field in dataclasses.fields(table)})


_FIELDS: Final = [field for field in _PLAIN if field.name != "value_key"]
LAYOUTS: Final = {
    "dictionary": _dictionary("dictionary, as the lake has it", LOOKUPS_TABLE),
    "rows": Layout(
        "one row a lookup, with its text",
        {
            "observables": _table(
                OBSERVABLES_TABLE,
                pa.schema([*_FIELDS, *_LOOKUP]),
                sort_by=(),
                row_group=LOOKUPS_TABLE.row_group,
            )
        },
        _a_row_a_lookup,
        _met_in_rows,
    ),
    "lists": Layout(
        "a list of keys in each observable",
        {
            "observables": _table(
                OBSERVABLES_TABLE, _PLAIN.append(pa.field("keys", pa.list_(pa.int64())))
            )
        },
        _lists,
        _met_in_lists,
    ),
    "short": Layout(
        "dictionary, keys of 32 bits",
        {
            "lookups": _table(
                LOOKUPS_TABLE,
                LOOKUPS_TABLE.schema.set(1, pa.field("key", pa.int32(), nullable=False)),
            ),
            "observables": OBSERVABLES_TABLE,
        },
        _short_keys,
        _met_in_dictionary,
        _short,
    ),
    **{
        f"lookups-by-{'-'.join(order) or 'nothing'}": _dictionary(
            f"lookups sorted by {', '.join(order) or 'nothing'}",
            _table(LOOKUPS_TABLE, sort_by=order),
        )
        for order in ((), ("key",), ("value_key",), ("exact", "key"))
    },
    **{
        f"lookups-{rows}": _dictionary(
            f"lookups in row groups of {rows:,}", _table(LOOKUPS_TABLE, row_group=rows)
        )
        for rows in (2**16, 2**18, 2**20, 2**22)
    },
    "lookups-raw": _dictionary("lookups, keys plainly encoded", _raw(LOOKUPS_TABLE)),
    **{
        f"observables-by-{order[0]}": _dictionary(
            f"observables sorted by {order[0]}",
            LOOKUPS_TABLE,
            _table(OBSERVABLES_TABLE, sort_by=order),
        )
        for order in (("copy_id",), ("value_key",))
    },
    **{
        f"observables-{rows}": _dictionary(
            f"observables in row groups of {rows:,}",
            LOOKUPS_TABLE,
            _table(OBSERVABLES_TABLE, row_group=rows),
        )
        for rows in (2**14, 2**15, 2**17, 2**20)
    },
}

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    observables: Annotated[int, typer.Option(min=1_000)] = 3_000_000,
    copies: Annotated[list[int] | None, typer.Option(min=1, help="Of each message.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="The best counts.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Of the layouts, by name.")] = None,
) -> None:
    """Write and read every layout, print its figures, and their ratios to the lake's own."""
    if context.invoked_subcommand is not None:
        return
    typer.echo(_machine.described(PACKAGES))
    for number in copies or [1, 5]:
        with tempfile.TemporaryDirectory(prefix="retract-layout-") as name:
            folder = Path(name)
            child("make", str(folder / "mail"), str(observables), str(number))
            typer.echo(f"\n{observables:,} observables, each message {number} times")
            typer.echo(
                f"{'':40} {'lookups':>9} {'all':>9} {'write':>8} {'full':>8} {'1,000 new':>9}  "
                "ratios of the three      meet"
            )
            own: list[float] = []
            for one in dict.fromkeys(["dictionary", *(only or LAYOUTS)]):
                own = _compare(folder, one, rounds, own)


def _compare(folder: Path, name: str, rounds: int, own: list[float]) -> list[float]:
    there = folder / name
    seconds = float(child("write", name, str(folder / "mail"), str(there)))
    full, new, met_full, met_new = json.loads(child("read", name, str(folder), str(rounds)))
    times = [seconds, full, new]
    ratios = "  ".join(f"{a / b:5.2f}" for a, b in zip(times, own or times, strict=True))
    typer.echo(
        f"{LAYOUTS[name].said:40} {_size(there, 'lookups'):6.1f} MB {_size(there, ''):6.1f} MB "
        f"{seconds:6.2f} s {full:6.3f} s {new:7.3f} s  {ratios}  {met_full:,} {met_new:,}"
    )
    return own or times


def _size(folder: Path, name: str) -> float:
    return sum(file.stat().st_size for file in (folder / name).rglob("*.parquet")) / 1e6


@app.command(hidden=True)
def make(folder: Path, observables: int, copies: int) -> None:
    """Write the mail."""
    mail = _mail.Mail(observables, copies, days=DAYS)
    _mail.write(str(folder), _mail.window(mail))


@app.command(hidden=True)
def write(name: str, mail: Path, folder: Path) -> None:
    """Write a layout of the mail; prints the seconds it took."""
    layout, lake, tables = LAYOUTS[name], Lake(str(mail)), DeltaTables(str(folder))
    versions, seconds = lake.versions(), 0.0
    for number in range(DAYS):
        day = _mail.WINDOW.end.date() - pl.duration(days=number + 1)
        of_day = pl.col("delivery_date") == day
        observables, lookups = (
            frame.filter(of_day).collect()
            for frame in (
                lake.scan_observables(versions.observables, _mail.WINDOW),
                lake.scan_lookups(versions.lookups, _mail.WINDOW),
            )
        )
        # As they come: copy by copy, and their lookups in no order.
        observables = observables.sort("copy_id")
        lookups = lookups.sample(fraction=1, shuffle=True, seed=1)
        found = _mail.Day(MESSAGES_TABLE.empty(), observables, lookups)
        rows = layout.rows(found)
        began = time.perf_counter()
        for which, table in layout.tables.items():
            tables.append(table, tables.open_or_create(table), rows[which])
        seconds += time.perf_counter() - began
    typer.echo(seconds)


@app.command(hidden=True)
def read(name: str, folder: Path, rounds: int) -> None:
    """Match a layout; prints the best seconds of a full match and of one with what is newly listed,
    and how much each finds."""
    layout = LAYOUTS[name]
    urls = _mail.listed_urls(np.arange(INDICATORS, dtype=np.uint64)).str.strip_prefix("https://")
    listed = pl.Series([lookup.key(ObservableType.URL, text) for text in urls])
    seconds, counts = [], []
    for keys in (listed, listed.head(NEW)):
        asked = pl.select(layout.key_of(pl.lit(keys)).unique()).to_series()
        layout.met(folder / name, asked)
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            found = layout.met(folder / name, asked).height
            times.append(time.perf_counter() - began)
        seconds.append(min(times))
        counts.append(found)
    typer.echo(json.dumps([*seconds, *counts]))


if __name__ == "__main__":
    app()
