"""The clouds Microsoft runs: where each is reached, and what each lacks.

Addresses: https://learn.microsoft.com/graph/deployments. Permanent deletion is in the metadata of
the global service alone; advanced hunting is in all but China's
(https://learn.microsoft.com/graph/api/security-security-runhuntingquery).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from retract.model import Action


class Cloud(StrEnum):
    """A cloud of Microsoft's, by the name a connection gives it."""

    GLOBAL = "global"
    US_GOV = "us_gov"
    """Microsoft 365 GCC High. (GCC is in the global cloud.)"""
    US_GOV_DOD = "us_gov_dod"
    CHINA = "china"
    """Run by 21Vianet."""


@dataclass(frozen=True, slots=True)
class CloudFacts:
    """Where a cloud is reached, and what it lacks."""

    authority_url: str
    """Where tokens come from, with {tenant_id} in it."""
    graph_url: str
    missing_actions: frozenset[Action] = frozenset()
    advanced_hunting: bool = True


_NO_PERMANENT_DELETION = frozenset({Action.HARD_DELETE})
_US_AUTHORITY = "https://login.microsoftonline.us/{tenant_id}"

CLOUDS: Final[Mapping[Cloud, CloudFacts]] = MappingProxyType(
    {
        Cloud.GLOBAL: CloudFacts(
            "https://login.microsoftonline.com/{tenant_id}", "https://graph.microsoft.com"
        ),
        Cloud.US_GOV: CloudFacts(
            _US_AUTHORITY, "https://graph.microsoft.us", _NO_PERMANENT_DELETION
        ),
        Cloud.US_GOV_DOD: CloudFacts(
            _US_AUTHORITY, "https://dod-graph.microsoft.us", _NO_PERMANENT_DELETION
        ),
        Cloud.CHINA: CloudFacts(
            "https://login.partner.microsoftonline.cn/{tenant_id}",
            "https://microsoftgraph.chinacloudapi.cn",
            _NO_PERMANENT_DELETION,
            advanced_hunting=False,
        ),
    }
)

AUTHORITY_HOSTS: Final = frozenset(
    urlsplit(facts.authority_url).hostname for facts in CLOUDS.values()
)
"""Where the clouds that Microsoft itself knows give out tokens."""


def cloud_at(graph_url: str) -> Cloud | None:
    """Whose Graph is at an address; None for a private one."""
    host = urlsplit(graph_url).hostname
    found = (cloud for cloud, facts in CLOUDS.items() if urlsplit(facts.graph_url).hostname == host)
    return next(found, None)
