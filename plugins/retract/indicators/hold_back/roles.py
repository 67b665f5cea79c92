"""What each of MISP's warninglists means here: https://github.com/MISP/misp-warninglists.

The lists warn of values that a feed should hardly name. What follows from one differs: below a
bank's name is the bank, below a hosting company's name is anybody. So each list has one role, or
is left out with the reason. Keys are the names of the lists' folders.

Each role says in words what the entries are; where several lists hold a value, the first counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

HOSTING: Final[Mapping[str, str]] = {
    "url-shortener": "URL shortener",
    "link-in-bio": "link-in-bio service",
    "public-ipfs-gateways": "public IPFS gateway",
    "dynamic-dns": "dynamic DNS",
    "lots-project": "trusted service that attackers use too",
}
"""Names of one company, where strangers have names below it: what is below is theirs, whatever
the lists of operators say. In a list that has them, a dot in front of a name says so."""

OPERATORS: Final[Mapping[str, str]] = {
    "microsoft-attack-simulator": "Microsoft's own phishing simulations",
    "microsoft-office365": "belongs to Microsoft",
    "microsoft": "belongs to Microsoft",
    "microsoft-win10-connection-endpoints": "belongs to Microsoft Windows or its suppliers",
    "google": "belongs to Google",
    "bank-website": "belongs to a bank",
    "dax30": "belongs to a large German company",
    "university_domains": "belongs to a university",
    "captive-portals": "captive portal check",
    "automated-malware-analysis": "malware analysis service or security vendor",
    "umbrella-blockpage-hostname": "block page of Cisco Umbrella",
}
"""Names that belong to one good operator, with everything below them."""

LARGE_SITES: Final[Mapping[str, str]] = {
    "tranco10k": "well known, in Tranco's 10,000 most visited sites",
}
"""Popular, and used as operators: below ebay.com is eBay. Where that is not so, the hosting lists
say it, and CUSTOMERS_BELOW in `shared_hosts`."""

NAMES: Final[Mapping[str, str]] = {
    "tlds": "public suffix",
    "second-level-tlds": "public suffix",
    "digitalside": "good site that feeds name by mistake",
    "security-provider-blogpost": "site that writes about attacks",
    "findip-host": "tells visitors their IP address",
    "whats-my-ip": "tells visitors their IP address",
    "public-dns-hostname": "public DNS resolver",
    "parking-domain-ns": "name server of parked domains",
    "crl-hostname": "certificate revocation list",
    "rfc6761": "reserved name",
}
"""Names that are good, or shared, themselves; nothing is known of what is below them: on a
platform (medium.com) a stranger."""

TEN_THOUSAND: Final[Mapping[str, str]] = {
    "majestic_million": "well known, in Majestic's 10,000 most linked sites",
    "alexa": "well known, in Alexa's 1,000 most visited sites",
    "moz-top500": "well known, in Moz's 500 most linked sites",
    "cisco_top10k": "well known, in Cisco Umbrella's 10,000 most looked-up names",
}
MILLION: Final[Mapping[str, str]] = {
    "tranco": "well known, in Tranco's 1,000,000 most visited sites",
    "google-chrome-crux-1million": "well known, in Chrome's 1,000,000 most visited sites",
}
"""What is popular besides LARGE_SITES: both with ``popular: 1m``, the first with 10k. Nothing is
known of what is below them."""

TRANCO: Final = "tranco"
"""The list that the settings' own file stands in for."""

ADDRESSES: Final[Mapping[str, str]] = {
    "rfc1918": "private network",
    "rfc6598": "private network",
    "ipv6-linklocal": "private network",
    "multicast": "multicast",
    "rfc5735": "reserved network",
    "google-gmail-sending-ips": "mail service: Google's sending addresses",
    "microsoft-office365-ip": "mail service: Microsoft 365",
    "microsoft-office365-cn": "mail service: Microsoft 365 in China",
    "smtp-sending-ips": "mail service: sending addresses",
    "smtp-receiving-ips": "mail service: receiving addresses",
    "public-dns-v4": "public DNS resolver",
    "public-dns-v6": "public DNS resolver",
    "crl-ip": "certificate revocation list",
    "umbrella-blockpage-v4": "block page of Cisco Umbrella",
    "umbrella-blockpage-v6": "block page of Cisco Umbrella",
    "cloudflare": "content delivery: Cloudflare",
    "akamai": "content delivery: Akamai",
    "fastly": "content delivery: Fastly",
    "stackpath": "content delivery: StackPath",
    "zscaler": "web proxy of many companies: Zscaler",
    "wikimedia": "Wikimedia",
    "apple": "Apple",
    "github": "GitHub",
    "googlebot": "Google's crawler",
    "openai-gptbot": "OpenAI's crawler",
    "ovh-cluster": "shared hosting: OVH",
    "parking-domain": "parked domains share it",
    "amazon-aws": "cloud: Amazon",
    "google-gcp": "cloud: Google",
    "microsoft-azure": "cloud: Microsoft",
    "microsoft-azure-china": "cloud: Microsoft",
    "microsoft-azure-germany": "cloud: Microsoft",
    "microsoft-azure-us-gov": "cloud: Microsoft",
}
"""Networks whose addresses many share, or that change hands by the hour."""

