"""The most visited sites; an own list is one that https://tranco-list.eu publishes: rank,domain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retract.errors import FeedConfigurationError
from retract.indicators.hold_back.names import all_parents, listed_name
from retract.indicators.hold_back.text_set import TextSet

ABOVE: Final = "a name below it is listed: "
"""In front of what is said of that name."""

_LONGEST_LINE: Final = 300
"""Bytes: a rank and the longest domain name."""


@dataclass(frozen=True, slots=True)
class PopularNames:
    """The names of one list, and what it says of them."""

    says: str
    names: TextSet
    above: TextSet
    """The names above them."""

    @classmethod
    def of(cls, entries: Iterable[str], says: str) -> PopularNames:
        names = [listed_name(entry) for entry in entries]
        return cls(says, TextSet(names), TextSet(all_parents(names)))

    def says_of(self, host: str) -> str | None:
        """What is said of a canonical domain without www, or of a name below it."""
        if host in self.names:
            return self.says
        return ABOVE + self.says if host in self.above else None


def digest_of(path: Path) -> str:
    """SHA-256 of the file as hex. Raises FeedConfigurationError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def names_of(path: Path, last_rank: int) -> Iterator[str]:
    """The domains up to that rank. Raises FeedConfigurationError when it is no such list."""
    try:
        with path.open("rb") as file:
            rank = 0
            while line := file.readline(_LONGEST_LINE):
                number, _, name = line.decode("ascii", "replace").strip().partition(",")
                if number != str(rank + 1) or "." not in name or not name.isprintable():
                    raise _no_list(path, rank + 1)
                rank += 1
                yield name
                if rank == last_rank:
                    return
            if rank == 0:
                raise _no_list(path, 1)
    except OSError as error:
        raise _unreadable(path, error) from error


def _no_list(path: Path, line: int) -> FeedConfigurationError:
    return FeedConfigurationError(
        f"hold_back.tranco: {path.name} is no list of tranco-list.eu: its line {line} is not "
        f"{line},<domain>; download the list anew, and unpack it when it is a zip file"
    )


def _unreadable(path: Path, error: OSError) -> FeedConfigurationError:
    return FeedConfigurationError(
        f"hold_back.tranco: {path} cannot be read: {error.strerror or error}; "
        "mend the path, or take the setting out"
    )
