"""Networks, each with what it is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from retract.observables.network import Network


class NetworkTable:
    """Labelled networks of both IP versions. Of equal ones the first label counts."""

    def __init__(self, labelled: Iterable[tuple[Network, str]]) -> None:
        self._by_version: dict[int, _Networks] = {4: _Networks(32), 6: _Networks(128)}
        for network, label in labelled:
            self._by_version[network.version].add(network, label)
        for networks in self._by_version.values():
            networks.sort()

    def around(self, network: Network) -> str | None:
        """The label of the narrowest network that this one is or lies in."""
        return self._by_version[network.version].around(network)

    def within(self, network: Network) -> str | None:
        """The label of the first network that lies in this one, when none is around it."""
        return self._by_version[network.version].within(network)


class _Networks:
    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._of_length: dict[int, dict[int, str]] = {}
        """By prefix length: the leading bits, and the label."""
        self._starts: list[tuple[int, str]] = []

    def add(self, network: Network, label: str) -> None:
        first, length = int(network.network_address), network.prefixlen
        self._of_length.setdefault(length, {}).setdefault(first >> (self._bits - length), label)
        self._starts.append((first, label))

    def sort(self) -> None:
        self._of_length = dict(sorted(self._of_length.items(), reverse=True))
        self._starts.sort()

    def around(self, network: Network) -> str | None:
        first, length = int(network.network_address), network.prefixlen
        for prefix, labels in self._of_length.items():
            if prefix <= length and (label := labels.get(first >> (self._bits - prefix))):
                return label
        return None

    def within(self, network: Network) -> str | None:
        at = bisect_left(self._starts, (int(network.network_address), ""))
        if at < len(self._starts) and self._starts[at][0] <= int(network.broadcast_address):
            return self._starts[at][1]
        return None
