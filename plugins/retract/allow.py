"""Allow rules: values that no indicator may speak against, each with the reason a person gave.

A rule covers what it names, and no more than that:

- a domain: the domain indicators of that host and of the hosts below it, ``@domain`` of these,
  and their front pages. Not the other URLs there: a page on a good host may be bad.
- a URL: that URL. When its path ends in ``/``, all below it, whatever the query; so the root of
  a host covers every URL of exactly that host.
- an address: that address; ``@domain`` covers every address at exactly that domain.
- an IP address or network: the addresses and networks in it.
- a hash, a file name, a display name: the same value.

No rule covers a campaign rule: to end one, revoke it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from retract.model import RULE_TYPES, ObservableType
from retract.settings_file import Misfits, Section

# Airflow imports the policy whenever it parses a DAG: what rules are held to (the Public Suffix
# List and more) is imported when there is a rule.

MAX_REASON: Final = 300
"""Characters: it is shown with every match the rule beats."""

_TYPES: Final = tuple(kind for kind in ObservableType if kind not in RULE_TYPES)

Network = IPv4Network | IPv6Network


def _reason(text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable():
        raise ValueError("say in one line of printable text why this is allowed")
    if len(text) > MAX_REASON:
        raise ValueError(f"longer than {MAX_REASON} characters")
    return text


def _until(value: object) -> object:
    """A day counts to its end (UTC)."""
    wrong = ValueError("write a day, as 2026-12-31, or a time with its zone, as 2026-12-31T18:00Z")
    try:
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise wrong
            return value.astimezone(UTC)
        if isinstance(value, date):
            return datetime.combine(value, time(), UTC) + timedelta(days=1)
    except OverflowError as error:
        raise ValueError("too far away: leave until out for a rule without an end") from error
    if value is None:
        return None
    raise wrong


def _parsed(text: str) -> object:
    for parse in (date.fromisoformat, datetime.fromisoformat):
        try:
            return parse(text)
        except ValueError:
            continue
    return text


class AllowRule(Section):
    """One rule of the policy file. ``value`` is kept canonical for its ``type``."""

    value: str
    """As people write it in the file: defanged or not, in any case."""
    type: ObservableType
    """In the file ``auto``, or left out: by the look of the value. Never a pattern."""
    reason: Annotated[str, AfterValidator(_reason), Field(strict=True)]
    """Why this is allowed; shown with every match the rule beats."""
    until: Annotated[AwareDatetime | None, BeforeValidator(_until)] = None
    """The moment from which the rule is void; in the file also a day, which is its last."""

    @model_validator(mode="before")
    @classmethod
    def _canonical(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        kind, value = fields.get("type", "auto"), fields.get("value")
        if kind != "auto" and kind not in _TYPES:
            raise Misfits((("type",), "write one of " + ", ".join(("auto", *_TYPES))))
        if not isinstance(value, str):
            # The value is refused by itself; its type is not what is wrong.
            return fields | {"type": ObservableType.URL}
        from retract.observables import written

        try:
            found, canonical = written.canonical(
                kind if kind == "auto" else ObservableType(kind), value
            )
            _require_owned(found, canonical)
        except ValueError as error:
            raise Misfits((("value",), str(error))) from error
        return fields | {"type": found, "value": canonical}

    def is_void(self, now: datetime) -> bool:
        """Whether the rule's time is over."""
        return self.until is not None and self.until <= now


def _require_owned(kind: ObservableType, value: str) -> None:
    """Raises ValueError for a domain that belongs to everybody."""
    from retract.observables.domain import is_public_suffix

    if kind is ObservableType.DOMAIN and is_public_suffix(value):
        raise ValueError(
            f"{value} is a public suffix: anybody can have a name below it; name the whole domain"
        )


