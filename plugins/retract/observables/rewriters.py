"""What mail gateways, trackers and redirectors wrap URLs in, and how to look inside.

Nothing here calls out: what a service keeps to itself (Mimecast) stays wrapped. Formats
are the vendors' published ones; URLDefense v3 counts its runs in UTF-8 bytes, as
cardi/proofpoint-url-decoder (CC0) shows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

_URL = re.compile(
    r"(?:https?:)?[/\\]*(?:[^/?#\\@]*@)?([^/?#\\:]*)(?::\d*)?([^?#]*)(\?.*)?",
    re.IGNORECASE | re.DOTALL,
)


_Decode = Callable[["_Wrapped"], str | None]
_Services = tuple[tuple[re.Pattern[str], str, _Decode], ...]
"""Host, start of the path, and how to look inside."""


@dataclass(frozen=True, slots=True)
class _Wrapped:
    """The parts of a wrapping URL, as given: the query without its question mark."""

    host: str
    path: str
    query: str
    after_host: str

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, decoded once; "+" stays a plus."""
        for pair in self.query.split("&"):
            key, _, value = pair.partition("=")
            # "amp;" is left over where HTML was copied into plain text.
            if key.removeprefix("amp;").lower() == name and value:
                return unquote(value)
        return None


def inner_url(url: str, *, of_gateways: bool = False) -> str | None:
    """The URL one layer down; None when no known service wraps it or it cannot be told.

    With ``of_gateways`` only what mail gateways wrap counts: senders choose the redirectors.
    """
    found = _service(url, _GATEWAYS if of_gateways else _SERVICES)
    return found[1](found[0]) if found else None


def is_opaque(url: str) -> bool:
    """Whether a known service wraps the URL, and only that service can tell what is inside."""
    found = _service(url, _SERVICES)
    return found is not None and found[1] is _opaque


def _service(url: str, services: _Services) -> tuple[_Wrapped, _Decode] | None:
    match = _URL.match(url)
    if match is None:
        return None
    host = match[1].lower().rstrip(".")
    if not _HINT.search(host):
        return None
    for pattern, path_start, decode in services:
        if pattern.fullmatch(host) and match[2].lower().startswith(path_start):
            query = (match[3] or "")[1:]
            after_host = match[2] + (match[3] or "")
            return _Wrapped(host, match[2], query.partition("#")[0], after_host), decode
    return None


def _in_parameter(*names: str) -> _Decode:
    def decode(wrapped: _Wrapped) -> str | None:
        return next((value for name in names if (value := wrapped.parameter(name))), None)

    return decode


def _urldefense_v2(wrapped: _Wrapped) -> str | None:
    for pair in wrapped.query.split("&"):
        key, _, value = pair.partition("=")
        if key.removeprefix("amp;").lower() == "u" and value:
            return unquote(value.translate(_V2_ALPHABET))
    return None


_V2_ALPHABET = str.maketrans("-_", "%/")


def _urldefense_v3(wrapped: _Wrapped) -> str | None:
    """``/v3/__<url>__;<base64url of the bytes taken out>!!<signature>$``.

    In the URL "*" stands for one byte taken out, and "**" and a letter for a run of them.
    """
    match = _V3.match(wrapped.after_host)
    if match is None:
        return None
    padded = match["bytes"] + "=" * (-len(match["bytes"]) % 4)
    try:
        taken_out = base64.urlsafe_b64decode(padded)
    except (binascii.Error, ValueError):
        return None
    out: list[bytes] = []
    at = 0
    for piece in _V3_TOKEN.split(match["url"]):
        if not piece.startswith("*"):
            out.append(piece.encode("utf-8", "replace"))
            continue
        run = _V3_RUN_LENGTHS[piece[2]] if len(piece) == 3 else 1
        out.append(taken_out[at : at + run] or piece.encode())
        at += run
    # Some mail clients collapse the slashes after the scheme: they are in a path here.
    return _ONE_SLASH.sub(r"\1//", b"".join(out).decode("utf-8", "replace"), count=1)


