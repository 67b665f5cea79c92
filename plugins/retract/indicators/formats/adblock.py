"""Adblock filter lists: the rules that keep a browser from opening a link.

The syntax is that of Adblock Plus ("How to write filters"), uBlock Origin ("Static filter
syntax") and AdGuard ("DNS filtering rules"). A mail shows links and no requests of a page, so a
rule for scripts or for some sites alone says nothing about it. A rule for the beginning of an
address counts for that address, and for what lies below it when it ends with a slash: less than
the rule says, never more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from retract.indicators.feeds import Source
from retract.indicators.formats.contents import lines_of, refuse_json, text_of
from retract.indicators.listed import Entry, LeftOut, Listed, Rejected
from retract.model import ObservableType
from retract.observables.url import split_canonical
from retract.observables.written import canonical

_SPACE = re.compile(r"\s")
_HEADING = re.compile(r"\[[^\]]*\]")
_COSMETIC = re.compile(r"#@?[$?%]{0,2}#|\$@?\$")
_OPTION = re.compile(r"(~?)([A-Za-z0-9_-]+)(?:=.*)?", re.DOTALL)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^/^|*?$:@,\[\]\s]+")
_WEB_ADDRESS = re.compile(r"\|?https?://", re.IGNORECASE)

_OPENS_A_LINK: Final = frozenset({"all", "doc", "document", "popup"})
_CHANGES_NOTHING: Final = frozenset({"important", "match-case"})
_REQUESTS: Final = frozenset(
    {"beacon", "css", "font", "frame", "image", "inline-font", "inline-script", "media"}
    | {"object", "object-subrequest", "other", "ping", "script", "stylesheet"}
    | {"subdocument", "webrtc", "websocket", "xhr", "xmlhttprequest"}
)
"""What a page asks for by itself."""

_Named = tuple[ObservableType, str]


class _Unusable(Exception):
    """A sound rule that does not name what a link in a mail can be compared with."""


class _Rule(NamedTuple):
    pattern: str
    options: tuple[str, ...]
    is_exception: bool


def parse(data: bytes, _source: Source) -> Iterator[Entry]:
    """The rules' entries. Raises FeedError when the data is no such list.

    What the list itself makes an exception of is left out, of a host also what lies below it.
    """
    text = text_of(data)
    refuse_json(text, "an adblock list")
    excepted = frozenset(_exceptions(text))
    conditions = 0
    for number, raw in lines_of(text):
        line, where = raw.strip(), f"line {number}"
        if line.startswith("!#if"):
            conditions += 1
        elif line.startswith("!#endif"):
            conditions = max(0, conditions - 1)
        elif not _is_blank(line):
            if conditions:
                yield LeftOut(where, "stands between !#if and !#endif")
            else:
                yield _entry(line, where, excepted)


def _entry(line: str, where: str, excepted: frozenset[_Named]) -> Entry:
    try:
        rule = _rule(line)
        if rule.is_exception:
            raise _Unusable("is an exception")
        _require_no_narrowing(rule.options)
        named = _named(rule.pattern)
        if "important" not in rule.options and _is_excepted(named, excepted):
            raise _Unusable("the list itself makes an exception of it")
    except _Unusable as reason:
        return LeftOut(where, str(reason))
    except ValueError as error:
        return Rejected(where, str(error))
    return Listed(*named)


def _exceptions(text: str) -> Iterator[_Named]:
    """What no rule without $important blocks. Rules are also taken back one by one: $badfilter."""
    if "@@" not in text and "badfilter" not in text:
        return
    for _, line in lines_of(text):
        line = line.strip()
        if _is_blank(line) or not (line.startswith("@@") or "badfilter" in line):
            continue
        try:
            rule = _rule(line)
            takes_back = "badfilter" in rule.options
            if takes_back != rule.is_exception:
                _require_no_narrowing(tuple(one for one in rule.options if one != "badfilter"))
                yield _named(rule.pattern)
        except (_Unusable, ValueError):
            continue


def _is_excepted(named: _Named, excepted: frozenset[_Named]) -> bool:
    if not excepted:
        return False
    kind, value = named
    host = split_canonical(value)[0] if kind is ObservableType.URL else value
    if named in excepted or (ObservableType.IP_ADDRESS, host.strip("[]")) in excepted:
        return True
    while host:
        if (ObservableType.DOMAIN, host) in excepted:
            return True
        host = host.partition(".")[2]
    return False


def _is_blank(line: str) -> bool:
    """Whether it states nothing: a comment, a heading."""
    if not line or line.startswith("!"):
        return True
    if line.startswith("["):
        return _HEADING.fullmatch(line) is not None
    return line.startswith("#") and not _COSMETIC.match(line)


def _rule(line: str) -> _Rule:
    """Raises _Unusable for what hides parts of a page, and for regular expressions."""
    is_exception = line.startswith("@@")
    pattern = line[2:] if is_exception else line
    if not pattern.startswith("|") and _COSMETIC.search(pattern):
        raise _Unusable("hides or changes parts of a page")
    if pattern.startswith("/") and (pattern.endswith("/") or "/$" in pattern):
        raise _Unusable("is a regular expression")
    # The last dollar sign: an address may hold others.
    before, dollar, after = pattern.rpartition("$")
    options = tuple(after.lower().split(",")) if dollar else ()
    if not dollar or not all(_OPTION.fullmatch(option) for option in options):
        return _Rule(pattern, (), is_exception)
    return _Rule(before, options, is_exception)


def _require_no_narrowing(options: tuple[str, ...]) -> None:
    """Raises _Unusable when the rule does not count for every link that fits."""
    opens_links = only_requests = False
    for option in options:
        found = _OPTION.fullmatch(option)
        negation, name = found.groups() if found else ("", option)
        if name in _OPENS_A_LINK and not negation:
            opens_links = True
        elif name in _REQUESTS:
            only_requests |= not negation
        elif name not in _CHANGES_NOTHING:
            raise _Unusable(f"counts only in part: {option[:60]!r}")
    if only_requests and not opens_links:
        raise _Unusable(f"counts for what a page asks for, not for links: {options[0][:60]!r}")


def _named(pattern: str) -> _Named:
    """The host or address that the rule is about. Raises _Unusable and ValueError."""
    pattern = pattern.rstrip("*")
    if _SPACE.search(pattern):
        raise ValueError("is no rule, there is a space in it")
    if "*" in pattern:
        raise _Unusable("holds a wildcard")
    if pattern.startswith("||"):
        return _anchored(pattern[2:])
    if _WEB_ADDRESS.match(pattern):
        return canonical(ObservableType.URL, _whole(pattern.removeprefix("|")))
    if _HOST.fullmatch(pattern) and "." in pattern.strip("."):
        return _host(pattern)
    raise _Unusable("names no host")


def _anchored(text: str) -> _Named:
    """``host^``, ``host/path`` and the like, after the ``||`` that means any scheme."""
    found = _HOST.match(text)
    if found is None:
        raise _Unusable("names no host")
    rest = text[found.end() :]
    if rest in ("", "^", "/", "^|"):
        return _host(found[0])
    if rest.startswith(":") and rest.strip("^|/")[1:].isdecimal():
        raise _Unusable("counts for one port of a host")
    return canonical(ObservableType.URL, "http://" + _whole(text))


def _host(text: str) -> _Named:
    is_address = text.startswith("[") or text.replace(".", "").isdecimal()
    return canonical(ObservableType.IP_ADDRESS if is_address else ObservableType.DOMAIN, text)


def _whole(address: str) -> str:
    """An address without the sign for its end. Raises _Unusable when other signs are in it."""
    address = address.removesuffix("|").removesuffix("^")
    if "^" in address or "|" in address:
        raise _Unusable("holds a placeholder")
    return address
