"""How a source wants to be told who asks."""

from __future__ import annotations

import base64
import re
from typing import Final

from retract.errors import FeedError
from retract.indicators.feeds import Format, Service, Source
from retract.indicators.fetching.credentials import Credentials

KEY: Final = "{key}"
"""In a location: where the password goes."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_ABUSE_CH: Final = (Format.URLHAUS, Format.THREATFOX)


def authorization(source: Source, credentials: Credentials) -> dict[str, str]:
    """The header that carries the credentials; empty where there are none.

    A header that the credentials name carries the bare password. Else a ``{key}`` in the location
    is all; abuse.ch takes ``Auth-Key``; a MISP server takes the bare key as ``Authorization``, and
    so does a MISP folder or event, unless there is a login. The others: Basic with a login, Bearer
    without. Raises FeedError for credentials that no header can carry.
    """
    login, password = credentials.login, credentials.password.get_secret_value()
    if not login and not password:
        return {}
    if not (login + password + credentials.header).isprintable():
        raise _unusable(source, "holds a line break or another character that cannot be sent")
    if credentials.header:
        if not _HEADER_NAME.fullmatch(credentials.header):
            raise _unusable(source, "names a header that is none")
        return {credentials.header: _bare(source, password)}
    if KEY in source.location:
        return {}
    if source.format in _ABUSE_CH:
        return {"Auth-Key": _bare(source, password)}
    if source.service is Service.MISP_SERVER or (source.format is Format.MISP and not login):
        return {"Authorization": _bare(source, password)}
    if login:
        if ":" in login:
            raise _unusable(source, "has a login with a colon, which Basic cannot carry")
        pair = base64.b64encode(f"{login}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {"Authorization": f"Bearer {_bare(source, password)}"}


def _bare(source: Source, password: str) -> str:
    if not password:
        raise _unusable(source, "has a login but no password, and the password is the key here")
    if not password.isascii() or password != password.strip():
        raise _unusable(
            source, "has a password with spaces around it or letters that no header can carry"
        )
    return password


def _unusable(source: Source, reason: str) -> FeedError:
    name = f"the connection {source.connection}" if source.connection else "what it is read with"
    return FeedError(f"{name} {reason}: correct it")
