"""The access tokens of both services: what was signed, and what was revoked since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

_REMEMBERED = 20_000


class AccessTokens:
    """Tokens signed with one key. Safe to use from any thread."""

    def __init__(self, key: rsa.RSAPrivateKey, key_id: str) -> None:
        self._key = key
        self._public_key = key.public_key()
        self._key_id = key_id
        self._lock = threading.Lock()
        # A signature is checked once: it takes longer than the rest of most calls.
        self._verified: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._revoked: set[str] = set()

    def sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._key, "RS256", headers={"kid": self._key_id})

    def claims(self, token: str) -> Mapping[str, Any]:
        """What the token claims, its times and audience unchecked: that is for each service to
        do, by the tenant's clock. Raises jwt.InvalidTokenError."""
        with self._lock:
            known = self._verified.get(token)
        if known is not None:
            return known
        claims: dict[str, Any] = jwt.decode(
            token,
            self._public_key,
            ["RS256"],
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
            },
        )
        with self._lock:
            self._verified[token] = claims
            while len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        return claims

    def revoke(self, token: str) -> None:
        """From now on the services take this token for an expired one."""
        with self._lock:
            self._revoked.add(token)

    def is_revoked(self, token: str) -> bool:
        return token in self._revoked
