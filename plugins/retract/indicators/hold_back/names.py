"""Host names as lists write them, and what is above them."""

from __future__ import annotations

from collections.abc import Iterable

from retract.observables.domain import is_public_suffix


def without_www(host: str) -> str:
    """The host without leading "www" labels, unless only a public suffix would be left."""
    while host.startswith("www.") and not is_public_suffix(host[4:]):
        host = host[4:]
    return host


def listed_name(entry: str) -> str:
    """A name as lists write it (.Example.com, www.example.com), as it is looked up."""
    # Nearly all are in lower case: a million of them need no copy.
    return without_www((entry if entry.islower() else entry.lower()).strip("."))


def parents(host: str) -> list[str]:
    """All names above a host that have a dot, nearest first."""
    found = []
    _, _, host = host.partition(".")
    while "." in host:
        found.append(host)
        _, _, host = host.partition(".")
    return found


def all_parents(hosts: Iterable[str]) -> set[str]:
    """Every name above any of the hosts."""
    return {parent for host in hosts if host.count(".") > 1 for parent in parents(host)}


class HostPatterns:
    """``example.com`` names that host, with or without www; ``*.example.com`` all below it."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        patterns = frozenset(patterns)
        self._exact = frozenset(without_www(one) for one in patterns if not one.startswith("*."))
        self._tops = frozenset(one[2:] for one in patterns if one.startswith("*."))
        # The parents of *.example.com start with example.com.
        self._above = frozenset(all_parents(patterns))

    def names(self, host: str, above: Iterable[str]) -> bool:
        """Whether one names this host, which is without www; ``above`` are its parents."""
        return host in self._exact or not self._tops.isdisjoint(above)

    def touches(self, host: str, above: Iterable[str]) -> bool:
        """Whether one names this host or a host below it."""
        return host in self._above or self.names(host, above)
