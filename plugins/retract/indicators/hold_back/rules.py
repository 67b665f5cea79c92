"""Indicators that name what everybody uses are kept, with the reason, but match nothing.

A domain, ``@domain``, the URL of a front page, an IP address or network, and a file's hash name
something as a whole. A URL with a path or query on a shared host still counts: it names one page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Final, Self

from retract.allow import NO_ALLOW, Allow
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.indicators.hold_back.shared_hosts import SHARED_HOSTS
from retract.model import ObservableType
from retract.observables.domain import canonical_domain, is_public_suffix
from retract.observables.url import split_canonical

PUBLIC_SUFFIX: Final = "public suffix: anybody can register names below it"
SHARED_HOST: Final = "shared host: good mail names it too"


class HoldBack:
    """Says of each indicator why it is held back; made once for a refresh."""

    def __init__(
        self,
        settings: HoldBackSettings | None,
        own_domains: Collection[str] = (),
        allow: Allow = NO_ALLOW,
    ) -> None:
        self._settings = settings
        self._own = frozenset(own_domains)
        self._allow = allow
        patterns = (*SHARED_HOSTS, *(settings.domains if settings else ()))
        self._exact = frozenset(one for one in patterns if not one.startswith("*."))
        self._below = frozenset(one[2:] for one in patterns if one.startswith("*."))

    @classmethod
    def of(
        cls,
        settings: HoldBackSettings,
        *,
        own_domains: Collection[str] = (),
        allow: Allow = NO_ALLOW,
    ) -> Self:
        """By these settings.

        ``own_domains`` are those of the organisation's mailboxes, besides the settings' own;
        ``allow`` the policy's rules that are in force.
        """
        return cls(settings, own_domains, allow)

    @property
    def digest(self) -> str:
        """SHA-256 as hex of all that the reasons depend on."""
        settings = None if self._settings is None else self._settings.model_dump(mode="json")
        said = [settings, sorted(self._own), self._allow.digest]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def reason(self, kind: ObservableType, value: str) -> str | None:
        """Why this indicator is held back, in one line; None when it is not."""
        if self._settings is None:
            return None
        host = _whole_host(kind, value)
        if not host:
            return None
        if is_public_suffix(host):
            return PUBLIC_SUFFIX
        if host.removeprefix("www.") in self._exact or not self._below.isdisjoint(_parents(host)):
            return SHARED_HOST
        return None


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


def _parents(host: str) -> Iterator[str]:
    while "." in host:
        host = host.partition(".")[2]
        yield host