_V3 = re.compile(r"/v3/__(?P<url>.+?)__;(?P<bytes>[A-Za-z0-9_=-]*)!", re.DOTALL | re.IGNORECASE)
_V3_TOKEN = re.compile(r"(\*(?:\*[A-Za-z0-9_-])?)")
_V3_RUN_LENGTHS = {
    letter: length
    for length, letter in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", start=2
    )
}
_ONE_SLASH = re.compile(r"^(https?:)/(?!/)", re.IGNORECASE)


def _after_token(wrapped: _Wrapped) -> str | None:
    """Cisco: ``/<token>/<escaped url>``."""
    parts = wrapped.after_host.split("/", 2)
    return unquote(parts[2]) if len(parts) == 3 else None


def _first_folder(wrapped: _Wrapped) -> str | None:
    """Amazon SES: ``/L0/<escaped url>/<number>/<message>/<signature>``, or ``/CL0/…``."""
    return unquote(wrapped.path.split("/")[2])


def _google_amp(wrapped: _Wrapped) -> str | None:
    """Google's AMP viewer: ``/amp/<host…>``, and ``/amp/s/<host…>`` for https."""
    target = wrapped.after_host[len("/amp/") :]
    if target.startswith("s/"):
        return "https://" + target[2:]
    return "http://" + target if "://" not in target else target


def _bing(wrapped: _Wrapped) -> str | None:
    """Bing: ``u=a1<base64url of the url>``."""
    value = wrapped.parameter("u")
    if value is None or not value.startswith("a1"):
        return None
    encoded = unquote_to_bytes(value[2:])
    try:
        return base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _opaque(_: _Wrapped) -> None:
    """Only the service knows what is inside."""
    return


def _host(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:[^.]+\.){{0,6}}{pattern}")


_HINT = re.compile(
    r"outlook|office|urldefense|cudasvc|cisco|trendmicro|fireeye|trellix|symantec|awstrack"
    r"|google|bing|mimecast"
)
"""Cheap first look: nearly every host is none of these."""

_GOOGLE = _host(r"google\.(?:[a-z]{2,3}|com?\.[a-z]{2})")
_GATEWAYS: _Services = (
    (
        _host(r"safelinks\.protection\.(?:outlook\.com|office365\.us|partner\.outlook\.cn)"),
        "/",
        _in_parameter("url"),
    ),
    (
        _host(r"teams\.cdn\.office\.net"),
        "/evergreen-assets/safelinks/",
        _in_parameter("url"),
    ),
    (_host(r"urldefense\.(?:proofpoint\.com|com|us)"), "/v1/", _in_parameter("u")),
    (_host(r"urldefense\.(?:proofpoint\.com|com|us)"), "/v2/", _urldefense_v2),
    (_host(r"urldefense\.(?:proofpoint\.com|com|us)"), "/v3/", _urldefense_v3),
    (_host(r"linkprotect\.cudasvc\.com"), "/url", _in_parameter("a")),
    (_host(r"secure-web\.cisco\.com"), "/", _after_token),
    (_host(r"trendmicro\.com"), "/wis/clicktime/", _in_parameter("url")),
    (_host(r"protect\d*\.(?:fireeye|trellix)\.com"), "/", _in_parameter("u")),
    (_host(r"clicktime\.symantec\.com"), "/", _in_parameter("u")),
    (_host(r"mimecast(?:protect)?\.com"), "/s/", _opaque),
)
_REDIRECTORS: _Services = (
    (_host(r"awstrack\.me"), "/l0/", _first_folder),
    (_host(r"awstrack\.me"), "/cl0/", _first_folder),
    (_GOOGLE, "/url", _in_parameter("q", "url")),
    (_GOOGLE, "/amp/", _google_amp),
    (_host(r"bing\.com"), "/ck/a", _bing),
)
_SERVICES: _Services = (*_GATEWAYS, *_REDIRECTORS)
