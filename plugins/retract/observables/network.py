"""IP networks as indicators name them: ``198.51.100.0/24``. What is seen in mail is an address.

A network is not among an address's stored lookups, of which there would be up to 113: the
networks that hold an address are found when it is matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from retract.observables.host import canonical_ip

Network = IPv4Network | IPv6Network

WIDEST: Final = {4: 8, 6: 16}
"""The shortest prefix a listed network may have: nobody means a larger part of the internet."""

_EMBEDDED_IPV4_PREFIX: Final = 96
"""Bits before the IPv4 address in an IPv4-mapped or NAT64 address."""
_INTERNAL: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/10",
        ),
    )
)  # fmt: skip


def canonical_network(text: str) -> str:
    """One spelling for a network, host bits masked: ``198.51.100.0/24``. Empty when it is none.

    A network of one address is that address.
    """
    try:
        network = _network(text)
    except ValueError:
        return ""
    is_one_address = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if is_one_address else str(network)


def problem_with_network(text: str) -> str:
    """Why a text with a slash is no network that an indicator may name; empty when it is one."""
    try:
        _network(text)
    except ValueError as error:
        return str(error)
    return ""


def is_internal(address: str) -> bool:
    """Whether a canonical address is private, local or reserved: mail does not come from there."""
    parsed = ip_address(address)
    return any(parsed in network for network in _INTERNAL)


def is_in_network(address: str, network: str) -> bool:
    """Whether a canonical network holds a canonical address, which an internal one never does."""
    return ip_address(address) in ip_network(network) and not is_internal(address)


def lies_in(inner: str, network: str) -> bool:
    """Whether a canonical address or network is or lies in a canonical network or address."""
    return _is_subnet(ip_network(inner), ip_network(network))


def in_networks(addresses: Iterable[str], networks: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every pair of an address and a network that `is_in_network` is true of, all canonical."""
    listed: dict[tuple[int, int], dict[int, str]] = {}
    for text in networks:
        network = ip_network(text)
        host_bits = network.max_prefixlen - network.prefixlen
        prefixes = listed.setdefault((network.version, host_bits), {})
        prefixes[int(network.network_address) >> host_bits] = text
    for text in addresses:
        address = ip_address(text)
        number = int(address)
        held_by = [
            prefixes[number >> host_bits]
            for (version, host_bits), prefixes in listed.items()
            if version == address.version and number >> host_bits in prefixes
        ]
        if held_by and not is_internal(text):
            yield from ((text, network) for network in held_by)


@lru_cache(maxsize=4_096)
def _network(text: str) -> Network:
    """Raises ValueError with the reason when an indicator may not name it."""
    written, _, length = text.strip().partition("/")
    if not (length.isascii() and length.isdecimal() and len(length) <= 3):
        raise ValueError("a network is written as address/prefix length: 198.51.100.0/24")
    network = _unchecked(canonical_ip(written), ":" in written, int(length))
    widest = WIDEST[network.version]
    if network.prefixlen < widest:
        raise ValueError(f"the network is too wide: /{widest} is the widest that is taken")
    if any(_is_subnet(network, internal) for internal in _INTERNAL):
        raise ValueError("the network is private, local or reserved: no mail comes from there")
    return network


def _unchecked(address: str, is_ipv6: bool, prefix: int) -> Network:
    if is_ipv6 and ":" not in address:  # one that stands for an IPv4 address
        prefix -= _EMBEDDED_IPV4_PREFIX
    try:
        return ip_network(f"{address}/{prefix}", strict=False)
    except ValueError:
        raise ValueError("no IP address, or a prefix longer than an address") from None


def _is_subnet(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)
