"""How what a service answered, or did not, is told to people."""

from __future__ import annotations

from urllib.parse import urlsplit

from retract.errors import TenantUnreachable

_TOLD_CHARACTERS = 300


def unreachable(url: str, error: Exception) -> TenantUnreachable:
    """The error for a call that met no answer, with advice."""
    told = str(error) or type(error).__name__
    advice = (
        "its certificate is not trusted: name the certificate authority in ca_file"
        if "CERTIFICATE_VERIFY_FAILED" in told
        else "check the network and the address in the connection"
    )
    return TenantUnreachable(f"no answer from {origin(url)}: {advice} ({told})")


def origin(url: str) -> str:
    """Scheme and host of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def first_line(told: str) -> str:
    """The first line: Microsoft's go on with trace ids."""
    return told.partition("\n")[0].strip()[:_TOLD_CHARACTERS]