def no_rule_twice(rules: tuple[AllowRule, ...]) -> tuple[AllowRule, ...]:
    """The rules, sorted. Raises Misfits for each that repeats another."""
    first: dict[tuple[ObservableType, str], int] = {}
    twice = [
        ((number, "value"), f"the same as allow rule number {earlier + 1}: keep one of them")
        for number, rule in enumerate(rules)
        if (earlier := first.setdefault((rule.type, _text(rule)), number)) != number
    ]
    if twice:
        raise Misfits(*twice)
    return tuple(sorted(rules, key=lambda rule: (rule.type, rule.value)))


class Allow:
    """The allow rules in force at one moment."""

    def __init__(self, rules: Iterable[AllowRule] = ()) -> None:
        self.rules: Final = tuple(rules)
        self._rules = {(rule.type, _text(rule)): rule for rule in self.rules}
        self._folder_depth = max(
            (text.count("/") for kind, text in self._rules if kind is ObservableType.URL), default=0
        )
        self._networks = {
            ip_network(text): rule
            for (kind, text), rule in self._rules.items()
            if kind is ObservableType.IP_ADDRESS
        }
        self._prefixes = sorted({network.prefixlen for network in self._networks}, reverse=True)

    @classmethod
    def at(cls, rules: Iterable[AllowRule], now: datetime) -> Allow:
        """Those of the rules that are not void at ``now``."""
        return cls(rule for rule in rules if not rule.is_void(now))

    @property
    def digest(self) -> str:
        """SHA-256 as hex of the rules in force: what they cover, and why."""
        said = sorted((rule.type, rule.value, rule.reason) for rule in self.rules)
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def covers(self, kind: ObservableType, value: str) -> AllowRule | None:
        """The narrowest rule that covers a value seen in a mail or listed by a feed.

        None when no rule does, and for a text that is no value of its type.
        """
        if not self.rules or kind in RULE_TYPES:
            return None
        from retract.observables.lookup import canonical_value

        canonical = canonical_value(kind, value)
        if not canonical:
            return None
        match kind:
            case ObservableType.URL:
                return self._covers_url(canonical)
            case ObservableType.DOMAIN:
                return self._domain_above(canonical)
            case ObservableType.EMAIL_ADDRESS:
                return self._covers_address(canonical)
            case ObservableType.IP_ADDRESS:
                return self._network_around(ip_network(canonical))
            case _:
                return self._rules.get((kind, canonical))

    def _covers_url(self, url: str) -> AllowRule | None:
        from retract.observables.url import exact_expression, split_canonical

        host, path, query = split_canonical(url)
        exact = self._rules.get((ObservableType.URL, exact_expression(url)))
        if exact is not None:
            return exact
        ends = [at for at, character in enumerate(path) if character == "/"]
        for end in reversed(ends[: self._folder_depth]):
            folder = self._rules.get((ObservableType.URL, host + path[: end + 1]))
            if folder is not None:
                return folder
        is_front_page = path == "/" and not query
        return self._domain_above(host) if is_front_page else None

    def _covers_address(self, address: str) -> AllowRule | None:
        local, _, domain = address.rpartition("@")
        for text in (address, "@" + domain):
            rule = self._rules.get((ObservableType.EMAIL_ADDRESS, text))
            if rule is not None:
                return rule
        return None if local else self._domain_above(domain)

    def _domain_above(self, host: str) -> AllowRule | None:
        """The rule on the host or on the nearest of its parents."""
        labels = host.split(".")
        parents = (".".join(labels[start:]) for start in range(len(labels)))
        found = (self._rules.get((ObservableType.DOMAIN, parent)) for parent in parents)
        return next((rule for rule in found if rule is not None), None)

    def _network_around(self, network: Network) -> AllowRule | None:
        for prefix in self._prefixes:
            if prefix <= network.prefixlen:
                rule = self._networks.get(network.supernet(new_prefix=prefix))
                if rule is not None:
                    return rule
        return None


def _text(rule: AllowRule) -> str:
    """The value without what takes no part in matching: a URL's scheme."""
    if rule.type is not ObservableType.URL:
        return rule.value
    from retract.observables.url import exact_expression

    return exact_expression(rule.value)


NO_ALLOW: Final = Allow()
