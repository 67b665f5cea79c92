"""A certificate with its private key, with which an application signs in to Microsoft 365."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from retract.errors import ConnectionSettingsError


@dataclass(frozen=True, slots=True)
class SignInCertificate:
    """What a sign-in is signed with."""

    private_key: str = field(repr=False)
    """PEM, not encrypted: keep it in memory."""
    certificate: str
    """PEM: the certificate of that key alone, without those above it."""
    valid_from: datetime
    valid_until: datetime


def read_certificate(file: Path, password: str = "") -> SignInCertificate:
    """The key and certificate in a PEM or PFX file.

    Raises ConnectionSettingsError that names what is wrong with the file, and never quotes it.
    """
    secret = password.encode() or None
    try:
        content = file.read_bytes()
        if b"-----BEGIN" in content:
            key: object = load_pem_private_key(content, secret)
            certificates = x509.load_pem_x509_certificates(content)
        else:
            key, first, others = pkcs12.load_key_and_certificates(content, secret)
            certificates = [*([first] if first else []), *others]
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from None
    except (TypeError, ValueError):
        # The libraries' own words may quote what they were given.
        raise _unusable(
            file,
            "is neither a PEM file with a private key and its certificate nor a PFX file, or "
            "certificate_password does not open it",
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _unusable(file, "holds no RSA private key, which Microsoft Entra asks for")
    for certificate in certificates:
        if certificate.public_key() == key.public_key():
            return SignInCertificate(
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
                certificate.public_bytes(Encoding.PEM).decode(),
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
            )
    raise _unusable(file, "holds a private key, but not the certificate that belongs to it")


def _unusable(file: Path, why: str) -> ConnectionSettingsError:
    return ConnectionSettingsError(f"certificate_file: {file} {why}")
