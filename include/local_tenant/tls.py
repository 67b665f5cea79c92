"""A throw-away certificate authority, and a certificate for loopback: msal insists on https."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

HOST = "127.0.0.1"


def server_context(ca_file: Path) -> ssl.SSLContext:
    """A server's TLS context; the authority that clients must trust is written to ``ca_file``.

    The keys stay in memory and die with the process.
    """
    authority = trustme.CA(organization_name="Retract local tenant")
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "localhost").configure_cert(context)
    return context
