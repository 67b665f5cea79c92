"""Indicators that name what everybody uses are kept, with the reason, but match nothing.

A URL indicator with a path on a shared host still counts: it names one page there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Annotated, Final, Self

from pydantic import AfterValidator

from retract.indicators.hold_back.shared_hosts import SHARED_HOSTS
from retract.model import ObservableType
from retract.observables.domain import canonical_domain, is_public_suffix
from retract.observables.url import split_canonical
from retract.settings_file import Section

PUBLIC_SUFFIX: Final = "public suffix: anybody can register names below it"
SHARED_HOST: Final = "shared host: good mail names it too"


def _host_pattern(text: str) -> str:
    wildcard = "*." if text.strip().startswith("*.") else ""
    domain = canonical_domain(text.strip().removeprefix("*."))
    if not domain:
        raise ValueError(f"{text!r} is not a domain; write one as example.com or *.example.com")
    return wildcard + domain


class HoldBackSettings(Section):
    """Hosts that no domain indicator may name, besides the program's own SHARED_HOSTS."""

    domains: tuple[Annotated[str, AfterValidator(_host_pattern)], ...] = ()
    """``example.com`` means that host, with or without www; ``*.example.com`` all below it."""

    @cached_property
    def _hosts(self) -> tuple[frozenset[str], frozenset[str]]:
        """The hosts that are named themselves, and those whose sub-domains are."""
        patterns = (*SHARED_HOSTS, *self.domains)
        return (
            frozenset(pattern for pattern in patterns if not pattern.startswith("*.")),
            frozenset(pattern[2:] for pattern in patterns if pattern.startswith("*.")),
        )

    def reason(self, kind: ObservableType, value: str) -> str | None:
        """Why this indicator is held back; None when it is not."""
        host = _whole_host(kind, value)
        if not host:
            return None
        if is_public_suffix(host):
            return PUBLIC_SUFFIX
        exact, below = self._hosts
        if host.removeprefix("www.") in exact or not below.isdisjoint(_parents(host)):
            return SHARED_HOST
        return None


class HoldBack:
    """Says of each indicator why it is held back; made once for a refresh."""

    def __init__(self, settings: HoldBackSettings | None) -> None:
        self._settings = settings
        text = "" if settings is None else settings.model_dump_json()
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        """Of all that the reasons depend on, as hex."""

    @classmethod
    def of(cls, settings: HoldBackSettings, *, own_domains: Collection[str] = ()) -> Self:
        """By these settings; ``own_domains`` are held back besides."""
        domains = (*settings.domains, *sorted(own_domains))
        return cls(settings.model_copy(update={"domains": domains}))

    def reason(self, kind: ObservableType, value: str) -> str | None:
        """Why this indicator is held back; None when it is not."""
        return None if self._settings is None else self._settings.reason(kind, value)


NO_HOLD_BACK: Final = HoldBack(None)
"""Holds nothing back: for tests and comparisons."""


def _whole_host(kind: ObservableType, value: str) -> str:
    """The host that an indicator names as a whole; empty when it names something in it."""
    match kind:
        case ObservableType.DOMAIN:
            return value
        case ObservableType.EMAIL_ADDRESS if value.startswith("@"):
            return value[1:]
        case ObservableType.URL:
            host, path, query = split_canonical(value)
            return canonical_domain(host) if path == "/" and not query else ""
        case _:
            return ""


def _parents(host: str) -> Iterable[str]:
    while "." in host:
        host = host.partition(".")[2]
        yield host
