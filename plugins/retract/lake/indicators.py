"""The lake's indicators, and how their sources were last read."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl
from deltalake import DeltaTable

from retract.errors import LakeError
from retract.lake.between import between
from retract.lake.coverage import Between
from retract.lake.part import PartOfLake
from retract.lake.source_state import SourceState
from retract.lake.tables import INDICATORS_TABLE, SOURCES_TABLE


class IndicatorsPart(PartOfLake):
    """What the sources say of values, one version for each refresh."""

    def scan_indicators(self, version: int | None) -> pl.LazyFrame:
        """All indicators, those no longer active and those held back included.

        Raises LakeError for a version that is too old: `expire` takes its files away.
        """
        return self._tables.scan(INDICATORS_TABLE, version)

    def indicators_between(self, earlier: int | None, version: int | None) -> Between:
        """What differs between two versions; with None for one, the other whole.

        Raises LakeError when one of them cannot be read any more.
        """
        return between(self._tables, INDICATORS_TABLE, earlier, version)

    def replace_indicators(
        self,
        indicators: pl.DataFrame,
        *,
        sources: Collection[str] | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Make these the indicators; returns the new version.

        With ``sources``, only the rows of these are replaced. With ``expected_version``, raises
        LakeError when the table has moved on since then.
        """
        others = set() if sources is None else set(indicators["source"].unique()) - set(sources)
        if others:
            raise LakeError(f"indicators: rows of other sources than stated: {sorted(others)}")

        def replace() -> int:
            table = self._tables.open_or_create(INDICATORS_TABLE)
            if expected_version not in (None, table.version()):
                raise LakeError(
                    f"the indicators are at version {table.version()}, not {expected_version}: "
                    "another refresh came first, so merge again"
                )
            predicate = _of_sources(sources)
            self._tables.overwrite(INDICATORS_TABLE, table, indicators, predicate)
            table.update_incremental()
            return table.version()

        return self._tables.commit(INDICATORS_TABLE, replace)

    def source_states(self, version: int | None = None) -> dict[str, SourceState]:
        """How each source was last read, by its name; by default as it is now."""
        there = self._tables.open(SOURCES_TABLE, version)
        return {} if there is None else _states(there)

    def write_source_states(
        self, states: Iterable[SourceState], *, forget: Collection[str] = ()
    ) -> None:
        """Put these states in the place of what was known of their sources; forget some."""
        new = {state.source: state for state in states}

        def write() -> None:
            table = self._tables.open_or_create(SOURCES_TABLE)
            known = _states(table)
            kept = {name: state for name, state in known.items() if name not in forget}
            after = kept | new
            if after != known:
                rows = [state.model_dump() for state in after.values()]
                frame = pl.DataFrame(rows, schema=SOURCES_TABLE.empty().schema)
                self._tables.overwrite(SOURCES_TABLE, table, frame)

        self._tables.commit(SOURCES_TABLE, write)


def _of_sources(sources: Collection[str] | None) -> str | None:
    """A predicate for the partitions of these sources; None for all there are."""
    if sources is None:
        return None
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(sources))
    return f"source IN ({names})"


def _states(table: DeltaTable) -> dict[str, SourceState]:
    # Two who made the table at the same moment may both have written a source: the later counts.
    rows = pl.scan_delta(table).sort("tried_at").collect().iter_rows(named=True)
    return {row["source"]: SourceState.model_validate(row) for row in rows}