DOCUMENTATION: Final = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
"""Of rfc5735 left out: examples, demos and tests name them, and nobody's mail does (RFC 5737)."""

HASHES: Final[Mapping[str, str]] = {
    "empty-hashes": "empty file",
    "common-ioc-false-positive": "harmless file that feeds name by mistake",
    "ti-falsepositives": "harmless file that feeds name by mistake",
    "nioc-filehash": "harmless file",
    "mozilla-CA": "certificate",
    "mozilla-IntermediateCA": "certificate",
}

ROLE_ADDRESSES: Final[Mapping[str, str]] = {
    "common-contact-emails": "address that every domain has for reports",
}

_SCANNERS: Final = """
alphastrike-research-nt-scanning alphastrike-scanning bufferover-nt-scanning
censys-scanning check-host-net coalition-signals-intelligence-nt-scanning
cybergreen-nt-scanning cyberresilience-nt-scanning cypex-nt-scanning f6-nt-scanning
internet-census-nt-scanning intrinsec-nt-scanning ipinfo-nt-scanning ipip-nt-scanning
modat-nt-scanning modat-scanner netsecscan-nt-scanning netsecscan-scanning
onyphe-nt-scanning onyphe-scanner probethenet-nt-scanning rapid7-nt-scanning
research-scanner-nt-scanning shadowforce-nt-scanning shadowforce-scanning shadowserver
shadowserver-nt-scanning shodan-nt-scanning shodan-scanning skipa-nt-scanning
tenable-cloud-ipv4 tenable-cloud-ipv6
"""
_SCANNER: Final = "a scanner of the internet: no good mail comes from it, and none names it"
_PANDEMIC: Final = "names of 2020, since given up and anybody's to register"
_IN_TEN_THOUSAND: Final = "all of it is in cisco_top10k"

LEFT_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(_SCANNERS.split(), _SCANNER),
    "cisco_top1000": _IN_TEN_THOUSAND,
    "cisco_top5k": _IN_TEN_THOUSAND,
    "cisco_top20k": "what it has besides cisco_top10k is looked up by devices, not written in mail",
    "covid": _PANDEMIC,
    "covid-19-cyber-threat-coalition-whitelist": _PANDEMIC,
    "covid-19-krassi-whitelist": _PANDEMIC,
    "disposable-email": "throw-away mail domains: it warns of a weak lead, not of good mail",
    "eicar.com": "the EICAR file: whoever sends it tests whether it is found",
    "microsoft-azure-appid": "application ids: not seen in mail",
    "phone_numbers": "phone numbers: no indicator here is one",
    "rfc3849": "addresses for documentation: nobody's mail names them",
    "sinkholes": "seized by researchers: no good mail comes from one, and none names it",
    "vpn-ipv4": "whole hosting companies: one listed server there is no neighbour's",
    "vpn-ipv6": "whole hosting companies: one listed server there is no neighbour's",
}
"""Lists that do not count, each with the reason."""

_ROLES: Final = (
    HOSTING,
    OPERATORS,
    LARGE_SITES,
    NAMES,
    TEN_THOUSAND,
    MILLION,
    ADDRESSES,
    HASHES,
    ROLE_ADDRESSES,
)
IN_USE: Final = frozenset(slug for role in _ROLES for slug in role)
OF_HOSTS: Final = frozenset({*HOSTING, *OPERATORS, *LARGE_SITES, *NAMES, *TEN_THOUSAND})


def digest() -> str:
    """SHA-256 as hex of what the lists mean here."""
    said = [[dict(role) for role in _ROLES], DOCUMENTATION]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
