"""MISP's warninglists, from the package pymispwarninglists, each used as `roles` says.

The package's own loader reads all lists, used or not, and keeps each twice; so its files are read
here, one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from importlib import metadata, resources
from ipaddress import ip_network
from typing import Final

from retract.errors import FeedConfigurationError
from retract.indicators.hold_back import roles
from retract.indicators.hold_back.names import all_parents, listed_name
from retract.indicators.hold_back.networks import NetworkTable
from retract.indicators.hold_back.popular import ABOVE, PopularNames
from retract.indicators.hold_back.text_set import TextSet
from retract.observables.domain import registrable_domain
from retract.observables.network import Network

_PACKAGE: Final = "pymispwarninglists"
_FOLDER: Final = ("data", "misp-warninglists", "lists")
_REGEX = re.compile(r"/(.*)/i")
_LONGEST_ADDRESS: Final = 320


def package_version() -> str:
    return metadata.version(_PACKAGE)


class Warninglists:
    """Some of the lists. Each part is read when it is first asked for, and kept for the next one.

    Raises FeedConfigurationError when a list cannot be read.
    """

    def __init__(self, slugs: Collection[str]) -> None:
        self._slugs = frozenset(slugs)

    def says_of_host(
        self, host: str, above: Iterable[str], hosting: Collection[str] = ()
    ) -> str | None:
        """What a list says of a canonical domain without www, or of a name below it.

        ``above`` are its parents, nearest first. What is below one of ``hosting``, or of what the
        lists know as such, belongs to no operator.
        """
        says = self._hosts.says_of(host, above, hosting)
        if says is not None:
            return says
        return next(filter(None, (one.says_of(host) for one in self._popular)), None)

    def says_of_network(self, network: Network) -> str | None:
        """What a list says of a network around this one, or in it."""
        says = self._networks.around(network)
        if says is None and (says := self._networks.within(network)) is not None:
            return f"a network in it is listed: {says}"
        return says

    def says_of_hash(self, digest: str) -> str | None:
        """What a list says of a file, by its MD5, SHA-1 or SHA-256 in lower-case hex."""
        return next((says for says, digests in self._hashes if digest in digests), None)

    def says_of_address(self, address: str) -> str | None:
        """What a list says of an exact e-mail address."""
        if len(address) > _LONGEST_ADDRESS:
            return None
        return next((says for says, role in self._role_addresses if role.fullmatch(address)), None)

    @cached_property
    def _hosts(self) -> _Hosts:
        return _hosts(self._slugs & roles.OF_HOSTS)

    @cached_property
    def _popular(self) -> tuple[PopularNames, ...]:
        return tuple(_popular(slug) for slug in roles.MILLION if slug in self._slugs)

    @cached_property
    def _networks(self) -> NetworkTable:
        return _networks(self._slugs.intersection(roles.ADDRESSES))

    @cached_property
    def _hashes(self) -> tuple[tuple[str, TextSet], ...]:
        return _hashes(self._slugs.intersection(roles.HASHES))

    @cached_property
    def _role_addresses(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        return _role_addresses(self._slugs.intersection(roles.ROLE_ADDRESSES))


class _Hosts:
    """The names of the smaller lists. Of a name in several, the first counts."""

    def __init__(self) -> None:
        self._named: dict[str, str] = {}
        self._above: dict[str, str] = {}
        self._operators: dict[str, str] = {}
        self.customers_below: set[str] = set()

    def add(self, entries: Iterable[str], says: str, *, with_all_below: bool = False) -> None:
        names = {listed_name(entry) for entry in entries}
        for name in names:
            self._named.setdefault(name, says)
            if with_all_below:
                self._operators.setdefault(name, says)
        for parent in all_parents(names):
            self._above.setdefault(parent, says)

    def says_of(self, host: str, above: Iterable[str], hosting: Collection[str]) -> str | None:
        says = self._named.get(host) or self._of_operator(host, above, hosting)
        if says is None and (says := self._above.get(host)) is not None:
            return ABOVE + says
        return says

    def _of_operator(self, host: str, above: Iterable[str], hosting: Collection[str]) -> str | None:
        """What is said of the operator whose name the host is below."""
        for parent in above:
            if parent in hosting or parent in self.customers_below:
                return None
            if parent in self._operators:
                # Below a public suffix is its registrant, whoever runs the suffix.
                is_its_own = len(parent) >= len(registrable_domain(host))
                return f"below {parent}: {self._operators[parent]}" if is_its_own else None
        return None


# --- the lists as they are looked up; kept, as reading them takes seconds ---


@lru_cache(maxsize=2)
def _hosts(slugs: frozenset[str]) -> _Hosts:
    hosts = _Hosts()
    for slug, says in _used(roles.HOSTING, slugs):
        entries = _entries(slug)
        hosts.add(entries, says)
        dotted = [one for one in entries if one.startswith(".")]
        hosts.customers_below.update(map(listed_name, dotted or entries))
    for slug, says in _used({**roles.OPERATORS, **roles.LARGE_SITES}, slugs):
        hosts.add(_entries(slug), says, with_all_below=True)
    for slug, says in _used({**roles.NAMES, **roles.TEN_THOUSAND}, slugs):
        hosts.add(_entries(slug), says)
    return hosts


@lru_cache(maxsize=len(roles.MILLION))
def _popular(slug: str) -> PopularNames:
    return PopularNames.of(_entries(slug), _words(slug, roles.MILLION[slug]))


@lru_cache(maxsize=2)
def _networks(slugs: frozenset[str]) -> NetworkTable:
    return NetworkTable(
        (_network(entry, slug), says)
        for slug, says in _used(roles.ADDRESSES, slugs)
        for entry in _entries(slug)
        if entry not in roles.DOCUMENTATION
    )


@lru_cache(maxsize=2)
def _hashes(slugs: frozenset[str]) -> tuple[tuple[str, TextSet], ...]:
    return tuple(
        (says, TextSet(entry.lower() for entry in _entries(slug)))
        for slug, says in _used(roles.HASHES, slugs)
    )


@lru_cache(maxsize=2)
def _role_addresses(slugs: frozenset[str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (says, re.compile(regex[1], re.IGNORECASE))
        for slug, says in _used(roles.ROLE_ADDRESSES, slugs)
        for entry in _entries(slug)
        if (regex := _REGEX.fullmatch(entry))
    )


def _used(role: Mapping[str, str], slugs: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Name and words of those of the role's lists that are in use."""
    return ((slug, _words(slug, says)) for slug, says in role.items() if slug in slugs)


def _words(slug: str, says: str) -> str:
    return f"{says} (warninglist {slug})"


def _entries(slug: str) -> list[str]:
    path = resources.files(_PACKAGE).joinpath(*_FOLDER, slug, "list.json")
    try:
        entries: list[str] = json.loads(path.read_bytes())["list"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _unreadable(slug) from error
    return entries


def _network(entry: str, slug: str) -> Network:
    try:
        return ip_network(entry, strict=False)
    except ValueError as error:
        raise _unreadable(slug) from error


def _unreadable(slug: str) -> FeedConfigurationError:
    return FeedConfigurationError(
        f"the warninglist {slug} cannot be read from {_PACKAGE} {package_version()}: install the "
        "version that requirements.txt names, or name the list under hold_back.leave_out"
    )
