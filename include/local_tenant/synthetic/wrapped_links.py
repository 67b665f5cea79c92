"""Links as protecting mail gateways rewrite them."""

from __future__ import annotations

import random
import string
from urllib.parse import quote


def safelinks(url: str, recipient: str, rng: random.Random) -> str:
    """Microsoft Safe Links: the URL percent-encoded once in ``url=``."""
    data = quote(f"05|02|{recipient}|{rng.getrandbits(128):032x}|0|0|Unknown|", safe="")
    region = rng.choice(("eur01", "eur05", "nam02", "gbr01"))
    return (
        f"https://{region}.safelinks.protection.outlook.com/?url={quote(url, safe='')}"
        f"&data={data}&sdata={_token(rng, 43)}%3D&reserved=0"
    )


def urldefense_v2(url: str, rng: random.Random) -> str:
    """Proofpoint's second form: ``%`` written as ``-`` and ``/`` as ``_``."""
    kept = frozenset(string.ascii_letters + string.digits + ".")
    encoded = "".join(
        "_"
        if character == "/"
        else character
        if character in kept
        else "".join(f"-{byte:02X}" for byte in character.encode())
        for character in url
    )
    return (
        f"https://urldefense.proofpoint.com/v2/url?u={encoded}&d=DwMFaQ"
        f"&c={_token(rng, 22)}&r={_token(rng, 43)}&m={_token(rng, 43)}&s={_token(rng, 43)}&e="
    )


def urldefense_v3(url: str, rng: random.Random) -> str:
    """Proofpoint's third form, of a URL with nothing in it that must be replaced."""
    return f"https://urldefense.com/v3/__{url}__;!!{_token(rng, 12)}!{_token(rng, 60)}$"


def _token(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits, k=length))
