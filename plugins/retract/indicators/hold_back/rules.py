"""Indicators that name what everybody uses are kept, with the reason, but match nothing.

A domain, ``@domain``, the URL of a front page, an IP address or network, and a file's hash name
something as a whole. Any other URL names one page, and a page on a good host may be bad; an exact
address names one sender, and is held back only where the sender is likely to be forged.

A domain indicator also means what is below it, so it is held back when that is true of a name
below it: a wider one is never freer than a narrower one, but for what the settings release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from functools import cache, cached_property
from importlib import metadata
from ipaddress import ip_network
from typing import Final, Self

from retract.allow import NO_ALLOW, Allow
from retract.indicators.hold_back import popular, roles
from retract.indicators.hold_back.names import HostPatterns, all_parents, parents, without_www
from retract.indicators.hold_back.settings import HoldBackSettings, Popular
from retract.indicators.hold_back.shared_hosts import CUSTOMERS_BELOW, SHARED_HOSTS
from retract.indicators.hold_back.warninglists import Warninglists, package_version
from retract.model import ObservableType
from retract.observables.domain import canonical_domain, is_public_suffix, suffix_rules
from retract.observables.host import is_ip_address
from retract.observables.url import split_canonical

PUBLIC_SUFFIX: Final = "public suffix: anybody can register names below it"
SHARED_HOST: Final = "shared host: good mail names it too"
NAMED: Final = "named in the feeds file under hold_back"
OWN_DOMAIN: Final = "your own domain"
OWN_ADDRESS: Final = "an address at your own domain: likely forged, and good mail comes from it"

_RULES: Final = 1
"""To be raised with every change of what the rules here say of the same lists."""


class HoldBack:
    """Says of each indicator why it is held back; made once for a refresh.

    The lists are read when an indicator is first asked about.
    """

    def __init__(
        self,
        settings: HoldBackSettings | None,
        own_domains: Collection[str] = (),
        allow: Allow = NO_ALLOW,
    ) -> None:
        self._settings = settings
        self._allow = allow
        own = map(canonical_domain, (*(settings.own_domains if settings else ()), *own_domains))
        self._own_domains = frozenset(one for one in own if one and not is_public_suffix(one))
        self._own = HostPatterns(each + one for one in self._own_domains for each in ("", "*."))
        self._released = frozenset(map(without_www, settings.release if settings else ()))
        named = (*settings.domains, *settings.hosting) if settings else ()
        self._named = HostPatterns(named)
        self._shared = HostPatterns((*SHARED_HOSTS, *CUSTOMERS_BELOW))
        self._hosting = CUSTOMERS_BELOW.union(settings.hosting if settings else ())

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

    @cached_property
    def digest(self) -> str:
        """SHA-256 as hex of all that the reasons depend on; no list is read for it.

        Raises FeedConfigurationError when there is no such file as the settings' ``tranco``.
        """
        if self._settings is None:
            return hashlib.sha256(b"nothing").hexdigest()
        own_list = self._settings.tranco
        said = [
            _RULES,
            self._settings.model_dump(mode="json", exclude={"tranco"}),
            sorted(self._own_domains),
            self._allow.digest,
            None if own_list is None else popular.digest_of(own_list),
            package_version(),
            metadata.version("tldextract"),
            roles.digest(),
            SHARED_HOSTS,
            sorted(CUSTOMERS_BELOW),
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def reason(self, kind: ObservableType, value: str) -> str | None:
        """Why this indicator is held back, in one line; None when it is not.

        ``value`` is canonical for its type. Raises FeedConfigurationError when a list cannot be
        read.
        """
        if self._settings is None:
            return None
        match kind:
            case ObservableType.DOMAIN:
                reason = self._host_reason(value)
            case ObservableType.EMAIL_ADDRESS if value.startswith("@"):
                reason = self._host_reason(value[1:])
            case ObservableType.EMAIL_ADDRESS:
                return self._address_reason(value)
            case ObservableType.URL:
                host, path, query = split_canonical(value)
                if path != "/" or query:
                    return None
                if is_ip_address(host):
                    reason = self._network_reason(host.strip("[]"))
                else:
                    reason = self._host_reason(canonical_domain(host))
            case ObservableType.IP_ADDRESS:
                reason = self._network_reason(value)
            case ObservableType.MD5 | ObservableType.SHA1 | ObservableType.SHA256:
                reason = self._lists.says_of_hash(value)
            case _:
                return None
        return reason or self._allow_reason(kind, value)

    def _host_reason(self, host: str) -> str | None:
        if not host:
            return None
        if is_public_suffix(host):
            return PUBLIC_SUFFIX
        host = without_www(host)
        above = parents(host)
        if self._own.touches(host, above):
            return OWN_DOMAIN
        if self._named.touches(host, above):
            return NAMED
        if not self._released.isdisjoint((host, *above)):
            return None
        if self._shared.touches(host, above) or host in _above_public_suffixes():
            return SHARED_HOST
        says = self._lists.says_of_host(host, above, self._hosting)
        if says is None and self._own_list is not None:
            says = self._own_list.says_of(host)
        return says

    def _address_reason(self, address: str) -> str | None:
        domain = without_www(address.rpartition("@")[2])
        if self._own.names(domain, parents(domain)):
            return OWN_ADDRESS
        return self._lists.says_of_address(address)

    def _network_reason(self, text: str) -> str | None:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            return None
        return self._lists.says_of_network(network)

    def _allow_reason(self, kind: ObservableType, value: str) -> str | None:
        rule = self._allow.covers(kind, value)
        return None if rule is None else f"allow list: {rule.reason}"

    @cached_property
    def _lists(self) -> Warninglists:
        settings = self._settings
        if settings is None or not settings.warninglists:
            return Warninglists(())
        slugs = set(roles.IN_USE.difference(settings.leave_out))
        if settings.popular is Popular.OFF:
            slugs -= {*roles.MILLION, *roles.TEN_THOUSAND, *roles.LARGE_SITES}
        elif settings.popular is Popular.TEN_THOUSAND:
            slugs -= set(roles.MILLION)
        if settings.tranco is not None:
            slugs.discard(roles.TRANCO)
        return Warninglists(slugs)

    @cached_property
    def _own_list(self) -> popular.PopularNames | None:
        settings = self._settings
        if settings is None or settings.tranco is None:
            return None
        last = settings.tranco_rank or settings.popular.rank
        return popular.PopularNames.of(
            popular.names_of(settings.tranco, last),
            f"well known, in Tranco's {last:,} most visited sites ({settings.tranco.name})",
        )


NO_HOLD_BACK: Final = HoldBack(None)
"""Holds nothing back: for tests and comparisons."""


@cache
def _above_public_suffixes() -> frozenset[str]:
    return frozenset(all_parents(suffix_rules()))
