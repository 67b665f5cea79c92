"""URLs as Google Safe Browsing sees them.

Canonicalization and lookup expressions follow "URLs and Hashing" of the Safe Browsing
documentation: v4, with what v5 adds (IPv6, IPv4 in IPv6, walks that start at the
registrable domain). Two things the documentation leaves open are decided as browsers do:
the user information is dropped before percent-unescaping, so that an escaped slash in it
cannot fake the host, and a backslash in the path is a slash. One is decided as Google's own
client does: a scheme may be escaped, with all that follows it.

Every function here is total: any text gives an answer, in time linear in its length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

from retract.observables.domain import widened_hosts
from retract.observables.host import canonical_host, escape
from retract.observables.rewriters import inner_url

MAX_UNWRAP_DEPTH = 5
MAX_UNWRAP_LENGTH = 16 * 1024
"""Characters; what is longer stays wrapped."""

_MAX_WIDENED_HOSTS = 4
_MAX_PATH_PREFIXES = 4

_C0_AND_SPACE = "".join(map(chr, range(0x21)))
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PLAIN = re.compile(
    rf"https?://(?:(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*|{_OCTET}(?:\.{_OCTET}){{3}})"
    r"(?P<path>(?:/(?!/|\.\.?(?:[/?]|\Z))[!\"$&-.0->@-\[\]-~]*)+(?:\?[!\"$&-\[\]-~]*)?)?"
)
"""Nothing to lower, escape, unescape or resolve; no port, and no IP address in another spelling
(the last part of those is a number)."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_ESCAPED_SCHEME = re.compile(r"https?%3a", re.IGNORECASE)
_RELATIVE = re.compile(r"[/\\](?![/\\])")
_PORT_AND_REST = re.compile(r"[0-9]{0,5}(?:[/?\\]|$)")
_WEB_SCHEMES = frozenset({"http", "https"})
_HOSTLESS_SCHEMES = frozenset(
    {
        "about",
        "blob",
        "cid",
        "data",
        "file",
        "javascript",
        "mailto",
        "mid",
        "sms",
        "tel",
        "vbscript",
    }
)
_LONE_SURROGATE = re.compile(r"[\ud800-\udbff]|[\udc00-\udc7f]|[\udd00-\udfff]")
_HEX = frozenset(b"0123456789abcdefABCDEF")


@lru_cache(maxsize=32_768)
def canonicalize(url: str) -> str:
    """The canonical full URL: scheme, host, path and query. Idempotent.

    Fragment, user information and port are gone. A missing scheme counts as http. Empty
    when there is no host, as in "mailto:a@b.example" or "javascript:…".
    """
    if plain_url := _PLAIN.fullmatch(url):  # nearly all are, and it takes a tenth of the time
        return url if plain_url["path"] else url + "/"
    text = url.strip(_C0_AND_SPACE)
    for control in "\t\r\n":
        text = text.replace(control, "")
    text = text.partition("#")[0]
    split = _split_scheme(text)
    if split is None:
        return ""
    scheme, rest = split
    authority_end = _first_of(rest, "/\\?")
    userless = rest[:authority_end].rpartition("@")[2] + rest[authority_end:]
    plain = _unescape(_to_bytes(userless))

    authority_length = _first_of_bytes(plain, b"/\\?")
    host = canonical_host(_without_port(plain[:authority_length].rpartition(b"@")[2]))
    if not host:
        return ""
    path, question_mark, query = plain[authority_length:].partition(b"?")
    return f"{scheme}://{host}{escape(_clean_path(path) + question_mark + query)}"


def lookup_expressions(url: str) -> list[str]:
    """The "host/path?query" strings a list may hold for this URL, its own exact one first.

    At most 30: the exact host and up to four parents from the registrable domain on, by
    the exact path with and without query and up to four leading folders. A public suffix
    is never a parent. Empty when there is no host.
    """
    canonical = canonicalize(url)
    if not canonical:
        return []
    host, path, query = split_canonical(canonical)
    paths = _path_expressions(path, query)
    hosts = (host, *reversed(widened_hosts(host, _MAX_WIDENED_HOSTS)))
    return [one_host + one_path for one_host in hosts for one_path in paths]


