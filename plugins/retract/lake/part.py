"""What every part of the lake has: the tables below one URL."""

from __future__ import annotations

from deltalake import DeltaTable

from retract.errors import LakeError
from retract.lake.delta import DeltaTables
from retract.lake.tables import LOOKUPS_TABLE, MESSAGES_TABLE, OBSERVABLES_TABLE

_COMPANIONS = (LOOKUPS_TABLE, OBSERVABLES_TABLE)


class PartOfLake:
    """The tables below ``url``: a local folder, or any object store (s3://, az://, gs://).

    ``storage_options`` goes to the object store as it is. Methods raise LakeError when a table
    has another shape than this program's, or when a commit does not get through.
    """

    def __init__(self, url: str, *, storage_options: dict[str, str] | None = None) -> None:
        self._tables = DeltaTables(url, storage_options)

    def _open_or_create_messages(self) -> DeltaTable:
        """The messages table, made where it is not there yet, and before it what belongs to it.

        Raises LakeError when it is there and something else is not: its copies would never meet
        anything.
        """
        there = self._tables.open(MESSAGES_TABLE)
        if there is None:
            for table in _COMPANIONS:
                self._tables.open_or_create(table)
            return self._tables.open_or_create(MESSAGES_TABLE)
        for table in _COMPANIONS:
            if self._tables.open(table) is None:
                raise LakeError(
                    f"{table.name}: the table is not there, but that of the messages is: move "
                    f"{table.goes_with} away and collect again"
                )
        return there
