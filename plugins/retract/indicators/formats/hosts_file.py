"""Hosts files: names that are sent to nowhere, as ``0.0.0.0 evil.example``; see hosts(5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from retract.indicators.feeds import Source
from retract.indicators.formats.contents import lines_of, refuse_json, text_of
from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.model import ObservableType
from retract.observables.written import canonical

_LOOPBACK: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_LOCAL_NAMES: Final = frozenset(
    {"local", "localhost", "localhost.localdomain", "localhost4"}
    | {"localhost4.localdomain4", "localhost6", "localhost6.localdomain6"}
    | {"broadcasthost", "loopback", "ip6-localhost", "ip6-loopback", "ip6-localnet"}
    | {"ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts"}
)
"""Every hosts file says where these are; that blocks nothing."""


def parse(data: bytes, _source: Source) -> Iterator[Entry]:
    """The blocked names' entries. Raises FeedError when the data is no such list.

    A line that sends names to a real address is left out: it says where they are.
    """
    text = text_of(data)
    refuse_json(text, "a hosts file")
    for number, line in lines_of(text):
        words = line.partition("#")[0].split()
        if words:
            yield from _entries(words[0], words[1:], f"line {number}")


def _entries(address: str, names: list[str], where: str) -> Iterator[Entry]:
    leads_nowhere = _leads_nowhere(address[:64])
    if leads_nowhere is None:
        shown = address[:60]
        yield Rejected(where, f"begins with {shown!r}, no address; is it a plain list?")
        return
    if not names:
        yield Rejected(where, "an address without a name")
    for name in names:
        if name == address or name.lower() in _LOCAL_NAMES:
            continue
        if not leads_nowhere:
            yield LeftOut(where, "maps a name to an address, it is not a block")
            return
        try:
            yield Listed(*canonical(ObservableType.DOMAIN, name))
        except ValueError as error:
            yield Rejected(where, str(error))


@lru_cache(maxsize=1024)
def _leads_nowhere(address: str) -> bool | None:
    """Whether what is sent there is blocked; None when it is no address."""
    if address == "0":
        return True
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return found.is_unspecified or found in _LOOPBACK
