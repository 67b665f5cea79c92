"""The ``hold_back`` section of the feeds file."""

from __future__ import annotations

import difflib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, model_validator

from retract.indicators.hold_back import roles
from retract.observables.domain import canonical_domain, is_public_suffix
from retract.settings_file import Misfits, Section


class Popular(StrEnum):
    """How many of the most visited sites count as well known."""

    MILLION = "1m"
    TEN_THOUSAND = "10k"
    OFF = "off"

    @property
    def rank(self) -> int:
        """The last one that counts; 0 for none."""
        return _RANKS[self]


def _off(value: object) -> object:
    # YAML reads a bare off as false.
    return Popular.OFF if value is False else value


_RANKS: Final = {Popular.MILLION: 1_000_000, Popular.TEN_THOUSAND: 10_000, Popular.OFF: 0}


def _host_pattern(text: str) -> str:
    wildcard = "*." if text.strip().startswith("*.") else ""
    domain = canonical_domain(text.strip().removeprefix("*."))
    if not domain:
        raise ValueError(f"{text!r} is not a domain; write one as example.com or *.example.com")
    return wildcard + domain


def _registered(text: str) -> str:
    domain = canonical_domain(text.strip())
    if not domain:
        raise ValueError(f"{text!r} is not a domain; write one as example.com")
    if is_public_suffix(domain):
        raise ValueError(f"{text!r} is a public suffix: anybody can have a name below it")
    return domain


def _slug(text: str) -> str:
    if text in roles.LEFT_OUT:
        raise ValueError(f"{text} is left out anyway: {roles.LEFT_OUT[text]}")
    if text not in roles.IN_USE:
        near = difflib.get_close_matches(text, roles.IN_USE, n=3)
        meant = f"did you mean {' or '.join(near)}?" if near else "known are MISP's, as tranco"
        raise ValueError(f"there is no warninglist {text[:60]!r}; {meant}")
    return text


class HoldBackSettings(Section):
    """What no indicator may name as a whole, besides what the program knows itself."""

    domains: tuple[Annotated[str, AfterValidator(_host_pattern)], ...] = ()
    """``example.com`` means that host, with or without www; ``*.example.com`` all below it."""
    hosting: tuple[Annotated[str, AfterValidator(_registered)], ...] = ()
    """Whose customers choose the names below, besides those the program knows: what is below one
    is a stranger's, however well known the host is."""
    release: tuple[Annotated[str, AfterValidator(_registered)], ...] = ()
    """Hosts, with all below them, that no list of the program's or of MISP's holds back: whoever
    writes them here knows better. The settings above, own domains and allow rules still do."""
    own_domains: tuple[Annotated[str, AfterValidator(_registered)], ...] = ()
    """The organisation's, with all below them. Those of its mailboxes count without being named."""
    warninglists: StrictBool = True
    """Whether MISP's warninglists, as the package pymispwarninglists brings them, count."""
    leave_out: tuple[Annotated[str, AfterValidator(_slug)], ...] = ()
    """Warninglists that do not count, by the name of their folder, as ``bank-website``."""
    popular: Annotated[Popular, BeforeValidator(_off)] = Popular.MILLION
    """Which of the most visited sites count as well known."""
    tranco: Path | None = None
    """A list as tranco-list.eu publishes it, instead of the package's ``tranco``; a path relative
    to the feeds file."""
    tranco_rank: Annotated[int, Field(strict=True, ge=1)] | None = None
    """The last rank of that file that counts; None: as ``popular`` says."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.tranco is not None and self.popular is Popular.OFF:
            raise Misfits((("tranco",), "popular is off; set it to 1m or 10k"))
        if self.tranco_rank is not None and self.tranco is None:
            raise Misfits((("tranco_rank",), "is for a tranco file; the lists here have no ranks"))
        return self

    def below(self, folder: Path) -> Self:
        """The same, with paths relative to that folder."""
        if self.tranco is None:
            return self
        return self.model_copy(update={"tranco": folder / self.tranco.expanduser()})
