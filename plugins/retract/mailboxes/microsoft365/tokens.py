"""Sign-in to Microsoft 365: the application's access token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import msal

from retract.errors import AuthenticationFailed, MailboxError, TenantUnreachable, Throttled
from retract.mailboxes.microsoft365.told import first_line, origin, unreachable
from retract.mailboxes.settings import Microsoft365Settings

AUTHORITY_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
    }
)
"""Where the clouds that Microsoft itself knows give out tokens."""

_TOKEN_ADVICE = {
    "AADSTS700016": "there is no such application in this tenant: check client_id and tenant_id",
    "AADSTS7000215": "the client secret is wrong: use the secret's value, not its id",
    "AADSTS7000222": "the client secret has expired: create a new one",
    "AADSTS90002": "there is no such tenant: check tenant_id",
    "AADSTS500011": "the tenant does not know the service: check graph_url and scope",
}
_TOKEN_CODE = re.compile(r"AADSTS\d+")


class Tokens:
    """The application's access token: asked for once, then kept by msal until it is old."""

    def __init__(self, settings: Microsoft365Settings, http: httpx.Client) -> None:
        self._settings = settings
        self._http = http
        self._app: Any = None

    def current(self) -> str:
        """A token good for now. Raises AuthenticationFailed, TenantUnreachable, Throttled."""
        settings = self._settings
        try:
            if self._app is None:
                self._app = self._sign_on()
            answer = self._app.acquire_token_for_client(scopes=[settings.token_scope])
        except (httpx.RequestError, OSError) as error:
            raise unreachable(settings.authority, error) from error
        except (msal.exceptions.MsalError, RuntimeError) as error:
            raise TenantUnreachable(
                f"{origin(settings.authority)} gives out no tokens now: {error}"
            ) from error
        except (ValueError, KeyError) as error:
            raise AuthenticationFailed(
                f"{settings.authority} is not an authority that gives out tokens: "
                "check tenant_id and authority_url"
            ) from error
        token = answer.get("access_token")
        if isinstance(token, str):
            return token
        raise _token_refusal(answer)

    def forget(self) -> None:
        """Ask for a fresh token the next time."""
        if self._app is not None:
            self._app.remove_tokens_for_client()

    def _sign_on(self) -> Any:
        settings = self._settings
        known = urlsplit(settings.authority).hostname in AUTHORITY_HOSTS
        # The one HTTP client for both keeps one answer to the question whom to trust: the
        # requests library, which msal would use, lets an environment variable override it.
        return msal.ConfidentialClientApplication(
            settings.client_id,
            client_credential=settings.client_secret.get_secret_value(),
            authority=settings.authority,
            # A private authority is unknown to Microsoft, who would be asked about it.
            instance_discovery=None if known else False,
            http_client=self._http,
        )


def _token_refusal(answer: Mapping[str, Any]) -> MailboxError:
    told = first_line(
        str(answer.get("error_description") or answer.get("error") or "no reason given")
    )
    found = _TOKEN_CODE.search(told)
    code = found.group() if found else str(answer.get("error") or "")
    if answer.get("error") == "temporarily_unavailable":
        return Throttled(f"Microsoft gives out no tokens now: {told}", code=code)
    advice = _TOKEN_ADVICE.get(code, "check tenant_id, client_id and client_secret")
    return AuthenticationFailed(f"Microsoft refused the sign-in: {advice} ({told})", code=code)
