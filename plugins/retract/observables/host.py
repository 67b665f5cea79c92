"""Host names in one form: Safe Browsing v4 and v5 canonicalization of the host."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import idna

_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_PART = re.compile(r"0x[0-9a-f]*|[0-9]+")
_LONGEST_IDN = 255
"""Characters: longer names cannot be registered, and mapping them would cost time."""
_FORBIDDEN_AFTER_MAPPING = frozenset("/?#@:\\%[] ")


@lru_cache(maxsize=16_384)
def canonical_host(host: bytes) -> str:
    """The canonical form of an already percent-unescaped host, without user info and port.

    Lower case, dots tidied, IDN in punycode, IP addresses in one spelling, everything else
    escaped as Safe Browsing says. Empty when nothing usable is left.
    """
    name = _tidy_dots(host.lower())
    if name.startswith(b"["):
        return _bracketed_ipv6(name)
    if not name.isascii():
        mapped = _idn_to_ascii(name)
        if mapped is None:
            return escape(_raw_controls(name))
        if _FORBIDDEN_AFTER_MAPPING.intersection(mapped):
            return ""  # No browser goes to such a host: ℀.com would become "a/c.com".
        name = _tidy_dots(mapped.encode("ascii"))
    return _ipv4(name.decode("ascii")) or escape(name)


def escape(data: bytes) -> str:
    """Percent-escape what Safe Browsing escapes: bytes <= 0x20 and >= 0x7F, "#" and "%"."""
    if _PLAIN.fullmatch(data):
        return data.decode("ascii")
    return "".join(map(_ESCAPED.__getitem__, data))


_PLAIN = re.compile(rb"[\x21\x22\x24\x26-\x7e]*")
_ESCAPED = [
    f"%{byte:02X}" if byte <= 0x20 or byte >= 0x7F or byte in b"#%" else chr(byte)
    for byte in range(256)
]


def is_ip_address(host: str) -> bool:
    """Whether a canonical host is an IPv4 or a bracketed IPv6 address."""
    return host.startswith("[") or _ipv4(host) != ""


def canonical_ip(text: str) -> str:
    """One spelling for an IP address, IPv6 without brackets; empty when it is none."""
    text = text.strip().strip("[]")
    try:
        return str(IPv4Address(text)) if ":" not in text else _ipv6(text)
    except ValueError:
        return ""


def _raw_controls(name: bytes) -> bytes:
    """C1 control characters as the single bytes they were before something read them as text.

    So http://\\x01\\x80.com/ becomes http://%01%80.com/, as published, from text and from bytes.
    """
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return name
    return b"".join(
        char.encode("latin-1" if "\x80" <= char <= "\x9f" else "utf-8") for char in text
    )


def _tidy_dots(name: bytes) -> bytes:
    name = name.strip(b".")
    return re.sub(rb"\.{2,}", b".", name) if b".." in name else name


def _idn_to_ascii(name: bytes) -> str | None:
    """UTS 46 mapping and punycode, as lenient as browsers are (☃.com is a host).

    None when the bytes are not UTF-8 or hold characters no host may have.
    """
    try:
        text = name.decode("utf-8")
        if len(text) > _LONGEST_IDN:
            return None
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False)
        return ".".join(
            label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
            for label in mapped.split(".")
        ).lower()
    except UnicodeError:  # idna.IDNAError is one
        return None


def _ipv4(host: str) -> str:
    """Dotted decimal for any legal spelling: octal, hex, fewer than four components."""
    # Nearly every host ends in a name, and is none.
    return _ipv4_of(host) if _IPV4_PART.fullmatch(host.rpartition(".")[2]) else ""


@lru_cache(maxsize=16_384)
def _ipv4_of(host: str) -> str:
    parts = host.split(".")
    if len(parts) > 4:
        return ""
    numbers: list[int] = []
    for part in parts:
        number = _ipv4_number(part)
        if number is None:
            return ""
        numbers.append(number)
    *leading, last = numbers
    if any(number > 255 for number in leading) or last >= 256 ** (5 - len(numbers)):
        return ""
    value = last
    for position, number in enumerate(leading):
        value += number << (8 * (3 - position))
    return str(IPv4Address(value))


def _ipv4_number(part: str) -> int | None:
    if not _IPV4_PART.fullmatch(part):
        return None
    if part.startswith("0x"):
        digits, base = part[2:].lstrip("0"), 16
    elif len(part) > 1 and part.startswith("0"):
        digits, base = part.lstrip("0"), 8
    else:
        digits, base = part, 10
    if len(digits) > 11:  # 2**32 has 11 octal digits: nothing longer fits
        return None
    try:
        return int(digits or "0", base)
    except ValueError:  # an 8 or 9 in an octal number
        return None


def _bracketed_ipv6(host: bytes) -> str:
    inner, bracket, _ = host[1:].partition(b"]")
    if not bracket or not inner.isascii():
        return ""
    address = _ipv6(inner.decode("ascii"))
    return f"[{address}]" if ":" in address else address


def _ipv6(text: str) -> str:
    """Compressed lower-case IPv6; IPv4 for IPv4-mapped and NAT64 addresses (v5)."""
    try:
        address = IPv6Address(text.partition("%")[0])
    except ValueError:
        return ""
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address in _NAT64:
        return str(IPv4Address(int(address) & 0xFFFFFFFF))
    return address.compressed
