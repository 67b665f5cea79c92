"""The observables of one message as they are gathered: each once, all of them bounded."""

from __future__ import annotations

from collections.abc import Iterable

from retract.model import Observable, ObservableType
from retract.observables.address import canonical_name, domain_of
from retract.observables.domain import canonical_domain
from retract.observables.host import canonical_ip, is_ip_address
from retract.observables.rewriters import is_opaque
from retract.observables.url import canonicalize, split_canonical, unwrap

MAX_URLS = 2_000
MAX_URL_CHARACTERS = 1024 * 1024
"""Over all canonical URLs of a message: each becomes up to thirty rows."""
MAX_URL_LENGTH = 4_096
"""Of one canonical URL; what is longer is cut there."""
MAX_ATTACHMENTS = 500
MAX_NAME = 512


class Gathering:
    """What has been seen in one message so far. ``found_in`` says where it was seen first."""

    def __init__(self) -> None:
        self._found: dict[tuple[ObservableType, str], str] = {}
        self._problems: dict[str, None] = {}
        self._urls_seen: set[str] = set()
        self._url_characters = 0
        self._attachments = 0

    def observables(self) -> tuple[Observable, ...]:
        """All of them, in the order they were seen in."""
        return tuple(
            Observable(type_, value, found_in) for (type_, value), found_in in self._found.items()
        )

    def problems(self) -> tuple[str, ...]:
        """Why something could not be read; each reason once."""
        return tuple(self._problems)

    def problem(self, text: str) -> None:
        """Note why something could not be read."""
        self._problems.setdefault(text)

    def add(self, type_: ObservableType, value: str, found_in: str) -> bool:
        """Whether it is new. Empty values are none; the first place seen is the one kept."""
        if not value or (type_, value) in self._found:
            return False
        self._found[type_, value] = found_in
        return True

    def add_address(self, name: str, address: str, found_in: str) -> None:
        """A mailbox of a header: the address, its domain, and the name shown for it."""
        self.add(ObservableType.EMAIL_ADDRESS, address, found_in)
        self.add(ObservableType.DOMAIN, domain_of(address), "domain_of_address")
        self.add(ObservableType.DISPLAY_NAME, canonical_name(name), found_in)

    def add_attachment(self, name: str, found_in: str) -> bool:
        """An attachment's name; False when it is one too many, and to be left out."""
        self._attachments += 1
        if self._attachments > MAX_ATTACHMENTS:
            self.problem(f"more than {MAX_ATTACHMENTS} attachments: the rest was not hashed")
            return False
        self.add(ObservableType.FILE_NAME, canonical_name(name), found_in)
        return True

    def add_urls(self, urls: Iterable[str], found_in: str) -> None:
        """URLs as they are written, each with all that a rewriter wrapped, and its host."""
        for url in urls:
            if url in self._urls_seen:
                continue
            if len(self._urls_seen) >= MAX_URLS or self._url_characters >= MAX_URL_CHARACTERS:
                self.problem("too many URLs: the rest was left out")
                return
            self._urls_seen.add(url)
            self._add_url(url, found_in)

    def _add_url(self, url: str, found_in: str) -> None:
        layers = unwrap(url)
        for depth, layer in enumerate(layers):
            canonical = canonicalize(layer)
            if len(canonical) > MAX_URL_LENGTH:
                self.problem(f"a URL longer than {MAX_URL_LENGTH} characters was cut")
                canonical = canonicalize(canonical[:MAX_URL_LENGTH])
            if not canonical:
                continue
            if depth:
                how = ":unwrapped"
            elif len(layers) > 1:
                how = ":wrapped"
            else:
                how = ":wrapped_unresolved" if is_opaque(layer) else ""
            if self.add(ObservableType.URL, canonical, found_in + how):
                self._url_characters += len(canonical)
            host, _, _ = split_canonical(canonical)
            if is_ip_address(host):
                self.add(ObservableType.IP_ADDRESS, canonical_ip(host), "ip_of_url")
            else:
                self.add(ObservableType.DOMAIN, canonical_domain(host), "domain_of_url")