def exact_expression(canonical: str) -> str:
    """A canonical URL without its scheme: the first of its lookup expressions."""
    return canonical.partition("://")[2]


def split_canonical(canonical: str) -> tuple[str, str, str]:
    """Host, path and query of a canonical URL; the query with its "?", or empty."""
    host, _, rest = exact_expression(canonical).partition("/")
    path, question_mark, query = rest.partition("?")
    return host, "/" + path, question_mark + query


def unwrap(url: str, *, of_gateways: bool = False) -> list[str]:
    """The URL as given, then what is inside, down to the innermost. Never a network call.

    With ``of_gateways`` only what mail gateways wrap is looked into, not redirectors.

    Just the URL itself when nothing is wrapped, when the wrapping is opaque, or when it is
    longer than MAX_UNWRAP_LENGTH. An inner text counts only when it has a host.
    """
    urls = [url]
    while len(urls) <= MAX_UNWRAP_DEPTH and len(urls[-1]) <= MAX_UNWRAP_LENGTH:
        inner = inner_url(urls[-1], of_gateways=of_gateways)
        if inner is None or inner in urls or not canonicalize(inner):
            break
        urls.append(inner)
    return urls


def _split_scheme(text: str) -> tuple[str, str] | None:
    """Scheme and what follows the slashes; None when such a URL has no host."""
    if _ESCAPED_SCHEME.match(text):
        text = unquote(text, errors="surrogateescape").partition("#")[0]
    match = _SCHEME.match(text)
    if match is None:
        return None if _RELATIVE.match(text) else ("http", text.lstrip("/\\"))
    scheme, rest = match[1].lower(), match[2]
    if scheme in _HOSTLESS_SCHEMES:
        return None
    if scheme in _WEB_SCHEMES:  # browsers forgive any number and kind of slashes here
        return scheme, rest.lstrip("/\\")
    if rest.startswith("//"):
        return scheme, rest.lstrip("/\\")
    if "." in scheme and _PORT_AND_REST.match(rest):  # host.example:8080/path
        return "http", text
    return None


def _first_of(text: str, characters: str) -> int:
    found = [text.find(character) for character in characters]
    return min((at for at in found if at >= 0), default=len(text))


def _first_of_bytes(data: bytes, characters: bytes) -> int:
    found = [data.find(character) for character in characters]
    return min((at for at in found if at >= 0), default=len(data))


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def _unescape(data: bytes) -> bytes:
    """Percent-unescape until no escape is left.

    One pass with a stack finds the same fixed point as repeated passes, whose number an
    attacker would choose ("%2525252525…").
    """
    if b"%" not in data:
        return data
    out = bytearray()
    for byte in data:
        out.append(byte)
        while len(out) >= 3 and out[-3] == 0x25 and out[-1] in _HEX and out[-2] in _HEX:
            out[-3:] = bytes((int(out[-2:], 16),))
    return bytes(out)


def _without_port(authority: bytes) -> bytes:
    if authority.startswith(b"["):
        return authority.partition(b"]")[0] + b"]"
    return authority.partition(b":")[0]


def _clean_path(path: bytes) -> bytes:
    """Resolve "." and ".." first, then collapse runs of slashes, as published."""
    path = path.replace(b"\\", b"/")
    if not path:
        return b"/"
    if b"//" not in path and b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    names = [segment for segment in kept if segment]
    is_folder = segments[-1] in (b"", b".", b"..")
    return b"/" + b"/".join(names) + (b"/" if is_folder and names else b"")


def _path_expressions(path: str, query: str) -> list[str]:
    expressions = [path + query, path] if query else [path]
    prefix_end = 0
    for _ in range(_MAX_PATH_PREFIXES):
        prefix_end = path.find("/", prefix_end) + 1
        if not prefix_end:
            break
        if prefix_end < len(path):
            expressions.append(path[:prefix_end])
    return expressions
